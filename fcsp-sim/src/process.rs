//! This process's place on the machine, and the device memory it holds.
//!
//! Memory is taken under the file's lock. The sum over all live processes never passes the device's
//! capacity. A dead process's memory counts as free as soon as the kernel has closed its file.

use crate::error::{Error, Result};
use crate::region::{Locked, MAX_PROCESSES, Region};
use crate::spec::Topology;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Length of a utilisation window.
pub const WINDOW_NS: u64 = 500_000_000;

/// To whom bytes are attributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The process, as the management API shows it.
    Process,
    /// Managed memory: on the device, attributed to nobody.
    Managed,
}

/// A process of the machine, from its first use of the driver to its death.
#[derive(Debug)]
pub struct Process {
    /// The devices.
    pub topology: Topology,
    /// The shared state.
    pub region: Arc<Region>,
    slot: usize,
}

/// Use of a device by a live process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Process id.
    pub pid: u32,
    /// Bytes attributed to it.
    pub bytes: u64,
    /// Live contexts.
    pub contexts: u32,
    /// Device time used, in nanoseconds.
    pub busy_ns: u64,
    /// Share of the last full window spent on the device, in per cent.
    pub utilisation: u32,
}

/// Clears what a dead process left. The lock keeps two reapers, and a reaper and a claimant, apart.
fn reap(region: &Region, slot: usize, _lock: &Locked<'_>) {
    // Relaxed in this module's writes under the lock: the lock orders them for everybody who
    // decides by them.
    let s = region.process(slot);
    for u in &s.usage {
        for word in [
            &u.bytes,
            &u.managed,
            &u.busy_ns,
            &u.window,
            &u.window_ns,
            &u.last_window_ns,
        ] {
            word.store(0, Relaxed);
        }
        u.contexts.store(0, Relaxed);
    }
    s.pid.store(0, Relaxed);
    for device in 0..crate::spec::MAX_DEVICES {
        crate::engine::reap(region, device, slot);
    }
}

impl Process {
    /// Joins the machine.
    ///
    /// # Errors
    /// [`Error::TooMany`] when every slot belongs to a live process.
    pub fn join(topology: Topology, region: Arc<Region>) -> Result<Self> {
        let lock = region.lock();
        // A free slot and a dead process's slot are the same thing here: its liveness lock can be
        // had.
        let slot = (0..MAX_PROCESSES)
            .find(|s| region.claim_liveness(*s))
            .ok_or(Error::TooMany)?;
        reap(&region, slot, &lock);
        let s = region.process(slot);
        s.generation.fetch_add(1, Relaxed);
        s.pid.store(std::process::id(), Relaxed);
        region.raise_high(slot);
        drop(lock);
        Ok(Self {
            topology,
            region,
            slot,
        })
    }

    /// Returns this process's slot number.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Returns this process's use of a device.
    pub fn usage(&self, device: usize) -> &crate::region::Usage {
        &self.region.process(self.slot).usage[device]
    }

    fn total(&self, device: usize) -> u64 {
        let sum = |s: &crate::region::ProcessSlot| {
            let u = &s.usage[device];
            u.bytes
                .load(Relaxed)
                .saturating_add(u.managed.load(Relaxed))
        };
        self.region
            .processes()
            .iter()
            .filter(|s| s.pid.load(Relaxed) != 0)
            .map(sum)
            .sum()
    }

    fn reap_all(&self, lock: &Locked<'_>) {
        for slot in 0..self.region.processes().len() {
            if slot != self.slot
                && self.region.process(slot).pid.load(Relaxed) != 0
                && !self.region.is_alive(slot)
            {
                reap(&self.region, slot, lock);
            }
        }
    }

    /// Takes `bytes` of a device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has not that much free; nothing has changed then.
    pub fn take(&self, device: usize, bytes: u64, account: Account) -> Result {
        let capacity = self.topology.devices[device].memory;
        let lock = self.region.lock();
        if self.total(device).saturating_add(bytes) > capacity {
            self.reap_all(&lock);
            if self.total(device).saturating_add(bytes) > capacity {
                return Err(Error::OutOfMemory);
            }
        }
        let peak = &self.region.engine(device).peak;
        if self.total(device).saturating_add(bytes) > peak.load(Relaxed) {
            // Dead processes hold nothing.
            self.reap_all(&lock);
            peak.fetch_max(self.total(device).saturating_add(bytes), Relaxed);
        }
        self.word(device, account).fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Gives `bytes` back.
    pub fn give(&self, device: usize, bytes: u64, account: Account) {
        // Without the lock: a smaller sum can only let a racing `take` succeed that might have been
        // refused.
        let before = self.word(device, account).fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "gave back {bytes} of {before}");
    }

    fn word(&self, device: usize, account: Account) -> &std::sync::atomic::AtomicU64 {
        let u = self.usage(device);
        match account {
            Account::Process => &u.bytes,
            Account::Managed => &u.managed,
        }
    }

    /// Returns free and total bytes of a device, without dead processes' bytes.
    pub fn memory(&self, device: usize) -> (u64, u64) {
        let capacity = self.topology.devices[device].memory;
        let used = used(&self.region, device);
        (capacity.saturating_sub(used), capacity)
    }
}

/// Returns the bytes in use on a device by live processes.
pub fn used(region: &Region, device: usize) -> u64 {
    live(region)
        .map(|(_, s)| {
            let u = &s.usage[device];
            u.bytes
                .load(Relaxed)
                .saturating_add(u.managed.load(Relaxed))
        })
        .sum()
}

/// Returns the most bytes that live processes ever held on a device at once. No sampling misses it.
pub fn peak(region: &Region, device: usize) -> u64 {
    region.engine(device).peak.load(Relaxed)
}

/// Lists live processes and their slots, read without changing anything.
fn live(region: &Region) -> impl Iterator<Item = (usize, &crate::region::ProcessSlot)> {
    region
        .processes()
        .iter()
        .enumerate()
        .filter(|(i, s)| s.pid.load(Relaxed) != 0 && region.is_alive(*i))
}

/// Lists each live process's use of a device.
pub fn holdings(region: &Region, device: usize) -> Vec<Holding> {
    let now = crate::clock::now();
    live(region)
        .map(|(_, s)| {
            let u = &s.usage[device];
            Holding {
                pid: s.pid.load(Relaxed),
                bytes: u.bytes.load(Relaxed),
                contexts: u.contexts.load(Relaxed),
                busy_ns: u.busy_ns.load(Relaxed),
                utilisation: utilisation(u, now),
            }
        })
        .collect()
}

/// Offset of process numbers in the lists of a system whose driver knows the numbers of the first
/// PID namespace. It is above the numbers of ordinary systems, so that none is taken for another
/// process's.
pub const HOST_NUMBERS: u32 = 1_000_000;

/// Lists [`holdings`] by the process numbers of a management library. They differ from the
/// processes' own if `FCSP_SIM_NVML` has the word `hostpid`.
pub fn listed(region: &Region, device: usize) -> Vec<Holding> {
    let variant = std::env::var("FCSP_SIM_NVML").unwrap_or_default();
    let more = if variant.split(',').any(|word| word.trim() == "hostpid") {
        HOST_NUMBERS
    } else {
        0
    };
    let mut all = holdings(region, device);
    all.iter_mut().for_each(|holding| holding.pid += more);
    all
}

/// Adds device time to a process's account and to its current window.
pub fn add_busy(u: &crate::region::Usage, at: u64, ns: u64) {
    // Relaxed: a statistic. Two contexts of one process that turn the window over together can lose
    // a part of it.
    u.busy_ns.fetch_add(ns, Relaxed);
    let start = u.window.load(Relaxed);
    if at >= start + WINDOW_NS {
        let recent = at < start + 2 * WINDOW_NS;
        u.last_window_ns
            .store(if recent { u.window_ns.load(Relaxed) } else { 0 }, Relaxed);
        u.window_ns.store(0, Relaxed);
        u.window.store(at - at % WINDOW_NS, Relaxed);
    }
    u.window_ns.fetch_add(ns, Relaxed);
}

fn utilisation(u: &crate::region::Usage, now: u64) -> u32 {
    let start = u.window.load(Relaxed);
    let ns = match now.saturating_sub(start) / WINDOW_NS {
        0 => u.last_window_ns.load(Relaxed),
        1 => u.window_ns.load(Relaxed),
        _ => 0,
    };
    (ns.min(WINDOW_NS) * 100 / WINDOW_NS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, spec: &str) -> (Process, Process, std::path::PathBuf) {
        let path =
            std::env::temp_dir().join(format!("fcsp-sim-process-{}-{name}", std::process::id()));
        let t: Topology = spec.parse().unwrap();
        let open = || Process::join(t.clone(), Arc::new(Region::open(&path, &t).unwrap())).unwrap();
        (open(), open(), path)
    }

    #[test]
    fn capacity_holds_across_processes_and_the_dead_give_back() {
        let (a, b, path) = machine("capacity", "tiny,memory=64MiB");
        a.take(0, 40 << 20, Account::Process).unwrap();
        assert_eq!(
            b.take(0, 25 << 20, Account::Process),
            Err(Error::OutOfMemory)
        );
        b.take(0, 24 << 20, Account::Managed).unwrap();
        assert_eq!(b.memory(0), (0, 64 << 20));
        b.give(0, 1 << 20, Account::Managed);
        assert_eq!(a.memory(0).0, 1 << 20);
        assert_eq!(peak(&a.region, 0), 64 << 20);
        // Closing the file is what the kernel does for a process that dies, whatever killed it.
        drop(a);
        b.take(0, 41 << 20, Account::Process).unwrap();
        assert_eq!(peak(&b.region, 0), 64 << 20, "the dead are in no peak");
        assert_eq!(b.take(0, 1, Account::Process), Err(Error::OutOfMemory));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn racing_threads_never_pass_the_capacity() {
        let (a, b, path) = machine("race", "tiny,memory=64MiB");
        let got: usize = std::thread::scope(|s| {
            let hands: Vec<_> = [&a, &b, &a, &b]
                .into_iter()
                .map(|p| {
                    s.spawn(move || {
                        (0..40)
                            .filter(|_| p.take(0, 1 << 20, Account::Process).is_ok())
                            .count()
                    })
                })
                .collect();
            hands.into_iter().map(|h| h.join().unwrap()).sum()
        });
        assert_eq!(got, 64);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn utilisation_is_of_the_last_full_window() {
        let (a, _b, path) = machine("window", "tiny");
        let u = a.usage(0);
        let t0 = 40 * WINDOW_NS;
        add_busy(u, t0, WINDOW_NS / 2);
        assert_eq!(utilisation(u, t0 + WINDOW_NS + 1), 50);
        add_busy(u, t0 + WINDOW_NS, WINDOW_NS / 4);
        assert_eq!(utilisation(u, t0 + WINDOW_NS + 1), 50);
        assert_eq!(utilisation(u, t0 + 2 * WINDOW_NS), 25);
        assert_eq!(utilisation(u, t0 + 9 * WINDOW_NS), 0);
        std::fs::remove_file(path).unwrap();
    }
}
