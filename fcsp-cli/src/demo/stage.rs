//! The demo's machine: a simulated device, tenants with quotas, worker processes, and an
//! independent judge that reads what the device itself says each process holds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fcsp_core::config::{Quota, Rules, text};
use fcsp_core::control::{Control, Limits};
use fcsp_core::device::Selector;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::state::{STATE_DIR_VARIABLE, SetupGuard, StateDir};
use fcsp_core::tenant::MANAGED_MARK;
use fcsp_sim::region::Region;
use fcsp_sim::spec::Topology;
use fcsp_tenancy::injection::{is_setting, prepended};

use super::worker::{Event, Plan};
use crate::libraries::Libraries;

/// The simulated machine.
pub const MACHINE: &str = "h100";

/// Beginning of the name of a demo's folder; its process number follows.
const FOLDER: &str = "fcsp-demo-";

/// Removes the folders of demos that were killed before they could do it themselves.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
        // Somebody else's cannot be removed, nor need it be.
        if pid.is_some_and(|pid| {
            pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists()
        }) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// One tenant of the demo.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: &'static str,
    /// The workload that it plays.
    pub about: &'static str,
    /// Its quota as written.
    pub rule: &'static str,
    /// Its quota in bytes.
    pub quota: u64,
    /// The last snapshot of its ledger.
    pub ledger: Option<RegionSnapshot>,
    /// Bytes that its processes hold, as the device reports them.
    pub judged: u64,
    /// The most of that.
    pub judged_peak: u64,
    /// Requests refused, as its programs saw them.
    pub refused: u64,
    /// The device's size, as its programs saw it.
    pub seen_total: Option<u64>,
    /// True once one of its processes was killed.
    pub killed: bool,
    /// Bytes left after all of its programs are gone.
    pub after: u64,
}

impl Tenant {
    fn new(
        name: &'static str,
        rule: &'static str,
        about: &'static str,
        device: u64,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            about,
            rule,
            quota: Quota::parse(rule)?.resolve(device),
            ledger: None,
            judged: 0,
            judged_peak: 0,
            refused: 0,
            seen_total: None,
            killed: false,
            after: 0,
        })
    }

    /// Returns the bytes held, by the ledger.
    pub fn used(&self) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| ledger.used_bytes)
    }

    /// Returns the most bytes ever held, by the ledger.
    pub fn peak(&self) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| ledger.peak_bytes)
    }

    /// Processes that live.
    pub fn processes(&self) -> usize {
        self.ledger.as_ref().map_or(0, |ledger| {
            ledger.processes.iter().filter(|p| p.alive).count()
        })
    }

    /// Returns whether the quota held, by ledger and device, and all memory was freed at the end.
    pub fn held(&self) -> bool {
        self.judged_peak <= self.quota && self.peak() <= self.quota && self.after == 0
    }
}

struct Worker {
    tenant: usize,
    child: Child,
}

/// The machine while the demo runs.
pub struct Stage {
    dir: PathBuf,
    state: StateDir,
    libraries: Libraries,
    region: Arc<Region>,
    /// The device's name.
    pub device: String,
    /// The device's bytes.
    pub total: u64,
    /// The tenants.
    pub tenants: Vec<Tenant>,
    workers: Vec<Worker>,
    /// Process numbers to tenants, kept after death.
    owners: HashMap<u32, usize>,
    sender: Sender<(usize, Event)>,
    receiver: Receiver<(usize, Event)>,
    seed: u64,
    begun: Instant,
    length: Duration,
}

impl Stage {
    /// Sets the machine up; nothing runs yet.
    pub fn new(libraries: Libraries, seed: u64, length: Duration) -> anyhow::Result<Self> {
        let topology: Topology = MACHINE.parse()?;
        let spec = &topology.devices[0];
        let parent = Some(Path::new("/dev/shm"))
            .filter(|shm| shm.is_dir())
            .map_or_else(std::env::temp_dir, Path::to_owned);
        sweep(&parent);
        let dir = parent.join(format!("{FOLDER}{}", std::process::id()));
        let state = StateDir::at(dir.join("state"));
        let tenants = vec![
            Tenant::new(
                "chat",
                "24GiB",
                "inference server, grows its cache",
                spec.memory,
            )?,
            Tenant::new("train", "40%", "training on two processes", spec.memory)?,
            Tenant::new(
                "batch",
                "6GiB",
                "asks for far more than it has",
                spec.memory,
            )?,
            Tenant::new(
                "notebook",
                "12GiB",
                "killed in mid-flight, started again",
                spec.memory,
            )?,
        ];
        for tenant in &tenants {
            let path = state
                .create_tenant(tenant.name)
                .with_context(|| format!("cannot use {}", dir.display()))?;
            let setup = SetupGuard::acquire(&path)?;
            Control::create(&setup)?.write(&tenant_limits(tenant)?)?;
            std::fs::write(path.join(MANAGED_MARK), "")?;
        }
        let region = Arc::new(Region::open(&dir.join("device"), &topology)?);
        let (sender, receiver) = channel();
        Ok(Self {
            device: spec.name.clone(),
            total: spec.memory,
            dir,
            state,
            libraries,
            region,
            tenants,
            workers: Vec::new(),
            owners: HashMap::new(),
            sender,
            receiver,
            seed,
            begun: Instant::now(),
            length,
        })
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Starts the clock.
    pub fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// Starts a process of a tenant, which ends when the demo does.
    pub fn start(&mut self, tenant: usize, plan: Plan, seed: u64) -> anyhow::Result<()> {
        let name = self.tenants[tenant].name;
        let plan = clap::ValueEnum::to_possible_value(&plan)
            .map_or(String::new(), |value| value.get_name().into());
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(format!("fcsp-demo-{name}"))
            .args(["__demo-worker", &plan])
            .args([
                "--seed",
                &(self.seed.wrapping_mul(31).wrapping_add(seed)).to_string(),
            ]);
        for (variable, _) in std::env::vars_os() {
            if variable.to_str().is_some_and(is_setting) {
                command.env_remove(&variable);
            }
        }
        command
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env("LD_PRELOAD", &self.libraries.preload)
            .env(
                "LD_LIBRARY_PATH",
                prepended("LD_LIBRARY_PATH", &self.libraries.sim),
            )
            .env("FCSP_SIM", MACHINE)
            .env("FCSP_SIM_STATE", self.dir.join("device"))
            .env(STATE_DIR_VARIABLE, self.state.path())
            .env("FCSP_TENANT", name)
            .envs(text::variables(&tenant_limits(&self.tenants[tenant])?))
            // Closed, it tells the worker to end.
            .stdin(Stdio::piped())
            // Out of reach of what the terminal sends to the demo.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: prctl is a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // A demo that is killed takes its workers with it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().context("cannot start a demo worker")?;
        self.owners.insert(child.id(), tenant);
        if let Some(out) = child.stdout.take() {
            let sender = self.sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if let Ok(event) = serde_json::from_str(&line)
                        && sender.send((tenant, event)).is_err()
                    {
                        return;
                    }
                }
            });
        }
        self.workers.push(Worker { tenant, child });
        Ok(())
    }

    /// Stops the workers, until [`Stage::go_on`].
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(libc::SIGSTOP)
    }

    /// Lets the workers go on, and leaves the time that they were stopped for, `away`, out of the
    /// demo's.
    pub fn go_on(&mut self, away: Duration) -> anyhow::Result<()> {
        self.begun += away;
        self.signal(libc::SIGCONT)
    }

    fn signal(&self, signal: libc::c_int) -> anyhow::Result<()> {
        for worker in &self.workers {
            // SAFETY: the call takes integers only. The child is not waited for yet, so the number
            // is still its own.
            if unsafe { libc::kill(worker.child.id().cast_signed(), signal) } != 0 {
                let error = std::io::Error::last_os_error();
                // One that has ended needs no signal.
                if error.raw_os_error() != Some(libc::ESRCH) {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Kills every process of a tenant with SIGKILL; returns what it held, by its ledger.
    pub fn kill(&mut self, tenant: usize) -> anyhow::Result<u64> {
        self.look();
        let held = self.tenants[tenant].used();
        let (dying, living) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| worker.tenant == tenant);
        self.workers = living;
        let dying: Vec<Worker> = dying;
        for mut worker in dying {
            worker.child.kill()?;
            worker.child.wait()?;
        }
        self.tenants[tenant].killed = true;
        Ok(held)
    }

    /// Reads ledgers and the device; returns what workers have told since the last look.
    pub fn look(&mut self) -> Vec<(usize, Event)> {
        for tenant in &mut self.tenants {
            if let Ok(regions) = self.state.regions(tenant.name)
                && let Some((_, Ok(region))) = regions.into_iter().next()
            {
                tenant.ledger = Some(region);
            }
            tenant.judged = 0;
        }
        for holding in fcsp_sim::process::holdings(&self.region, 0) {
            if let Some(&tenant) = self.owners.get(&holding.pid) {
                self.tenants[tenant].judged += holding.bytes;
            }
        }
        for tenant in &mut self.tenants {
            tenant.judged_peak = tenant.judged_peak.max(tenant.judged);
        }
        let events: Vec<(usize, Event)> = self.receiver.try_iter().collect();
        for &(tenant, event) in &events {
            match event {
                Event::Ready { total } => self.tenants[tenant].seen_total = Some(total),
                Event::Refused { .. } => self.tenants[tenant].refused += 1,
                Event::Granted { .. } => {}
            }
        }
        events
    }

    /// Returns whether all workers have ended; the failure of one is an error.
    pub fn finished(&mut self) -> anyhow::Result<bool> {
        let over = self.elapsed() >= self.length;
        let mut all = true;
        for worker in &mut self.workers {
            if over {
                drop(worker.child.stdin.take());
            }
            match worker.child.try_wait()? {
                Some(status) if status.success() => {}
                Some(status) => {
                    let mut said = String::new();
                    if let Some(mut err) = worker.child.stderr.take() {
                        std::io::Read::read_to_string(&mut err, &mut said)?;
                    }
                    bail!(
                        "the {} worker ended with {status}: {}",
                        self.tenants[worker.tenant].name,
                        said.trim()
                    );
                }
                None => all = false,
            }
        }
        Ok(all)
    }

    /// Ends what still runs, waits up to a second for the bytes to come back, and enters what is
    /// left.
    pub fn close(&mut self) -> anyhow::Result<()> {
        for worker in &mut self.workers {
            worker.child.kill()?;
            worker.child.wait()?;
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            self.look();
            let left = self
                .tenants
                .iter()
                .any(|tenant| tenant.used().max(tenant.judged) > 0);
            if !left || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        for tenant in &mut self.tenants {
            tenant.after = tenant.used().max(tenant.judged);
        }
        Ok(())
    }
}

fn tenant_limits(tenant: &Tenant) -> anyhow::Result<Limits> {
    let mut memory = Rules::new();
    memory.set(Selector::All, Quota::parse(tenant.rule)?);
    Ok(Limits {
        memory,
        ..Limits::default()
    })
}

impl Drop for Stage {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
