//! Recorded work, and its memory. A device keeps one pool for the memory nodes of graphs. It grows
//! when a graph with such nodes is launched, and shrinks when it is trimmed. It is charged as a
//! whole, like any pool. Nodes come from explicit calls or from allocations on a queue that is
//! recorded.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::Backend;
use crate::device::{Device, Hold};
use crate::memory::pool::{self, Pooled};
use crate::process::Target;
use crate::recordings::{Origin, Recordings};
use crate::setup::{Reentry, SetupOnce};

/// Calls of a driver whose graphs have memory nodes.
pub trait GraphMemory: Backend {
    /// Returns the list of graphs: a static of the backend.
    fn graphs() -> &'static Graphs;
    /// Returns the bytes that a device has reserved for graphs.
    fn reserved_for_graphs(device: &Device<Self>) -> Option<u64>;
    /// Makes a device give back graph memory that no graph uses. Returns true if the driver could
    /// be asked.
    fn trim_graphs(device: &Device<Self>) -> bool;
    /// Returns the bytes that the driver reserves for nodes of so many bytes.
    fn pages(bytes: u64) -> u64;
    /// Returns the graph that a capture on `stream` makes; 0 if it cannot be queried.
    fn graph_of_capture(stream: usize) -> usize;
}

/// The graphs of this process, and how many queues are being recorded. A static of each backend
/// that has any.
#[derive(Debug)]
pub struct Graphs {
    /// Set once any graph of this process has a memory node; until then launches ask nothing.
    any: AtomicBool,
    /// Queues being recorded, in all threads.
    recordings: Recordings,
    books: AtomicPtr<Books>,
}

/// Bytes of memory nodes by graph and by executable graph, and what is charged for them by device.
#[derive(Debug, Default)]
struct Books {
    graphs: Mutex<HashMap<usize, u64>>,
    executables: Mutex<HashMap<usize, Executable>>,
    charged: Mutex<HashMap<i32, u64>>,
}

/// An executable graph with memory nodes.
#[derive(Debug, Clone, Copy)]
struct Executable {
    bytes: u64,
    /// Launched since the device's graph memory was last trimmed: what it takes is reserved
    /// already.
    reserved: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Graphs {
    /// Creates an empty list.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            any: AtomicBool::new(false),
            recordings: Recordings::new(),
            books: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Empties the list in a forked child: a thread that does not exist here may hold its locks.
    pub fn forget_in_child(&self) {
        self.books.store(core::ptr::null_mut(), Ordering::Release);
        self.recordings.forget_in_child();
    }

    fn books(&self) -> &'static Books {
        // Acquire: made before its address was published.
        let known = self.books.load(Ordering::Acquire);
        if known.is_null() {
            return SetupOnce::publish(&self.books, Books::default);
        }
        // SAFETY: leaked, never freed.
        unsafe { &*known }
    }

    /// Returns the queues that are being recorded.
    #[inline]
    pub fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// Takes out the recordings that `ended` names, and what is known of graphs that will never be
    /// finished.
    pub fn recordings_ended(&self, ended: impl Fn(&Origin) -> bool) {
        for origin in self.recordings.ended(ended) {
            self.graph_gone(origin.graph);
        }
    }

    /// Returns true if any graph of this process has a memory node.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Records a memory node of `bytes` that was added to `graph`.
    pub fn node_added<B: GraphMemory>(&self, graph: usize, bytes: u64) {
        B::process().bypass.graphs_take_memory();
        self.any.store(true, Ordering::Release);
        *locked(&self.books().graphs).entry(graph).or_default() += bytes.next_multiple_of(512);
    }

    fn bytes_of(&self, graph: usize) -> Option<u64> {
        locked(&self.books().graphs).get(&graph).copied()
    }

    /// Records a copy of `child` that became a node of `graph`, and its memory nodes with it.
    pub fn child_added(&self, graph: usize, child: usize) {
        if self.any()
            && let Some(bytes) = self.bytes_of(child)
        {
            *locked(&self.books().graphs).entry(graph).or_default() += bytes;
        }
    }

    /// Records an executable graph that was made from `graph`.
    pub fn instantiated(&self, executable: usize, graph: usize) {
        if !self.any() {
            return;
        }
        let bytes = self.bytes_of(graph);
        let mut executables = locked(&self.books().executables);
        // One that was known by this handle before is gone, whether or not that was seen.
        match bytes {
            Some(bytes) => executables.insert(
                executable,
                Executable {
                    bytes,
                    reserved: false,
                },
            ),
            None => executables.remove(&executable),
        };
    }

    /// Forgets the graph that was known by an address. It is about to be destroyed, or the address
    /// names a new one.
    pub fn graph_gone(&self, graph: usize) {
        if self.any() {
            locked(&self.books().graphs).remove(&graph);
        }
    }

    /// Forgets an executable graph in the same way.
    pub fn executable_gone(&self, executable: usize) {
        if self.any() {
            locked(&self.books().executables).remove(&executable);
        }
    }

    fn nothing_is_reserved(&self) {
        for known in locked(&self.books().executables).values_mut() {
            known.reserved = false;
        }
    }
}

/// Makes the charge for the device's graph memory equal to what is reserved; `ahead` bytes were
/// held for growth. Returns true if anything was given back. Within a [`Device::change`].
pub fn settle<B: GraphMemory>(device: &Device<B>, ahead: u64) -> bool {
    if !B::graphs().any() {
        device.release(ahead);
        return false;
    }
    let mut charged = locked(&B::graphs().books().charged);
    let Some(now) = B::reserved_for_graphs(device) else {
        device.release(ahead);
        return false;
    };
    let before = charged.insert(device.ordinal, now).unwrap_or(0);
    let held = before + ahead;
    if now > before {
        device.gained(now - before);
    } else if now < before {
        device.lost(before - now);
    }
    if now > held {
        device.charge(now - held);
    } else {
        device.release(held - now);
    }
    held > now
}

/// Enters the bytes that pools and graphs have reserved by now. For
/// [`crate::backend::DriverMemory::reconcile_pools`].
pub fn settle_with_pools<B: Pooled + GraphMemory>(device: &Device<B>) {
    if B::pools().any() {
        pool::refresh(device);
    }
    if B::graphs().any() {
        settle(device, 0);
    }
}

/// Enters the same, bracketed. For [`crate::backend::DriverMemory::refresh`].
pub fn refresh_with_pools<B: Pooled + GraphMemory>(device: &Device<B>) {
    if B::pools().any() || B::graphs().any() {
        let change = device.change();
        settle_with_pools(device);
        drop(change);
    }
}

/// Bytes held for the growth that a launch may cause.
struct Ahead<B: Backend> {
    device: &'static Device<B>,
    bytes: u64,
    /// The request, under way until the growth is reconciled.
    hold: Hold<'static>,
}

/// Holds the growth that the memory nodes of `executable` may cause, before a launch of it. Returns
/// the bytes, or the answer that replaces the launch.
fn before_launch<B: GraphMemory>(
    executable: usize,
    what: &'static str,
) -> Result<Option<Ahead<B>>, B::Status> {
    let device = match B::process().target() {
        Target::Device(device, _) => device,
        Target::PassThrough => return Ok(None),
        Target::Deny => return Err(B::OUT_OF_MEMORY),
    };
    let executables = &B::graphs().books().executables;
    let bytes = match locked(executables).get(&executable) {
        Some(known) if !known.reserved => B::pages(known.bytes),
        _ => 0,
    };
    // The driver may serve it from memory that other graphs have left. The charge is reconciled
    // afterwards. Where the quota has no room for both, that memory is given back first.
    let again = |_| {
        trimmed(device);
        device.hold(bytes)
    };
    let hold = match device.try_hold(bytes).or_else(again) {
        Ok(hold) => hold,
        Err(denied) => {
            device.refused(what, &denied);
            return Err(B::OUT_OF_MEMORY);
        }
    };
    if let Some(known) = locked(executables).get_mut(&executable) {
        known.reserved = true;
    }
    Ok(Some(Ahead {
        device,
        bytes,
        hold,
    }))
}

/// Gives graph memory that no graph uses back to the driver. Returns true if there was any.
fn trimmed<B: GraphMemory>(device: &Device<B>) -> bool {
    let change = device.change();
    let asked = B::trim_graphs(device);
    B::graphs().nothing_is_reserved();
    let less = asked && settle(device, 0);
    drop(change);
    less
}

/// Runs `call`, which may reserve the memory of `executable`, on the calling thread's device. For
/// processes with memory nodes: [`Graphs::any`] says so.
pub fn with_memory<B: GraphMemory>(
    executable: usize,
    what: &'static str,
    call: impl Fn() -> B::Status,
) -> B::Status {
    match before_launch::<B>(executable, what) {
        Err(refusal) => refusal,
        Ok(None) => call(),
        Ok(Some(ahead)) => {
            let _inside = Reentry::enter();
            let change = ahead.device.change();
            let result = call();
            settle(ahead.device, ahead.bytes);
            drop(change);
            drop(ahead.hold);
            result
        }
    }
}

/// Records that the program has trimmed a device's graph memory.
pub fn trimmed_by_program<B: GraphMemory>(ordinal: i32) {
    if let Some(_inside) = Reentry::enter()
        && let Target::Device(device, _) = B::process().target_of(ordinal)
    {
        B::graphs().nothing_is_reserved();
        let change = device.change();
        settle(device, 0);
        drop(change);
    }
}
