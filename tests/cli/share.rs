//! Shares of a simulated device's time, end to end: modes, neighbours, and changes to programs that
//! run. Times are those of a machine with other things to do, so every bound is coarse.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Machine, Sleeper, compile, stderr, stdout, wait_for};

/// Factor by which a rate may be off.
const COARSE: f64 = 1.5;
/// Duration of one kernel, µs.
const KERNEL: &str = "1000";
const GIB: u64 = 1 << 30;

/// A client that runs until it is dropped, and the words in which it tells how far it is.
pub struct Client {
    words: std::fs::File,
    _child: Sleeper,
}

impl Client {
    /// Starts the client as tenant `name` under `fcsp run` with these options.
    fn start(
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
        }
    }

    /// Waits until it has done something.
    fn begun(self) -> Self {
        wait_for("the client's first work", || self.word(0) > 20);
        self
    }

    pub fn busy(machine: &Machine, program: &Path, name: &str, options: &[&str]) -> Self {
        Self::start(machine, program, name, options, ["busy", KERNEL]).begun()
    }

    fn busy_with(
        machine: &Machine,
        program: &Path,
        name: &str,
        options: &[&str],
        before: &[&str],
    ) -> Self {
        Self::start_with(machine, program, name, options, before, ["busy", KERNEL]).begun()
    }

    fn word(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.words.read_exact_at(&mut bytes, index * 8).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Returns the kernels a second of several clients, over the same second.
    fn rates<const N: usize>(clients: [&Self; N]) -> [f64; N] {
        let before = clients.map(|client| client.word(0));
        let begun = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let seconds = begun.elapsed().as_secs_f64();
        std::array::from_fn(|i| (clients[i].word(0) - before[i]) as f64 / seconds)
    }

    pub fn rate(&self) -> f64 {
        Self::rates([self])[0]
    }
}

fn near(what: &str, value: f64, expected: f64) {
    assert!(
        value > expected / COARSE && value < expected * COARSE,
        "{what}: {value:.3} where {expected:.3} was expected"
    );
}

/// Waits until a rate of running programs is near what it should be, for 40 measurements at most. A
/// loaded machine gives the clients too little time to keep the device busy. See [`near`].
fn settles_by(what: &str, expected: f64, mut measure: impl FnMut() -> f64) {
    let settled = (0..40).any(|_| {
        let value = measure();
        value > expected / COARSE && value < expected * COARSE
    });
    if !settled {
        near(what, measure(), expected);
    }
}

/// Waits as [`settles_by`] for the rate of one client.
fn settles(what: &str, expected: f64, client: &Client) {
    settles_by(what, expected, || client.rate());
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
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let free = Client::busy(&machine, &program, "free", &[]).rate();

    let strict = Client::busy(
        &machine,
        &program,
        "strict",
        &["--compute", "25%", "--mode", "strict"],
    );
    near("strict of free", strict.rate() / free, 0.25);
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
    near("none of free", none.rate() / free, 1.0);
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
    near("counted of free", counted.rate() / free, 1.0);
    let share = figures(&machine, "counted");
    near("share had", share["utilization"].as_f64().unwrap(), 1.0);
    assert_eq!(share["mode"], "none");
    assert_eq!(share["waits"], 0, "{share}");
}

#[test]
fn neighbours_get_their_quotas_and_one_alone_everything() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let start = |name, share| {
        let options = ["--compute", share];
        Client::start(&machine, &program, name, &options, ["busy", KERNEL])
    };
    let (small, large) = (start("small", "25%"), start("large", "75%"));
    let (small, large) = (small.begun(), large.begun());
    settles_by("large of small", 3.0, || {
        let [few, many] = Client::rates([&small, &large]);
        many / few
    });
    settles_by("both, of the device", 1000.0, || {
        Client::rates([&small, &large]).iter().sum()
    });
    drop(large);
    settles("alone, of the device", 1000.0, &small);
    // A look of 200 ms may fall where a loaded machine keeps the client from its processor.
    wait_for("the small tenant to borrow", || {
        figures(&machine, "small")["surplus"].as_f64() > Some(0.3)
    });
}

#[test]
fn adaptive_alone_has_everything_and_high_priority_goes_first() {
    let machine = Machine::new();
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
    settles("adaptive alone, of the device", 1000.0, &high);
    let low = Client::busy(
        &machine,
        &program,
        "low",
        &["--compute", "50%", "--priority", "low"],
    );
    let (mut first, mut last) = (0.0, 0.0);
    settles_by("both, of the device", 1000.0, || {
        [first, last] = Client::rates([&high, &low]);
        first + last
    });
    assert!(first > 2.0 * last, "high {first:.0}, low {last:.0}");
    assert!(last > 0.0, "the floor is kept");
}

#[test]
fn limits_change_what_a_running_program_gets() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(
        &machine,
        &program,
        "a",
        &["--compute", "20%", "--mode", "strict"],
    );
    settles("before, of the device", 200.0, &client);
    machine.json(&["limit", "a", "--compute", "60%", "--json"], 0);
    settles("raised", 600.0, &client);
    assert_eq!(figures(&machine, "a")["guarantee"], 0.6);
    machine.json(&["limit", "a", "--compute", "20%", "--json"], 0);
    // What it had saved up is spent first.
    std::thread::sleep(Duration::from_millis(100));
    settles("lowered", 200.0, &client);
    machine.json(&["limit", "a", "--mode", "balanced", "--json"], 0);
    settles("not strict any more", 1000.0, &client);
}

#[test]
fn a_share_can_be_set_on_a_program_that_runs_without_one() {
    let machine = Machine::new();
    let Some(program) = spin(&machine) else {
        return;
    };
    let client = Client::busy(&machine, &program, "a", &[]);
    let free = client.rate();
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
    std::thread::sleep(Duration::from_millis(100));
    near("strict of free", client.rate() / free, 0.25);
}

#[test]
fn a_pause_stops_launches_until_it_is_resumed() {
    let machine = Machine::new();
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
        wait_for("the work in flight to end", || {
            let now = client.word(0);
            std::thread::sleep(Duration::from_millis(200));
            std::mem::replace(&mut before, now) == now
        });
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(client.word(0), before, "{name} goes on though it is paused");
        let share = figures(&machine, name);
        assert!(
            share["throttled"].as_f64().unwrap() > 0.5,
            "{name}: {share}"
        );
        assert_eq!(share["utilization"], 0.0);
        machine.json(&["resume", name, "--json"], 0);
        wait_for("the program to go on", || client.word(0) > before + 20);
    }
}

#[test]
fn a_quota_that_changes_is_seen_at_once() {
    let machine = Machine::new();
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
    .begun();
    assert_eq!((client.word(1), client.word(2)), (GIB, 2));
    let mut waits = Vec::new();
    for round in 0..6 {
        let (limit, total, granted) = match round % 2 {
            0 => ("4GiB", 4 * GIB, 1),
            _ => ("1GiB", GIB, 2),
        };
        machine.json(&["limit", "a", "--memory", limit, "--json"], 0);
        let begun = Instant::now();
        wait_for("the new quota", || {
            (client.word(1), client.word(2)) == (total, granted)
        });
        waits.push(begun.elapsed());
        assert_eq!(
            machine.tenant("a").unwrap()["devices"][0]["limit_bytes"],
            total
        );
    }
    // The best of several: a busy machine may keep any one of them from its processor.
    let fastest = waits.iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(100), "{waits:?}");
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
