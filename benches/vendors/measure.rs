//! Taking the times: programs with and without the preload library, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{self, Client, Machine};
use crate::vendors::Vendor;

/// Amount of work.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Starts of the programs, each with another layout of memory.
    pub starts: usize,
    /// Rounds after each start. In a round, the clients without and with the library run once.
    pub rounds: usize,
    /// Calls in one run of a client.
    pub calls: usize,
    /// Calls that are timed one by one, for the 99th in a hundred.
    pub each: usize,
    /// True if instructions are counted.
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
    /// The client's word for it, with `bytes`.
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

/// Result of one operation. Times in ns for each call.
#[derive(Debug, Clone)]
pub struct Figures {
    pub operation: &'static str,
    /// Medians without the library and with it.
    pub native: f64,
    pub hooked: f64,
    /// The median of what a round's two turns differ by: the median of starts, and the lowest and
    /// the highest of them.
    pub added: f64,
    pub added_range: [f64; 2],
    /// The distance of the same difference from nothing for a second program without the library,
    /// the median of starts: what cannot be told from noise.
    pub noise: f64,
    /// The fastest turn of all starts without the library, without it once more, and with it: on a
    /// machine that others use, too, what it takes when nobody does.
    pub least: [f64; 3],
    /// Calls one by one: the 99th in a hundred, the median of starts.
    pub native_p99: f64,
    pub hooked_p99: f64,
    /// Difference between the time of the library's own work and that of CUDA's, which runs in each
    /// round as well. It is the median of starts of the median of rounds.
    pub to_cuda: Option<f64>,
    /// Instructions a call that the library adds.
    pub instructions: Option<f64>,
}

impl Figures {
    /// Returns the difference between the fastest runs with and without the library.
    pub fn added_least(&self) -> f64 {
        let [native, _, hooked] = self.least;
        hooked - native
    }

    /// Returns the difference between the fastest runs of two programs without the library.
    pub fn noise_least(&self) -> f64 {
        let [native, control, _] = self.least;
        (control - native).abs()
    }

    /// Returns the library's own work in the fastest runs: what it adds, or the whole of a call
    /// that never reaches the driver.
    pub fn own_least(&self) -> f64 {
        match self.operation {
            REFUSED => self.least[2],
            _ => self.added_least(),
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

/// The library that answers the simulated driver's system calls; see `quiet.c`.
struct Quiet(PathBuf);

impl Quiet {
    fn build(vendor: &Vendor) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("quiet-{}.so", std::process::id()));
        let source = "../../../benches/vendors/quiet.c";
        machine::compile(vendor, source, &path, &["-shared", "-fPIC"]);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("cargo's folder has a name in UTF-8")
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One start's figures for one operation of one vendor.
struct Start {
    native: f64,
    hooked: f64,
    added: f64,
    control: f64,
    least: [f64; 3],
    native_p99: f64,
    hooked_p99: f64,
    to_cuda: Option<f64>,
}

/// Results for a vendor.
pub struct Found {
    pub vendor: &'static str,
    /// `None` if its headers are not available offline.
    pub figures: Option<Vec<Figures>>,
}

/// Measures these vendors beside each other, CUDA first if it is one of them.
pub fn vendors(chosen: &[&'static Vendor], effort: &Effort) -> Vec<Found> {
    let there: Vec<&'static Vendor> = chosen
        .iter()
        .copied()
        .filter(|vendor| Machine::new(vendor).is_some())
        .collect();
    let mut starts: Vec<[Vec<Start>; OPERATIONS.len()]> = there
        .iter()
        .map(|_| [const { Vec::new() }; OPERATIONS.len()])
        .collect();
    if let Some(first) = there.first() {
        let quiet = Quiet::build(first);
        for number in 1..=effort.starts {
            eprintln!("start {number} of {}", effort.starts);
            start(&there, &quiet, effort, &mut starts);
        }
    }
    let mut starts = starts.into_iter();
    let found = chosen.iter().map(|vendor| Found {
        vendor: vendor.name,
        figures: there
            .iter()
            .any(|one| one.name == vendor.name)
            .then(|| starts.next())
            .flatten()
            .map(|starts| all_figures(vendor, &starts, effort)),
    });
    found.collect()
}

fn all_figures(vendor: &'static Vendor, starts: &[Vec<Start>], effort: &Effort) -> Vec<Figures> {
    OPERATIONS
        .iter()
        .zip(starts)
        .filter(|(_, starts)| !starts.is_empty())
        .map(|(operation, starts)| Figures {
            instructions: effort
                .instructions
                .then(|| instructions(vendor, operation))
                .flatten(),
            ..figures(operation, starts)
        })
        .collect()
}

fn figures(operation: &Operation, starts: &[Start]) -> Figures {
    let of = |what: fn(&Start) -> f64| starts.iter().map(what).collect::<Vec<f64>>();
    let added = of(|start| start.added);
    let to_cuda: Option<Vec<f64>> = starts.iter().map(|start| start.to_cuda).collect();
    Figures {
        operation: operation.name,
        native: median(of(|start| start.native)),
        hooked: median(of(|start| start.hooked)),
        added_range: [
            least(&added),
            added.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ],
        added: median(added),
        least: std::array::from_fn(|at| {
            let turns = starts.iter().map(|start| start.least[at]);
            turns.fold(f64::INFINITY, f64::min)
        }),
        noise: median(of(|start| start.control.abs())),
        native_p99: median(of(|start| start.native_p99)),
        hooked_p99: median(of(|start| start.hooked_p99)),
        to_cuda: to_cuda.map(median),
        instructions: None,
    }
}

/// A vendor's programs: without the library, without it once more, and with it. Each has a
/// simulated machine to itself.
struct Programs {
    vendor: &'static Vendor,
    clients: [Client; 3],
    _machines: [Machine; 3],
}

impl Programs {
    fn begin(
        vendor: &'static Vendor,
        quiet: &Quiet,
        settings: &[(&str, &str)],
        effort: &Effort,
    ) -> Option<Self> {
        let machines = [
            Machine::new(vendor)?,
            Machine::new(vendor)?,
            Machine::new(vendor)?,
        ];
        let libraries = format!("{}:{}", machines[2].preload().display(), quiet.path());
        let settings = [settings, &[("LD_PRELOAD", &*libraries)]].concat();
        let bare = [("LD_PRELOAD", quiet.path())];
        let clients = [
            machines[0].otherwise(&bare),
            machines[1].otherwise(&bare),
            machines[2].governed(&settings),
        ];
        Some(Self {
            vendor,
            clients: clients.map(|client| begin(client, effort)),
            _machines: machines,
        })
    }
}

/// Starts a program with the device open and a small allocation.
fn begin(mut client: Client, effort: &Effort) -> Client {
    client.ok(&format!("pin {}", effort.processor));
    client.ok("open 0");
    client.ok("alloc 4096");
    client
}

/// Returns the client's answer to a timing command. Returns `None` if the vendor has no such
/// operation.
fn timed(client: &mut Client, command: &str) -> Option<Vec<u64>> {
    const LACKS: i32 = 9999;
    match client.call(command) {
        (0, values) => Some(values),
        (LACKS, _) => None,
        (code, _) => panic!("{command} answered {code}"),
    }
}

/// Returns the time of one call in one run, ns.
fn turn(client: &mut Client, operation: &Operation, calls: usize) -> Option<f64> {
    let command = format!("timeall {} {calls} {}", operation.word, operation.bytes);
    Some(timed(client, &command)?[0] as f64 / calls as f64)
}

/// Returns the time of the 99th call in a hundred, ns.
fn late(client: &mut Client, operation: &Operation, calls: usize) -> Option<f64> {
    let command = format!("timeeach {} {calls} {}", operation.word, operation.bytes);
    Some(timed(client, &command)?[1] as f64)
}

/// Starts every vendor's programs and runs them alternately.
fn start(
    vendors: &[&'static Vendor],
    quiet: &Quiet,
    effort: &Effort,
    starts: &mut [[Vec<Start>; OPERATIONS.len()]],
) {
    for settings in [MEMORY, SHARE] {
        let mut all: Vec<Programs> = vendors
            .iter()
            .filter_map(|vendor| Programs::begin(vendor, quiet, settings, effort))
            .collect();
        for (at, operation) in OPERATIONS.iter().enumerate() {
            if operation.settings == settings {
                for (place, one) in time(operation, &mut all, effort) {
                    starts[place][at].push(one);
                }
            }
        }
    }
}

/// ns a call of each turn of one program.
type Turns = Vec<f64>;

/// Times one operation in every vendor's programs; the vendors that have it, by their place in the
/// list.
fn time(operation: &Operation, all: &mut [Programs], effort: &Effort) -> Vec<(usize, Start)> {
    let mut turns: Vec<Option<[Turns; 3]>> = all
        .iter_mut()
        .map(|one| warm(operation, one, effort))
        .collect();
    for round in 0..effort.rounds {
        for (one, turns) in all.iter_mut().zip(&mut turns) {
            let Some(turns) = turns else { continue };
            // The order within a round alternates, too.
            for place in 0..3 {
                let at = (place + round) % 3;
                turns[at].extend(turn(&mut one.clients[at], operation, effort.calls));
            }
        }
    }
    // What the library's own work took in each round.
    let own = |turns: &[Turns; 3]| -> Vec<f64> {
        let [native, _, hooked] = turns;
        match operation.name {
            REFUSED => hooked.clone(),
            _ => differences(hooked, native),
        }
    };
    let cuda = all
        .iter()
        .zip(&turns)
        .find(|(one, _)| one.vendor.name == "cuda");
    let cuda = cuda.and_then(|(_, turns)| turns.as_ref()).map(own);
    let mut found = Vec::new();
    for (place, (one, turns)) in all.iter_mut().zip(&turns).enumerate() {
        let Some(turns) = turns else { continue };
        let [native, control, hooked] = turns;
        let to_cuda = cuda
            .as_ref()
            .map(|cuda| median(differences(&own(turns), cuda)));
        let late = |client| late(client, operation, effort.each).unwrap_or(f64::NAN);
        let [native_p99, _, hooked_p99] = one.clients.each_mut().map(late);
        found.push((
            place,
            Start {
                native: median(native.clone()),
                hooked: median(hooked.clone()),
                added: median(differences(hooked, native)),
                control: median(differences(control, native)),
                least: turns.each_ref().map(|turns| least(turns)),
                native_p99,
                hooked_p99,
                to_cuda,
            },
        ));
    }
    found
}

fn differences(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(a, b)| a - b).collect()
}

/// Makes some runs that do not count: costs are learned, tables filled, slabs made. Returns `None`
/// if the vendor has no such operation.
fn warm(operation: &Operation, programs: &mut Programs, effort: &Effort) -> Option<[Turns; 3]> {
    for client in &mut programs.clients {
        for _ in 0..10 {
            turn(client, operation, effort.calls)?;
        }
    }
    Some([const { Vec::new() }; 3])
}

/// Instructions a call that the library adds: what two runs of different length differ by, with the
/// library less without.
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

/// Returns the instructions that callgrind has counted.
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
