//! Copies and fills.
//!
//! Those inside device memory are work of the device, as kernels are, and pass the gate. Those over
//! the bus are work of the copy engines, which no share governs. Some of them make the host wait
//! for the device, which the neighbours need to know.

use core::ffi::c_void;

use fcsp_core::share::cost;

use super::waiting;
use crate::backend::Backend;
use crate::compute::{Compute, Drains, LaunchInfo, Work};
use crate::setup::catch_panic;

/// Size below which a copy or fill passes without a charge, bytes.
pub const SMALL: usize = 1 << 20;

/// Kind of a copy; costs are kept by kind and size.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One stretch of memory to another.
    Copy = 0,
    /// A value over a stretch.
    Fill = 1,
    /// Rows of two or three dimensions, arrays and images.
    Rows = 2,
    /// From one device to another.
    Peer = 3,
    /// Many copies in one call.
    Batch = 4,
}

/// Direction of a copy.
#[derive(Debug, Clone, Copy)]
pub enum Transfer {
    /// This many bytes inside device memory.
    Inside(Kind, usize),
    /// To host memory; the call comes back when it is done if the memory is the host's alone.
    ToHost(*const c_void),
    /// Between host and device, and the call may wait for the device.
    Waits,
    /// Over the bus.
    Other,
}

/// A share that a call has to keep to, and the queue it is on.
#[derive(Debug)]
pub struct Share<B: Backend> {
    compute: &'static Compute<B>,
    queue: usize,
}

/// Returns the share that a call on `queue` of the calling thread's device has to keep, if any.
///
/// Not inlined, as the functions below: a copy is long beside a function call, and there are many
/// wrappers of copies.
#[inline(never)]
pub fn share<B: Backend>(queue: usize) -> Option<Share<B>> {
    let compute = super::share::<B>(queue)?;
    Some(Share { compute, queue })
}

/// The driver's function with its arguments, without a type of its own.
#[derive(Debug, Clone, Copy)]
pub struct Call<S> {
    run: unsafe fn(*const c_void) -> S,
    closure: *const c_void,
}

impl<S> Call<S> {
    /// Makes a call of `closure`.
    pub fn to<C: Fn() -> S>(closure: &C) -> Self {
        unsafe fn run<S, C: Fn() -> S>(closure: *const c_void) -> S {
            // SAFETY: made below from a reference to such a closure.
            unsafe { (*closure.cast::<C>())() }
        }
        Self {
            run: run::<S, C>,
            closure: core::ptr::from_ref(closure).cast(),
        }
    }

    /// # Safety
    /// The closure must still be there.
    unsafe fn make(&self) -> S {
        // SAFETY: the function is the one for this closure.
        unsafe { (self.run)(self.closure) }
    }
}

/// Submits the copy or fill that `call` makes, charged where the share asks for it.
///
///  # Safety
/// The closure of `call` must outlive this.
#[inline(never)]
pub unsafe fn transfer<B: Backend>(
    share: Option<Share<B>>,
    what: Transfer,
    call: Call<B::Status>,
) -> B::Status {
    // SAFETY: by this function's contract.
    let call = || unsafe { call.make() };
    let Some(Share { compute, queue }) = share else {
        return call();
    };
    catch_panic(B::UNKNOWN, || match what {
        Transfer::Inside(kind, bytes) if bytes >= SMALL => compute.copy(kind, bytes, queue, call),
        Transfer::ToHost(memory) if compute.is_busy() && B::is_pageable(memory) => {
            waiting::<B>(Drains::Copied(queue), call)
        }
        Transfer::Waits => waiting::<B>(Drains::PartOf(queue), call),
        _ => call(),
    })
}

/// Calls [`share`] and [`transfer`]; for calls whose direction costs nothing to find out.
#[inline]
pub fn transfer_on<B: Backend>(
    queue: usize,
    what: Transfer,
    call: impl Fn() -> B::Status,
) -> B::Status {
    // SAFETY: the closure lives to the end of this function.
    unsafe { transfer(share::<B>(queue), what, Call::to(&call)) }
}

impl<B: Backend> Compute<B> {
    /// Submits a copy or fill inside device memory here.
    pub fn copy(
        &self,
        kind: Kind,
        bytes: usize,
        queue: usize,
        call: impl Fn() -> B::Status,
    ) -> B::Status {
        let key = key(kind, bytes);
        let LaunchInfo {
            class,
            sample,
            settled,
            ..
        } = self.functions.copy(key, self.countdown());
        let work = Work {
            key: cost::graph_key(key),
            content: 0,
            blocks: 0,
            class,
            sample,
            settled,
        };
        self.submit(work, queue, call)
    }
}

/// Names copies of one kind and about one size, in steps of a sixteenth. Odd, which no handle is.
fn key(kind: Kind, bytes: usize) -> u64 {
    let whole = bytes.checked_next_power_of_two().unwrap_or(1 << 63);
    let steps = bytes.div_ceil((whole / 16).max(1)) as u64;
    (kind as u64) << 16 | steps << 9 | u64::from(whole.ilog2()) << 1 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_kinds_and_sizes_apart_and_are_odd() {
        let mut seen = std::collections::HashSet::new();
        for kind in [Kind::Copy, Kind::Fill, Kind::Rows, Kind::Peer, Kind::Batch] {
            for power in 20..40 {
                for sixteenth in 9..=16usize {
                    let bytes = (1 << power) / 16 * sixteenth;
                    let key = key(kind, bytes);
                    assert_eq!(key % 2, 1);
                    assert!(seen.insert(key), "{kind:?} of {bytes}");
                    assert_eq!(
                        key,
                        super::key(kind, bytes - 1),
                        "{kind:?} of {bytes} less one"
                    );
                }
            }
        }
        assert_eq!(key(Kind::Copy, usize::MAX) % 2, 1);
    }
}
