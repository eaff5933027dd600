//! Which boot of the machine this is.
//!
//! Times in shared files are those of a clock that begins anew with every boot, and locks end with
//! it. Where the state folder lies on a disk, files of the boot before are found. They carry its
//! number, and are made anew.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::region::layout::Fnv;

/// The kernel's file with the identity of this boot: the same text for every process of a machine,
/// in containers too.
const SOURCE: &str = "/proc/sys/kernel/random/boot_id";

/// Not asked yet.
const UNKNOWN: u64 = 0;
/// The kernel does not say.
const NONE: u64 = 1;

/// This boot's number; 0 where the kernel does not say. Read once.
pub fn id() -> u64 {
    static KNOWN: AtomicU64 = AtomicU64::new(UNKNOWN);
    // Relaxed: one word, the same whoever finds it.
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        known = std::fs::read(SOURCE).map_or(NONE, |text| number(&text));
        KNOWN.store(known, Ordering::Relaxed);
    }
    if known == NONE { 0 } else { known }
}

/// A number for the text; neither 0 nor 1.
fn number(text: &[u8]) -> u64 {
    let mut hash = Fnv::new();
    hash.add(text.trim_ascii());
    hash.finish() | 2
}

/// Tells whether a file with the identity `stored` is of another boot. An older build stored 0,
/// which is of no other boot.
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
