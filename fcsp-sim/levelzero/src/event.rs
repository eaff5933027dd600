//! Events: flags that the device and the host set and wait for, with the times of what set them.

use crate::abi::{In, Out};
use crate::codes::{
    INVALID_ARGUMENT, INVALID_ENUMERATION, INVALID_SIZE, INVALID_SYNCHRONIZATION_OBJECT, NOT_READY,
    OBJECT_IN_USE, Reply,
};
use crate::device::{KERNEL_TIMESTAMP_BITS, ticks};
use crate::driver::{Context, device, driver};
use crate::export::api;
use crate::in_use::Busy;
use crate::structs::{EventDesc, EventPoolDesc, KernelTimestampData, KernelTimestampResult};
use fcsp_sim::strict::{Rule, fatal, is_on};
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const IPC: u32 = 2;
const TIMESTAMP: u32 = 4;

/// One pool.
#[derive(Debug)]
pub struct Pool {
    /// Its context.
    pub context: Arc<Context>,
    flags: u32,
    count: u32,
    used: Arc<Mutex<HashSet<u32>>>,
}

/// When what signalled an event ran, in nanoseconds of the shared clock, and for how long it had
/// the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it could have started.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Device time, without the turns of others between start and end.
    pub ran: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    signalled: bool,
    times: Option<Times>,
}

/// A flag that can be waited for. Events are such flags, and what is behind a fence.
#[derive(Debug, Default)]
pub struct Flag {
    state: Mutex<State>,
    changed: Condvar,
}

impl Flag {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets it.
    pub fn signal(&self, times: Option<Times>) {
        *self.lock() = State {
            signalled: true,
            times,
        };
        self.changed.notify_all();
    }

    /// Clears it.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Returns true if it is set.
    pub fn is_set(&self) -> bool {
        self.lock().signalled
    }

    /// Waits until it is set, for `timeout` nanoseconds; all ones for ever.
    ///
    /// # Errors
    /// `NOT_READY` when the time is over, and what ended the context.
    pub fn wait(&self, timeout: u64, context: &Context) -> Reply {
        let end = (timeout < u64::MAX)
            .then(|| Instant::now().checked_add(Duration::from_nanos(timeout)))
            .flatten();
        let mut s = self.lock();
        while !s.signalled {
            let left = end.map_or(Duration::MAX, |e| {
                e.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Err(NOT_READY);
            }
            // Looked at now and then: work that a lost context drops sets no flag.
            let step = left.min(Duration::from_millis(20));
            s = self
                .changed
                .wait_timeout(s, step)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            drop(s);
            context.check()?;
            s = self.lock();
        }
        Ok(())
    }

    /// Returns the times of what set it.
    pub fn times(&self) -> Reply<Times> {
        let s = *self.lock();
        if !s.signalled {
            return Err(NOT_READY);
        }
        s.times.ok_or(INVALID_SYNCHRONIZATION_OBJECT)
    }
}

/// One event.
#[derive(Debug)]
pub struct EventObject {
    /// The flag.
    pub flag: Flag,
    /// True if its pool keeps times.
    pub timed: bool,
    /// Work on the device that waits for it, signals it or reads its times.
    pub busy: Busy,
    /// Its context.
    pub context: Arc<Context>,
    index: u32,
    used: Arc<Mutex<HashSet<u32>>>,
}

impl Drop for EventObject {
    fn drop(&mut self) {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.index);
    }
}

/// Times as the API gives them: in ticks, of as many bits as count.
pub fn stamp(t: Times) -> KernelTimestampResult {
    let cut = |ns: u64| ticks(ns) & ((1 << KERNEL_TIMESTAMP_BITS) - 1);
    KernelTimestampResult {
        global: KernelTimestampData {
            kernel_start: cut(t.start),
            kernel_end: cut(t.end),
        },
        context: KernelTimestampData {
            kernel_start: cut(t.end - t.ran.min(t.end)),
            kernel_end: cut(t.end),
        },
    }
}

/// Returns the events of a list of handles, for a command list of `context`.
pub fn list(handles: In<u64>, n: u32, context: &Context) -> Reply<Vec<Arc<EventObject>>> {
    let handles = handles.list(n as usize)?;
    handles.into_iter().map(|h| named(h, context)).collect()
}

/// Returns the event of a handle, for a command list of `context`.
pub fn named(handle: u64, context: &Context) -> Reply<Arc<EventObject>> {
    let e = driver()?.events.get(handle);
    let e = e.map_err(|_| INVALID_SYNCHRONIZATION_OBJECT)?;
    context.must_be(&e.context, "event", handle);
    Ok(e)
}

/// Returns the event of a handle, or none for no handle.
pub fn optional(handle: u64, context: &Context) -> Reply<Option<Arc<EventObject>>> {
    if handle == 0 {
        return Ok(None);
    }
    named(handle, context).map(Some)
}

api! {
    fn zeEventPoolCreate(context: u64, desc: In<EventPoolDesc>, n: u32, devices: In<u64>, place: Out<u64>) {
        let d = driver()?;
        let context = d.contexts.get(context)?;
        place.need()?;
        let desc = desc.get()?;
        if desc.count == 0 {
            return Err(INVALID_SIZE);
        }
        if desc.flags & !0b111 != 0 {
            return Err(INVALID_ENUMERATION);
        }
        if desc.flags & IPC != 0 {
            return Err(crate::codes::UNSUPPORTED_FEATURE);
        }
        for h in devices.list(if devices.is_null() { 0 } else { n as usize })? {
            device(h)?;
        }
        place.put(d.pools.add(Pool { context, flags: desc.flags, count: desc.count, used: Arc::default() }))
    }
    fn zeEventPoolDestroy(handle: u64) {
        let d = driver()?;
        let p = d.pools.remove(handle)?;
        let own = |e: &EventObject| Arc::ptr_eq(&e.used, &p.used);
        // "The application must destroy all event handles created from the pool before destroying
        // the pool itself."
        if let Some(e) = d.events.handle_of(own)
            && is_on(Rule::Handles)
        {
            fatal(&format!("event pool {handle:#x} still has event {e:#x}"));
        }
        Ok(())
    }
    fn zeEventCreate(pool: u64, desc: In<EventDesc>, place: Out<u64>) {
        let d = driver()?;
        let p = d.pools.get(pool)?;
        place.need()?;
        let index = desc.get()?.index;
        if index >= p.count {
            return Err(INVALID_ARGUMENT);
        }
        if !p.used.lock().unwrap_or_else(PoisonError::into_inner).insert(index) {
            return Err(OBJECT_IN_USE);
        }
        place.put(d.events.add(EventObject {
            flag: Flag::default(),
            timed: p.flags & TIMESTAMP != 0,
            busy: Busy::default(),
            context: p.context.clone(),
            index,
            used: p.used.clone(),
        }))
    }
    fn zeEventDestroy(handle: u64) {
        driver()?.events.remove(handle)?.busy.must_be_idle("event", handle);
        Ok(())
    }
    fn zeEventHostSignal(handle: u64) {
        driver()?.events.get(handle)?.flag.signal(None);
        Ok(())
    }
    fn zeEventHostReset(handle: u64) {
        driver()?.events.get(handle)?.flag.reset();
        Ok(())
    }
    fn zeEventHostSynchronize(handle: u64, timeout: u64) {
        let e = driver()?.events.get(handle)?;
        e.flag.wait(timeout, &e.context)
    }
    fn zeEventQueryStatus(handle: u64) {
        let e = driver()?.events.get(handle)?;
        if e.flag.is_set() { Ok(()) } else { Err(NOT_READY) }
    }
    fn zeEventQueryKernelTimestamp(handle: u64, place: Out<KernelTimestampResult>) {
        let e = driver()?.events.get(handle)?;
        place.put(stamp(e.flag.times()?))
    }
    fn zeEventQueryTimestampsExp(handle: u64, on: u64, count: Out<u32>, place: Out<KernelTimestampResult>) {
        device(on)?;
        let e = driver()?.events.get(handle)?;
        crate::abi::put_list(count, place, &[stamp(e.flag.times()?)])
    }
}
