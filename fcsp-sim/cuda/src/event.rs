//! Events.

use crate::abi::Out;
use crate::capture::forbid_by;
use crate::codes::{
    CAPTURED_EVENT, INVALID_HANDLE, INVALID_VALUE, NOT_PERMITTED, NOT_READY, Reply,
};
use crate::driver::{current, driver};
use crate::export::{api, stream_api};
use crate::stream::{Target, target};
use fcsp_sim::graph::Work;
use fcsp_sim::stream::{Event, Op, Timeline};
use fcsp_sim::strict::{Rule, is_on};
use std::sync::{Arc, Mutex, PoisonError};

/// One event of the API.
#[derive(Debug)]
pub struct EventObject {
    /// The number of its context, with which it dies.
    pub context_id: u64,
    /// Its context's work, whose loss it reports.
    timeline: Arc<Timeline>,
    /// The event itself.
    pub event: Arc<Event>,
    /// Flags it was created with.
    pub flags: u32,
    /// Where it was recorded while its stream recorded a graph.
    pub captured: Mutex<Option<crate::capture::Point>>,
}

const NO_TIMING: u32 = 2;
const INTERPROCESS: u32 = 4;

/// Makes a stream wait for an event, or a recording come after the event's point in it.
pub fn wait(t: &Target, event: u64) -> Reply {
    let e = driver()?.events.get(event)?;
    if let Some(point) = e
        .captured
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
    {
        return crate::capture::join(t, point);
    }
    if t.recording().is_some() {
        return t.run(Work::Wait(e.event.clone()));
    }
    t.submit(vec![Op::Wait(e.event.clone(), e.event.latest())])
}

fn record(t: &Target, event: u64, flags: u32) -> Reply {
    let e = driver()?.events.get(event)?;
    if flags > 1 {
        return Err(INVALID_VALUE);
    }
    if is_on(Rule::Contexts) && e.context_id != t.context.owner_id() {
        return Err(INVALID_HANDLE);
    }
    t.implicit()?;
    if let Some(r) = t.recording().as_mut() {
        if flags == 1 {
            return r.record(Work::Record(e.event.clone()));
        }
        *e.captured.lock().unwrap_or_else(PoisonError::into_inner) = Some(r.point());
        return Ok(());
    }
    *e.captured.lock().unwrap_or_else(PoisonError::into_inner) = None;
    t.submit(vec![Op::Record(e.event.clone(), e.event.record())])
}

fn elapsed(ms: Out<f32>, start: u64, end: u64) -> Reply {
    let d = driver()?;
    let (a, b) = (d.events.get(start)?, d.events.get(end)?);
    let apart = is_on(Rule::Contexts) && a.context_id != b.context_id;
    if apart || (a.flags | b.flags) & NO_TIMING != 0 {
        return Err(INVALID_HANDLE);
    }
    let (a, b) = (a.event.time()?, b.event.time()?);
    ms.put((b as f64 - a as f64) as f32 * 1e-6)
}

api! {
    fn cuEventCreate(place: Out<u64>, flags: u32) {
        let c = current()?;
        place.need()?;
        if flags > 7 || (flags & INTERPROCESS != 0 && flags & NO_TIMING == 0) {
            return Err(INVALID_VALUE);
        }
        let e = EventObject {
            context_id: c.owner_id(),
            timeline: c.timeline.clone(),
            event: Arc::default(),
            flags,
            captured: Mutex::default(),
        };
        place.put(driver()?.events.add(e))
    }
    fn cuEventDestroy, cuEventDestroy_v2(event: u64) {
        driver()?.events.remove(event)?;
        Ok(())
    }
    fn cuEventQuery(event: u64) {
        let e = driver()?.events.get(event)?;
        forbid_by(Rule::Captures)?;
        if e.captured.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(CAPTURED_EVENT);
        }
        e.timeline.check()?;
        if e.event.is_done() { Ok(()) } else { Err(NOT_READY) }
    }
    fn cuEventSynchronize(event: u64) {
        let e = driver()?.events.get(event)?;
        forbid_by(Rule::Captures)?;
        if e.captured.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(CAPTURED_EVENT);
        }
        if fcsp_sim::stream::on_device_thread() {
            return Err(NOT_PERMITTED);
        }
        e.event.wait();
        e.timeline.check()?;
        if let Some(c) = crate::driver::current_or_none() {
            driver()?.memory.pools_synchronised(c.device);
        }
        Ok(())
    }
    fn cuEventElapsedTime, cuEventElapsedTime_v2(ms: Out<f32>, start: u64, end: u64) {
        elapsed(ms, start, end)
    }
}

stream_api! {
    fn cuEventRecord, cuEventRecord_ptsz[pt](event: u64, stream: u64) {
        record(&target(stream, pt)?, event, 0)
    }
    fn cuEventRecordWithFlags, cuEventRecordWithFlags_ptsz[pt](event: u64, stream: u64, flags: u32) {
        record(&target(stream, pt)?, event, flags)
    }
}
