//! Threads of a world, and whether any of them runs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Processes of a world.
#[derive(Debug, Default)]
pub struct Threads {
    processes: BTreeSet<u32>,
    /// Processes that may have children.
    parents: BTreeSet<u32>,
    /// Process of each thread that was met.
    process_of: HashMap<u32, u32>,
    /// Open status files by thread.
    status: HashMap<u32, File>,
}

/// State of a thread by its status file.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    thread: u32,
    /// Number of times that it gave the processor away: of itself, and not.
    switches: (u64, u64),
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = &text[text.find(name)? + name.len()..];
    let digits = rest
        .trim_start()
        .split(|c: char| !c.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

impl Threads {
    /// Adds a process.
    pub fn add(&mut self, process: u32) {
        self.processes.insert(process);
    }

    /// Returns the process of a thread.
    pub fn process_of(&mut self, thread: u32) -> u32 {
        *self.process_of.entry(thread).or_insert_with(|| {
            let status = std::fs::read_to_string(format!("/proc/{thread}/status"));
            let process = status.ok().and_then(|text| field(&text, "\nTgid:"));
            process.map_or(thread, |process| process as u32)
        })
    }

    /// Records that a thread may start a process.
    pub fn forks(&mut self, thread: u32) {
        let process = self.process_of(thread);
        self.parents.insert(process);
    }

    /// Adds the children of processes that may have some.
    fn find_children(&mut self) {
        let mut open: Vec<u32> = self.parents.iter().copied().collect();
        while let Some(parent) = open.pop() {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else {
                self.parents.remove(&parent);
                continue;
            };
            for task in tasks.flatten() {
                let text = std::fs::read_to_string(task.path().join("children"));
                for child in text.unwrap_or_default().split_ascii_whitespace() {
                    let Ok(child) = child.parse() else { continue };
                    if self.processes.insert(child) {
                        open.push(child);
                    }
                }
            }
        }
    }

    /// Looks at every thread once. Returns `None` if one runs.
    fn look(&mut self) -> Option<Vec<Seen>> {
        self.find_children();
        let mut seen = Vec::new();
        let mut gone = Vec::new();
        for &process in &self.processes {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else {
                gone.push(process);
                continue;
            };
            for task in tasks.flatten() {
                let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                let mut bytes = [0; 4096];
                let status = match self.status.entry(thread) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => match File::open(task.path().join("status")) {
                        Ok(file) => entry.insert(file),
                        Err(_) => continue,
                    },
                };
                // A thread that is gone since, or another one with its number: opened again.
                let Ok(length) = status.read_at(&mut bytes, 0) else {
                    self.status.remove(&thread);
                    self.process_of.remove(&thread);
                    return None;
                };
                let text = String::from_utf8_lossy(&bytes[..length]);
                let state = text.find("State:\t").map(|at| text.as_bytes()[at + 7]);
                match state {
                    // Waits, is stopped, or is dead.
                    Some(b'S' | b'T' | b'Z' | b'X') => {}
                    _ => return None,
                }
                let switches = (
                    field(&text, "\nvoluntary_ctxt_switches:").unwrap_or(0),
                    field(&text, "\nnonvoluntary_ctxt_switches:").unwrap_or(0),
                );
                seen.push(Seen { thread, switches });
            }
        }
        for process in gone {
            self.processes.remove(&process);
        }
        Some(seen)
    }

    /// Returns true if there was an instant, during this call, at which no thread ran.
    ///
    /// That instant lies between two looks. A thread that waits at both, and has not given the
    /// processor away meanwhile, has not run between them.
    pub fn are_waiting(&mut self) -> bool {
        match self.look() {
            Some(first) => self.look() == Some(first),
            None => false,
        }
    }
}
