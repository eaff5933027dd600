//! The supervisor: answers the system calls of a world and moves its clock.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use libc::{seccomp_notif, seccomp_notif_resp};

use super::futex::Key;
use super::threads::Threads;
use super::{Shared, filter, memory, vdso};

/// Reads of the clock by one thread at one instant that take no time.
const READS: u32 = 8;
/// Duration of the next read, and of a yield, ns.
pub const READS_NS: u64 = 10_000;
/// Time by which a sleep or a timed wait ends late, ns.
pub const LATE_NS: u64 = 30_000;
/// Pause before the next look at threads that run, ns of the host.
const LOOK_NS: i64 = 50_000;
/// Pause between two looks at the control while the clock stands still, ns of the host.
const HOLD_NS: i64 = 1_000_000;

/// A call that is not answered yet.
#[derive(Debug)]
struct Waiting {
    listener: RawFd,
    id: u64,
    thread: u32,
    /// Instant at which it is answered, ns.
    deadline: u64,
    wait: Wait,
}

/// Event that a call waits for.
#[derive(Debug)]
enum Wait {
    /// Time alone.
    Sleep,
    /// A read of the clock, whose result goes to this address.
    Clock { result: u64, offset: u64 },
    /// A wake-up of a futex, or time.
    Futex(Key),
}

/// Permission for the clock to pass.
enum Leave {
    /// The clock may go as far as this, ns.
    Until(u64),
    Hold,
    End,
}

pub struct Supervisor {
    shared: Arc<Shared>,
    inside: OwnedFd,
    listeners: Vec<OwnedFd>,
    threads: Threads,
    waiting: Vec<Waiting>,
    /// Threads that were answered since the last look and have not called again: some may run.
    out: HashSet<u32>,
    /// Last instant at which a thread read the clock, and how often it did then.
    reads: HashMap<u32, (u64, u32)>,
    now: u64,
    /// CLOCK_BOOTTIME less CLOCK_MONOTONIC, ns.
    asleep: u64,
}

fn host_time(clock: libc::clockid_t) -> u64 {
    // SAFETY: all zeros is a valid timespec, and the kernel writes it.
    let time = unsafe {
        let mut time: libc::timespec = MaybeUninit::zeroed().assume_init();
        libc::clock_gettime(clock, &mut time);
        time
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Supervisor {
    pub fn new(shared: Arc<Shared>, inside: OwnedFd) -> Self {
        let now = host_time(libc::CLOCK_MONOTONIC);
        shared.control().now = now;
        Self {
            shared,
            inside,
            listeners: Vec::new(),
            threads: Threads::default(),
            waiting: Vec::new(),
            out: HashSet::new(),
            reads: HashMap::new(),
            now,
            asleep: host_time(libc::CLOCK_BOOTTIME).saturating_sub(now),
        }
    }

    /// Serves the world until it ends. Then calls fail that still wait, and their processes see
    /// "not implemented".
    pub fn run(mut self) {
        filter::prompt();
        loop {
            // Without a wait: what has come is answered first.
            while self.serve(0) {}
            let limit = match self.leave() {
                Leave::End => return,
                Leave::Until(limit) => Some(limit),
                Leave::Hold => None,
            };
            let Some(limit) = limit else {
                self.serve(HOLD_NS);
                continue;
            };
            // A look takes longer than most threads run.
            if !self.out.is_empty() && self.serve(LOOK_NS) {
                continue;
            }
            if !self.passes(limit) {
                self.serve(LOOK_NS);
            }
        }
    }

    fn leave(&self) -> Leave {
        let control = self.shared.control();
        if control.ended {
            Leave::End
        } else if let Some(until) = control.until {
            Leave::Until(until)
        } else if control.flowing > 0 {
            Leave::Until(u64::MAX)
        } else {
            Leave::Hold
        }
    }

    /// Moves the clock to the next deadline, or to `limit`, if every thread waits. Returns false if
    /// it did not.
    fn passes(&mut self, limit: u64) -> bool {
        if !self.threads.are_waiting() || self.is_asked() {
            return false;
        }
        self.out.clear();
        let next = self.waiting.iter().map(|waiting| waiting.deadline).min();
        let next = next.unwrap_or(u64::MAX);
        if next > limit {
            self.now = self.now.max(limit);
            let mut control = self.shared.control();
            control.now = self.now;
            control.until = None;
            self.shared.reached.notify_all();
            return true;
        }
        if next == u64::MAX {
            // Everybody waits for something from outside.
            return false;
        }
        self.now = self.now.max(next);
        self.shared.control().now = self.now;
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.deadline <= self.now);
        self.waiting = waiting;
        for call in due {
            self.wake_by_time(call);
        }
        true
    }

    fn wake_by_time(&mut self, call: Waiting) {
        match call.wait {
            Wait::Sleep => self.send(call.listener, call.id, call.thread, Ok(0)),
            Wait::Futex(_) => self.send(call.listener, call.id, call.thread, Err(libc::ETIMEDOUT)),
            Wait::Clock { result, offset } => {
                memory::write_time(call.thread, result, self.now + offset);
                self.send(call.listener, call.id, call.thread, Ok(0))
            }
        };
    }

    /// Returns true if a call has come that was not looked at.
    fn is_asked(&mut self) -> bool {
        self.poll(0).is_some()
    }

    /// Waits for a listener with a call, or for the door. Removes listeners without processes.
    fn poll(&mut self, timeout_ns: i64) -> Option<RawFd> {
        let mut all: Vec<libc::pollfd> = std::iter::once(self.inside.as_raw_fd())
            .chain(self.listeners.iter().map(AsRawFd::as_raw_fd))
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: timeout_ns,
        };
        // SAFETY: the kernel reads and writes the vector's elements, and reads the time.
        unsafe { libc::ppoll(all.as_mut_ptr(), all.len() as _, &timeout, std::ptr::null()) };
        let asked = all.iter().find(|poll| poll.revents & libc::POLLIN != 0);
        let asked = asked.map(|poll| poll.fd);
        for poll in &all[1..] {
            if poll.revents & libc::POLLIN == 0 && poll.revents != 0 {
                self.listeners
                    .retain(|listener| listener.as_raw_fd() != poll.fd);
                self.waiting.retain(|waiting| waiting.listener != poll.fd);
            }
        }
        asked
    }

    /// Answers one call, if one comes within so many ns of the host.
    fn serve(&mut self, timeout_ns: i64) -> bool {
        let Some(listener) = self.poll(timeout_ns) else {
            return false;
        };
        if listener == self.inside.as_raw_fd() {
            let Some((listener, process)) = filter::receive(&self.inside) else {
                return false;
            };
            self.threads.add(process);
            self.listeners.push(listener);
            return true;
        }
        // SAFETY: all zeros is what the kernel wants to be given.
        let mut call: seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the kernel writes the call.
        let code = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
        if code == 0 {
            self.answer(listener, &call);
        }
        true
    }

    fn answer(&mut self, listener: RawFd, call: &seccomp_notif) {
        let [first, second, third, fourth, ..] = call.data.args;
        let thread = call.pid;
        self.out.remove(&thread);
        match libc::c_long::from(call.data.nr) {
            libc::SYS_clock_gettime => self.read_clock(listener, call),
            libc::SYS_nanosleep => self.sleep(listener, call, first, false),
            // A loop that polls and yields.
            libc::SYS_sched_yield => {
                self.park(listener, call, self.now + READS_NS, Wait::Sleep);
            }
            libc::SYS_clock_nanosleep => {
                let is_absolute = second & libc::TIMER_ABSTIME as u64 != 0;
                self.sleep(listener, call, third, is_absolute);
            }
            libc::SYS_futex => {
                let operation = second as i32;
                let is_private = operation & libc::FUTEX_PRIVATE_FLAG != 0;
                let process = self.threads.process_of(thread);
                let key = Key::of(process, first, is_private);
                match operation & 0x7f {
                    libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
                        self.wake(listener, call, &key, third as u32);
                    }
                    _ => self.wait(listener, call, key, fourth),
                }
            }
            libc::SYS_set_tid_address => {
                if let Err(error) = vdso::disable(thread) {
                    println!("process {thread} keeps the host's clock: {error}");
                }
                self.go_on(listener, call);
            }
            libc::SYS_clone => self.start(listener, call, Some(first)),
            libc::SYS_clone3 => {
                let flags: Option<[u8; 8]> = memory::read(thread, first);
                self.start(listener, call, flags.map(u64::from_ne_bytes));
            }
            // A process without flags.
            _ => self.start(listener, call, None),
        }
    }

    /// Lets a thread or a process start.
    fn start(&mut self, listener: RawFd, call: &seccomp_notif, flags: Option<u64>) {
        if flags.unwrap_or(0) & libc::CLONE_THREAD as u64 == 0 {
            self.threads.forks(call.pid);
        }
        self.go_on(listener, call);
    }

    fn read_clock(&mut self, listener: RawFd, call: &seccomp_notif) {
        let [clock, result, ..] = call.data.args;
        let offset = match clock as libc::clockid_t {
            libc::CLOCK_BOOTTIME => self.asleep,
            _ => 0,
        };
        let (at, times) = self.reads.entry(call.pid).or_default();
        if *at != self.now {
            (*at, *times) = (self.now, 0);
        }
        *times += 1;
        if *times > READS {
            let wait = Wait::Clock { result, offset };
            self.park(listener, call, self.now + READS_NS, wait);
        } else {
            memory::write_time(call.pid, result, self.now + offset);
            self.send(listener, call.id, call.pid, Ok(0));
        }
    }

    fn park(&mut self, listener: RawFd, call: &seccomp_notif, deadline: u64, wait: Wait) {
        self.waiting.push(Waiting {
            listener,
            id: call.id,
            thread: call.pid,
            deadline,
            wait,
        });
    }

    fn sleep(&mut self, listener: RawFd, call: &seccomp_notif, time: u64, is_absolute: bool) {
        let Some(time) = memory::read_time(call.pid, time) else {
            self.send(listener, call.id, call.pid, Err(libc::EFAULT));
            return;
        };
        let deadline = if is_absolute {
            time
        } else {
            self.now.saturating_add(time)
        };
        if deadline <= self.now {
            self.send(listener, call.id, call.pid, Ok(0));
        } else {
            self.park(
                listener,
                call,
                deadline.saturating_add(LATE_NS),
                Wait::Sleep,
            );
        }
    }

    fn wait(&mut self, listener: RawFd, call: &seccomp_notif, key: Key, timeout: u64) {
        let [word, operation, expected, ..] = call.data.args;
        let time = memory::read_time(call.pid, timeout);
        let found: Option<[u8; 4]> = memory::read(call.pid, word);
        let (Some(time), Some(found)) = (time, found) else {
            self.send(listener, call.id, call.pid, Err(libc::EFAULT));
            return;
        };
        if u32::from_ne_bytes(found) != expected as u32 {
            self.send(listener, call.id, call.pid, Err(libc::EAGAIN));
            return;
        }
        let operation = operation as i32;
        let deadline = if operation & 0x7f == libc::FUTEX_WAIT {
            self.now.saturating_add(time)
        } else if operation & libc::FUTEX_CLOCK_REALTIME != 0 {
            let left = time.saturating_sub(host_time(libc::CLOCK_REALTIME));
            self.now.saturating_add(left)
        } else {
            time
        };
        let deadline = deadline.max(self.now).saturating_add(LATE_NS);
        self.park(listener, call, deadline, Wait::Futex(key));
    }

    /// Wakes up to `most` timed waits. The kernel wakes the others.
    fn wake(&mut self, listener: RawFd, call: &seccomp_notif, key: &Key, most: u32) {
        let mut woken = 0;
        let mut index = 0;
        while index < self.waiting.len() && woken < most {
            let is_met = matches!(&self.waiting[index].wait, Wait::Futex(other) if other == key);
            if !is_met {
                index += 1;
                continue;
            }
            let waiting = self.waiting.remove(index);
            // A call whose thread died, or went on by a signal, was not woken.
            woken += u32::from(self.send(waiting.listener, waiting.id, waiting.thread, Ok(0)));
        }
        if woken == most {
            self.send(listener, call.id, call.pid, Ok(woken.into()));
        } else {
            self.go_on(listener, call);
        }
    }

    /// Answers a call with a value or an error number. Returns false if its thread no longer waits.
    fn send(&mut self, listener: RawFd, id: u64, thread: u32, result: Result<i64, i32>) -> bool {
        let (val, error) = match result {
            Ok(value) => (value, 0),
            Err(error) => (0, -error),
        };
        self.out.insert(thread);
        respond(
            listener,
            seccomp_notif_resp {
                id,
                val,
                error,
                flags: 0,
            },
        )
    }

    /// Lets the kernel carry out a call.
    fn go_on(&mut self, listener: RawFd, call: &seccomp_notif) {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.out.insert(call.pid);
        respond(
            listener,
            seccomp_notif_resp {
                id: call.id,
                val: 0,
                error: 0,
                flags,
            },
        );
    }
}

fn respond(listener: RawFd, mut answer: seccomp_notif_resp) -> bool {
    // SAFETY: the kernel reads the answer.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) == 0 }
}
