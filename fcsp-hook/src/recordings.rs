//! Queues that are being recorded (captured), and queries of the driver meanwhile.
//!
//! While some thread records in the mode that most programs use, another thread must not query,
//! create or record events: the driver refuses the call and spoils the recording. A thread may lift
//! that for itself for a moment. Each query of the library is therefore made inside a [`Question`].
//! A thread that is about to begin a recording announces it ([`Recordings::begins`]) and waits for
//! queries that were begun before.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fcsp_core::share::wait::now_ns;

use crate::setup::SetupOnce;

/// Longest wait for the queries of other threads, ns. A thread that left a query by a jump never
/// ends it; the recording then begins all the same.
const PATIENCE_NS: u64 = 100_000_000;

/// A queue on which a recording was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The queue.
    pub queue: usize,
    /// The context, or its key, in which the recording was begun. The recording ends with that
    /// context.
    pub context: usize,
    /// The ordinal of its device, where contexts of one device end together; -1 otherwise.
    pub device: i32,
    /// The graph or model that is being made; 0 if unknown.
    pub graph: usize,
}

/// The recordings of this process. A static of each backend that has any.
#[derive(Debug)]
pub struct Recordings {
    /// Recordings that are open or about to begin.
    open: AtomicU32,
    /// Queries in flight that were begun while `open` was 0.
    unguarded: AtomicU32,
    /// The queues on which recordings were begun. Leaked; null until the first.
    origins: AtomicPtr<Mutex<Vec<Origin>>>,
}

impl Recordings {
    /// Creates an empty list.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            open: AtomicU32::new(0),
            unguarded: AtomicU32::new(0),
            origins: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Empties the list in a forked child: nothing is recorded there, and a thread that held the
    /// lock does not exist.
    pub fn forget_in_child(&self) {
        self.open.store(0, Ordering::Relaxed);
        self.unguarded.store(0, Ordering::Relaxed);
        self.origins.store(core::ptr::null_mut(), Ordering::Release);
    }

    /// Returns true if any queue may be recorded.
    #[inline]
    pub fn any(&self) -> bool {
        // Relaxed: the thread that records has counted itself. Another thread's launch may go
        // either way at that moment.
        self.open.load(Ordering::Relaxed) != 0
    }

    fn origins(&self) -> MutexGuard<'static, Vec<Origin>> {
        // Acquire: made before its address was published.
        let known = self.origins.load(Ordering::Acquire);
        let list = if known.is_null() {
            SetupOnce::publish(&self.origins, Mutex::default)
        } else {
            // SAFETY: leaked, never freed.
            unsafe { &*known }
        };
        list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if `queue` is known to record for a graph or model that was named at its begin.
    pub fn is_bound(&self, queue: usize) -> bool {
        let is_it = |origin: &Origin| origin.queue == queue && origin.graph != 0;
        self.any() && self.origins().iter().any(is_it)
    }

    /// Runs `call`, which begins a recording; `began` says by its answer whether it did. The
    /// recording counts from before the call, and `origin` returns it afterwards.
    pub fn begins<S: Copy>(
        &self,
        call: impl FnOnce() -> S,
        began: impl FnOnce(S) -> Option<Origin>,
    ) -> S {
        // SeqCst here and in `ask`: of a query and a beginning at the same moment, one sees the
        // other.
        self.open.fetch_add(1, Ordering::SeqCst);
        let since = now_ns();
        while self.unguarded.load(Ordering::SeqCst) != 0
            && now_ns().saturating_sub(since) < PATIENCE_NS
        {
            std::thread::yield_now();
        }
        let result = call();
        match began(result) {
            Some(origin) => self.origins().push(origin),
            None => self.close(1),
        }
        result
    }

    fn close(&self, by: u32) {
        let less = |open: u32| Some(open.saturating_sub(by));
        let _ = self
            .open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Removes the recordings for which `ended` returns true, and returns them.
    pub fn ended(&self, ended: impl Fn(&Origin) -> bool) -> Vec<Origin> {
        if !self.any() {
            return Vec::new();
        }
        let mut origins = self.origins();
        let gone: Vec<Origin> = origins.extract_if(.., |origin| ended(origin)).collect();
        drop(origins);
        self.close(u32::try_from(gone.len()).unwrap_or(u32::MAX));
        gone
    }

    /// Removes one recording of `queue`, and returns it.
    pub fn ended_on(&self, queue: usize) -> Option<Origin> {
        let mut origins = self.origins();
        let at = origins.iter().position(|origin| origin.queue == queue)?;
        let gone = origins.swap_remove(at);
        drop(origins);
        self.close(1);
        Some(gone)
    }

    /// Returns the recordings that were begun in `context` and have not ended.
    pub fn begun_in(&self, context: usize) -> Vec<Origin> {
        if !self.any() {
            return Vec::new();
        }
        let origins = self.origins();
        let there = origins.iter().filter(|origin| origin.context == context);
        there.copied().collect()
    }

    /// Returns true if a recording was begun on `queue` and has not ended.
    pub fn began_on(&self, queue: usize) -> bool {
        self.any() && self.origins().iter().any(|origin| origin.queue == queue)
    }

    /// Begins a query of the driver. `lift` lets the calling thread query although another one is
    /// recording, until its result is dropped. It is called only while something is recorded.
    pub fn ask<G>(&'static self, lift: impl FnOnce() -> Option<G>) -> Question<G> {
        self.unguarded.fetch_add(1, Ordering::SeqCst);
        if self.open.load(Ordering::SeqCst) == 0 {
            return Question {
                unguarded: Some(&self.unguarded),
                _lifted: None,
            };
        }
        self.unguarded.fetch_sub(1, Ordering::SeqCst);
        Question {
            unguarded: None,
            _lifted: lift(),
        }
    }
}

/// Query of the driver, until dropped.
#[derive(Debug)]
pub struct Question<G> {
    unguarded: Option<&'static AtomicU32>,
    _lifted: Option<G>,
}

impl<G> Drop for Question<G> {
    fn drop(&mut self) {
        if let Some(unguarded) = self.unguarded {
            // Not below 0: a forked child begins at 0 with a query of its parent's on its stack.
            let less = |n: u32| Some(n.saturating_sub(1));
            let _ = unguarded.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;

    fn origin(queue: usize, context: usize) -> Origin {
        Origin {
            queue,
            context,
            device: -1,
            graph: 0,
        }
    }

    #[test]
    fn a_recording_counts_from_before_its_call_and_is_taken_back_when_that_fails() {
        static ALL: Recordings = Recordings::new();
        let during = |result: bool| {
            assert!(ALL.any());
            result
        };
        assert!(!ALL.begins(|| during(false), |began| began.then(|| origin(1, 7))));
        assert!(!ALL.any());
        assert!(ALL.begins(|| during(true), |began| began.then(|| origin(1, 7))));
        ALL.begins(|| true, |_| Some(origin(2, 8)));
        assert!(ALL.began_on(1) && !ALL.began_on(3));
        assert_eq!(ALL.ended(|one| one.context == 8), [origin(2, 8)]);
        assert_eq!(ALL.ended_on(2), None);
        assert_eq!(ALL.ended_on(1), Some(origin(1, 7)));
        assert!(!ALL.any());
    }

    #[test]
    fn a_recording_waits_for_questions_that_do_not_know_of_it() {
        static ALL: Recordings = Recordings::new();
        static ANSWERED: AtomicBool = AtomicBool::new(false);
        let question = ALL.ask(|| -> Option<()> { panic!("nothing is recorded") });
        let other = std::thread::spawn(|| {
            ALL.begins(|| ANSWERED.load(Ordering::SeqCst), |_| Some(origin(1, 1)))
        });
        while !ALL.any() {
            std::thread::yield_now();
        }
        ANSWERED.store(true, Ordering::SeqCst);
        drop(question);
        assert!(other.join().unwrap(), "the call came after the answer");
        let mut lifted = false;
        drop(ALL.ask(|| {
            lifted = true;
            Some(())
        }));
        assert!(lifted);
    }
}
