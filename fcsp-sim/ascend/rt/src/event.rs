//! Events.

use crate::abi::Out;
use crate::codes::{EVENT_TIMESTAMP_INVALID, PARAM_INVALID, Reply};
use crate::driver::{Open, driver};
use crate::export::api;
use crate::stream::target;
use fcsp_sim::graph::Work;
use fcsp_sim::stream::{Event, Op};
use fcsp_sim::strict::{End, fatal};
use std::sync::{Arc, Mutex, PoisonError};

/// An event.
#[derive(Debug)]
pub struct EventObject {
    /// The event itself.
    pub event: Arc<Event>,
    flags: u32,
    /// The device that it was made on.
    pub open: Arc<Open>,
    context: u64,
    orphaned: Mutex<Option<End>>,
}

impl EventObject {
    /// Notes that a context ends, if it is the event's.
    pub fn orphan(&self, context: u64) {
        if self.context == context {
            *self.orphaned.lock().unwrap_or_else(PoisonError::into_inner) = Some(End::now());
        }
    }
}

/// Returns the event of a handle, to be used. The runtime asks an event's context how it is
/// (`ApiImpl::EventQuery`, `EventSynchronize`), so an event whose context is gone can be destroyed
/// and nothing else.
pub fn find(handle: u64) -> Reply<Arc<EventObject>> {
    let e = driver()?.events.get(handle)?;
    if let Some(end) = *e.orphaned.lock().unwrap_or_else(PoisonError::into_inner) {
        fatal(&format!(
            "the context of event {handle:#x} was destroyed by {end}"
        ));
    }
    Ok(e)
}

const TIME_LINE: u32 = 8;
const KNOWN: u32 = 0x3f;

fn create(place: Out<u64>, flags: u32) -> Reply {
    place.need()?;
    if flags & !KNOWN != 0 {
        return Err(PARAM_INVALID);
    }
    let c = crate::driver::current()?;
    place.put(driver()?.events.add(EventObject {
        event: Arc::default(),
        flags,
        open: c.open.clone(),
        context: c.id,
        orphaned: Mutex::default(),
    }))
}

fn time(handle: u64) -> Reply<u64> {
    let e = find(handle)?;
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
        driver()?.events.remove(event)?;
        Ok(())
    }
    fn rtEventRecord(event: u64, stream: u64) {
        let e = find(event)?;
        let s = target(stream)?;
        if s.recording().is_some() {
            return s.run(Work::Record(e.event.clone()));
        }
        s.submit(vec![Op::Record(e.event.clone(), e.event.record())])
    }
    fn rtEventReset(event: u64, stream: u64) {
        find(event)?;
        target(stream).map(|_| ())
    }
    fn rtEventSynchronize(event: u64) {
        find(event)?.event.wait();
        crate::driver::current().map(|_| ())
    }
    fn rtEventSynchronizeWithTimeout(event: u64, _timeout: i32) {
        find(event)?.event.wait();
        crate::driver::current().map(|_| ())
    }
    /// 1 where the recording was reached.
    fn rtEventQueryStatus(event: u64, status: Out<i32>) {
        status.put(i32::from(find(event)?.event.is_done()))
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
        find(event)?;
        id.put((event >> 4) as u32)
    }
}
