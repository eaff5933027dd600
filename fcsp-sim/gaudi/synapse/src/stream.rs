//! Streams, copies and fills. A copy or fill waits for what is before it in its stream, and is done
//! when the call returns.

use crate::{
    BUSY, Card, DEVICE, FAIL, Handle, INVALID_ARGUMENT, Reply, api, driver, event, number, opaque,
    put,
};
use fcsp_sim::stream::{Op, Timeline};
use std::sync::Arc;

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Its queue, which no other stream of the machine ever has.
    queue: u64,
}

/// Returns the queue of a stream, and the card's queues. Synapse looks streams up
/// (`StreamsContainer`): "handle is incorrect, probably stream was already destroyed".
pub fn queue(stream: Handle) -> Reply<(Arc<Timeline>, u64)> {
    let driver = driver()?;
    let timeline = driver.timeline(DEVICE)?;
    let stream = driver.streams.look_up(number(stream));
    Ok((timeline, stream.map_err(|_| INVALID_ARGUMENT)?.queue))
}

/// Waits for what is in the stream.
fn finish(stream: Handle) -> Reply {
    let (timeline, queue) = queue(stream)?;
    timeline.synchronise_stream(queue).map_err(|_| FAIL)
}

fn fill<T: Copy>(address: u64, value: T, count: usize, stream: Handle) -> Reply {
    finish(stream)?;
    driver()?.with_card(DEVICE, |card| {
        let bytes = (count as u64)
            .checked_mul(size_of::<T>() as u64)
            .ok_or(INVALID_ARGUMENT)?;
        if !card.holds(address, bytes) {
            return Err(INVALID_ARGUMENT);
        }
        for at in 0..count {
            // SAFETY: inside a mapping that the lock keeps alive.
            unsafe { (address as *mut T).add(at).write_unaligned(value) };
        }
        Ok(())
    })
}

/// Returns true if a copy of so many bytes stays inside the card's buffers.
fn is_inside(card: &Card, source: u64, destination: u64, size: u64, direction: i32) -> bool {
    match direction {
        0 => card.holds(destination, size),
        1 => card.holds(source, size),
        2 => card.holds(source, size) && card.holds(destination, size),
        _ => false,
    }
}

api! {
    fn synStreamCreateGeneric(stream: *mut Handle, device: u32, _flags: u32) {
        let driver = driver()?;
        driver.with_card(device, |card| {
            if stream.is_null() {
                return Err(INVALID_ARGUMENT);
            }
            let queue = driver.process.region.fresh_id() << 8 | 1;
            card.timeline.open(queue, false, 0);
            put(stream, opaque(driver.streams.add(Stream { queue })))
        })
    }

    fn synStreamDestroy(stream: Handle) {
        if stream.is_null() {
            return Ok(());
        }
        let (timeline, queue) = queue(stream)?;
        timeline.synchronise_stream(queue).map_err(|_| FAIL)?;
        driver()?.streams.take(number(stream)).map_err(|_| INVALID_ARGUMENT)?;
        timeline.close(queue);
        Ok(())
    }

    fn synStreamSynchronize(stream: Handle) {
        finish(stream)
    }

    fn synStreamQuery(stream: Handle) {
        let (timeline, queue) = queue(stream)?;
        if timeline.query(queue).map_err(|_| FAIL)? { Ok(()) } else { Err(BUSY) }
    }

    fn synStreamWaitEvent(stream: Handle, event: Handle, flags: u32) {
        let (timeline, queue) = queue(stream)?;
        let event = event::find(event)?;
        if flags != 0 {
            return Err(INVALID_ARGUMENT);
        }
        let wait = Op::Wait(event.clone(), event.latest());
        timeline.submit(queue, vec![wait]).map_err(|_| FAIL)
    }

    fn synMemCopyAsync(stream: Handle, source: u64, size: u64, destination: u64, direction: i32) {
        finish(stream)?;
        driver()?.with_card(DEVICE, |card| {
            if !is_inside(card, source, destination, size, direction) {
                return Err(INVALID_ARGUMENT);
            }
            // SAFETY: what is the card's is inside its mappings, which the lock keeps alive; what
            // is the host's, the caller answers for.
            unsafe { core::ptr::copy(source as *const u8, destination as *mut u8, size as usize) };
            Ok(())
        })
    }

    fn synMemsetD8Async(address: u64, value: u8, count: usize, stream: Handle) {
        fill(address, value, count, stream)
    }

    fn synMemsetD16Async(address: u64, value: u16, count: usize, stream: Handle) {
        fill(address, value, count, stream)
    }

    fn synMemsetD32Async(address: u64, value: u32, count: usize, stream: Handle) {
        fill(address, value, count, stream)
    }
}
