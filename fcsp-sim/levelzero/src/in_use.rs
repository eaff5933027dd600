//! What uses an object at this moment: a thread in a call on it, and work on the device.
//!
//! The specification leaves both to the application. "APIs are not thread-safe when the driver's
//! object handle is the same, except when explicitly noted" (INTRO, Multithreading and
//! Concurrency). "The application must ensure the device is not currently referencing the command
//! list before it is deleted", and so for queues, events and fences. Otherwise "the driver behavior
//! is undefined when APIs are improperly used", so such a use ends the program here.

use fcsp_sim::strict::{Rule, call, fatal, is_on};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The thread that is in a call on an object.
#[derive(Debug, Clone, Copy)]
struct Stay {
    thread: i32,
    call: &'static str,
    depth: u32,
}

/// One thread at a time: for objects that are not thread-safe.
#[derive(Debug, Default)]
pub struct Threads(Mutex<Option<Stay>>);

/// The end of a stay in a call.
#[derive(Debug)]
pub struct Leave<'a>(&'a Threads);

impl Threads {
    fn lock(&self) -> MutexGuard<'_, Option<Stay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call on the object `handle`, a `kind`. Ends the program if another thread is in
    /// one.
    pub fn enter(&self, kind: &str, handle: u64) -> Leave<'_> {
        // SAFETY: takes nothing and cannot fail.
        let thread = unsafe { libc::gettid() };
        let mut now = self.lock();
        match now.as_mut() {
            Some(stay) if stay.thread == thread => stay.depth += 1,
            Some(stay) if is_on(Rule::Threads) => {
                let (other, call) = (stay.thread, stay.call);
                fatal(&format!(
                    "{kind} {handle:#x} is in {call} in thread {other} at the same time"
                ));
            }
            Some(stay) => stay.depth += 1,
            None => {
                let (call, depth) = (call(), 1);
                *now = Some(Stay {
                    thread,
                    call,
                    depth,
                });
            }
        }
        drop(now);
        Leave(self)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut now = self.0.lock();
        if let Some(stay) = now.as_mut() {
            stay.depth -= 1;
            if stay.depth == 0 {
                *now = None;
            }
        }
    }
}

/// How many pieces of work on the device use an object.
#[derive(Debug, Default, Clone)]
pub struct Busy(Arc<AtomicU32>);

/// One such piece of work, until it is dropped. It is dropped before the host can learn that the
/// work is done.
#[derive(Debug)]
pub struct Pin(Arc<AtomicU32>);

impl Busy {
    /// One more piece of work.
    pub fn pin(&self) -> Pin {
        // Relaxed: whoever may destroy the object learns of the work's end by a lock taken after
        // the decrement.
        self.0.fetch_add(1, Ordering::Relaxed);
        Pin(self.0.clone())
    }

    /// Returns true if the device uses the object.
    pub fn is_busy(&self) -> bool {
        // Relaxed: as above.
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Ends the program if the device uses the object `handle`, a `kind`.
    pub fn must_be_idle(&self, kind: &str, handle: u64) {
        if is_on(Rule::Busy) && self.is_busy() {
            fatal(&format!("the device still uses {kind} {handle:#x}"));
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An object in the hands of work on the device.
#[derive(Debug)]
pub struct Pinned<T> {
    object: Arc<T>,
    pin: Pin,
}

impl<T> Pinned<T> {
    /// Pins the object, which `busy` belongs to, for one operation.
    pub fn new(object: &Arc<T>, busy: &Busy) -> Self {
        Self {
            object: object.clone(),
            pin: busy.pin(),
        }
    }

    /// Unpins the object when the work is done, before its end is visible.
    pub fn release(self) -> Arc<T> {
        drop(self.pin);
        self.object
    }
}

impl<T> Deref for Pinned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}
