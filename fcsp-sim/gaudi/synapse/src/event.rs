//! Events.

use crate::stream::queue;
use crate::{BUSY, FAIL, Handle, INVALID_ARGUMENT, OBJECT_NOT_INITIALIZED, Reply, api, driver, put};
use fcsp_sim::stream::{Event, Op};
use std::sync::Arc;

/// `EVENT_COLLECT_TIME`.
const COLLECTS_TIME: u32 = 1;

/// An event, and whether it has times.
#[derive(Debug)]
pub struct EventObject {
    event: Arc<Event>,
    timed: bool,
}

/// The event of a handle.
pub fn find(event: Handle) -> Reply<Arc<Event>> {
    Ok(driver()?.events.get(event)?.event.clone())
}

/// When an event was reached, on the shared clock.
fn time(event: Handle) -> Reply<u64> {
    let object = driver()?.events.get(event)?;
    if !object.timed {
        return Err(INVALID_ARGUMENT);
    }
    object.event.time().map_err(|error| match error {
        fcsp_sim::error::Error::NotReady => BUSY,
        _ => OBJECT_NOT_INITIALIZED,
    })
}

api! {
    fn synEventCreate(event: *mut Handle, device: u32, flags: u32) {
        let driver = driver()?;
        driver.timeline(device)?;
        if event.is_null() || flags & !COLLECTS_TIME != 0 {
            return Err(INVALID_ARGUMENT);
        }
        let made = EventObject { event: Arc::default(), timed: flags == COLLECTS_TIME };
        put(event, driver.events.add(made))
    }

    fn synEventDestroy(event: Handle) {
        driver()?.events.remove(event).map(drop)
    }

    fn synEventRecord(event: Handle, stream: Handle) {
        let event = find(event)?;
        let (timeline, queue) = queue(stream)?;
        let version = event.record();
        timeline.submit(queue, vec![Op::Record(event, version)]).map_err(|_| FAIL)
    }

    fn synEventQuery(event: Handle) {
        if find(event)?.is_done() { Ok(()) } else { Err(BUSY) }
    }

    fn synEventSynchronize(event: Handle) {
        find(event)?.wait();
        Ok(())
    }

    fn synEventElapsedTime(nanoseconds: *mut u64, start: Handle, end: Handle) {
        let begun = time(start)?;
        put(nanoseconds, if end.is_null() { begun } else { time(end)?.saturating_sub(begun) })
    }
}
