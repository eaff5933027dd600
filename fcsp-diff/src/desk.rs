//! Workers that are started anew when they must be, and what their answers to a program come to.

use crate::compare::{Difference, Rules, compare};
use crate::driver::Route;
use crate::hang;
use crate::place::{Configuration, Place, Sizes, serial};
use crate::process::{Answer, Death, Process};
use crate::program::Program;
use std::time::{Duration, Instant};

/// Returns true if a worker can be used no longer: it has died, or its context is lost.
fn spoilt(answer: &Answer) -> bool {
    answer.as_ref().map_or(true, |records| {
        records.last().is_none_or(|last| last.outcome.code != 0)
    })
}

/// A worker that is started anew when it has died or lost its context.
pub struct Desk<'p> {
    place: &'p Place,
    configuration: Option<&'p Configuration>,
    route: Route,
    process: Option<Process>,
    /// Bytes in use before the first program.
    pub base: u64,
    /// Time that programs took, with the starts of workers.
    pub spent: Duration,
}

impl<'p> Desk<'p> {
    /// Creates a desk without a worker.
    pub fn new(place: &'p Place, configuration: Option<&'p Configuration>, route: Route) -> Self {
        Self {
            place,
            configuration,
            route,
            process: None,
            base: 0,
            spent: Duration::ZERO,
        }
    }

    fn process(&mut self) -> Result<&mut Process, Death> {
        if self.process.is_none() {
            let command = self.place.worker(self.configuration, self.route, false);
            let progress = self.place.scratch.join(format!("progress-{}", serial()));
            let mut process = Process::start(command, progress).map_err(|error| Death {
                how: error.to_string(),
                stderr: String::new(),
                ours: None,
                doing: Vec::new(),
            })?;
            if let Some(base) = process.ask("settle\n") {
                self.base = base;
            }
            self.process = Some(process);
        }
        self.process.as_mut().ok_or(Death {
            how: "no worker".into(),
            stderr: String::new(),
            ours: None,
            doing: Vec::new(),
        })
    }

    /// Runs one program.
    pub fn run(&mut self, program: &Program) -> Answer {
        self.run_all(std::slice::from_ref(program), None)
            .pop()
            .unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Runs programs, which are sent ahead of their answers; fewer answers if the deadline passes
    /// first.
    pub fn run_all(&mut self, programs: &[Program], deadline: Option<Instant>) -> Vec<Answer> {
        let began = Instant::now();
        let mut answers = Vec::new();
        let library = self.place.preload.file_name();
        let library = library.map(|name| name.to_string_lossy().into_owned());
        'programs: while answers.len() < programs.len() {
            let rest = &programs[answers.len()..];
            let process = match self.process() {
                Ok(process) => process,
                Err(death) => {
                    answers.push(Err(death));
                    continue;
                }
            };
            for program in rest {
                process.send(program);
            }
            for _ in rest {
                let Some(mut answer) = process.answer(deadline) else {
                    self.process = None;
                    break 'programs;
                };
                if let Err(death) = &mut answer {
                    death.ours = library
                        .as_deref()
                        .and_then(|library| hang::has_frame(&death.stderr, library));
                }
                let spoilt = spoilt(&answer);
                answers.push(answer);
                if spoilt {
                    self.process = None;
                    break;
                }
            }
        }
        self.spent += began.elapsed();
        answers
    }

    /// Returns the bytes in use now, after caches were emptied, and at first.
    pub fn settled(&mut self) -> Option<(u64, u64)> {
        let base = self.base;
        let now = self.process.as_mut()?.ask("settle\n")?;
        Some((base, now))
    }

    /// Returns the nanoseconds spent, by operation.
    pub fn times(&mut self) -> Vec<u64> {
        self.process
            .as_mut()
            .map(|process| process.ask_all("times\n"))
            .unwrap_or_default()
    }

    /// Returns the rules for the answers of this desk's worker.
    pub fn rules(&self, sizes: Sizes) -> Rules {
        let tight = self
            .configuration
            .is_some_and(|configuration| configuration.tight);
        Rules {
            refusals: tight,
            room: sizes.tight.saturating_sub(self.base),
            tolerance: (self.place.simulator.is_some() && !tight).then_some(TOLERANCE),
            context: sizes.context,
        }
    }
}

/// Ends the kind of a death or hang that the driver may have alone.
pub const NO_FRAME: &str = "without a frame of the library";

/// Bytes by which memory information may differ on a machine of one's own.
const TOLERANCE: u64 = 4 << 20;

/// Result of a program in a configuration.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The runs agree.
    Agrees,
    /// They differ.
    Differs(Difference),
    /// The native run itself died, in this way: nothing can be compared.
    NativeDied {
        /// Description for a reader.
        how: String,
        /// The operations over which it may have.
        over: String,
    },
}

/// Compares the answer under the preload library with the native one.
pub fn judge(program: &Program, native: &Answer, governed: &Answer, rules: &Rules) -> Verdict {
    let over = |death: &Death| -> String {
        let doing: Vec<String> = death
            .doing
            .iter()
            .map(|at| {
                at.and_then(|at| program.operations.get(at))
                    .map_or("end".into(), |operation| operation.label())
            })
            .collect();
        doing.join(", ")
    };
    match (native, governed) {
        (Err(death), _) => Verdict::NativeDied {
            how: format!("{} over {} {}", death.how, over(death), death.stderr.trim()),
            over: over(death),
        },
        (Ok(_), Err(death)) => Verdict::Differs(Difference {
            at: usize::MAX,
            operation: None,
            native: "ends".into(),
            governed: format!(
                "{} over {}; {}",
                death.how,
                over(death),
                death.stderr.trim()
            ),
            kind: format!(
                "worker {} over {}, {}",
                death.how,
                if program.threads() == 0 {
                    over(death)
                } else {
                    "threads".into()
                },
                match death.ours {
                    Some(true) => "with a frame of the library",
                    Some(false) => NO_FRAME,
                    None => "with unknown stacks",
                }
            ),
        }),
        (Ok(native), Ok(governed)) => {
            compare(program, native, governed, rules).map_or(Verdict::Agrees, Verdict::Differs)
        }
    }
}

/// A native worker and one under the preload library, kept for many programs.
pub struct Bench<'p> {
    native: Desk<'p>,
    governed: Desk<'p>,
    sizes: Sizes,
}

impl<'p> Bench<'p> {
    /// Creates a bench without workers.
    pub fn new(
        place: &'p Place,
        configuration: &'p Configuration,
        route: Route,
        sizes: Sizes,
    ) -> Self {
        Self {
            native: Desk::new(place, None, route),
            governed: Desk::new(place, Some(configuration), route),
            sizes,
        }
    }

    /// Runs a program by both.
    pub fn verdict(&mut self, program: &Program) -> Verdict {
        let native = self.native.run(program);
        let governed = self.governed.run(program);
        judge(
            program,
            &native,
            &governed,
            &self.governed.rules(self.sizes),
        )
    }

    /// Returns the difference that a program shows, if any.
    pub fn shows(&mut self, program: &Program) -> Option<Difference> {
        match self.verdict(program) {
            Verdict::Differs(difference) => Some(difference),
            _ => None,
        }
    }

    /// Returns true if native runs differ from one another.
    pub fn unstable(&mut self, program: &Program) -> bool {
        let rules = self.native.rules(self.sizes);
        let runs: Vec<Answer> = (0..4).map(|_| self.native.run(program)).collect();
        runs[1..]
            .iter()
            .any(|other| !matches!(judge(program, &runs[0], other, &rules), Verdict::Agrees))
    }
}
