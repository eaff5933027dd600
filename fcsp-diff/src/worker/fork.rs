//! Calls of a forked child: the driver must answer at once, and the parent must not notice.

use super::{Done, Thread};
use crate::record::Outcome;
use std::time::{Duration, Instant};

/// Reported for a child that did not end in time.
const HUNG: i32 = 9_998;
/// Reported for a child that died.
const DIED: i32 = 9_997;
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(4);

impl Thread<'_> {
    pub(super) fn fork(&mut self, choice: u64) -> Done {
        // Other threads may hold a driver's locks at the fork, natively too. The simulated driver promises not to wait.
        if self.world.threads > 0 && !self.world.session.simulated {
            return None;
        }
        let (mut word, mut other) = (0u64, 0u64);
        let (at, next) = (&raw mut word as u64, &raw mut other as u64);
        // SAFETY: the child calls one function of the driver and ends without running anything else of this process.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let answered = match choice % 9 {
                0 => self.call("cuInit", &[0]),
                1 => self.call("cuCtxGetCurrent", &[at]),
                2 => self.call("cuMemAlloc_v2", &[at, 4096]),
                3 => self.call("cuMemGetInfo_v2", &[at, next]),
                4 => self.call("cuCtxSynchronize", &[]),
                5 => self.call("cuDeviceGetCount", &[at]),
                6 => self.call("cuMemAllocAsync", &[at, 4096, 0]),
                7 => self.call("cuStreamCreate", &[at, 0]),
                _ => self.call("cuDeviceTotalMem_v2", &[at, self.device()]),
            };
            // SAFETY: ends the child; a code that does not fit into a status is told apart from 0.
            unsafe { libc::_exit(if answered > 250 { 251 } else { answered }) };
        }
        if child < 0 {
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut status = 0;
        loop {
            // SAFETY: the child above, which nobody else waits for.
            match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
                0 if Instant::now() > deadline => {
                    // SAFETY: as above: not yet waited for, so the number is still its own.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                    // SAFETY: as above.
                    unsafe { libc::waitpid(child, &raw mut status, 0) };
                    return Some(Outcome::new(HUNG));
                }
                0 => std::thread::sleep(Duration::from_micros(200)),
                _ => break,
            }
        }
        Some(Outcome::new(if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            DIED
        }))
    }
}
