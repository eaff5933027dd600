//! A clock that a test moves. Processes that a [`World`] adopts live in virtual time. It passes
//! only while all of their threads wait, and then goes straight to the next deadline.
//!
//! A loaded host makes such a test slower and changes no result. Programs, preload libraries and
//! simulated drivers run unchanged. The kernel hands their reads of the monotonic clock, their
//! sleeps and their timed waits to this process (`seccomp_unotify(2)`), which answers them.
//!
//! - [`filter`] has those system calls reported, for a command and all that it starts.
//! - [`vdso`] turns a read of the clock without a system call into one with it.
//! - [`supervisor`] answers the calls and moves the clock.
//! - [`futex`] finds out which waits and wake-ups belong together.
//! - [`threads`] sees whether any thread of the world runs.
//! - [`memory`] reads and writes another process's memory.
//!
//! What a program computes takes no virtual time. Each few reads of the clock take
//! [`supervisor::READS_NS`], so that a loop that polls the clock ends. A sleep ends
//! [`supervisor::LATE_NS`] late, as the kernel's timers do.

mod filter;
mod futex;
mod memory;
mod supervisor;
mod threads;
mod vdso;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use supervisor::Supervisor;

/// Longest time of the host that a test waits for the clock to get to an instant. No result depends
/// on it: a program that computes without end would otherwise hang the test.
const PATIENCE: Duration = Duration::from_secs(240);

/// State of the clock, and the test's wishes for it.
#[derive(Debug, Default)]
struct Control {
    /// Virtual CLOCK_MONOTONIC, ns.
    now: u64,
    /// Instant at which the clock stops, ns.
    until: Option<u64>,
    /// Number of calls of [`World::during`] in progress: the clock runs freely.
    flowing: u32,
    /// True if the world is gone and its supervisor has to end.
    ended: bool,
}

/// State that a test and its supervisor share.
#[derive(Debug, Default)]
struct Shared {
    control: Mutex<Control>,
    reached: Condvar,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        // The supervisor never panics with the lock; a test that fails must still end its world.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Processes with one virtual clock. It stands still except in [`World::advance`] and
/// [`World::during`].
#[derive(Debug)]
pub struct World {
    shared: Arc<Shared>,
    /// Socket through which adopted commands send their listeners.
    door: OwnedFd,
    supervisor: Option<std::thread::JoinHandle<()>>,
}

impl World {
    /// Makes a world without processes. Its clock begins at the host's.
    ///
    /// Returns `None`, with a note, if this kernel or sandbox does not report system calls.
    pub fn new() -> Option<Self> {
        if let Err(error) = filter::is_supported() {
            println!("SKIPPED: no virtual time: {error}");
            return None;
        }
        let (door, inside) = filter::door().expect("a pair of sockets");
        let shared = Arc::new(Shared::default());
        let supervisor = Supervisor::new(shared.clone(), inside);
        Some(Self {
            shared,
            door,
            supervisor: Some(std::thread::spawn(move || supervisor.run())),
        })
    }

    /// Makes a command's process, and all that it starts, a part of this world.
    pub fn adopt(&self, command: &mut Command) {
        let door = self.door.as_raw_fd();
        // SAFETY: the closure makes system calls only, on a descriptor that the child inherits: it
        // is open as long as this world, which outlives the start of its commands.
        unsafe { command.pre_exec(move || filter::enter(door)) };
    }

    /// Lets `time` pass. Afterwards every thread waits, and the clock stands still.
    #[allow(dead_code, reason = "not every suite does so")]
    pub fn advance(&self, time: Duration) {
        let mut control = self.shared.control();
        control.until = Some(control.now + time.as_nanos() as u64);
        filter::nudge(&self.door);
        let since = Instant::now();
        while control.until.is_some() {
            assert!(
                since.elapsed() < PATIENCE,
                "the world does not come to rest"
            );
            let waited = self
                .shared
                .reached
                .wait_timeout(control, Duration::from_secs(1));
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets time pass for as long as `action` takes: it waits for a process of this world.
    pub fn during<R>(&self, action: impl FnOnce() -> R) -> R {
        struct Flow<'a>(&'a Shared);
        impl Drop for Flow<'_> {
            // Also where the action panics.
            fn drop(&mut self) {
                self.0.control().flowing -= 1;
            }
        }
        self.shared.control().flowing += 1;
        filter::nudge(&self.door);
        let _flow = Flow(&self.shared);
        action()
    }

    /// Returns the virtual time, ns of CLOCK_MONOTONIC.
    #[allow(dead_code, reason = "not every suite asks")]
    pub fn now(&self) -> u64 {
        self.shared.control().now
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shared.control().ended = true;
        filter::nudge(&self.door);
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}
