//! Programs that `fcsp run` started in a tenant: a tenant lives as long as one of them does.

use std::path::Path;

use fcsp_core::file;
use fcsp_core::process;
use fcsp_core::state::{SetupGuard, layout};
use serde::Serialize;

/// A program that `fcsp run` started.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Root {
    /// Process number.
    pub pid: u32,
    /// Clock ticks since boot when it started; tells a reused number apart.
    pub start_time: u64,
    /// True if it runs.
    pub alive: bool,
}

/// Reads the programs that `fcsp run` started in the tenant of this folder.
pub fn read(dir: &Path) -> Vec<Root> {
    let text = file::read_text(&dir.join(layout::ROOTS));
    text.lines()
        .filter_map(|line| {
            let (pid, start) = line.split_once(' ')?;
            let (pid, start_time) = (pid.parse().ok()?, start.trim().parse().ok()?);
            Some(Root {
                pid,
                start_time,
                alive: runs(pid, start_time),
            })
        })
        .collect()
}

/// Returns whether the process runs; a zombie does not, though its entry is still there.
fn runs(pid: u32, start_time: u64) -> bool {
    let Some((_, start)) = process::stat(&pid.to_string()) else {
        return false;
    };
    let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|text| {
            let after = text
                .get(text.rfind(')')? + 1..)?
                .trim_start()
                .chars()
                .next()?;
            Some(matches!(after, 'Z' | 'X'))
        })
        .unwrap_or(true);
    start == start_time && !zombie
}

/// Records this process as one of the tenant's programs, and drops programs that have ended.
///
/// # Errors
///
/// The system's reason.
pub fn add_self(setup: &SetupGuard) -> std::io::Result<()> {
    let me = process::myself();
    let mut text = others(setup.dir());
    text.push_str(&format!("{} {}\n", me.pid, me.start_time));
    replace(setup.dir(), &text)
}

/// Removes this process from the tenant's programs.
///
/// # Errors
///
/// The system's reason.
pub fn remove_self(setup: &SetupGuard) -> std::io::Result<()> {
    replace(setup.dir(), &others(setup.dir()))
}

/// Returns lines of the programs that run, without this process.
fn others(dir: &Path) -> String {
    let me = process::myself();
    read(dir)
        .into_iter()
        .filter(|root| root.alive && root.pid != me.pid)
        .map(|root| format!("{} {}\n", root.pid, root.start_time))
        .collect()
}

/// Replaces the file in one step. A full file system or a kill must not leave a tenant without a
/// record of its programs.
fn replace(dir: &Path, text: &str) -> std::io::Result<()> {
    file::replace(&dir.join(layout::ROOTS), text.as_bytes())
}
