//! A process's answer to a pause: the generation of the control page for which its gate is closed.
//!
//! The answer is one word of the slot. It is written when a launch stops at the closed gate and
//! when a synchronisation ends while the gate is closed, so launches that run pay nothing for it. A
//! process that neither launches nor synchronises gives no answer.
//!
//! An answer says that later launches wait. A launch that another thread had begun before the gate
//! closed may still be on its way into the driver. A party that needs more takes the driver's own
//! lock after the answers.

use std::sync::atomic::AtomicBool;

use crate::sync::{AtomicU64, Ordering};

/// Bit of an answer: nothing of the process is in flight. Generations of a page at rest are even.
const DRAINED: u64 = 1;

/// Answer of a process, read from its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// None since this pause began.
    None,
    /// Its gate is closed. Work that it submitted before may still run.
    Stopped,
    /// Its gate is closed, and everything that it submitted is done.
    Still,
}

impl Answer {
    /// Reads a slot's word. `since` is the generation with which the present pause began: the gate
    /// has been closed from the answer on, whatever else changed in the page.
    pub fn from_word(word: u64, since: u64) -> Self {
        match (word & !DRAINED >= since && word != 0, word & DRAINED) {
            (false, _) => Self::None,
            (true, 0) => Self::Stopped,
            (true, _) => Self::Still,
        }
    }
}

/// Writer of a process's answers for one device.
#[derive(Debug)]
pub struct Standstill<'w> {
    /// Word of the slot. Threads of the process raise it with Release; programs outside read it.
    word: &'w AtomicU64,
    /// Generation of the control page for which the gate is closed; 0 while it is open. Stored with
    /// Release after the gate has closed, and before it opens.
    closed_for: AtomicU64,
    /// True if work was submitted that the gate has not counted, and the device was not known idle
    /// since.
    uncounted: AtomicBool,
}

impl<'w> Standstill<'w> {
    /// Creates the writer for a slot's word.
    pub fn new(word: &'w AtomicU64) -> Self {
        Self {
            word,
            closed_for: AtomicU64::new(0),
            uncounted: AtomicBool::new(false),
        }
    }

    /// Records that the gate is about to open.
    pub fn opens(&self) {
        self.closed_for.store(0, Ordering::Release);
    }

    /// Records that the gate is closed, by the control page of this generation.
    pub fn closed(&self, generation: u64) {
        // Release: a thread that reads the generation finds the gate closed. An odd generation was
        // read while the page was written; the generation before it is a smaller claim.
        self.closed_for.store(generation & !1, Ordering::Release);
    }

    /// Records that launches pass without being counted.
    pub fn passes_uncounted(&self) {
        self.uncounted.store(true, Ordering::Relaxed);
    }

    /// Records that the device has done everything that this process submitted.
    pub fn is_idle(&self) {
        self.uncounted.store(false, Ordering::Relaxed);
    }

    /// Returns true if the gate is closed.
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with `closed`.
        self.closed_for.load(Ordering::Acquire) != 0
    }

    /// Answers, if the gate is closed. `is_drained` says whether nothing that the gate has counted
    /// is in flight; it is called after the gate is known to be closed.
    pub fn answer(&self, is_drained: impl FnOnce() -> bool) {
        // Acquire: the gate was closed before this generation was stored.
        let generation = self.closed_for.load(Ordering::Acquire);
        if generation == 0 {
            return;
        }
        let drained = is_drained() && !self.uncounted.load(Ordering::Relaxed);
        let answer = generation | if drained { DRAINED } else { 0 };
        // The maximum: a later generation, and in one generation the stronger answer. Release: what
        // this process has published before is visible to a reader of the answer.
        if self.word.load(Ordering::Relaxed) < answer {
            self.word.fetch_max(answer, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_pause() {
        let word = AtomicU64::new(0);
        let standstill = Standstill::new(&word);
        let read = |since| Answer::from_word(word.load(Ordering::Relaxed), since);
        standstill.answer(|| true);
        assert_eq!(read(2), Answer::None, "the gate is open");
        standstill.closed(4);
        standstill.answer(|| false);
        assert_eq!(read(4), Answer::Stopped);
        standstill.answer(|| true);
        standstill.answer(|| false);
        assert_eq!(
            read(4),
            Answer::Still,
            "nothing new starts at a closed gate"
        );
        // Another change of the page in the same pause.
        standstill.closed(6);
        assert_eq!(read(4), Answer::Still);
        standstill.opens();
        standstill.closed(10);
        assert_eq!(read(10), Answer::None, "another pause");
        standstill.passes_uncounted();
        standstill.answer(|| true);
        assert_eq!(read(10), Answer::Stopped);
        standstill.is_idle();
        standstill.answer(|| true);
        assert_eq!(read(10), Answer::Still);
        assert_eq!(Answer::from_word(0, 0), Answer::None);
    }

    #[test]
    fn a_page_that_is_being_written_is_a_smaller_claim() {
        let word = AtomicU64::new(0);
        let standstill = Standstill::new(&word);
        standstill.closed(5);
        standstill.answer(|| true);
        assert_eq!(
            Answer::from_word(word.load(Ordering::Relaxed), 6),
            Answer::None
        );
        assert_eq!(
            Answer::from_word(word.load(Ordering::Relaxed), 4),
            Answer::Still
        );
    }
}
