//! Command lists: what was appended, and its way to the device. Commands of a list run in the order
//! in which they were appended, which the API leaves open.

use crate::abi::{In, Out};
use crate::codes::{INVALID_ARGUMENT, INVALID_LIST_TYPE, Reply};
use crate::driver::{Context, Driver, device, driver};
use crate::event::{EventObject, Times, stamp};
use crate::export::api;
use crate::in_use::{Busy, Pin, Pinned, Threads};
use crate::kernel::KernelObject;
use crate::properties::{COPY_GROUP, GROUPS};
use crate::queue::Lane;
use crate::structs::{CommandListDesc, CommandQueueDesc, GroupCount};
use fcsp_sim::copy::Copy;
use fcsp_sim::launch::Launch;
use fcsp_sim::stream::{Event, Op};
use std::sync::{Arc, Mutex, PoisonError};

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Work {
    /// A kernel.
    Kernel(Launch),
    /// A kernel whose group counts lie in memory and are read when the list is submitted.
    Indirect(Arc<KernelObject>, u64),
    /// A copy.
    Copy(Copy),
    /// A fill: where, bytes, the pattern.
    Fill(u64, u64, Arc<Vec<u8>>),
    /// Clears an event.
    Reset(Arc<EventObject>),
    /// Writes the device's time.
    Time(u64),
    /// Writes events' times, at offsets if there are any.
    Times(Vec<Arc<EventObject>>, u64, Option<Vec<u64>>),
    /// Nothing but waiting and signalling.
    Nothing,
}

/// A thing to do, what it waits for and what it signals.
#[derive(Debug, Clone)]
pub struct Command {
    /// Events it waits for.
    pub waits: Vec<Arc<EventObject>>,
    /// Its work.
    pub work: Work,
    /// The event it signals.
    pub signal: Option<Arc<EventObject>>,
}

#[derive(Debug, Default)]
struct Recorded {
    commands: Vec<Command>,
    closed: bool,
}

/// One list.
#[derive(Debug)]
pub struct List {
    /// Its handle.
    pub handle: u64,
    /// Its context.
    pub context: Arc<Context>,
    /// The device's position on the machine.
    pub device: usize,
    /// Where an immediate list's commands go at once.
    pub lane: Option<Lane>,
    /// The number of the queue group that it is for.
    pub ordinal: u32,
    /// The thread that is in a call on it.
    pub threads: Threads,
    /// Executions that the device has not finished; of an immediate list none.
    busy: Busy,
    recorded: Mutex<Recorded>,
}

/// Makes a fill at the device's bandwidth, whatever the pattern.
fn fill(d: &Driver, device: usize, at: u64, n: u64, pattern: &Arc<Vec<u8>>) -> Op {
    let (memory, pattern) = (d.memory.clone(), pattern.clone());
    let ns = 1_000 + n.saturating_mul(1_000) / d.spec(device).bandwidth;
    Op::Engine(
        ns,
        Box::new(move || {
            if !memory.covers(at, n) {
                return Err(fcsp_sim::error::Error::IllegalAddress);
            }
            memory.touch(at, n);
            let step = pattern.len() as u64;
            for offset in (0..n).step_by(step as usize) {
                let part = step.min(n - offset) as usize;
                // SAFETY: inside live memory that the device can reach, checked above; freeing
                // waits for work in flight.
                unsafe {
                    std::ptr::copy_nonoverlapping(pattern.as_ptr(), (at + offset) as *mut u8, part);
                }
            }
            Ok(())
        }),
    )
}

impl Command {
    /// Returns the operations that the model plays for it. The pins are dropped when it is done,
    /// before its event is signalled.
    fn ops(
        &self,
        d: &'static Driver,
        device: usize,
        copies: bool,
        pins: Vec<Pin>,
        out: &mut Vec<Op>,
    ) -> Reply {
        for e in &self.waits {
            let e = Pinned::new(e, &e.busy);
            out.push(Op::Until(Box::new(move || e.flag.is_set())));
        }
        let spec = d.spec(device);
        let work = match &self.work {
            Work::Kernel(launch) => Some(launch.op(spec, &d.memory)),
            Work::Indirect(kernel, at) => {
                if !d.memory.covers(*at, 12) {
                    return Err(INVALID_ARGUMENT);
                }
                let groups = In::<GroupCount>::from_raw(*at as *const _).get()?;
                Some(kernel.launch(groups)?.op(spec, &d.memory))
            }
            Work::Copy(copy) => Some(match copy.op(spec, &d.memory) {
                // A queue that only copies has the copy engine within a device too.
                Op::Engine(ns, effect) if copies => Op::Copy(ns, effect),
                op => op,
            }),
            Work::Fill(at, n, pattern) => Some(fill(d, device, *at, *n, pattern)),
            Work::Reset(e) => {
                let e = Pinned::new(e, &e.busy);
                Some(Op::Instant(Box::new(move || {
                    e.flag.reset();
                    Ok(())
                })))
            }
            Work::Time(_) | Work::Times(..) | Work::Nothing => None,
        };
        if let Work::Times(events, at, offsets) = &self.work {
            for (i, e) in events.iter().enumerate() {
                let to = at + offsets.as_ref().map_or(32 * i as u64, |o| o[i]);
                let (e, memory) = (Pinned::new(e, &e.busy), d.memory.clone());
                out.push(Op::Instant(Box::new(move || {
                    if let Ok(t) = e.flag.times()
                        && memory.covers(to, 32)
                    {
                        // SAFETY: inside live memory, checked above; the result has 32 bytes.
                        unsafe {
                            (to as *mut crate::structs::KernelTimestampResult)
                                .write_unaligned(stamp(t))
                        };
                    }
                    Ok(())
                })));
            }
        }
        if let Work::Time(at) = self.work {
            // The time is that of the moment in the queue's order.
            let (event, memory) = (Arc::new(Event::default()), d.memory.clone());
            out.push(Op::Record(event.clone(), event.record()));
            out.push(Op::Instant(Box::new(move || {
                let now = crate::device::ticks(event.time()?)
                    & ((1 << crate::device::TIMESTAMP_BITS) - 1);
                if !memory.covers(at, 8) {
                    return Err(fcsp_sim::error::Error::IllegalAddress);
                }
                // SAFETY: as above.
                unsafe { (at as *mut u64).write_unaligned(now) };
                Ok(())
            })));
        }
        let Some(signal) = &self.signal else {
            out.extend(work);
            if !pins.is_empty() {
                out.push(done(pins));
            }
            return Ok(());
        };
        let signal = Pinned::new(signal, &signal.busy);
        let ran = match &work {
            Some(Op::Engine(ns, _) | Op::Copy(ns, _)) => *ns,
            _ => 0,
        };
        let (start, end) = (Arc::new(Event::default()), Arc::new(Event::default()));
        out.push(Op::Record(start.clone(), start.record()));
        out.extend(work);
        out.push(Op::Record(end.clone(), end.record()));
        out.push(Op::Instant(Box::new(move || {
            let (start, end) = (start.time()?, end.time()?);
            drop(pins);
            let signal = signal.release();
            signal
                .flag
                .signal(signal.timed.then_some(Times { start, end, ran }));
            Ok(())
        })));
        Ok(())
    }
}

impl List {
    /// Appends a command: an immediate list's goes to the device now.
    pub fn append(&self, command: Command) -> Reply {
        let d = driver()?;
        let Some(lane) = &self.lane else {
            let mut r = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            if r.closed {
                return Err(INVALID_ARGUMENT);
            }
            r.commands.push(command);
            return Ok(());
        };
        let mut ops = Vec::new();
        let pins = vec![lane.busy.pin()];
        command.ops(d, self.device, lane.copies, pins, &mut ops)?;
        lane.submit(ops)
    }

    /// Returns the operations of a closed list, for a queue to run; with their end the pins are
    /// dropped. "The application must ensure the device is not currently referencing the command
    /// list since the implementation is allowed to modify the contents of the command list for
    /// submission."
    pub fn ops(
        &self,
        d: &'static Driver,
        copies: bool,
        mut pins: Vec<Pin>,
        out: &mut Vec<Op>,
    ) -> Reply {
        if self.lane.is_some() {
            return Err(INVALID_LIST_TYPE);
        }
        let r = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if !r.closed {
            return Err(INVALID_ARGUMENT);
        }
        self.busy.must_be_idle("command list", self.handle);
        pins.push(self.busy.pin());
        let Some((last, before)) = r.commands.split_last() else {
            out.push(done(pins));
            return Ok(());
        };
        for c in before {
            c.ops(d, self.device, copies, Vec::new(), out)?;
        }
        last.ops(d, self.device, copies, pins, out)
    }
}

/// Work that takes no time and ends the use of what the pins are of.
fn done(pins: Vec<Pin>) -> Op {
    Op::Instant(Box::new(move || {
        drop(pins);
        Ok(())
    }))
}

/// Returns a list's handle.
fn make(d: &Driver, context: Arc<Context>, device: usize, ordinal: u32, lane: Option<Lane>) -> u64 {
    let list = |handle| List {
        handle,
        context,
        device,
        lane,
        ordinal,
        threads: Threads::default(),
        busy: Busy::default(),
        recorded: Mutex::default(),
    };
    d.lists.add_with(list).0
}

api! {
    fn zeCommandListCreate(context: u64, on: u64, desc: In<CommandListDesc>, place: Out<u64>) {
        let (d, device) = device(on)?;
        let context = d.contexts.get(context)?;
        place.need()?;
        let ordinal = desc.get()?.command_queue_group_ordinal;
        if ordinal as usize >= GROUPS.len() {
            return Err(INVALID_ARGUMENT);
        }
        place.put(make(d, context, device, ordinal, None))
    }
    fn zeCommandListCreateImmediate(context: u64, on: u64, desc: In<CommandQueueDesc>, place: Out<u64>) {
        let (d, device) = device(on)?;
        let context = d.contexts.get(context)?;
        place.need()?;
        let lane = Lane::open(d, &context, device, &desc.get()?)?;
        place.put(make(d, context, device, lane.ordinal, Some(lane)))
    }
    fn zeCommandListDestroy(handle: u64) {
        let l = driver()?.lists.remove(handle)?;
        let _stay = l.threads.enter("command list", handle);
        l.busy.must_be_idle("command list", handle);
        if let Some(lane) = &l.lane {
            lane.busy.must_be_idle("immediate command list", handle);
            lane.close();
        }
        Ok(())
    }
    fn zeCommandListClose(handle: u64) {
        let l = driver()?.lists.get(handle)?;
        let _stay = l.threads.enter("command list", handle);
        l.recorded.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
    fn zeCommandListReset(handle: u64) {
        let l = driver()?.lists.get(handle)?;
        let _stay = l.threads.enter("command list", handle);
        l.busy.must_be_idle("command list", handle);
        *l.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Recorded::default();
        Ok(())
    }
}

/// Returns true if a queue group's number is that of the group that only copies.
pub fn copies(ordinal: u32) -> bool {
    ordinal == COPY_GROUP
}
