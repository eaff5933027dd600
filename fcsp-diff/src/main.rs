//! The command of the differential tester.

use clap::{Parser, Subcommand};
use fcsp_diff::campaign::{self, Account, Finding, Plan};
use fcsp_diff::desk::{Bench, Verdict};
use fcsp_diff::driver::Route;
use fcsp_diff::generate::generate;
use fcsp_diff::place::{self, Configuration, Place, Scratch, Sizes};
use fcsp_diff::program::Program;
use fcsp_diff::repeat::{self, Subject, Trials};
use fcsp_diff::{report, serve};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs random programs of CUDA driver calls with and without the preload library, and compares
/// what comes of them.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compares the programs of many seeds
    Run {
        #[command(flatten)]
        place: Where,
        /// First seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Number of seeds
        #[arg(long, default_value_t = 1000)]
        count: u64,
        /// Seeds that one worker process runs
        #[arg(long, default_value_t = 250)]
        chunk: u64,
        /// Seeds between two comparisons, and two lines of progress; default: a chunk on the
        /// simulator, 20 on a device
        #[arg(long)]
        slice: Option<u64>,
        /// Groups of workers that run at once; each has one worker natively and one a configuration
        #[arg(long, default_value_t = 1)]
        lanes: u64,
        /// Stop after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Seconds that making findings smaller may take in all
        #[arg(long)]
        shrinking: Option<u64>,
        /// Trials that making one finding smaller may take
        #[arg(long, default_value_t = 400)]
        trials: u32,
        /// File for the JSON record
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Compares the programs of text files
    Replay {
        #[command(flatten)]
        place: Where,
        /// Files that `print` or a report wrote
        files: Vec<PathBuf>,
    },
    /// Runs a program many times, each in a new worker, natively and with limits; counts
    /// outcomes, shows last words
    Repeat {
        #[command(flatten)]
        place: Where,
        /// Seeds, separated by commas
        #[arg(long, value_delimiter = ',')]
        seeds: Vec<u64>,
        /// Number of seeds before each that the worker runs first
        #[arg(long, default_value_t = 0)]
        before: u64,
        /// Number of runs natively, and in each configuration
        #[arg(long, default_value_t = 20)]
        times: u32,
        /// symbols, addresses or per-thread
        #[arg(long, value_parser = route, default_value = "addresses")]
        route: Route,
        /// Stop after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Files that `print` or a report wrote
        files: Vec<PathBuf>,
    },
    /// Prints the program of a seed
    Print {
        /// The seed
        seed: u64,
    },
    /// Runs programs that stdin names; what `run` and `replay` start
    Worker {
        /// symbols, addresses or per-thread
        #[arg(long, value_parser = route, default_value = "addresses")]
        route: Route,
        /// Memory that the device must have, in bytes
        #[arg(long)]
        total: Option<u64>,
        /// Write each operation to stderr first
        #[arg(long)]
        loud: bool,
    },
}

#[derive(clap::Args)]
struct Where {
    /// The preload library, libfcsp_cuda.so
    #[arg(long)]
    preload: PathBuf,
    /// A folder with the simulated driver; without it, the device at hand is used
    #[arg(long)]
    sim: Option<PathBuf>,
    /// The machine to simulate
    #[arg(long, default_value = "h100,memory=8GiB,context=64MiB")]
    machine: String,
    /// A memory quota that refuses nothing, in MiB
    #[arg(long, default_value_t = 6144)]
    ample: u64,
    /// A memory quota that refuses some requests, in MiB
    #[arg(long, default_value_t = 160)]
    tight: u64,
    /// Most MiB that a context takes
    #[arg(long, default_value_t = 64)]
    context: u64,
    /// Configurations, separated by commas: quota, share, both, tight
    #[arg(long, default_value = "quota,share,both,tight")]
    configurations: String,
    /// Operations to leave out, to look past what is known: names, and `wrong 3` for one wrong call
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// A variable for every worker, NAME=VALUE
    #[arg(long)]
    env: Vec<String>,
}

fn route(word: &str) -> Result<Route, String> {
    match word {
        "symbols" => Ok(Route::Symbols),
        "addresses" => Ok(Route::Addresses),
        "per-thread" => Ok(Route::AddressesPerThread),
        _ => Err("symbols, addresses or per-thread".into()),
    }
}

impl Where {
    fn sizes(&self) -> Sizes {
        Sizes {
            ample: self.ample << 20,
            tight: self.tight << 20,
            context: self.context << 20,
        }
    }

    fn place(&self, scratch: &Scratch) -> Result<(Place, Vec<Configuration>), String> {
        let absolute = |path: &PathBuf| {
            path.canonicalize()
                .map_err(|error| format!("{}: {error}", path.display()))
        };
        let environment = self
            .env
            .iter()
            .map(|text| {
                let (name, value) = text
                    .split_once('=')
                    .ok_or(format!("--env {text}: give NAME=VALUE"))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, String>>()?;
        let place = Place {
            runner: std::env::current_exe().map_err(|error| error.to_string())?,
            preload: absolute(&self.preload)?,
            simulator: match &self.sim {
                Some(folder) => Some((absolute(folder)?, self.machine.clone())),
                None => None,
            },
            scratch: scratch.path().to_owned(),
            without: self.without.clone(),
            environment,
        };
        let all = place::configurations(self.sizes());
        let chosen = self
            .configurations
            .split(',')
            .map(|name| {
                all.iter()
                    .find(|configuration| configuration.name == name)
                    .cloned()
                    .ok_or(format!(
                        "no configuration {name}: give quota, share, both or tight"
                    ))
            })
            .collect::<Result<_, _>>()?;
        Ok((place, chosen))
    }
}

fn read(file: &Path) -> Result<Program, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Program::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("fcsp-diff: {why}");
            ExitCode::from(2)
        }
    }
}

fn perform(task: Task) -> Result<bool, String> {
    match task {
        Task::Print { seed } => {
            print!("{}", generate(seed));
            Ok(true)
        }
        Task::Worker { route, total, loud } => serve::serve(route, total, loud).map(|()| true),
        Task::Run {
            place: options,
            from,
            count,
            chunk,
            slice,
            lanes,
            seconds,
            shrinking,
            trials,
            out,
        } => {
            let scratch = Scratch::new().map_err(|error| error.to_string())?;
            let (there, configurations) = options.place(&scratch)?;
            let plan = Plan {
                seeds: from..from + count,
                chunk: chunk.max(1),
                slice: slice
                    .unwrap_or(if options.sim.is_some() { chunk } else { 20 })
                    .max(1),
                lanes,
                turns: options.sim.is_none(),
                deadline: campaign::after(seconds),
                trials,
                shrinking: shrinking.map(Duration::from_secs),
                sizes: options.sizes(),
            };
            let began = Instant::now();
            let write = |account: &Account| -> Result<(), String> {
                let Some(out) = &out else { return Ok(()) };
                let text = serde_json::to_string_pretty(&report::json(account))
                    .map_err(|error| error.to_string())?;
                let part = out.with_extension("part");
                std::fs::write(&part, text)
                    .and_then(|()| std::fs::rename(&part, out))
                    .map_err(|error| format!("{}: {error}", out.display()))
            };
            let account = campaign::run(&there, &configurations, &plan, &|account| {
                eprintln!(
                    "{:.0} s: {}",
                    began.elapsed().as_secs_f64(),
                    report::line(account)
                );
                // What is written now stands if this process is ended.
                if let Err(why) = write(account) {
                    eprintln!("{why}");
                }
            });
            write(&account)?;
            print!("{}", report::text(&account));
            Ok(account.findings.values().all(Finding::is_drivers))
        }
        Task::Repeat {
            place: options,
            seeds,
            before,
            times,
            route,
            seconds,
            files,
        } => {
            let scratch = Scratch::new().map_err(|error| error.to_string())?;
            let (there, configurations) = options.place(&scratch)?;
            let trials = Trials {
                place: &there,
                route,
                sizes: options.sizes(),
                times,
                deadline: campaign::after(seconds),
            };
            let program = |seed: u64| generate(seed).without(&there.without);
            let mut subjects: Vec<Subject> = seeds
                .iter()
                .map(|&seed| Subject {
                    name: format!("seed {seed}"),
                    before: (seed.saturating_sub(before)..seed).map(program).collect(),
                    program: program(seed),
                })
                .collect();
            for file in &files {
                subjects.push(Subject {
                    name: file.display().to_string(),
                    before: Vec::new(),
                    program: read(file)?,
                });
            }
            let mut good = true;
            for subject in &subjects {
                let mut reference = None;
                let all = std::iter::once(None).chain(configurations.iter().map(Some));
                for configuration in all {
                    let tally = trials.tally(configuration, subject, &mut reference);
                    good &= tally.keys().all(|kind| kind == "agrees");
                    let name = configuration.map_or("native", |configuration| configuration.name);
                    print!("{}", repeat::text(&subject.name, name, route, &tally));
                }
            }
            Ok(good)
        }
        Task::Replay {
            place: options,
            files,
        } => {
            let scratch = Scratch::new().map_err(|error| error.to_string())?;
            let (there, configurations) = options.place(&scratch)?;
            let sizes = options.sizes();
            let mut good = true;
            for file in files {
                let program = read(&file)?;
                for configuration in &configurations {
                    for turn in 0..3 {
                        let route = place::route(turn);
                        let (seen, native, governed) =
                            match Bench::new(&there, configuration, route, sizes).verdict(&program)
                            {
                                Verdict::Agrees => continue,
                                Verdict::Differs(found) => {
                                    (found.kind, found.native, found.governed)
                                }
                                Verdict::NativeDied { how, .. } => {
                                    ("native worker died".into(), how, String::new())
                                }
                            };
                        good = false;
                        println!(
                            "{}: {seen} [{}] {route:?}\n  native:   {native}\n  governed: {governed}",
                            file.display(),
                            configuration.name,
                        );
                    }
                }
            }
            Ok(good)
        }
    }
}
