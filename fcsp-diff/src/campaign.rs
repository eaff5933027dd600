//! Many programs, run natively and in every configuration, and what came of it.

use crate::compare::{Difference, Rules, compare};
use crate::driver::Route;
use crate::generate::generate;
use crate::process::{Answer, Death, Process};
use crate::program::{OPERATIONS, Program};
use crate::shrink::shrink;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Where programs run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The tester's own executable.
    pub runner: PathBuf,
    /// The preload library.
    pub preload: PathBuf,
    /// The folder with the simulated driver and the machine to simulate; without it, the device at hand.
    pub simulator: Option<(PathBuf, String)>,
    /// A folder for state.
    pub scratch: PathBuf,
    /// Operations to leave out, to look past what is known: names, and `wrong 3` for one wrong call.
    pub without: Vec<String>,
    /// Variables for every worker.
    pub environment: Vec<(String, String)>,
}

/// What a worker is governed by.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// Variables that say so.
    pub variables: Vec<(&'static str, String)>,
    /// What the device's memory must then be.
    pub total: Option<u64>,
    /// Whether the quota is so small that some requests are refused.
    pub tight: bool,
}

/// Bytes of quotas: one that no program reaches, one that programs do reach beside a context, and what a context takes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The quota that refuses nothing.
    pub ample: u64,
    /// The quota that refuses some.
    pub tight: u64,
    /// Most bytes of a context.
    pub context: u64,
}

/// Every configuration.
pub fn configurations(sizes: Sizes) -> Vec<Configuration> {
    let memory = |bytes: u64| ("FCSP_MEMORY_LIMIT", bytes.to_string());
    let share = |percent: &str, mode: &str| {
        [
            ("FCSP_COMPUTE_LIMIT", format!("{percent}%")),
            ("FCSP_MODE", mode.to_owned()),
        ]
    };
    let named = |name, variables, total, tight| Configuration {
        name,
        variables,
        total,
        tight,
    };
    vec![
        named("quota", vec![memory(sizes.ample)], Some(sizes.ample), false),
        named("share", share("50", "balanced").to_vec(), None, false),
        named(
            "both",
            [vec![memory(sizes.ample)], share("90", "strict").to_vec()].concat(),
            Some(sizes.ample),
            false,
        ),
        named(
            "tight",
            [vec![memory(sizes.tight)], share("80", "balanced").to_vec()].concat(),
            Some(sizes.tight),
            true,
        ),
    ]
}

/// The route of a worker, in turn.
pub fn route(turn: u64) -> Route {
    [Route::Addresses, Route::Symbols, Route::AddressesPerThread][(turn % 3) as usize]
}

/// The word for a route on the command line.
fn word(route: Route) -> &'static str {
    match route {
        Route::Symbols => "symbols",
        Route::Addresses => "addresses",
        Route::AddressesPerThread => "per-thread",
    }
}

static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Place {
    /// The command that starts a worker: natively, or governed. Every worker is a tenant of its own, and on the simulator it
    /// has a machine of its own.
    pub fn worker(&self, configuration: Option<&Configuration>, route: Route, loud: bool) -> Command {
        let serial = SERIAL.fetch_add(1, Relaxed);
        let mut command = Command::new(&self.runner);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FCSP_", "BUD_", "LD_PRELOAD", "CUDA_DEVICE_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.args(["worker", "--route", word(route)]);
        if loud {
            command.arg("--loud");
        }
        if !self.without.is_empty() {
            command.args(["--without", &self.without.join(",")]);
        }
        command.env("FCSP_STATE_DIR", self.scratch.join("state"));
        if let Some((folder, machine)) = &self.simulator {
            command
                .env("LD_LIBRARY_PATH", folder)
                .env("FCSP_SIM", machine)
                .env("FCSP_SIM_STATE", self.scratch.join(format!("machine-{serial}")));
        }
        if let Some(configuration) = configuration {
            if let Some(total) = configuration.total {
                command.args(["--total", &total.to_string()]);
            }
            command
                .env("LD_PRELOAD", &self.preload)
                .env("FCSP_TENANT", format!("diff-{}-{serial}", std::process::id()))
                .envs(configuration.variables.iter().map(|(name, value)| (name, value)));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Whether a worker is of no more use: it has died, or its context is lost.
fn spoilt(answer: &Answer) -> bool {
    answer.as_ref().map_or(true, |records| {
        records.last().is_none_or(|last| last.outcome.code != 0)
    })
}

/// A worker that is started anew when it has died or lost its context.
pub struct Desk<'p> {
    place: &'p Place,
    configuration: Option<&'p Configuration>,
    route: Route,
    process: Option<Process>,
    /// Bytes in use before the first program.
    pub base: u64,
}

impl<'p> Desk<'p> {
    /// A desk without a worker yet.
    pub fn new(place: &'p Place, configuration: Option<&'p Configuration>, route: Route) -> Self {
        Self {
            place,
            configuration,
            route,
            process: None,
            base: 0,
        }
    }

    fn process(&mut self) -> Result<&mut Process, Death> {
        if self.process.is_none() {
            let command = self.place.worker(self.configuration, self.route, false);
            let progress = self
                .place
                .scratch
                .join(format!("progress-{}", SERIAL.fetch_add(1, Relaxed)));
            let mut process = Process::start(command, progress).map_err(|error| Death {
                how: error.to_string(),
                stderr: String::new(),
                doing: Vec::new(),
            })?;
            if let Some(base) = process.ask("settle\n") {
                self.base = base;
            }
            self.process = Some(process);
        }
        self.process.as_mut().ok_or(Death {
            how: "no worker".into(),
            stderr: String::new(),
            doing: Vec::new(),
        })
    }

    /// Runs one program.
    pub fn run(&mut self, program: &Program) -> Answer {
        let process = self.process()?;
        process.send(program);
        let answer = process.answer();
        if spoilt(&answer) {
            self.process = None;
        }
        answer
    }

    /// Runs the programs of many seeds, sent ahead of their answers.
    fn run_seeds(&mut self, seeds: std::ops::Range<u64>) -> Vec<Answer> {
        let mut answers = Vec::new();
        while answers.len() < (seeds.end - seeds.start) as usize {
            let from = seeds.start + answers.len() as u64;
            let process = match self.process() {
                Ok(process) => process,
                Err(death) => {
                    answers.push(Err(death));
                    continue;
                }
            };
            process.tell(
                &(from..seeds.end)
                    .map(|seed| format!("seed {seed}\n"))
                    .collect::<String>(),
            );
            for _ in from..seeds.end {
                let answer = process.answer();
                let spoilt = spoilt(&answer);
                answers.push(answer);
                if spoilt {
                    self.process = None;
                    break;
                }
            }
        }
        answers
    }

    /// Bytes in use now, after caches were emptied, and what they were at first.
    fn settled(&mut self) -> Option<(u64, u64)> {
        let base = self.base;
        let now = self.process.as_mut()?.ask("settle\n")?;
        Some((base, now))
    }

    /// Nanoseconds by operation.
    fn times(&mut self) -> Vec<u64> {
        self.process
            .as_mut()
            .map(|process| process.ask_all("times\n"))
            .unwrap_or_default()
    }

    fn rules(&self, sizes: Sizes) -> Rules {
        let tight = self
            .configuration
            .is_some_and(|configuration| configuration.tight);
        Rules {
            refusals: tight,
            room: sizes.tight.saturating_sub(self.base),
            tolerance: (self.place.simulator.is_some() && !tight).then_some(TOLERANCE),
            context: sizes.context,
        }
    }
}

/// Bytes by which memory information may differ on a machine of one's own.
const TOLERANCE: u64 = 4 << 20;

/// What a program came to in a configuration.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The runs agree.
    Agrees,
    /// They differ.
    Differs(Difference),
    /// The native run itself died, in this way: nothing can be compared.
    NativeDied {
        /// How, for a reader.
        how: String,
        /// The operations over which it may have.
        over: String,
    },
}

/// Compares a governed answer with the native one.
pub fn judge(program: &Program, native: &Answer, governed: &Answer, rules: &Rules) -> Verdict {
    let over = |death: &Death| -> String {
        let doing: Vec<String> = death
            .doing
            .iter()
            .map(|at| {
                at.and_then(|at| program.operations.get(at))
                    .map_or("end".into(), |operation| operation.label())
            })
            .collect();
        doing.join(", ")
    };
    match (native, governed) {
        (Err(death), _) => Verdict::NativeDied {
            how: format!("{} over {} {}", death.how, over(death), death.stderr.trim()),
            over: over(death),
        },
        (Ok(_), Err(death)) => Verdict::Differs(Difference {
            at: usize::MAX,
            operation: None,
            native: "ends".into(),
            governed: format!("{} over {}; {}", death.how, over(death), death.stderr.trim()),
            kind: format!(
                "worker {} over {}",
                death.how,
                if program.threads() == 0 {
                    over(death)
                } else {
                    "threads".into()
                }
            ),
        }),
        (Ok(native), Ok(governed)) => {
            compare(program, native, governed, rules).map_or(Verdict::Agrees, Verdict::Differs)
        }
    }
}

/// A difference, made as small as it gets.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The configuration.
    pub configuration: &'static str,
    /// The seed that first showed it; `None` for a kept program.
    pub seed: Option<u64>,
    /// Where and how the runs differ.
    pub difference: Difference,
    /// How many programs showed it.
    pub count: u64,
    /// The smallest program found that shows it.
    pub program: Program,
    /// Of three fresh repeats of the seed's program, how many showed it.
    pub repeats: u32,
    /// Whether two native runs of the program differ, so that the tester and not the library is at fault.
    pub unstable: bool,
    /// How functions were looked up.
    pub route: Route,
}

/// A campaign's account.
#[derive(Debug, Default)]
pub struct Account {
    /// Programs compared, by configuration.
    pub compared: BTreeMap<&'static str, u64>,
    /// Operations that were carried out natively, by name and code.
    pub operations: BTreeMap<(&'static str, i32), u64>,
    /// Differences by configuration and kind.
    pub findings: BTreeMap<(&'static str, String), Finding>,
    /// Seeds whose native run died, with how.
    pub native_deaths: BTreeMap<String, (u64, u64)>,
    /// Wrong calls over which a native worker died.
    pub fatal: BTreeSet<String>,
    /// Amounts in use that did not come back, by configuration.
    pub kept: BTreeMap<&'static str, i64>,
    /// Nanoseconds that operations took natively and in the last configuration, by name.
    pub times: BTreeMap<&'static str, [u64; 2]>,
    /// The first seed that was not run.
    pub next: u64,
}

/// What a campaign is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seeds.
    pub seeds: std::ops::Range<u64>,
    /// Seeds of one worker.
    pub chunk: u64,
    /// Workers of each kind that run at once.
    pub lanes: u64,
    /// When to begin nothing new.
    pub deadline: Option<Instant>,
    /// Trials that shrinking one finding may take.
    pub trials: u32,
    /// How long all of it may take; without, as long as it does.
    pub shrinking: Option<Duration>,
    /// Quotas.
    pub sizes: Sizes,
}

/// Runs a campaign. `progress` is told after each chunk.
pub fn run(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    progress: &(dyn Fn(&Account) + Sync),
) -> Account {
    let next = AtomicU64::new(plan.seeds.start);
    let account = Mutex::new(Account {
        next: plan.seeds.end,
        ..Account::default()
    });
    std::thread::scope(|scope| {
        for _ in 0..plan.lanes.max(1) {
            scope.spawn(|| {
                loop {
                    if plan.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                        break;
                    }
                    let from = next.fetch_add(plan.chunk, Relaxed);
                    if from >= plan.seeds.end {
                        return;
                    }
                    let to = (from + plan.chunk).min(plan.seeds.end);
                    // What ends a native process is left out from then on: a restart costs a second on a device.
                    let mut place = place.clone();
                    if let Ok(account) = account.lock() {
                        place.without.extend(account.fatal.iter().cloned());
                    }
                    chunk(&place, configurations, plan, from..to, &account);
                    if let Ok(account) = account.lock() {
                        progress(&account);
                    }
                }
                // Chunks are taken in order: what was not begun is from the counter on.
                if let Ok(mut account) = account.lock() {
                    account.next = account.next.min(next.load(Relaxed));
                }
            });
        }
    });
    let mut account = account.into_inner().unwrap_or_default();
    settle_findings(place, configurations, plan, &mut account);
    account
}

fn chunk(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    seeds: std::ops::Range<u64>,
    account: &Mutex<Account>,
) {
    let route = route(seeds.start / plan.chunk);
    let mut desks: Vec<Desk> = std::iter::once(None)
        .chain(configurations.iter().map(Some))
        .map(|configuration| Desk::new(place, configuration, route))
        .collect();
    let answers: Vec<Vec<Answer>> = std::thread::scope(|scope| {
        let running: Vec<_> = desks
            .iter_mut()
            .map(|desk| {
                let seeds = seeds.clone();
                scope.spawn(move || desk.run_seeds(seeds))
            })
            .collect();
        running
            .into_iter()
            .map(|desk| desk.join().unwrap_or_default())
            .collect()
    });
    let settled: Vec<Option<(u64, u64)>> = desks.iter_mut().map(Desk::settled).collect();
    let times: Vec<Vec<u64>> = desks.iter_mut().map(Desk::times).collect();
    if let Ok(mut account) = account.lock() {
        for (at, row) in OPERATIONS.iter().enumerate() {
            let entry = account.times.entry(row.1).or_default();
            for (sum, all) in entry.iter_mut().zip([times.first(), times.last()]) {
                *sum += all.and_then(|all| all.get(at)).copied().unwrap_or(0);
            }
        }
    }
    let rules: Vec<Rules> = desks.iter().map(|desk| desk.rules(plan.sizes)).collect();
    drop(desks);
    let native = &answers[0];
    for (at, seed) in seeds.clone().enumerate() {
        let program = generate(seed).without(&place.without);
        if let (Some(Ok(records)), Ok(mut account)) = (native.get(at), account.lock()) {
            for record in records {
                if let Some(operation) = program.operations.get(record.at) {
                    *account
                        .operations
                        .entry((operation.code.name(), record.outcome.code))
                        .or_default() += 1;
                }
            }
        }
        for ((configuration, governed), rules) in configurations.iter().zip(&answers[1..]).zip(&rules[1..]) {
            let (Some(native), Some(governed)) = (native.get(at), governed.get(at)) else {
                continue;
            };
            let verdict = judge(&program, native, governed, rules);
            note(configuration, seed, route, &program, verdict, account);
        }
    }
    if let (Some((base, now)), Ok(mut account)) = (settled[0], account.lock()) {
        let native = now as i64 - base as i64;
        for (configuration, settled) in configurations.iter().zip(&settled[1..]) {
            if let Some((base, now)) = settled {
                let kept = account.kept.entry(configuration.name).or_default();
                *kept = (*kept).max(*now as i64 - *base as i64 - native);
            }
        }
    }
}

/// Enters a verdict.
fn note(
    configuration: &Configuration,
    seed: u64,
    route: Route,
    program: &Program,
    verdict: Verdict,
    account: &Mutex<Account>,
) {
    let Ok(mut account) = account.lock() else { return };
    match verdict {
        Verdict::NativeDied { how, over } => {
            if over.starts_with("wrong ") && !over.contains(',') {
                account.fatal.insert(over);
            }
            let entry = account.native_deaths.entry(how).or_insert((seed, 0));
            entry.1 += 1;
        }
        Verdict::Agrees => {
            *account.compared.entry(configuration.name).or_default() += 1;
        }
        Verdict::Differs(difference) => {
            *account.compared.entry(configuration.name).or_default() += 1;
            let key = (configuration.name, difference.kind.clone());
            if let Some(known) = account.findings.get_mut(&key) {
                known.count += 1;
                return;
            }
            let finding = Finding {
                configuration: configuration.name,
                seed: Some(seed),
                difference,
                count: 1,
                program: program.clone(),
                repeats: 0,
                unstable: false,
                route,
            };
            account.findings.insert(key, finding);
        }
    }
}

/// Makes the findings' programs small: repeats each, and shrinks one of each kind. Until `deadline`.
fn settle_findings(place: &Place, configurations: &[Configuration], plan: &Plan, account: &mut Account) {
    let deadline = plan.shrinking.map(|time| Instant::now() + time);
    let mut done: BTreeMap<String, Finding> = BTreeMap::new();
    for finding in account.findings.values_mut() {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return;
        }
        // What is refused with a quota is refused with both: one program stands for all.
        let simple = finding.difference.kind.replace("wrong arguments", "differs");
        if let Some(known) = done.get(&simple) {
            finding.program.clone_from(&known.program);
            finding.difference = known.difference.clone();
            (finding.repeats, finding.unstable) = (known.repeats, known.unstable);
            continue;
        }
        let Some(configuration) = configurations
            .iter()
            .find(|other| other.name == finding.configuration)
        else {
            continue;
        };
        let mut bench = Bench::new(place, configuration, finding.route, plan.sizes);
        let kind = finding.difference.kind.clone();
        let program = finding.program.clone();
        finding.repeats = (0..3)
            .filter(|_| bench.shows(&program).is_some_and(|found| found.kind == kind))
            .count() as u32;
        finding.unstable = bench.unstable(&program);
        if finding.repeats > 0 && !finding.unstable {
            finding.program = shrink(&program, plan.trials, deadline, |smaller| {
                bench.shows(smaller).is_some_and(|found| found.kind == kind)
            });
            if let Some(found) = bench.shows(&finding.program) {
                finding.difference = found;
            }
        }
        done.insert(simple, finding.clone());
    }
}

/// A native worker and a governed one, kept for many programs.
struct Bench<'p> {
    native: Desk<'p>,
    governed: Desk<'p>,
    sizes: Sizes,
}

impl<'p> Bench<'p> {
    fn new(place: &'p Place, configuration: &'p Configuration, route: Route, sizes: Sizes) -> Self {
        Self {
            native: Desk::new(place, None, route),
            governed: Desk::new(place, Some(configuration), route),
            sizes,
        }
    }

    fn shows(&mut self, program: &Program) -> Option<Difference> {
        let native = self.native.run(program);
        let governed = self.governed.run(program);
        match judge(program, &native, &governed, &self.governed.rules(self.sizes)) {
            Verdict::Differs(difference) => Some(difference),
            _ => None,
        }
    }

    /// Whether native runs differ among themselves.
    fn unstable(&mut self, program: &Program) -> bool {
        let rules = self.native.rules(self.sizes);
        let runs: Vec<Answer> = (0..4).map(|_| self.native.run(program)).collect();
        runs[1..]
            .iter()
            .any(|other| !matches!(judge(program, &runs[0], other, &rules), Verdict::Agrees))
    }
}

/// Runs a program in fresh workers; the difference, if there is one.
pub fn shows(
    place: &Place,
    configuration: &Configuration,
    sizes: Sizes,
    route: Route,
    program: &Program,
) -> Option<Difference> {
    Bench::new(place, configuration, route, sizes).shows(program)
}

/// A folder that is removed with this.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// A folder of this process.
    ///
    /// # Errors
    /// That it cannot be made.
    pub fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("fcsp-diff-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A moment as long from now.
pub fn after(seconds: Option<u64>) -> Option<Instant> {
    seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds))
}
