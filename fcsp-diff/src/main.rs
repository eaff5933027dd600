//! The command of the differential tester.

use clap::{Parser, Subcommand};
use fcsp_diff::campaign::{self, Configuration, Place, Plan, Scratch, Sizes};
use fcsp_diff::driver::Route;
use fcsp_diff::generate::generate;
use fcsp_diff::program::Program;
use fcsp_diff::{report, serve};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs random programs of CUDA driver calls with and without the preload library, and compares what comes of them.
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
        /// How many seeds
        #[arg(long, default_value_t = 1000)]
        count: u64,
        /// Seeds that one worker process runs
        #[arg(long, default_value_t = 250)]
        chunk: u64,
        /// Groups of workers that run at once; each has one worker natively and one a configuration
        #[arg(long, default_value_t = 1)]
        lanes: u64,
        /// Begin nothing new after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Seconds that making findings smaller may take in all
        #[arg(long)]
        shrinking: Option<u64>,
        /// Trials that making one finding smaller may take
        #[arg(long, default_value_t = 400)]
        trials: u32,
        /// Where the JSON record goes
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
        /// What the device's memory must be, in bytes
        #[arg(long)]
        total: Option<u64>,
        /// Operations to leave out of the programs of seeds
        #[arg(long, value_delimiter = ',')]
        without: Vec<String>,
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
        let all = campaign::configurations(self.sizes());
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
        Task::Worker {
            route,
            total,
            without,
            loud,
        } => serve::serve(route, total, &without, loud).map(|()| true),
        Task::Run {
            place,
            from,
            count,
            chunk,
            lanes,
            seconds,
            shrinking,
            trials,
            out,
        } => {
            let scratch = Scratch::new().map_err(|error| error.to_string())?;
            let (there, configurations) = place.place(&scratch)?;
            let plan = Plan {
                seeds: from..from + count,
                chunk: chunk.max(1),
                lanes,
                deadline: campaign::after(seconds),
                trials,
                shrinking: shrinking.map(Duration::from_secs),
                sizes: place.sizes(),
            };
            let began = Instant::now();
            let account = campaign::run(&there, &configurations, &plan, &|account| {
                let most = account.compared.values().max().copied().unwrap_or(0);
                eprintln!(
                    "{most} programs compared, {:.1} a second, {} kinds of difference, {} native deaths",
                    most as f64 / began.elapsed().as_secs_f64(),
                    account.findings.len(),
                    account.native_deaths.values().map(|entry| entry.1).sum::<u64>(),
                );
            });
            if let Some(out) = out {
                let text = serde_json::to_string_pretty(&report::json(&account))
                    .map_err(|error| error.to_string())?;
                std::fs::write(&out, text).map_err(|error| format!("{}: {error}", out.display()))?;
            }
            print!("{}", report::text(&account));
            Ok(account.findings.is_empty())
        }
        Task::Replay { place, files } => {
            let scratch = Scratch::new().map_err(|error| error.to_string())?;
            let (there, configurations) = place.place(&scratch)?;
            let mut good = true;
            for file in files {
                let text =
                    std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                let program = Program::parse(&text).map_err(|why| format!("{}: {why}", file.display()))?;
                for configuration in &configurations {
                    for turn in 0..3 {
                        let route = campaign::route(turn);
                        if let Some(found) =
                            campaign::shows(&there, configuration, place.sizes(), route, &program)
                        {
                            good = false;
                            println!(
                                "{}: {} [{}] {route:?}\n  native:   {}\n  governed: {}",
                                file.display(),
                                found.kind,
                                configuration.name,
                                found.native,
                                found.governed
                            );
                        }
                    }
                }
            }
            Ok(good)
        }
    }
}
