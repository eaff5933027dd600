//! The history of a stream: the classes of its last launches, in one word.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Class;

/// Word of an empty history.
const EMPTY: u64 = u64::MAX;

/// The classes of a stream's last sixteen launches, four bits each, the newest lowest.
#[derive(Debug)]
pub struct StreamHistory(AtomicU64);

impl Default for StreamHistory {
    fn default() -> Self {
        Self(AtomicU64::new(EMPTY))
    }
}

impl StreamHistory {
    /// Records a launch. Launches of one stream come from one thread at a time; two at once may
    /// lose one of them.
    pub fn push(&self, class: Class) {
        // Relaxed: a hint that guards no memory.
        let old = self.0.load(Ordering::Relaxed);
        self.0
            .store((old << 4) | u64::from(class.code()), Ordering::Relaxed);
    }

    /// Returns the classes of the last launches, the newest first.
    pub fn recent(&self) -> impl Iterator<Item = Class> {
        let word = self.0.load(Ordering::Relaxed);
        (0..16).map_while(move |i| Class::from_code(((word >> (4 * i)) & 0xf) as u8))
    }

    /// Returns the class of at least half of the last launches, if there are four or more.
    pub fn dominant(&self) -> Option<Class> {
        let mut counts = [0usize; Class::ALL.len()];
        let mut total = 0;
        for class in self.recent() {
            counts[usize::from(class.code())] += 1;
            total += 1;
        }
        Class::ALL
            .into_iter()
            // Only a name makes a collective: a guess must not admit work without a charge.
            .filter(|class| !class.bypasses_gate())
            .find(|class| total >= 4 && counts[usize::from(class.code())] * 2 >= total)
    }

    /// Returns true if one of the last launches was a collective.
    pub fn has_collective(&self) -> bool {
        self.recent().any(Class::bypasses_gate)
    }
}
