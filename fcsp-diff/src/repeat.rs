//! Repeats one program many times, each time in a new worker, natively and under the preload
//! library. It reports how often each outcome comes, and the last words of workers that die. A
//! fault of the program also shows natively; one of the library does not.

use crate::desk::{Desk, Verdict, judge};
use crate::driver::Route;
use crate::place::{Configuration, Place, Sizes};
use crate::process::{Answer, Death};
use crate::program::Program;
use std::collections::BTreeMap;
use std::time::Instant;

/// Program that is repeated.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name, for the report.
    pub name: String,
    /// Programs that each worker runs first.
    pub before: Vec<Program>,
    /// The program.
    pub program: Program,
}

/// Outcomes of the trials in one configuration: how often, and the first of its kind in full.
pub type Tally = BTreeMap<String, (u32, String)>;

/// Returns the operation in which each thread of a worker died.
fn over(program: &Program, death: &Death) -> String {
    let names: Vec<String> = death
        .doing
        .iter()
        .map(|at| match at {
            Some(at) => program
                .operations
                .get(*at)
                .map_or_else(|| at.to_string(), |operation| format!("{at}: {operation}")),
            None => "end".to_owned(),
        })
        .collect();
    names.join(", ")
}

/// Conditions of a repetition.
#[derive(Debug, Clone)]
pub struct Trials<'p> {
    /// Place of the workers.
    pub place: &'p Place,
    /// Route by which functions are looked up.
    pub route: Route,
    /// Quotas.
    pub sizes: Sizes,
    /// Number of runs.
    pub times: u32,
    /// Instant at which to stop.
    pub deadline: Option<Instant>,
}

impl Trials<'_> {
    /// Runs a subject as often as asked; each answer is compared with `reference`, or with the
    /// first one.
    pub fn tally(
        &self,
        configuration: Option<&Configuration>,
        subject: &Subject,
        reference: &mut Option<Answer>,
    ) -> Tally {
        let mut tally = Tally::new();
        for _ in 0..self.times {
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() > deadline)
            {
                break;
            }
            let mut desk = Desk::new(self.place, configuration, self.route);
            let mut answers = desk.run_all(&subject.before, None);
            let earlier = answers.iter().position(Result::is_err);
            let (program, answer) = match earlier {
                Some(at) => (&subject.before[at], answers.swap_remove(at)),
                None => (&subject.program, desk.run(&subject.program)),
            };
            let (kind, full) = match (&answer, reference.as_ref()) {
                (Err(death), _) => (
                    format!(
                        "{}dies: {} over {}",
                        if earlier.is_some() {
                            "an earlier program "
                        } else {
                            ""
                        },
                        death.how,
                        over(program, death)
                    ),
                    death.stderr.trim().to_owned(),
                ),
                (Ok(_), Some(native @ Ok(_))) => {
                    match judge(&subject.program, native, &answer, &desk.rules(self.sizes)) {
                        Verdict::Differs(found) => (
                            found.kind,
                            format!("native: {}\ngoverned: {}", found.native, found.governed),
                        ),
                        _ => ("agrees".to_owned(), String::new()),
                    }
                }
                (Ok(_), _) => {
                    *reference = Some(answer);
                    ("agrees".to_owned(), String::new())
                }
            };
            tally.entry(kind).or_insert((0, full)).0 += 1;
        }
        tally
    }
}

/// Outcomes for a reader.
pub fn text(subject: &str, configuration: &str, route: Route, tally: &Tally) -> String {
    let mut out = String::new();
    for (kind, (count, full)) in tally {
        out += &format!("{subject} [{configuration}] {route:?}: {count} x {kind}\n");
        for line in full.lines() {
            out += &format!("    {line}\n");
        }
    }
    out
}
