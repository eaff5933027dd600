//! The worker's side of the conversation: commands from stdin, records to stdout.
//!
//! `seed N` and `program N` (with N lines after it) run a program and are answered by its records
//! and a line `.`. `settle` is answered by the bytes still in use, `renew` by 0 after a reset of
//! the primary context, `times` by the nanoseconds that each operation took since.

use crate::crash;
use crate::driver::{Driver, Route};
use crate::generate::generate;
use crate::program::Program;
use crate::progress::Progress;
use crate::worker::{Session, TASK, other_process};
use std::io::{BufRead, Write};

/// Names the file in which a worker says what it is about to do.
pub const PROGRESS: &str = "DIFF_PROGRESS";

/// Serves until the end of input.
///
/// # Errors
/// What kept the session from opening, or the input from being read.
pub fn serve(route: Route, total: Option<u64>, loud: bool) -> Result<(), String> {
    crash::install();
    if let Ok(task) = std::env::var(TASK) {
        return other_process(route, &task);
    }
    let progress = match std::env::var_os(PROGRESS) {
        Some(path) => Some(Progress::create(path.as_ref()).map_err(|error| error.to_string())?),
        None => None,
    };
    let session = Session::open(Driver::load(route)?, total, loud, progress)?;
    let mut input = std::io::stdin().lock();
    let mut output = std::io::BufWriter::new(std::io::stdout());
    let mut line = String::new();
    loop {
        line.clear();
        if input
            .read_line(&mut line)
            .map_err(|error| error.to_string())?
            == 0
        {
            return Ok(());
        }
        let mut words = line.split_ascii_whitespace();
        let command = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        let program = match (command, number) {
            ("seed", Some(seed)) => generate(seed),
            ("program", Some(count)) => {
                let mut text = String::new();
                for _ in 0..count {
                    input
                        .read_line(&mut text)
                        .map_err(|error| error.to_string())?;
                }
                Program::parse(&text)?
            }
            ("settle", None) => {
                let used = session.settle();
                writeln!(output, "{used}")
                    .and_then(|()| output.flush())
                    .map_err(|error| error.to_string())?;
                continue;
            }
            ("times", None) => {
                let times: Vec<String> = session.times().map(|time| time.to_string()).collect();
                writeln!(output, "{}", times.join(" "))
                    .and_then(|()| output.flush())
                    .map_err(|error| error.to_string())?;
                continue;
            }
            ("renew", None) => {
                let renewed = session.renew();
                if let Err(why) = &renewed {
                    eprintln!("renew: {why}");
                }
                writeln!(output, "{}", u8::from(renewed.is_err()))
                    .and_then(|()| output.flush())
                    .map_err(|error| error.to_string())?;
                continue;
            }
            _ => return Err(format!("no command: {line}")),
        };
        for record in session.run(&program) {
            writeln!(output, "{record}").map_err(|error| error.to_string())?;
        }
        writeln!(output, ".")
            .and_then(|()| output.flush())
            .map_err(|error| error.to_string())?;
    }
}
