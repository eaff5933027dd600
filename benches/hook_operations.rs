//! Runs one operation of the hook path a given number of times, for `scripts/count-instructions.sh`
//! to count the instructions of.
//!
//! ```text
//! hook_operations                       names the operations
//! hook_operations reserve-release 1000  runs one
//! ```

#[path = "operations/mod.rs"]
mod operations;

use std::hint::black_box;
use std::process::ExitCode;

use operations::{Accounts, Launches, Place};

const NAMES: [&str; 8] = [
    "reserve-release",
    "refuse",
    "hold-roll-back",
    "limit-unchanged",
    "insert-remove",
    "cost",
    "launch",
    "slice",
];

fn repeat<T>(times: u64, mut body: impl FnMut() -> T) {
    for _ in 0..times {
        black_box(body());
    }
}

fn main() -> ExitCode {
    // `cargo bench` passes --bench; `cargo test --benches` nothing: both then name the operations.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let [name, times] = arguments.as_slice() else {
        NAMES.iter().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Ok(times) = times.parse::<u64>() else {
        eprintln!("hook_operations: \"{times}\" is not a number of times");
        return ExitCode::from(2);
    };
    let bytes = black_box(2u64 << 20);
    // Everything is made whatever is asked for, so that two runs differ in the operation alone.
    let (place, accounts, launches) = (Place::new(), Accounts::new(10_000), Launches::new(3));
    match name.as_str() {
        "reserve-release" => repeat(times, || place.reserve_and_release(bytes)),
        "refuse" => repeat(times, || place.refuse(bytes)),
        "hold-roll-back" => repeat(times, || place.hold_and_roll_back(bytes)),
        "limit-unchanged" => repeat(times, || place.limit_unchanged()),
        "insert-remove" => repeat(times, || accounts.insert_and_remove(bytes)),
        "cost" => repeat(times, || launches.cost()),
        "launch" => repeat(times, || launches.launch()),
        "slice" => repeat(times, || launches.slice()),
        _ => {
            eprintln!(
                "hook_operations: no operation is called \"{name}\"; there are {}",
                NAMES.join(", ")
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
