//! Events.

use crate::stream::queue;
use crate::{
    BUSY, DEVICE, FAIL, Handle, INVALID_ARGUMENT, INVALID_EVENT_HANDLE, OBJECT_NOT_INITIALIZED,
    Reply, api, driver, number, opaque, put,
};
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

/// Returns the event of a handle. Synapse looks events up (`DeviceCommon::loadAndValidateEvent`):
/// "event handle is incorrect, probably event was destroyed".
fn object(event: Handle) -> Reply<Arc<EventObject>> {
    let driver = driver()?;
    driver.timeline(DEVICE)?;
    driver
        .events
        .look_up(number(event))
        .map_err(|_| INVALID_EVENT_HANDLE)
}

/// Returns the event of a handle, as the device knows it.
pub fn find(event: Handle) -> Reply<Arc<Event>> {
    Ok(object(event)?.event.clone())
}

/// When an event was reached, on the shared clock.
fn time(event: Handle) -> Reply<u64> {
    // Only here the code is a general one (`synSingleton::eventElapsedTime`).
    let object = object(event).map_err(|_| FAIL)?;
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
        put(event, opaque(driver.events.add(made)))
    }

    fn synEventDestroy(event: Handle) {
        if event.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        let driver = driver()?;
        driver.timeline(DEVICE)?;
        driver.events.take(number(event)).map(drop).map_err(|_| FAIL)
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
