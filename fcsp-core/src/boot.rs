//! The identity of the machine's present boot.
//!
//! Instants in shared files belong to a clock that starts again with every boot, and locks end with
//! it. A state folder on a disk contains files of earlier boots. They carry the boot's number, and
//! are made anew.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::region::layout::Fnv;

/// The kernel's file with the identity of this boot. Every process of a machine reads the same
/// text, in containers too.
const SOURCE: &str = "/proc/sys/kernel/random/boot_id";

/// State before the first read.
const UNKNOWN: u64 = 0;
/// State if the kernel does not provide it.
const NONE: u64 = 1;

/// Returns this boot's number, or 0 if the kernel does not provide it. Reads it once.
pub fn id() -> u64 {
    static KNOWN: AtomicU64 = AtomicU64::new(UNKNOWN);
    // Relaxed: one word, the same whichever thread stores it.
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        known = std::fs::read(SOURCE).map_or(NONE, |text| number(&text));
        KNOWN.store(known, Ordering::Relaxed);
    }
    if known == NONE { 0 } else { known }
}

/// Computes a number for the text; neither 0 nor 1.
fn number(text: &[u8]) -> u64 {
    let mut hash = Fnv::new();
    hash.add(text.trim_ascii());
    hash.finish() | 2
}

/// Returns true if a file with the identity `stored` belongs to another boot. An older build stored
/// 0, which belongs to no other boot.
pub fn is_another(stored: u64) -> bool {
    let current = id();
    stored != 0 && current != 0 && stored != current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_number() {
        assert_eq!(id(), id());
        assert!(!is_another(id()) && !is_another(0));
        assert!(id() == 0 || is_another(id() ^ 4));
        assert_ne!(number(b"a\n"), number(b"b\n"));
        assert_eq!(number(b"a\n"), number(b"a"));
    }
}
