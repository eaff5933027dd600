//! Small allocations. The driver cuts requests of up to 1 MiB from slabs of 2 MiB, aligned to their size, and frees a
//! slab with its last piece (measured, H100, driver 580). So a slab is charged as a whole, once, and is known by its
//! address.

use core::sync::atomic::{AtomicU64, Ordering};

use fcsp_core::allocations::Allocations;

use crate::device::Device;

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
    /// Bytes in known slabs that no piece uses. A hint: fragments may be too small.
    room: AtomicU64,
}

impl Slabs {
    /// Enters a piece; returns whether its slab is new, and must be charged.
    pub fn enter(&self, address: u64, bytes: u64) -> bool {
        let new = self.known.update(address / SLAB, |slab| {
            let new = slab.is_none();
            let slab = slab.get_or_insert_default();
            slab.pieces += 1;
            slab.used += bytes;
            new
        });
        if new {
            self.room.fetch_add(SLAB.saturating_sub(bytes), Ordering::Relaxed);
        } else {
            self.take_room(bytes);
        }
        new
    }

    /// Removes a piece; returns whether its slab is gone, and must be given back.
    pub fn leave(&self, address: u64, bytes: u64) -> bool {
        let gone = self.known.update(address / SLAB, |entry| match entry {
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
        });
        if gone {
            self.take_room(SLAB.saturating_sub(bytes));
        } else {
            self.room.fetch_add(bytes, Ordering::Relaxed);
        }
        gone
    }

    fn take_room(&self, bytes: u64) {
        let _ = self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(old.saturating_sub(bytes))
            });
    }

    /// Whether a piece of `bytes` might fit without a new slab.
    pub fn may_fit(&self, bytes: u64) -> bool {
        self.room.load(Ordering::Relaxed) >= bytes
    }
}

/// Charges a new slab that the driver has taken, within a [`Device::change`]; `held` says that its bytes are held
/// already.
pub fn opened(device: &Device, held: bool) {
    device.gained(SLAB);
    if !held {
        device.charge(SLAB);
    }
}

/// Gives a slab back that the driver has freed, within a [`Device::change`].
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
        assert!(slabs.enter(at(8, 0), 512));
        assert!(!slabs.leave(at(7, 0), 512));
        assert!(slabs.leave(at(7, 1), 512));
        assert!(slabs.leave(at(8, 0), 512));
        assert!(!slabs.may_fit(1));
        assert!(slabs.enter(at(7, 0), 512));
    }
}
