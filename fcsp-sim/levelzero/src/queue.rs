//! Command queues, fences, and the place on a device that queues and immediate lists have alike.

use crate::abi::{In, Out};
use crate::codes::{
    INVALID_ARGUMENT, INVALID_ENUMERATION, INVALID_LIST_TYPE, INVALID_SYNCHRONIZATION_OBJECT,
    NOT_READY, Reply,
};
use crate::driver::{Context, Driver, device, driver};
use crate::event::Flag;
use crate::export::api;
use crate::in_use::{Busy, Pin, Pinned};
use crate::properties::GROUPS;
use crate::structs::CommandQueueDesc;
use fcsp_sim::stream::{Op, Timeline};
use fcsp_sim::strict::{Rule, fatal, is_on};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where commands go, in order.
#[derive(Debug)]
pub struct Lane {
    timeline: Arc<Timeline>,
    stream: u64,
    synchronous: bool,
    /// True if it only copies.
    pub copies: bool,
    /// The number of its group, which lists executed on it must have.
    pub ordinal: u32,
    /// What it was given and has not done.
    pub busy: Busy,
}

impl Lane {
    /// Opens a place on a device.
    pub fn open(
        d: &Driver,
        context: &Context,
        device: usize,
        desc: &CommandQueueDesc,
    ) -> Reply<Self> {
        let (_, queues, _) = GROUPS.get(desc.ordinal as usize).ok_or(INVALID_ARGUMENT)?;
        if desc.index >= *queues {
            return Err(INVALID_ARGUMENT);
        }
        if desc.mode > 2 || desc.priority > 2 {
            return Err(INVALID_ENUMERATION);
        }
        let timeline = context.on(device)?;
        // The model's streams go from low numbers to high ones.
        let priority = [0, 1, -1][desc.priority as usize];
        // Beyond the number of the model's own first stream.
        let stream = d.process.region.fresh_id() + 16;
        timeline.open(stream, false, priority);
        Ok(Self {
            timeline,
            stream,
            synchronous: desc.mode == 1,
            copies: crate::list::copies(desc.ordinal),
            ordinal: desc.ordinal,
            busy: Busy::default(),
        })
    }

    /// Runs operations.
    pub fn submit(&self, ops: Vec<Op>) -> Reply {
        self.timeline.submit(self.stream, ops)?;
        if self.synchronous && !fcsp_sim::stream::on_device_thread() {
            self.timeline.synchronise_stream(self.stream)?;
        }
        Ok(())
    }

    /// Waits for what was submitted, for `timeout` nanoseconds; all ones for ever.
    pub fn wait(&self, timeout: u64) -> Reply {
        if timeout == u64::MAX {
            return Ok(self.timeline.synchronise_stream(self.stream)?);
        }
        let start = Instant::now();
        while !self.timeline.query(self.stream)? {
            let left = Duration::from_nanos(timeout).saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(NOT_READY);
            }
            std::thread::sleep(left.min(Duration::from_micros(50)));
        }
        Ok(())
    }

    /// Ends it once its work is done.
    pub fn close(&self) {
        self.timeline.close(self.stream);
    }
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    /// Its context.
    pub context: Arc<Context>,
    device: usize,
    lane: Lane,
}

/// One fence: a flag that a queue sets when what was submitted with it is done.
#[derive(Debug)]
pub struct Fence {
    queue: Arc<Queue>,
    flag: Flag,
    busy: Busy,
}

impl Fence {
    /// Its queue's context.
    pub fn context(&self) -> &Context {
        &self.queue.context
    }
}

api! {
    fn zeCommandQueueCreate(context: u64, on: u64, desc: In<CommandQueueDesc>, place: Out<u64>) {
        let (d, device) = device(on)?;
        let context = d.contexts.get(context)?;
        place.need()?;
        let lane = Lane::open(d, &context, device, &desc.get()?)?;
        place.put(d.queues.add(Queue { context, device, lane }))
    }
    fn zeCommandQueueDestroy(handle: u64) {
        let d = driver()?;
        let q = d.queues.remove(handle)?;
        q.lane.busy.must_be_idle("command queue", handle);
        // "The application must destroy all fence handles created from the command queue before
        // destroying the command queue itself."
        if let Some(f) = d.fences.handle_of(|f| Arc::ptr_eq(&f.queue, &q))
            && is_on(Rule::Handles)
        {
            fatal(&format!("command queue {handle:#x} still has fence {f:#x}"));
        }
        q.lane.close();
        Ok(())
    }
    fn zeCommandQueueExecuteCommandLists(handle: u64, n: u32, lists: In<u64>, fence: u64) {
        let d = driver()?;
        let q = d.queues.get(handle)?;
        if n == 0 {
            return Err(crate::codes::INVALID_SIZE);
        }
        let fence = if fence == 0 { None } else { Some(d.fences.get(fence)?) };
        if fence.as_ref().is_some_and(|f| !Arc::ptr_eq(&f.queue, &q)) {
            return Err(INVALID_SYNCHRONIZATION_OBJECT);
        }
        let lists = lists.list(n as usize)?;
        let lists: Vec<_> = lists.into_iter().map(|h| d.lists.get(h)).collect::<Result<_, _>>()?;
        let _stays: Vec<_> = lists.iter().map(|l| l.threads.enter("command list", l.handle)).collect();
        let mut ops = Vec::new();
        for (i, l) in lists.iter().enumerate() {
            q.context.must_be(&l.context, "command list", l.handle);
            if l.device != q.device || l.context.handle != q.context.handle {
                return Err(INVALID_ARGUMENT);
            }
            if l.ordinal != q.lane.ordinal {
                return Err(INVALID_LIST_TYPE);
            }
            // The host learns of the queue's end by the fence if there is one, else by the last
            // list's.
            let last = fence.is_none() && i + 1 == lists.len();
            let pins: Vec<Pin> = last.then(|| q.lane.busy.pin()).into_iter().collect();
            l.ops(d, q.lane.copies, pins, &mut ops)?;
        }
        if let Some(f) = fence {
            let (fence, pin) = (Pinned::new(&f, &f.busy), q.lane.busy.pin());
            ops.push(Op::Instant(Box::new(move || {
                drop(pin);
                fence.release().flag.signal(None);
                Ok(())
            })));
        }
        q.lane.submit(ops)
    }
    fn zeCommandQueueSynchronize(handle: u64, timeout: u64) {
        driver()?.queues.get(handle)?.lane.wait(timeout)
    }
    fn zeFenceCreate(queue: u64, desc: In<[u64; 3]>, place: Out<u64>) {
        let d = driver()?;
        let q = d.queues.get(queue)?;
        place.need()?;
        let flag = Flag::default();
        // The flags are the low half of the third word: one bit, signalled from the start.
        if desc.get()?[2] & 1 != 0 {
            flag.signal(None);
        }
        place.put(d.fences.add(Fence { queue: q, flag, busy: Busy::default() }))
    }
    fn zeFenceDestroy(handle: u64) {
        driver()?.fences.remove(handle)?.busy.must_be_idle("fence", handle);
        Ok(())
    }
    fn zeFenceHostSynchronize(handle: u64, timeout: u64) {
        let f = driver()?.fences.get(handle)?;
        f.flag.wait(timeout, f.context())
    }
    fn zeFenceQueryStatus(handle: u64) {
        if driver()?.fences.get(handle)?.flag.is_set() { Ok(()) } else { Err(NOT_READY) }
    }
    fn zeFenceReset(handle: u64) {
        driver()?.fences.get(handle)?.flag.reset();
        Ok(())
    }
}
