//! Small allocations. The runtime cuts them from blocks of 2 MiB, and frees a block with its last piece. So a block is
//! charged as a whole, once, and is known by its address. No AMD device was at hand: where its blocks are cut otherwise, what
//! is charged differs from what is taken, and ROCm SMI's figure for the process puts that right.

use fcsp_core::allocations::Allocations;

use crate::process::Device;

/// Bytes of a slab.
pub const SLAB: u64 = 2 << 20;
/// Largest request that is cut from a slab.
pub const LARGEST: u64 = 1 << 20;
/// Grain of the cutting.
pub const GRAIN: u64 = 512;

/// One slab: pieces in use and their bytes.
#[derive(Clone, Copy, Default)]
struct Slab {
    pieces: u32,
    used: u64,
}

/// The slabs of this process.
#[derive(Default)]
pub struct Slabs {
    known: Allocations<Slab>,
}

impl Slabs {
    /// Enters a piece; returns whether its slab is new, and must be charged.
    pub fn enter(&self, address: u64, bytes: u64) -> bool {
        self.known.update(address / SLAB, |slab| {
            let new = slab.is_none();
            let slab = slab.get_or_insert_default();
            slab.pieces += 1;
            slab.used += bytes;
            new
        })
    }

    /// Removes a piece; returns whether its slab is gone, and must be given back.
    pub fn leave(&self, address: u64, bytes: u64) -> bool {
        self.known.update(address / SLAB, |entry| match entry {
            Some(slab) if slab.pieces > 1 => {
                slab.pieces -= 1;
                slab.used = slab.used.saturating_sub(bytes);
                false
            }
            Some(_) => {
                *entry = None;
                true
            }
            None => false,
        })
    }

    /// Whether a piece of `bytes` might fit without a new slab. Its free bytes may be in pieces. Asked where a slab
    /// would pass the quota, so it may take its time.
    pub fn may_fit(&self, bytes: u64) -> bool {
        let mut fits = false;
        self.known.for_each(|_, slab| fits |= slab.used + bytes <= SLAB);
        fits
    }
}

/// Charges a new slab that the driver has taken; `held` says that its bytes are held already.
pub fn opened(device: &Device, held: bool) {
    device.gained(SLAB);
    if !held {
        device.charge(SLAB);
    }
    // Between the driver's call and this it may have been measured as overhead.
    device.overhead_changed();
}

/// Gives a slab back that the driver has freed.
pub fn closed(device: &Device) {
    device.lost(SLAB);
    device.release(SLAB);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_is_charged_once_and_given_back_with_its_last_piece() {
        let slabs = Slabs::default();
        let at = |slab: u64, piece: u64| slab * SLAB + piece * GRAIN;
        assert!(slabs.enter(at(7, 0), 512));
        assert!(!slabs.enter(at(7, 1), 512));
        assert!(slabs.may_fit(SLAB - 1024) && !slabs.may_fit(SLAB - 1023));
        assert!(slabs.enter(at(9, 0), SLAB / 2) && slabs.leave(at(9, 0), SLAB / 2));
        assert!(slabs.enter(at(8, 0), 512));
        assert!(!slabs.leave(at(7, 0), 512));
        assert!(slabs.leave(at(7, 1), 512));
        assert!(slabs.leave(at(8, 0), 512));
        assert!(!slabs.may_fit(1));
        assert!(slabs.enter(at(7, 0), 512));
    }
}
