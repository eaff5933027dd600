//! Turns on a device's engine, between contexts and between processes.
//!
//! One context has the engine at a time. A context with work keeps it for a slice of 2 ms of device
//! time and then passes it to the next waiting context, round robin; a context that runs out of
//! work lets go at once.
//!
//! Device time is nominal: work starts when the engine's work before it ended (or when
//! it was submitted, if later) and takes exactly its declared duration. The host thread that plays
//! the engine may wake late; it then starts the next piece as of when it should have, at most
//! [`LAG_NS`] in the past. So rates do not depend on how well the host sleeps.

use crate::clock;
use crate::error::{Error, Result};
use crate::process::{Process, add_busy};
use crate::region::{EngineState, MAX_LANES, Region};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

/// Device time a context may use before the next one's turn.
pub const SLICE_NS: u64 = 2_000_000;
/// Longest time that late work's start may be dated back.
pub const LAG_NS: u64 = 2_000_000;
/// How long a holder may overrun its piece before others pass it over: a stopped process must not
/// stop the device.
const OVERRUN_NS: u64 = 50_000_000;
/// Interval at which a waiter checks whether the holder still lives.
const POLL_NS: u64 = 5_000_000;

const IDLE: u32 = 1;
const WAITING: u32 = 2;
const RUNNING: u32 = 3;

/// A context's place in a device's rota. Dropping it gives the place back.
#[derive(Debug)]
pub struct Lane {
    process: Arc<Process>,
    device: usize,
    index: usize,
    held: bool,
    slice_used: u64,
}

fn futex_wait(word: &AtomicU32, expected: u32, timeout_ns: u64) {
    let t = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `word` is a live, aligned u32 in a shared mapping; a spurious return is handled by
    // the caller's loop.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &t,
            0usize,
            0u32,
        )
    };
}

fn futex_wake(word: &AtomicU32) {
    // SAFETY: as above; waking takes no other pointer.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
            0usize,
            0usize,
            0u32,
        )
    };
}

/// Frees the places of a dead process. The caller holds the region's lock.
pub(crate) fn reap(region: &Region, device: usize, slot: usize) {
    let e = region.engine(device);
    for (i, lane) in e.lanes.iter().enumerate() {
        if lane.owner.load(Relaxed) == slot as u32 + 1 {
            lane.state.store(0, Relaxed);
            lane.owner.store(0, Relaxed);
            // SeqCst like every change of holder: see `pass`.
            let _ = e.holder.compare_exchange(i as u32 + 1, 0, SeqCst, SeqCst);
        }
    }
}

impl Lane {
    /// Takes a place in a device's rota.
    ///
    /// # Errors
    /// [`Error::TooMany`] when all places are taken by live contexts.
    pub fn open(process: Arc<Process>, device: usize) -> Result<Self> {
        let lock = process.region.lock();
        let e = process.region.engine(device);
        let index = (0..MAX_LANES)
            .find(|i| e.lanes[*i].owner.load(Relaxed) == 0)
            .ok_or(Error::TooMany)?;
        let lane = &e.lanes[index];
        lane.busy_ns.store(0, Relaxed);
        lane.state.store(IDLE, Relaxed);
        lane.owner.store(process.slot() as u32 + 1, Relaxed);
        drop(lock);
        Ok(Self {
            process,
            device,
            index,
            held: false,
            slice_used: 0,
        })
    }

    fn engine(&self) -> &EngineState {
        self.process.region.engine(self.device)
    }

    fn me(&self) -> u32 {
        self.index as u32 + 1
    }

    /// Returns the next waiting lane after this one, going round.
    fn next_waiting(&self) -> Option<usize> {
        let e = self.engine();
        (1..MAX_LANES)
            .map(|k| (self.index + k) % MAX_LANES)
            .find(|i| e.lanes[*i].state.load(SeqCst) == WAITING)
    }

    /// Gives the engine to `to`, or to nobody.
    fn pass(&self, to: Option<usize>) {
        let e = self.engine();
        // SeqCst here, on `state` and in `take`: a waiter publishes WAITING and then looks at the
        // holder; we change the holder and then look for waiters. In one total order at least one
        // of the two sees the other.
        let target = to.map_or(0, |i| i as u32 + 1);
        if e.holder
            .compare_exchange(self.me(), target, SeqCst, SeqCst)
            .is_err()
        {
            return; // Passed over while stopped: the engine is no longer ours to give.
        }
        let wake = to.or_else(|| self.next_waiting());
        if let Some(i) = wake {
            e.lanes[i].wake.fetch_add(1, SeqCst);
            futex_wake(&e.lanes[i].wake);
        }
    }

    fn holder_is_gone(&self, holder: u32) -> bool {
        let e = self.engine();
        let owner = e.lanes[holder as usize - 1].owner.load(Relaxed);
        let mine = self.process.slot() as u32 + 1;
        owner == 0
            || clock::now() > e.lease.load(Relaxed).saturating_add(OVERRUN_NS)
            || (owner != mine && !self.process.region.is_alive(owner as usize - 1))
    }

    /// Waits for the engine.
    fn take(&mut self) {
        let e = self.process.region.engine(self.device);
        let lane = &e.lanes[self.index];
        let me = self.me();
        loop {
            // Again on every round: who passes us over while we are stopped takes us off the
            // waiting list.
            lane.state.store(WAITING, SeqCst);
            let seen = lane.wake.load(SeqCst);
            let holder = e.holder.load(SeqCst);
            let ours = holder == me
                || (holder == 0 && e.holder.compare_exchange(0, me, SeqCst, SeqCst).is_ok())
                || (holder != 0
                    && self.holder_is_gone(holder)
                    && e.holder
                        .compare_exchange(holder, me, SeqCst, SeqCst)
                        .is_ok());
            if ours {
                if holder != 0 && holder != me {
                    // Otherwise the rota would come back to a stopped process and wait for it every
                    // time.
                    let _ = e.lanes[holder as usize - 1]
                        .state
                        .compare_exchange(RUNNING, IDLE, SeqCst, SeqCst);
                    let _ = e.lanes[holder as usize - 1]
                        .state
                        .compare_exchange(WAITING, IDLE, SeqCst, SeqCst);
                }
                break;
            }
            if holder != 0 {
                futex_wait(&lane.wake, seen, POLL_NS);
            }
        }
        lane.state.store(RUNNING, SeqCst);
        // Relaxed: read by those who wait, who look again in a few milliseconds if they see the old
        // one.
        e.lease.store(clock::now() + SLICE_NS, Relaxed);
        e.switches.fetch_add(1, Relaxed);
        self.held = true;
        self.slice_used = 0;
    }

    /// Runs work of `duration` nanoseconds that was ready at `ready`, in slices, and returns when
    /// it ended. The engine stays with this context until its slice ends or [`Lane::idle`] is
    /// called.
    pub fn run(&mut self, ready: u64, duration: u64) -> u64 {
        let mut remaining = duration;
        let mut ready = ready;
        loop {
            if !self.held {
                self.take();
            }
            let e = self.process.region.engine(self.device);
            // Acquire pairs with the holder hand-over; the value is only ever written by the
            // holder.
            let start = e
                .free_at
                .load(Acquire)
                .max(ready)
                .max(clock::now().saturating_sub(LAG_NS));
            let piece = remaining.min(SLICE_NS - self.slice_used);
            let end = start + piece;
            e.lease.store(end, Relaxed);
            clock::wait_until(end);
            if e.holder.load(SeqCst) != self.me() {
                // Passed over: the piece was not run on the device.
                self.held = false;
                continue;
            }
            e.free_at.store(end, SeqCst);
            e.busy_ns.fetch_add(piece, Relaxed);
            e.lanes[self.index].busy_ns.fetch_add(piece, Relaxed);
            add_busy(self.process.usage(self.device), end, piece);
            remaining -= piece;
            ready = end;
            self.slice_used += piece;
            if self.slice_used >= SLICE_NS {
                self.slice_used = 0;
                if let Some(next) = self.next_waiting() {
                    self.held = false;
                    e.lanes[self.index].state.store(IDLE, SeqCst);
                    e.lease.store(clock::now() + SLICE_NS, Relaxed);
                    self.pass(Some(next));
                }
            }
            if remaining == 0 {
                return end;
            }
        }
    }

    /// Releases the engine: this context has nothing to run.
    pub fn idle(&mut self) {
        if std::mem::take(&mut self.held) {
            let e = self.engine();
            e.lanes[self.index].state.store(IDLE, SeqCst);
            e.lease.store(clock::now() + SLICE_NS, Relaxed);
            let next = self.next_waiting();
            self.pass(next);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.idle();
        let lane = &self.engine().lanes[self.index];
        lane.state.store(0, SeqCst);
        // Last: from here on the place is another's.
        lane.owner.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Topology;

    fn process(path: &std::path::Path) -> Arc<Process> {
        let t: Topology = "tiny".parse().unwrap();
        let region = Arc::new(Region::open(path, &t).unwrap());
        Arc::new(Process::join(t, region).unwrap())
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("fcsp-sim-engine-{}-{name}", std::process::id()))
    }

    #[test]
    fn work_takes_its_declared_time_on_the_devices_own_line() {
        let path = scratch("nominal");
        let p = process(&path);
        let mut lane = Lane::open(p.clone(), 0).unwrap();
        let t0 = clock::now();
        let first = lane.run(t0, 300_000);
        let mut end = first;
        for _ in 0..20 {
            end = lane.run(t0, 100_000);
        }
        // Back-to-back work is contiguous unless this host froze for longer than the permitted lag.
        assert!(end - first >= 20 * 100_000);
        assert_eq!(p.usage(0).busy_ns.load(Relaxed), 300_000 + 20 * 100_000);
        assert!(clock::now() >= end);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn two_busy_contexts_get_half_each() {
        let path = scratch("halves");
        let (a, b) = (process(&path), process(&path));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let work = |p: Arc<Process>| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut lane = Lane::open(p, 0).unwrap();
                while !stop.load(Relaxed) {
                    lane.run(0, 700_000);
                }
            })
        };
        let threads = [work(a.clone()), work(b.clone())];
        std::thread::sleep(std::time::Duration::from_millis(400));
        stop.store(true, Relaxed);
        for t in threads {
            t.join().unwrap();
        }
        let (x, y) = (
            a.usage(0).busy_ns.load(Relaxed) as f64,
            b.usage(0).busy_ns.load(Relaxed) as f64,
        );
        assert!(x > 0.0 && (x / (x + y) - 0.5).abs() < 0.15, "{x} and {y}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_holder_that_dies_does_not_keep_the_engine() {
        let path = scratch("death");
        let b = process(&path);
        {
            let a = process(&path);
            let mut lane = Lane::open(a, 0).unwrap();
            lane.run(0, 1_000);
            assert!(lane.held);
            // What a kill leaves behind: the engine held, the lane claimed, the file closed.
            let lane = std::mem::ManuallyDrop::new(lane);
            // SAFETY: takes over the one reference the lane would have dropped, so that the file is
            // closed.
            drop(unsafe { std::ptr::read(&lane.process) });
        }
        let mut lane = Lane::open(b.clone(), 0).unwrap();
        lane.run(clock::now(), 1_000);
        assert_eq!(b.usage(0).busy_ns.load(Relaxed), 1_000);
        std::fs::remove_file(path).unwrap();
    }
}
