//! Streams, copies and fills. All are done when the call returns.

use crate::{Card, INVALID_ARGUMENT, Reply, api, driver, put};
use core::ffi::c_void;

/// The one handle there is: nothing is queued, so streams have nothing to tell apart.
const STREAM: *mut c_void = core::ptr::without_provenance_mut(1);

fn check(stream: *mut c_void) -> Reply {
    (stream == STREAM).then_some(()).ok_or(INVALID_ARGUMENT)
}

/// Whether the bytes from `address` are inside one buffer.
fn holds(card: &Card, address: u64, bytes: u64) -> bool {
    card.memory.iter().any(|(&base, (_, size))| {
        address >= base
            && address
                .checked_add(bytes)
                .is_some_and(|end| end <= base.saturating_add(*size))
    })
}

fn fill<T: Copy>(address: u64, value: T, count: usize, stream: *mut c_void) -> Reply {
    check(stream)?;
    driver()?.with_card(crate::DEVICE, |card| {
        let bytes = (count as u64)
            .checked_mul(size_of::<T>() as u64)
            .ok_or(INVALID_ARGUMENT)?;
        if !holds(card, address, bytes) {
            return Err(INVALID_ARGUMENT);
        }
        for at in 0..count {
            // SAFETY: inside a mapping that the lock keeps alive.
            unsafe { (address as *mut T).add(at).write_unaligned(value) };
        }
        Ok(())
    })
}

api! {
    fn synStreamCreateGeneric(stream: *mut *mut c_void, device: u32, _flags: u32) {
        driver()?.with_card(device, |_| put(stream, STREAM))
    }

    fn synStreamDestroy(stream: *mut c_void) {
        check(stream)
    }

    fn synStreamSynchronize(stream: *mut c_void) {
        check(stream)
    }

    fn synStreamQuery(stream: *mut c_void) {
        check(stream)
    }

    fn synMemCopyAsync(stream: *mut c_void, source: u64, size: u64, destination: u64, direction: i32) {
        check(stream)?;
        driver()?.with_card(crate::DEVICE, |card| {
            let (from, to) = match direction {
                0 => (true, holds(card, destination, size)),
                1 => (holds(card, source, size), true),
                2 => (holds(card, source, size), holds(card, destination, size)),
                _ => (false, false),
            };
            if !(from && to) {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: what is the card's is inside its mappings, which the lock keeps alive; what is the host's, the
            // caller answers for.
            unsafe { core::ptr::copy(source as *const u8, destination as *mut u8, size as usize) };
            Ok(())
        })
    }

    fn synMemsetD8Async(address: u64, value: u8, count: usize, stream: *mut c_void) {
        fill(address, value, count, stream)
    }

    fn synMemsetD16Async(address: u64, value: u16, count: usize, stream: *mut c_void) {
        fill(address, value, count, stream)
    }

    fn synMemsetD32Async(address: u64, value: u32, count: usize, stream: *mut c_void) {
        fill(address, value, count, stream)
    }
}
