//! Events.

use crate::abi::Out;
use crate::codes::{EVENT_TIMESTAMP_INVALID, PARAM_INVALID, Reply};
use crate::driver::driver;
use crate::export::api;
use crate::stream::target;
use fcsp_sim::graph::Work;
use fcsp_sim::stream::{Event, Op};
use std::sync::Arc;

/// An event.
#[derive(Debug)]
pub struct EventObject {
    /// The event itself.
    pub event: Arc<Event>,
    flags: u32,
}

const TIME_LINE: u32 = 8;
const KNOWN: u32 = 0x3f;

fn create(place: Out<u64>, flags: u32) -> Reply {
    place.need()?;
    if flags & !KNOWN != 0 {
        return Err(PARAM_INVALID);
    }
    crate::driver::current()?;
    place.put(driver()?.events.add(EventObject {
        event: Arc::default(),
        flags,
    }))
}

fn time(handle: u64) -> Reply<u64> {
    let e = driver()?.events.get(handle)?;
    if e.flags & TIME_LINE == 0 {
        return Err(EVENT_TIMESTAMP_INVALID);
    }
    e.event.time().map_err(|_| EVENT_TIMESTAMP_INVALID)
}

api! {
    fn rtEventCreate(place: Out<u64>) {
        create(place, TIME_LINE | 1)
    }
    fn rtEventCreateWithFlag, rtEventCreateExWithFlag(place: Out<u64>, flags: u32) {
        create(place, flags)
    }
    fn rtEventDestroy(event: u64) {
        driver()?.events.remove(event).map(|_| ())
    }
    fn rtEventRecord(event: u64, stream: u64) {
        let e = driver()?.events.get(event)?;
        let s = target(stream)?;
        if s.recording().is_some() {
            return s.run(Work::Record(e.event.clone()));
        }
        s.submit(vec![Op::Record(e.event.clone(), e.event.record())])
    }
    fn rtEventReset(event: u64, stream: u64) {
        driver()?.events.get(event)?;
        target(stream).map(|_| ())
    }
    fn rtEventSynchronize(event: u64) {
        driver()?.events.get(event)?.event.wait();
        crate::driver::current().map(|_| ())
    }
    fn rtEventSynchronizeWithTimeout(event: u64, _timeout: i32) {
        driver()?.events.get(event)?.event.wait();
        crate::driver::current().map(|_| ())
    }
    /// 1 where the recording was reached.
    fn rtEventQueryStatus(event: u64, status: Out<i32>) {
        status.put(i32::from(driver()?.events.get(event)?.event.is_done()))
    }
    fn rtEventElapsedTime(ms: Out<f32>, start: u64, end: u64) {
        let (a, b) = (time(start)?, time(end)?);
        ms.put((b as f64 - a as f64) as f32 * 1e-6)
    }
    /// In microseconds.
    fn rtEventGetTimeStamp(stamp: Out<u64>, event: u64) {
        stamp.put(time(event)? / 1000)
    }
    fn rtGetEventID(event: u64, id: Out<u32>) {
        driver()?.events.get(event)?;
        id.put((event >> 4) as u32)
    }
}
