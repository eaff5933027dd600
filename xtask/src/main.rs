//! Tasks of the repository.
//!
//! ```text
//! cargo xtask dist [cuda|hip|levelzero|ascend|gaudi|command ...] [--out DIR] [--target-dir DIR]
//! cargo xtask check [duplication|imports|features|msrv|aarch64|miri|scripts|spelling|toml ...]
//! cargo xtask lint-prose [--all] [--json] [--rewrap] [--update-baseline [--allow-growth]] [PATH ...]
//! ```
//! `dist` builds the release, `check` compiles rare builds and checks scripts, `lint-prose` checks
//! comments and documents. The exit status is 0 if all is well, 1 if a check found something, 2 if
//! a task could not be done.

mod checks;
mod dist;
mod duplication;
mod imports;
mod licences;
mod manifest;
mod materials;
mod prose;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some("dist") => dist::run(args).map(|()| true),
        Some("check") => checks::run(args),
        Some("lint-prose") => prose::run(args),
        _ => Err(anyhow::anyhow!(
            "usage: cargo xtask check|dist|lint-prose ..."
        )),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}
