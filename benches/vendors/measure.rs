//! Taking the times: programs with and without the preload library, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{self, Client, Machine};
use crate::vendors::Vendor;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Starts of the programs, each with another layout of memory.
    pub starts: usize,
    /// Rounds after each start; a round is a turn without the library and one with it.
    pub rounds: usize,
    /// Calls a turn.
    pub calls: usize,
    /// Calls that are timed one by one, for the 99th in a hundred.
    pub each: usize,
    /// Whether instructions are counted.
    pub instructions: bool,
    /// The processor that programs stay on.
    pub processor: usize,
}

impl Effort {
    pub fn full() -> Self {
        Self {
            starts: 15,
            rounds: 200,
            calls: 200,
            each: 4000,
            instructions: false,
            processor: std::thread::available_parallelism().map_or(0, |count| count.get() - 1),
        }
    }

    pub fn quick(given: &Self) -> Self {
        Self {
            starts: 1,
            rounds: 10,
            calls: 50,
            each: 200,
            ..given.clone()
        }
    }
}

/// Something to time.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    pub what: &'static str,
    /// What the clients call it, with `bytes`.
    word: &'static str,
    bytes: u64,
    settings: &'static [(&'static str, &'static str)],
}

const MEMORY: &[(&str, &str)] = &[("FCSP_TENANT", "t"), ("FCSP_MEMORY_LIMIT", "4GiB")];
const SHARE: &[(&str, &str)] = &[
    ("FCSP_TENANT", "t"),
    ("FCSP_MEMORY_LIMIT", "4GiB"),
    ("FCSP_COMPUTE_LIMIT", "50%"),
];

/// The operation that the library answers without the driver.
const REFUSED: &str = "refuse";

pub const OPERATIONS: [Operation; 5] = [
    Operation {
        name: "launch",
        what: "a launch in a tenant without a compute quota",
        word: "launch",
        bytes: 0,
        settings: MEMORY,
    },
    Operation {
        name: "launch-quota",
        what: "a launch under a compute quota, with nothing to wait for",
        word: "launch",
        bytes: 0,
        settings: SHARE,
    },
    Operation {
        name: "pair-small",
        what: "4 KiB and back under a memory quota, beside other small pieces",
        word: "pair",
        bytes: 4 << 10,
        settings: MEMORY,
    },
    Operation {
        name: "pair-large",
        what: "4 MiB and back under a memory quota",
        word: "pair",
        bytes: 4 << 20,
        settings: MEMORY,
    },
    Operation {
        name: REFUSED,
        what: "a request for more than the quota, and more than the device has",
        word: "refuse",
        bytes: 8 << 30,
        settings: MEMORY,
    },
];

/// What came of one operation. Times in ns a call.
#[derive(Debug, Clone)]
pub struct Figures {
    pub operation: &'static str,
    /// Medians without the library and with it.
    pub native: f64,
    pub hooked: f64,
    /// The fastest turns without it: the median of starts.
    pub native_least: f64,
    /// The median of what a round's two turns differ by: the median of starts, and the lowest and the highest of them.
    pub added: f64,
    pub added_range: [f64; 2],
    /// By how much the fastest turns differ: the median of starts.
    pub added_least: f64,
    /// The same two for a second program without the library, the median distance from nothing: what cannot be told from
    /// noise.
    pub noise: f64,
    pub noise_least: f64,
    /// Calls one by one: the 99th in a hundred, the median of starts.
    pub native_p99: f64,
    pub hooked_p99: f64,
    /// Instructions a call that the library adds.
    pub instructions: Option<f64>,
}

impl Figures {
    /// What the library's own work takes, by medians and by fastest turns: what it adds, or all of a call that never
    /// reaches the driver.
    pub fn own(&self) -> [f64; 2] {
        match self.operation {
            REFUSED => [self.native + self.added, self.native_least + self.added_least],
            _ => [self.added, self.added_least],
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// One start's figures for one operation.
struct Start {
    native: f64,
    native_least: f64,
    hooked: f64,
    added: f64,
    added_least: f64,
    control: f64,
    control_least: f64,
    native_p99: f64,
    hooked_p99: f64,
}

/// The library that answers the simulated driver's system calls; see `quiet.c`.
fn quiet(vendor: &Vendor) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("quiet-{}.so", std::process::id()));
    let source = "../../../benches/vendors/quiet.c";
    machine::compile(vendor, source, &path, &["-shared", "-fPIC"]);
    path
}

/// Removes a file when it goes.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// All operations that the vendor has; nothing where its headers are not to be had offline.
pub fn vendor(vendor: &'static Vendor, effort: &Effort) -> Option<Vec<Figures>> {
    let mut starts: Vec<Vec<Start>> = OPERATIONS.iter().map(|_| Vec::new()).collect();
    let first = Machine::new(vendor)?;
    let quiet = Removed(quiet(vendor));
    let quiet = quiet.0.to_str().expect("cargo's folder has a name in UTF-8");
    let both = format!("{}:{quiet}", first.preload().display());
    for _ in 0..effort.starts {
        // Each has a simulated machine to itself.
        let machines = [Machine::new(vendor)?, Machine::new(vendor)?];
        let [mut native, mut control] = machines
            .each_ref()
            .map(|machine| begin(machine.otherwise(&[("LD_PRELOAD", quiet)]), effort));
        for settings in [MEMORY, SHARE] {
            let machine = Machine::new(vendor)?;
            let with_libraries = [settings, &[("LD_PRELOAD", &*both)]].concat();
            let mut hooked = begin(machine.governed(&with_libraries), effort);
            for (operation, starts) in OPERATIONS.iter().zip(&mut starts) {
                if operation.settings == settings {
                    starts.extend(start(operation, [&mut native, &mut control, &mut hooked], effort));
                }
            }
        }
    }
    let figures = OPERATIONS
        .iter()
        .zip(starts)
        .filter(|(_, starts)| !starts.is_empty())
        .map(|(operation, starts)| Figures {
            instructions: effort
                .instructions
                .then(|| instructions(vendor, operation))
                .flatten(),
            ..figures(operation, &starts)
        });
    Some(figures.collect())
}

fn figures(operation: &Operation, starts: &[Start]) -> Figures {
    let of = |what: fn(&Start) -> f64| starts.iter().map(what).collect::<Vec<f64>>();
    let added = of(|start| start.added);
    Figures {
        operation: operation.name,
        native: median(of(|start| start.native)),
        hooked: median(of(|start| start.hooked)),
        native_least: median(of(|start| start.native_least)),
        added_range: [
            least(&added),
            added.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ],
        added: median(added),
        added_least: median(of(|start| start.added_least)),
        noise: median(of(|start| start.control.abs())),
        noise_least: median(of(|start| start.control_least.abs())),
        native_p99: median(of(|start| start.native_p99)),
        hooked_p99: median(of(|start| start.hooked_p99)),
        instructions: None,
    }
}

/// A program with the device open and a small piece of memory.
fn begin(mut client: Client, effort: &Effort) -> Client {
    client.ok(&format!("pin {}", effort.processor));
    client.ok("open 0");
    client.ok("alloc 4096");
    client
}

/// What the client answers to a word of timing; `None` if the vendor has no such thing.
fn timed(client: &mut Client, command: &str) -> Option<Vec<u64>> {
    const LACKS: i32 = 9999;
    match client.call(command) {
        (0, values) => Some(values),
        (LACKS, _) => None,
        (code, _) => panic!("{command} answered {code}"),
    }
}

/// ns a call of one turn.
fn turn(client: &mut Client, operation: &Operation, calls: usize) -> Option<f64> {
    let command = format!("timeall {} {calls} {}", operation.word, operation.bytes);
    Some(timed(client, &command)?[0] as f64 / calls as f64)
}

/// ns of the 99th call in a hundred.
fn late(client: &mut Client, operation: &Operation, calls: usize) -> Option<f64> {
    let command = format!("timeeach {} {calls} {}", operation.word, operation.bytes);
    Some(timed(client, &command)?[1] as f64)
}

/// Times one operation in the three programs: without the library, without it once more, and with it.
fn start(operation: &Operation, mut clients: [&mut Client; 3], effort: &Effort) -> Option<Start> {
    // Costs are learned, tables filled, slabs made.
    for client in &mut clients {
        for _ in 0..10 {
            turn(client, operation, effort.calls)?;
        }
    }
    let mut turns = [const { Vec::new() }; 3];
    for round in 0..effort.rounds {
        // Who goes first takes turns, too.
        for place in 0..clients.len() {
            let at = (place + round) % clients.len();
            turns[at].push(turn(clients[at], operation, effort.calls)?);
        }
    }
    let [native, control, hooked] = turns;
    let differences = |other: &[f64]| median(other.iter().zip(&native).map(|(a, b)| a - b).collect());
    Some(Start {
        added: differences(&hooked),
        added_least: least(&hooked) - least(&native),
        control: differences(&control),
        control_least: least(&control) - least(&native),
        native_p99: late(clients[0], operation, effort.each)?,
        hooked_p99: late(clients[2], operation, effort.each)?,
        native_least: least(&native),
        native: median(native),
        hooked: median(hooked),
    })
}

/// Instructions a call that the library adds: what two runs of different length differ by, with the library less without.
fn instructions(vendor: &'static Vendor, operation: &Operation) -> Option<f64> {
    const CALLS: usize = 100;
    const FEW: usize = 20;
    const MANY: usize = 120;
    let counted = |settings: Option<&[(&str, &str)]>, turns: usize| -> Option<f64> {
        let machine = Machine::new(vendor)?;
        let mut command = match settings {
            Some(settings) => machine.program("valgrind".as_ref(), settings),
            None => machine.bare("valgrind"),
        };
        let turn = format!("; timeall {} {CALLS} {}", operation.word, operation.bytes);
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(machine.client())
            .arg("-c")
            .arg(format!("open 0; alloc 4096{}", turn.repeat(turns)));
        collected(command)
    };
    let each = |settings| {
        let more = counted(settings, MANY)? - counted(settings, FEW)?;
        Some(more / (CALLS * (MANY - FEW)) as f64)
    };
    Some(each(Some(operation.settings))? - each(None)?)
}

/// The instructions that callgrind says it has counted.
fn collected(mut command: Command) -> Option<f64> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("no instructions: valgrind: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    if count.is_none() || !output.status.success() {
        eprintln!("no instructions: {} {said}", output.status);
        return None;
    }
    count
}
