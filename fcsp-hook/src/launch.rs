//! Functions that the wrappers of launches and of waits call.
//!
//! A launch that needs no permission (no tenant, or no share to keep) costs a few loads: see
//! [`is_unthrottled`]. A kernel whose cost has converged takes little more: see [`admits_kernel`].

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use fcsp_core::share::cost;

use crate::backend::Backend;
use crate::compute::{Compute, Drains, LaunchInfo, Work};
use crate::device::Device;
use crate::setup::catch_panic;

pub mod copies;
mod stages;

pub use stages::Argument;

/// Words that decide whether a launch goes straight through.
///
/// Launches only read this cache line and the words that it points at. It changes when a device is
/// attached, when limits change, and when a graph takes memory.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Bypass<B: Backend> {
    /// The generation word of the tenant's control page while launches may go straight through.
    /// Otherwise a word that never equals `seen`.
    now: AtomicPtr<AtomicU64>,
    /// Value of `now`'s word for which launches go straight through.
    seen: AtomicU64,
    /// Word for `now` in an unmanaged process.
    free: AtomicU64,
    /// Word for `now` where launches must ask.
    never: AtomicU64,
    /// The share of the only device, if there is one to keep; null otherwise.
    compute: AtomicPtr<Compute<B>>,
    /// The generation word of the tenant's control page.
    /// Value of `page`'s word for which `compute` holds.
    page: AtomicPtr<AtomicU64>,
    page_seen: AtomicU64,
    /// True once a graph has memory nodes: a launch of a graph may then allocate, and must ask.
    memory_nodes: AtomicBool,
}

/// Word for `now` before anything is known: a constructor cannot point into the value that it
/// makes.
static NEVER: AtomicU64 = AtomicU64::new(u64::MAX);

impl<B: Backend> Bypass<B> {
    pub const fn new() -> Self {
        Self {
            now: AtomicPtr::new((&raw const NEVER).cast_mut()),
            seen: AtomicU64::new(0),
            free: AtomicU64::new(0),
            never: AtomicU64::new(u64::MAX),
            compute: AtomicPtr::new(core::ptr::null_mut()),
            page: AtomicPtr::new((&raw const NEVER).cast_mut()),
            page_seen: AtomicU64::new(0),
            memory_nodes: AtomicBool::new(false),
        }
    }

    /// Records that a graph has memory nodes: no graph goes straight through any more.
    pub fn graphs_take_memory(&'static self) {
        // Release: a thread that launches the graph learns of the graph after this store.
        self.memory_nodes.store(true, Ordering::Release);
    }

    /// Sends every launch the long way.
    pub fn close(&'static self) {
        self.now
            .store((&raw const self.never).cast_mut(), Ordering::Relaxed);
        self.compute.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Lets launches go straight through while `word` says `generation`.
    pub fn open(&'static self, word: &'static AtomicU64, generation: u64) {
        // A launch that reads the old pointer with the new generation compares two generations of
        // one page: should they be equal, the answer is the new one.
        self.close();
        self.seen.store(generation, Ordering::Relaxed);
        // Release: `seen` is there before the word that it belongs to.
        self.now
            .store(core::ptr::from_ref(word).cast_mut(), Ordering::Release);
    }

    /// Lets launches go straight through in a process that nobody governs.
    pub fn open_for_good(&'static self) {
        self.open(&self.free, 0);
    }

    /// Sends launches to `compute` without asking for the device while `word` says `generation`.
    pub fn settle(
        &'static self,
        word: &'static AtomicU64,
        generation: u64,
        compute: &'static Compute<B>,
    ) {
        self.close();
        self.page_seen.store(generation, Ordering::Relaxed);
        self.page
            .store(core::ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
        // Release: what belongs to it is there before.
        self.compute
            .store(core::ptr::from_ref(compute).cast_mut(), Ordering::Release);
    }
}

/// Returns whether launches need no permission: there is no tenant, or no share to keep. Costs a
/// few loads of cache lines that are only read.
#[inline(always)]
pub fn is_unthrottled<B: Backend>() -> bool {
    let line = &B::process().bypass;
    // Acquire pairs with the Release in `open`.
    // SAFETY: points at a word of a static or of a mapping that is never unmapped.
    let now = unsafe { &*line.now.load(Ordering::Acquire) }.load(Ordering::Relaxed);
    now == line.seen.load(Ordering::Relaxed)
}

/// [`is_unthrottled`] for an executable graph: none of this process's takes memory either.
#[inline(always)]
pub fn is_graph_unthrottled<B: Backend>() -> bool {
    !B::process().bypass.memory_nodes.load(Ordering::Acquire) && is_unthrottled::<B>()
}

/// Returns the share of the only device, while its limits are the known ones and nothing is
/// recorded.
#[inline(always)]
fn settled<B: Backend>() -> Option<&'static Compute<B>> {
    let line = &B::process().bypass;
    // SAFETY: shares are leaked, never freed. Acquire pairs with the Release in `settle`.
    let compute = unsafe { line.compute.load(Ordering::Acquire).as_ref() }?;
    // SAFETY: as in `straight`.
    let now = unsafe { &*line.page.load(Ordering::Relaxed) }.load(Ordering::Relaxed);
    (now == line.page_seen.load(Ordering::Relaxed) && !B::is_recording()).then_some(compute)
}

/// Charges and admits a kernel whose cost has converged: six cache lines and one atomic change.
/// Returns false otherwise: the launch then goes by [`kernel`].
#[inline(always)]
pub fn admits_kernel<B: Backend>(function: usize, blocks: u64, queue: usize) -> bool {
    match settled::<B>() {
        Some(compute) => compute.admits(cost::kernel_key(function as u64, blocks), queue),
        None => false,
    }
}

/// Charges and admits an executable graph or recorded list as [`admits_kernel`] does. Returns false
/// otherwise: the launch then goes by [`graph`].
#[inline(always)]
pub fn admits_graph<B: Backend>(executable: usize, queue: usize) -> bool {
    match settled::<B>() {
        Some(_) if B::process().bypass.memory_nodes.load(Ordering::Acquire) => false,
        Some(compute) => compute.admits(cost::graph_key(executable as u64), queue),
        None => false,
    }
}

/// Returns the share for work on `queue` of the calling thread's device; `None` without a share,
/// and for work that is only recorded.
///
/// Shielded, as it may open files: a launch without its share proceeds unmanaged.
#[inline]
fn share<B: Backend>(queue: usize) -> Option<&'static Compute<B>> {
    catch_panic(None, || {
        let process = B::process();
        if process.is_free() {
            return None;
        }
        let compute = process.compute()?;
        (!B::is_recording() || !B::records(queue)).then_some(compute)
    })
}

/// Submits a kernel, known by the handle that the launch names, on the calling thread's device.
#[inline]
pub fn kernel<B: Backend>(
    function: usize,
    blocks: u64,
    queue: usize,
    call: impl Fn() -> B::Status,
) -> B::Status {
    let Some(compute) = share::<B>(queue) else {
        return call();
    };
    catch_panic(B::UNKNOWN, || compute.kernel(function, blocks, queue, call))
}

/// Submits an executable graph or recorded list: one key each.
#[inline]
pub fn graph<B: Backend>(
    executable: usize,
    queue: usize,
    call: impl Fn() -> B::Status,
) -> B::Status {
    let Some(compute) = share::<B>(queue) else {
        return call();
    };
    catch_panic(B::UNKNOWN, || compute.graph(executable, queue, call))
}

/// Makes a call in which the host waits for the device, and tells the share so.
#[inline]
pub fn waiting<B: Backend>(drains: Drains, call: impl Fn() -> B::Status) -> B::Status {
    let process = B::process();
    let result = match (process.is_free(), B::is_recording()) {
        (false, false) => match process.compute() {
            Some(compute) => compute.waiting(drains, call),
            None => call(),
        },
        _ => call(),
    };
    // A refused call has waited for nothing.
    if result == B::SUCCESS {
        B::after_synchronisation();
    }
    result
}

/// Notes that an executable graph was made on the calling thread's device. `kernels` returns the
/// kernels in it, function and blocks; it is called only if there is a share.
pub fn graph_made<B: Backend>(executable: usize, kernels: impl FnOnce() -> Vec<(usize, u64)>) {
    if !B::process().is_free()
        && let Some(compute) = B::process().compute()
    {
        compute.graph_made(executable, &kernels());
    }
}

fn each_share<B: Backend>(told: impl Fn(&Compute<B>)) {
    catch_panic((), || {
        let Some(governed) = B::process().governed() else {
            return;
        };
        governed
            .devices()
            .filter_map(Device::compute_made)
            .for_each(told);
    });
}

/// Notes that an executable graph was updated: its cost must be learned again.
pub fn graph_changed<B: Backend>(executable: usize) {
    each_share::<B>(|compute| compute.graph_changed(executable));
}

/// Notes that an executable graph, model or recipe is about to be destroyed: the next one may get
/// its handle. Call it before the driver, because another thread may have the handle before the
/// driver returns.
pub fn graph_ends<B: Backend>(executable: usize) {
    each_share::<B>(|compute| compute.graph_ends(executable));
}

/// Notes that a kernel is about to end, as [`graph_ends`] does for a graph.
pub fn function_ends<B: Backend>(function: usize) {
    each_share::<B>(|compute| compute.function_ends(function));
}

/// Notes that a queue is about to end, as [`graph_ends`] does for a graph.
pub fn queue_ends<B: Backend>(queue: usize) {
    each_share::<B>(|compute| compute.queue_ends(queue));
}

/// Functions for backends whose calls name their device: they find the share with
/// [`crate::process::Process::compute_of`].
impl<B: Backend> Compute<B> {
    /// Describes a launch of `function` with so many blocks.
    #[inline]
    pub fn kernel_work(&self, function: usize, blocks: u64) -> Work {
        let LaunchInfo {
            class,
            sample,
            settled,
            stranger,
            content,
        } = self
            .functions
            .kernel(function, self.countdown(), B::kernel_name);
        if stranger {
            self.forget_kernel_price(function);
        }
        Work {
            key: cost::kernel_key(function as u64, blocks),
            content: match content {
                0 => 0,
                name => cost::name_key(name, blocks),
            },
            blocks,
            class,
            sample,
            settled,
        }
    }

    /// Submits a kernel here.
    #[inline]
    pub fn kernel(
        &self,
        function: usize,
        blocks: u64,
        queue: usize,
        call: impl Fn() -> B::Status,
    ) -> B::Status {
        self.submit(self.kernel_work(function, blocks), queue, call)
    }

    /// Submits an executable graph or recorded list here.
    pub fn graph(
        &self,
        executable: usize,
        queue: usize,
        call: impl Fn() -> B::Status,
    ) -> B::Status {
        let LaunchInfo {
            class,
            sample,
            settled,
            content,
            ..
        } = self.functions.graph(executable, self.countdown());
        let work = Work {
            key: cost::graph_key(executable as u64),
            content: match content {
                0 => 0,
                content => cost::content_key(content),
            },
            blocks: 0,
            class,
            sample,
            settled,
        };
        self.submit(work, queue, call)
    }

    /// Makes a call in which the host waits for the device, and tells the share so.
    #[inline]
    pub fn waiting(&self, drains: Drains, call: impl Fn() -> B::Status) -> B::Status {
        if self.is_busy() {
            return self.synchronise(drains, &call);
        }
        let result = call();
        if matches!(drains, Drains::Everything) {
            self.idle();
        }
        self.has_waited();
        result
    }
}
