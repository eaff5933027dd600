//! Cost that each vendor's preload library adds to a call, on the simulated driver, compared with
//! CUDA's.
//!
//! ```text
//! cargo bench --bench vendors                                the table
//! cargo bench --bench vendors -- --json FILE                 the same as a record
//! cargo bench --bench vendors -- --quick --vendor hip        fewer rounds: whether it runs, not how fast
//! cargo bench --bench vendors -- --instructions              counts instructions as well, by valgrind
//! ```
//! The clients of the conformance suite, compiled against the official headers, call the driver for
//! some hundred microseconds at a time. Clients with and without the preload library alternate on
//! one processor. The difference within a round is a sample, so other load on the machine is in
//! both of its parts. The result is the median of the samples, and the median of that over several
//! starts of the programs, each with another layout of memory.
//!
//! A simulated driver answers in a few hundred ns and has caches of its own, so these figures
//! compare vendors with each other. `benches/device/overhead.py` measures what a hook adds to a
//! real driver, on a device. Nothing here passes or fails by a time.

#![allow(missing_docs)]

#[allow(dead_code, reason = "what only the conformance suite asks")]
#[path = "../tests/conformance/machine.rs"]
mod machine;
#[path = "vendors/measure.rs"]
mod measure;
#[path = "vendors/report.rs"]
mod report;
#[allow(dead_code, reason = "what only the conformance suite asks")]
#[path = "../tests/conformance/vendors.rs"]
mod vendors;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/virtual_time/mod.rs"]
mod virtual_time;

use std::path::PathBuf;
use std::process::ExitCode;

use measure::Effort;
use report::Record;
use vendors::Vendor;

/// CUDA first: the others are compared with it.
const VENDORS: [&Vendor; 6] = [
    &vendors::CUDA,
    &vendors::HIP,
    &vendors::LEVELZERO,
    &vendors::ASCEND,
    &vendors::GAUDI,
    &vendors::EMPTY,
];

const USAGE: &str = "usage: vendors [--quick] [--instructions] [--vendor NAME]... [--starts N] [--processor N] [--json FILE]";

/// Options of a run.
struct Options {
    effort: Effort,
    chosen: Vec<&'static Vendor>,
    json: Option<PathBuf>,
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut effort = Effort::full();
    let mut chosen: Vec<&'static Vendor> = Vec::new();
    let mut json = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match &*word {
            // From cargo.
            "--bench" => {}
            "--quick" => effort = Effort::quick(&effort),
            "--instructions" => effort.instructions = true,
            "--vendor" => {
                let name = value()?;
                let found = VENDORS.iter().find(|vendor| vendor.name == name);
                let names = || VENDORS.map(|vendor| vendor.name).join(", ");
                chosen.push(
                    found.ok_or_else(|| {
                        format!("no vendor is called {name}; there are {}", names())
                    })?,
                );
            }
            "--processor" | "--starts" => {
                let number = value()?;
                let parsed = number.parse();
                let parsed = parsed.map_err(|_| format!("{word} takes a number, not {number}"))?;
                match &*word {
                    "--starts" => effort.starts = parsed,
                    _ => effort.processor = parsed,
                }
            }
            "--json" => json = Some(PathBuf::from(value()?)),
            other => return Err(format!("{other} is not known\n{USAGE}")),
        }
    }
    if chosen.is_empty() {
        chosen = VENDORS.to_vec();
    }
    Ok(Options {
        effort,
        chosen,
        json,
    })
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        // `cargo test --benches` runs it without a word: there is nothing to test by time.
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match options(words.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("vendors: {error}");
            return ExitCode::from(2);
        }
    };
    let mut record = Record::new(&options.effort);
    for found in measure::vendors(&options.chosen, &options.effort) {
        match found.figures {
            Some(figures) => record.add(found.vendor, figures),
            None => record.skip(found.vendor, "its headers are not here, and FCSP_OFFLINE=1"),
        }
    }
    print!("{}", record.table());
    if let Some(path) = options.json
        && let Err(error) = std::fs::write(&path, record.json())
    {
        eprintln!("vendors: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
