//! Calls of a forked child: the driver must answer at once, and the parent must not notice.

use super::{Done, Thread};
use crate::crash;
use crate::record::Outcome;
use std::time::{Duration, Instant};

/// Reported for a child that died.
const DIED: i32 = 9_997;
/// A child that waits for so long, in one wait, hangs. One that a loaded machine lets wait for a
/// processor does not.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time for a hanging child to write its frames.
const WORDS: Duration = Duration::from_millis(500);

impl Thread<'_> {
    pub(super) fn fork(&mut self, choice: u64) -> Done {
        // Other threads may hold a driver's locks at the fork, natively too. The simulated driver
        // promises not to wait.
        if self.world.threads > 0 && !self.world.session.simulated {
            return None;
        }
        let (mut word, mut other) = (0u64, 0u64);
        let (at, next) = (&raw mut word as u64, &raw mut other as u64);
        let (name, arguments): (_, &[u64]) = match choice % 9 {
            0 => ("cuInit", &[0]),
            1 => ("cuCtxGetCurrent", &[at]),
            2 => ("cuMemAlloc_v2", &[at, 4096]),
            3 => ("cuMemGetInfo_v2", &[at, next]),
            4 => ("cuCtxSynchronize", &[]),
            5 => ("cuDeviceGetCount", &[at]),
            6 => ("cuMemAllocAsync", &[at, 4096, 0]),
            7 => ("cuStreamCreate", &[at, 0]),
            _ => ("cuDeviceTotalMem_v2", &[at, self.device()]),
        };
        // Looked up before: another thread may hold the table's lock at the fork.
        let entry = self.world.session.driver.entry(name);
        // SAFETY: the child calls one function of the driver and ends without running anything else
        // of this process.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: places of the right size, and numbers.
            let answered = unsafe { entry.call(arguments) };
            // SAFETY: ends the child; a code that does not fit into a status is told apart from 0.
            unsafe { libc::_exit(if answered > 250 { 251 } else { answered }) };
        }
        if child < 0 {
            return None;
        }
        let (mut last, mut since) = (None, Instant::now());
        let mut status = 0;
        loop {
            // SAFETY: the child above, which nobody else waits for.
            if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } != 0 {
                break;
            }
            let now = waits(child);
            if now.is_none() || now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                end_both(child);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Some(Outcome::new(if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            DIED
        }))
    }
}

/// Returns how often a process has yielded its processor, if it waits for something now.
fn waits(process: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    if !field("State:")?.trim_start().starts_with('S') {
        return None;
    }
    let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
    let counts = switches
        .iter()
        .filter_map(|name| field(name)?.trim().parse::<u64>().ok());
    Some(counts.sum())
}

/// Ends a child that hangs and this worker: the stacks of both are the worker's last words.
fn end_both(child: i32) -> ! {
    eprintln!("forked child {child} hangs:");
    // SAFETY: a child that has not been waited for, so the number is still its own.
    unsafe { libc::kill(child, crash::TELL) };
    std::thread::sleep(WORDS);
    // SAFETY: as above.
    unsafe { libc::kill(child, libc::SIGKILL) };
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_that_waits_is_told_from_one_that_works() {
        let start = |script: &str| Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (mut waiter, mut worker) = (start("exec sleep 600"), start("while :; do :; done"));
        let of = |child: &std::process::Child| waits(child.id() as i32);
        let deadline = Instant::now() + Duration::from_secs(60);
        // The shell becomes `sleep` first, and waits for nothing until then.
        let mut last = None;
        while last.is_none() || of(&waiter) != last {
            assert!(Instant::now() < deadline, "it does not wait");
            last = of(&waiter);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(of(&worker), None);
        for child in [&mut waiter, &mut worker] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
