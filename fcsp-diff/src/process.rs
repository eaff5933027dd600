//! A worker process, seen from the tester: it is sent programs, and may die or hang over one.

use crate::hang;
use crate::place::MACHINE;
use crate::program::Program;
use crate::progress;
use crate::record::Record;
use crate::serve::PROGRESS;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A program that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of stderr that are kept: the stacks of some threads.
const STDERR: usize = 32_000;

/// End of a worker before it had an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// By a signal or a status, or not at all.
    pub how: String,
    /// The end of what it wrote to stderr, after what the system said of its threads if it hung.
    pub stderr: String,
    /// True if a frame of the preload library is on one of its stacks; `None` if some stack is
    /// unknown.
    pub ours: Option<bool>,
    /// Operation that each of its threads was about to run.
    pub doing: Vec<Option<usize>>,
}

/// A worker's answer to a program.
pub type Answer = Result<Vec<Record>, Death>;

/// A running worker.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Receiver<String>,
    progress: PathBuf,
    /// The file of the machine that it has for itself, if it is a simulated one.
    machine: Option<PathBuf>,
    /// Time limit of a program.
    pub patience: Duration,
}

impl Process {
    /// Starts a worker.
    ///
    /// # Errors
    /// That the program cannot be started.
    pub fn start(mut command: Command, progress: PathBuf) -> std::io::Result<Self> {
        let machine = command
            .get_envs()
            .find_map(|(name, value)| (name == MACHINE).then_some(value?.into()));
        let mut child = command
            .env(PROGRESS, &progress)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (send, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let (send, stderr) = channel();
        if let Some(mut errors) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let _ = errors.read_to_end(&mut all);
                let text = String::from_utf8_lossy(&all);
                let from = text.len().saturating_sub(STDERR);
                let from = (from..=text.len())
                    .find(|&at| text.is_char_boundary(at))
                    .unwrap_or(0);
                let _ = send.send(text[from..].to_owned());
            });
        }
        Ok(Self {
            input: child.stdin.take(),
            child,
            lines,
            stderr,
            progress,
            machine,
            patience: PATIENCE,
        })
    }

    /// Sends a command; whether it went out is seen by the answer.
    pub fn tell(&mut self, command: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(command.as_bytes());
            let _ = input.flush();
        }
    }

    /// Sends a program.
    pub fn send(&mut self, program: &Program) {
        self.tell(&format!("program {}\n{program}", program.operations.len()));
    }

    /// Waits for the answer to the oldest program sent; nothing if the deadline passes first.
    pub fn answer(&mut self, deadline: Option<Instant>) -> Option<Answer> {
        let mut records = Vec::new();
        let began = Instant::now();
        loop {
            let patience = began + self.patience;
            let until = deadline.map_or(patience, |deadline| deadline.min(patience));
            let line = self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()));
            return Some(match line {
                Ok(line) if line == "." => Ok(records),
                Ok(line) => match Record::parse(&line) {
                    Some(record) => {
                        records.push(record);
                        continue;
                    }
                    None => Err(self.end(&format!("said {line:?}"))),
                },
                Err(RecvTimeoutError::Timeout) if until < patience => return None,
                Err(RecvTimeoutError::Timeout) => Err(self.end("hangs")),
                Err(RecvTimeoutError::Disconnected) => Err(self.end("")),
            });
        }
    }

    /// Asks for a number.
    pub fn ask(&mut self, command: &str) -> Option<u64> {
        self.tell(command);
        let line = self.lines.recv_timeout(PATIENCE).ok()?;
        line.parse().ok()
    }

    /// Asks for numbers.
    pub fn ask_all(&mut self, command: &str) -> Vec<u64> {
        self.tell(command);
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_default();
        line.split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    }

    /// Returns the process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self, how: &str) -> Death {
        let mut stderr = String::new();
        if !how.is_empty() {
            stderr = hang::threads(self.child.id());
            let _ = self.child.kill();
        }
        drop(self.input.take());
        let status = self
            .child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        stderr += &self
            .stderr
            .recv_timeout(Duration::from_secs(5))
            .unwrap_or_default();
        Death {
            how: if how.is_empty() {
                status
            } else {
                how.to_owned()
            },
            stderr,
            ours: None,
            doing: progress::read(&self.progress),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.progress);
        // Megabytes each, and ten thousand of them in a long campaign.
        if let Some(machine) = &self.machine {
            let _ = std::fs::remove_file(machine);
        }
    }
}
