//! Shares of a simulated device's time, end to end: modes, neighbours, and changes to programs that
//! run. In virtual time: a loaded host changes none of the figures.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::virtual_time::World;
use crate::{Machine, Sleeper, compile, stderr, stdout, wait_for};

/// Duration of one kernel, µs.
const KERNEL: &str = "1000";
const GIB: u64 = 1 << 30;

/// A client that runs until it is dropped, and the words in which it tells how far it is.
pub struct Client {
    words: std::fs::File,
    _child: Sleeper,
    world: Option<Arc<World>>,
}

impl Client {
    /// Starts the client as tenant `name` under `fcsp run` with these options.
    pub fn start(
        machine: &Machine,
        program: &Path,
        name: &str,
        options: &[&str],
        work: [&str; 2],
    ) -> Self {
        Self::start_with(machine, program, name, options, &[], work)
    }

    /// Starts a client as [`Client::start`] does, with words before the program's name.
    fn start_with(
        machine: &Machine,
        program: &Path,
        name: &str,
        options: &[&str],
        before: &[&str],
        work: [&str; 2],
    ) -> Self {
        let path = machine.path().join(format!("{name}.words"));
        std::fs::write(&path, [0; 64]).unwrap();
        let (path, program) = (path.to_str().unwrap(), program.to_str().unwrap());
        let mut args = vec!["run", "--sim", "h100", "--tenant", name];
        args.extend(options);
        if !options.contains(&"--memory") {
            args.extend(["--memory", "unlimited"]);
        }
        args.push("--");
        args.extend(before);
        args.extend([program, path]);
        args.extend(work);
        let child = Sleeper(machine.command(&args).spawn().expect("fcsp starts"));
        Self {
            words: std::fs::File::open(path).unwrap(),
            _child: child,
            world: machine.world.clone(),
        }
    }

    /// Waits until it has done something.
    fn begun(self, machine: &Machine) -> Self {
        machine.wait_for("the client's first work", || self.word(0) > 20);
        self
    }

    pub fn busy(machine: &Machine, program: &Path, name: &str, options: &[&str]) -> Self {
        Self::start(machine, program, name, options, ["busy", KERNEL]).begun(machine)
    }

    fn busy_with(
        machine: &Machine,
        program: &Path,
        name: &str,
        options: &[&str],
        before: &[&str],
    ) -> Self {
        Self::start_with(machine, program, name, options, before, ["busy", KERNEL]).begun(machine)
    }

    pub fn word(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.words.read_exact_at(&mut bytes, index * 8).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Returns the kernels a second of several clients, over the same second.
    fn rates<const N: usize>(clients: [&Self; N]) -> [f64; N] {
        let before = clients.map(|client| client.word(0));
        if let Some(world) = &clients[0].world {
            world.advance(Duration::from_secs(1));
            return std::array::from_fn(|i| (clients[i].word(0) - before[i]) as f64);
        }
        let begun = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let seconds = begun.elapsed().as_secs_f64();
        std::array::from_fn(|i| (clients[i].word(0) - before[i]) as f64 / seconds)
    }

    pub fn rate(&self) -> f64 {
        Self::rates([self])[0]
    }

    /// Returns the rate after another second, in which costs are learned or changed limits felt.
    fn next_rate(&self) -> f64 {
        let _first = self.rate();
        self.rate()
    }
}

/// Fails unless `value` is `expected`, to a twentieth of it.
#[track_caller]
fn near(what: &str, value: f64, expected: f64) {
    println!("{what}: {value:.3} of {expected:.3}");
    assert!(
        (value / expected - 1.0).abs() <= 0.05,
        "{what}: {value:.3} where {expected:.3} was expected"
    );
}

pub fn spin(machine: &Machine) -> Option<PathBuf> {
    compile(machine, "spin.c", &[])
}

/// Returns the compute figures of a tenant's only device.
pub fn figures(machine: &Machine, tenant: &str) -> serde_json::Value {
    machine.tenant(tenant).unwrap()["devices"][0]["compute"].clone()
}

#[test]
fn strict_is_its_quota_and_none_holds_nothing_back() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let free = Client::busy(&machine, &program, "free", &[]).next_rate();
    near("free of the device", free, 1000.0);

    let strict = Client::busy(
        &machine,
        &program,
        "strict",
        &["--compute", "25%", "--mode", "strict"],
    );
    near("strict of free", strict.next_rate() / free, 0.25);
    let share = figures(&machine, "strict");
    near("share had", share["utilization"].as_f64().unwrap(), 0.25);
    assert!(share["throttled"].as_f64().unwrap() > 0.3, "{share}");
    assert_eq!(
        (
            share["guarantee"].as_f64(),
            share["mode"].as_str(),
            share["priority"].as_str()
        ),
        (Some(0.25), Some("strict"), Some("normal"))
    );
    assert!(share["waits"].as_u64().unwrap() > 0 && share["consumed_ns"].as_u64().unwrap() > 0);
    assert!(share["surplus"].as_f64().unwrap() < 0.01, "{share}");
    let plain = stdout(&machine.fcsp(&["ps"]));
    let sampled = stdout(&machine.fcsp(&["ps", "--sample"]));
    assert!(
        !plain.contains("UTIL") && sampled.contains("UTIL"),
        "{plain}{sampled}"
    );
    drop(strict);
    assert_eq!(
        figures(&machine, "strict")["utilization"],
        serde_json::Value::Null
    );

    let none = Client::busy(
        &machine,
        &program,
        "none",
        &["--compute", "25%", "--mode", "none"],
    );
    near("none of free", none.next_rate() / free, 1.0);
    let consumed = |name: &str| figures(&machine, name)["consumed_ns"].as_u64().unwrap_or(0);
    assert_eq!(consumed("none"), 0, "not counted unless asked for");
    drop(none);

    // Counted on request, and still not held back.
    let counted = Client::busy_with(
        &machine,
        &program,
        "counted",
        &["--mode", "none"],
        &["env", "FCSP_ACCOUNT_TIME=1"],
    );
    near("counted of free", counted.next_rate() / free, 1.0);
    let share = figures(&machine, "counted");
    near("share had", share["utilization"].as_f64().unwrap(), 1.0);
    assert_eq!(share["mode"], "none");
    assert_eq!(share["waits"], 0, "{share}");
}

#[test]
fn neighbours_get_their_quotas_and_one_alone_everything() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let start = |name, share| {
        let options = ["--compute", share];
        Client::start(&machine, &program, name, &options, ["busy", KERNEL])
    };
    let (small, large) = (start("small", "25%"), start("large", "75%"));
    let (small, large) = (small.begun(&machine), large.begun(&machine));
    let _first = small.rate();
    let [few, many] = Client::rates([&small, &large]);
    near("large of small", many / few, 3.0);
    near("both, of the device", few + many, 1000.0);
    drop(large);
    near("alone, of the device", small.next_rate(), 1000.0);
    let share = figures(&machine, "small");
    assert!(share["surplus"].as_f64() > Some(0.7), "{share}");
}

#[test]
fn adaptive_alone_has_everything_and_high_priority_goes_first() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let options = [
        "--compute",
        "50%",
        "--mode",
        "adaptive",
        "--priority",
        "high",
        "--burst",
        "60%",
    ];
    let high = Client::busy(&machine, &program, "high", &options);
    near("adaptive alone, of the device", high.next_rate(), 1000.0);
    let low = Client::busy(
        &machine,
        &program,
        "low",
        &["--compute", "50%", "--priority", "low"],
    );
    let _first = high.rate();
    let [first, last] = Client::rates([&high, &low]);
    near("both, of the device", first + last, 1000.0);
    assert!(first > 2.0 * last, "high {first:.0}, low {last:.0}");
    assert!(last > 0.0, "the floor is kept");
}

#[test]
fn limits_change_what_a_running_program_gets() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(
        &machine,
        &program,
        "a",
        &["--compute", "20%", "--mode", "strict"],
    );
    near("before, of the device", client.next_rate(), 200.0);
    machine.json(&["limit", "a", "--compute", "60%", "--json"], 0);
    near("raised", client.next_rate(), 600.0);
    assert_eq!(figures(&machine, "a")["guarantee"], 0.6);
    machine.json(&["limit", "a", "--compute", "20%", "--json"], 0);
    near("lowered", client.next_rate(), 200.0);
    machine.json(&["limit", "a", "--mode", "balanced", "--json"], 0);
    near("not strict any more", client.next_rate(), 1000.0);
}

#[test]
fn a_share_can_be_set_on_a_program_that_runs_without_one() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(&machine, &program, "a", &[]);
    let free = client.next_rate();
    machine.json(
        &[
            "limit",
            "a",
            "--compute",
            "25%",
            "--mode",
            "strict",
            "--json",
        ],
        0,
    );
    near("strict of free", client.next_rate() / free, 0.25);
}

#[test]
fn a_pause_stops_launches_until_it_is_resumed() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    for (name, options) in [
        ("free", &[][..]),
        ("held", &["--compute", "50%"]),
        ("strict", &["--compute", "50%", "--mode", "strict"]),
    ] {
        let client = Client::busy(&machine, &program, name, options);
        machine.json(&["pause", name, "--json"], 0);
        // What was submitted before is done first.
        let mut before = 0;
        machine.wait_for("the work in flight to end", || {
            let now = client.word(0);
            machine.world().advance(Duration::from_millis(200));
            std::mem::replace(&mut before, now) == now
        });
        machine.world().advance(Duration::from_millis(700));
        assert_eq!(client.word(0), before, "{name} goes on though it is paused");
        let share = figures(&machine, name);
        assert!(
            share["throttled"].as_f64().unwrap() > 0.5,
            "{name}: {share}"
        );
        assert_eq!(share["utilization"], 0.0);
        machine.json(&["resume", name, "--json"], 0);
        machine.wait_for("the program to go on", || client.word(0) > before + 20);
    }
}

#[test]
fn a_quota_that_changes_is_seen_at_once() {
    let Some(machine) = Machine::timed() else {
        return;
    };
    let Some(program) = spin(&machine) else {
        return;
    };
    let ask = (3 * GIB / 2).to_string();
    let client = Client::start(
        &machine,
        &program,
        "a",
        &["--memory", "1GiB"],
        ["watch", ask.as_str()],
    )
    .begun(&machine);
    assert_eq!((client.word(1), client.word(2)), (GIB, 2));
    for round in 0..6 {
        let (limit, total, granted) = match round % 2 {
            0 => ("4GiB", 4 * GIB, 1),
            _ => ("1GiB", GIB, 2),
        };
        machine.json(&["limit", "a", "--memory", limit, "--json"], 0);
        // The program looks once a millisecond.
        machine.world().advance(Duration::from_millis(2));
        assert_eq!((client.word(1), client.word(2)), (total, granted));
        assert_eq!(
            machine.tenant("a").unwrap()["devices"][0]["limit_bytes"],
            total
        );
    }
}

/// Checks that a process which the others on its device cannot see is named, with the reason, while
/// it runs.
#[test]
fn shares_that_no_neighbour_sees_are_named() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(
        &machine,
        &program,
        "apart",
        &["--compute", "25%", "--mode", "strict"],
    );
    let named = || {
        stdout(&machine.fcsp(&["ps"]))
            .contains("is not coordinated: its page is of another version")
    };
    let why = || figures(&machine, "apart")["not_coordinated"].clone();
    assert_eq!(why(), serde_json::Value::Null);
    assert!(!named());
    // As a build of another version leaves it.
    let devices = machine.path().join("state/devices");
    let page = std::fs::read_dir(devices)
        .unwrap()
        .map(|device| device.unwrap().path().join("apart.page"))
        .find(|page| page.exists())
        .unwrap();
    let file = std::fs::File::options().write(true).open(&page).unwrap();
    file.write_all_at(b"FCSPSHR\x7f", 0).unwrap();
    assert!(
        why().as_str().unwrap().contains("another version"),
        "{}",
        why()
    );
    assert!(named());
    let doctor = stdout(&machine.fcsp(&["doctor"]));
    assert!(doctor.contains("is not coordinated"), "{doctor}");
    drop(client);
    wait_for("the end of it", || !named());
}

#[test]
fn gc_removes_a_simulated_machine_that_nobody_uses() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let path = machine.path().join("words");
    std::fs::write(&path, [0; 64]).unwrap();
    let fcsp = |args: &[&str]| {
        let mut command = machine.command(args);
        command.env_remove("FCSP_SIM_STATE");
        command
    };
    let collect = || {
        let output = fcsp(&["gc", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["simulated_machines"].as_u64().unwrap()
    };
    // Root's lie behind a key.
    let entries = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let files = || {
        let here = entries(&machine.path().join("state/sim"));
        let behind: Vec<_> = here.iter().flat_map(|path| entries(path)).collect();
        let all = here.iter().chain(&behind);
        all.filter(|path| path.is_file() && !path.ends_with("setup.lock"))
            .count()
    };
    let args = [
        "run", "--sim", "tiny", "--tenant", "a", "--memory", "100%", "--",
    ];
    let args = [
        &args[..],
        &[
            program.to_str().unwrap(),
            path.to_str().unwrap(),
            "watch",
            "4096",
        ],
    ]
    .concat();
    let child = Sleeper(fcsp(&args).spawn().unwrap());
    wait_for("the client's first look", || {
        std::fs::read(&path).is_ok_and(|bytes| bytes[0] != 0)
    });
    assert_eq!(files(), 1, "the state file is in the state folder");
    assert_eq!(collect(), 0);
    assert_eq!(files(), 1);
    drop(child);
    assert_eq!(collect(), 1);
    assert_eq!(files(), 0);
}
