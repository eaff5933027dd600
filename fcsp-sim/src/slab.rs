//! Small allocations: 2 MiB of device memory cut into units of 512 bytes.

use crate::host::{Mapping, PAGE};

/// Granularity of small allocations and of pools.
pub const UNIT: u64 = 512;
/// Largest request that is cut from a slab; measured, inclusive.
pub const SMALL: u64 = PAGE - 1;
const UNITS: usize = (PAGE / UNIT) as usize;

/// One slab.
#[derive(Debug)]
pub struct Slab {
    /// The memory itself.
    pub mapping: Mapping,
    used: Box<[u64; UNITS / 64]>,
    live: usize,
}

impl Slab {
    /// Makes an empty slab over `mapping`, which is one page.
    pub fn new(mapping: Mapping) -> Self {
        assert_eq!(mapping.size(), PAGE);
        Self {
            mapping,
            used: Box::new([0; UNITS / 64]),
            live: 0,
        }
    }

    fn is_used(&self, unit: usize) -> bool {
        self.used[unit / 64] >> (unit % 64) & 1 == 1
    }

    fn mark(&mut self, from: usize, n: usize, to: bool) {
        for u in from..from + n {
            let bit = 1 << (u % 64);
            if to {
                self.used[u / 64] |= bit
            } else {
                self.used[u / 64] &= !bit
            }
        }
    }

    /// Takes the lowest place with room for `bytes`.
    pub fn alloc(&mut self, bytes: u64) -> Option<u64> {
        let n = bytes.max(1).div_ceil(UNIT) as usize;
        let (mut at, mut run) = (0, 0);
        while at < UNITS {
            if at % 64 == 0 && self.used[at / 64] == u64::MAX {
                (at, run) = (at + 64, 0);
                continue;
            }
            run = if self.is_used(at) { 0 } else { run + 1 };
            at += 1;
            if run == n {
                self.mark(at - n, n, true);
                self.live += 1;
                return Some(self.mapping.base() + (at - n) as u64 * UNIT);
            }
        }
        None
    }

    /// Gives back what [`Slab::alloc`] gave; whether the slab is empty now.
    pub fn free(&mut self, address: u64, bytes: u64) -> bool {
        let from = ((address - self.mapping.base()) / UNIT) as usize;
        self.mark(from, bytes.max(1).div_ceil(UNIT) as usize, false);
        self.live -= 1;
        self.live == 0
    }

    /// Returns true if the address is in this slab.
    pub fn holds(&self, address: u64) -> bool {
        (self.mapping.base()..self.mapping.base() + PAGE).contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_measured() {
        // Steps between neighbours as an H100 gave them.
        for (size, step) in [
            (1, 512),
            (256, 512),
            (512, 512),
            (1024, 1024),
            (65536, 65536),
            (1_048_575, 1_048_576),
        ] {
            let mut s = Slab::new(Mapping::zeroed(PAGE, PAGE).unwrap());
            let (a, b) = (s.alloc(size).unwrap(), s.alloc(size).unwrap());
            assert_eq!(b - a, step, "{size}");
        }
    }

    #[test]
    fn fills_up_and_empties() {
        let mut s = Slab::new(Mapping::zeroed(PAGE, PAGE).unwrap());
        let all: Vec<_> = std::iter::from_fn(|| s.alloc(4096)).collect();
        assert_eq!(all.len(), 512);
        assert!(!s.free(all[100], 4096));
        assert_eq!(s.alloc(8192), None);
        assert_eq!(s.alloc(4000), Some(all[100]));
        let (last, rest) = all.split_last().unwrap();
        assert!(rest.iter().all(|a| !s.free(*a, 4096)));
        assert!(s.free(*last, 4096));
    }
}
