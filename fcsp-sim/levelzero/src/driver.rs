//! The driver's state in this process: objects by handle, and the contexts' work.

use crate::codes::{Code, INVALID_ARGUMENT, INVALID_NULL_HANDLE, Reply, UNINITIALIZED};
use crate::export;
use fcsp_sim::faults::check_environment;
use fcsp_sim::memory::{Memory, Range};
use fcsp_sim::owner;
use fcsp_sim::process::{Account, Process};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::Timeline;
use fcsp_sim::strict::{Rule, fatal, is_on};
use fcsp_sim::table::Table;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One context: a space for objects. On each device that it uses it has work of its own.
#[derive(Debug)]
pub struct Context {
    /// Its handle, which also tags its memory.
    pub handle: u64,
    /// Where it has mapped physical memory: first address and length. Goes with it.
    pub mappings: Mutex<HashMap<u64, u64>>,
    timelines: Mutex<HashMap<usize, Arc<Timeline>>>,
}

/// The driver after `zeInit`.
#[derive(Debug)]
pub struct Driver {
    /// This process on the machine.
    pub process: Arc<Process>,
    /// Its device memory.
    pub memory: Arc<Memory>,
    /// Devices this process sees, by position on the machine.
    pub visible: Vec<usize>,
    /// True if the management functions answer: as in the real driver only where the environment
    /// asked for them.
    pub sysman: bool,
    /// Live objects.
    pub contexts: Table<Context>,
    /// Live objects.
    pub queues: Table<crate::queue::Queue>,
    /// Live objects.
    pub lists: Table<crate::list::List>,
    /// Live objects.
    pub pools: Table<crate::event::Pool>,
    /// Live objects.
    pub events: Table<crate::event::EventObject>,
    /// Live objects.
    pub fences: Table<crate::queue::Fence>,
    /// Live objects.
    pub modules: Table<crate::module::Module>,
    /// Live objects.
    pub logs: Table<String>,
    /// Live objects.
    pub kernels: Table<crate::kernel::KernelObject>,
    /// Live objects.
    pub images: Table<crate::image::Image>,
    /// Live objects.
    pub physical: Table<crate::vmm::Physical>,
    /// Live objects.
    pub samplers: Table<crate::image::Sampler>,
}

static DRIVER: OnceLock<Result<Driver, Code>> = OnceLock::new();

/// The handle of the one driver.
pub const DRIVER_HANDLE: u64 = 0x4c5a_0000_0010;
const DEVICE_TAG: u64 = 0x4c5a_0001_0000;

/// Closes the parent's state file in a forked child. Once, however often it is called;
/// async-signal-safe.
pub extern "C" fn in_child() {
    if let Some(Ok(d)) = DRIVER.get() {
        d.process.region.abandon_in_child();
    }
}

/// Returns the devices that `ZE_AFFINITY_MASK` leaves: numbers separated by commas, each perhaps
/// with a tile after a dot, which devices of one tile have only as 0. The mask chooses; the order
/// stays the machine's.
fn visible(topology: &Topology, mask: Option<&str>) -> Vec<usize> {
    let all = 0..topology.devices.len();
    let Some(mask) = mask.filter(|m| !m.trim().is_empty()) else {
        return all.collect();
    };
    let named: Vec<usize> = mask
        .split(',')
        .filter_map(|entry| match entry.trim().split_once('.') {
            Some((device, "0")) => device.parse().ok(),
            Some(_) => None,
            None => entry.trim().parse().ok(),
        })
        .collect();
    all.filter(|d| named.contains(d)).collect()
}

fn start() -> Result<Driver, Code> {
    let fail = |text: String| {
        export::log(&text);
        UNINITIALIZED
    };
    check_environment(export::PREFIXES, export::is_exported).map_err(|_| UNINITIALIZED)?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let path = path_from_env(&topology);
    let visible = visible(&topology, std::env::var("ZE_AFFINITY_MASK").ok().as_deref());
    if visible.is_empty() {
        return Err(fail("ZE_AFFINITY_MASK leaves no device".into()));
    }
    let region = Region::open(&path, &topology).map_err(|e| fail(e.to_string()))?;
    let process = Process::join(topology, Arc::new(region)).map_err(|e| fail(e.to_string()))?;
    let process = Arc::new(process);
    // SAFETY: the handler only closes a descriptor, which is allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    Ok(Driver {
        memory: Arc::new(Memory::new(process.clone())),
        process,
        visible,
        sysman: std::env::var("ZES_ENABLE_SYSMAN").is_ok_and(|v| v == "1"),
        contexts: Table::new("context", 0x30),
        queues: Table::new("command queue", 0x31),
        lists: Table::new("command list", 0x32),
        pools: Table::new("event pool", 0x33),
        events: Table::new("event", 0x34),
        fences: Table::new("fence", 0x35),
        modules: Table::new("module", 0x36),
        logs: Table::new("build log", 0x37),
        kernels: Table::new("kernel", 0x38),
        images: Table::new("image", 0x39),
        physical: Table::new("physical memory", 0x3a),
        samplers: Table::new("sampler", 0x3b),
    })
}

/// `zeInit`.
pub fn init() -> Reply {
    // Before the once-cell: a child that is forked while it is filled must be refused, not wait for
    // it.
    if !owner::claim() {
        return Err(UNINITIALIZED);
    }
    let done = DRIVER
        .get_or_init(start)
        .as_ref()
        .map(|_| ())
        .map_err(|c| *c);
    if done.is_err() {
        owner::disclaim();
    }
    done
}

/// Returns the driver.
///
/// # Errors
/// `UNINITIALIZED` before `zeInit`, or what made it fail.
pub fn driver() -> Reply<&'static Driver> {
    match DRIVER.get() {
        Some(Ok(d)) => Ok(d),
        Some(Err(c)) => Err(*c),
        None => Err(UNINITIALIZED),
    }
}

/// Returns the driver, if this is its handle.
pub fn named(handle: u64) -> Reply<&'static Driver> {
    match handle {
        DRIVER_HANDLE => driver(),
        0 => Err(INVALID_NULL_HANDLE),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// Returns the handle of a device, by its position on the machine.
pub fn device_handle(device: usize) -> u64 {
    DEVICE_TAG | (device as u64 + 1) << 4
}

/// Returns the driver, and a device's position on the machine.
pub fn device(handle: u64) -> Reply<(&'static Driver, usize)> {
    let d = driver()?;
    if handle == 0 {
        return Err(INVALID_NULL_HANDLE);
    }
    let known = handle & !0xfff0 == DEVICE_TAG && handle & 0xf == 0;
    let index = ((handle & 0xfff0) >> 4) as usize;
    let hit = known && index > 0 && d.visible.contains(&(index - 1));
    if hit {
        Ok((d, index - 1))
    } else {
        Err(INVALID_ARGUMENT)
    }
}

impl Driver {
    /// Returns a device's description.
    pub fn spec(&self, device: usize) -> &DeviceSpec {
        &self.process.topology.devices[device]
    }
}

impl Context {
    /// Makes an empty context.
    pub fn new(handle: u64) -> Self {
        Self {
            handle,
            mappings: Mutex::default(),
            timelines: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Timeline>>> {
        self.timelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// This context's work on a device. The first use takes what a context takes of the device.
    pub fn on(&self, device: usize) -> Reply<Arc<Timeline>> {
        let d = driver()?;
        let mut all = self.lock();
        if let Some(t) = all.get(&device) {
            t.check()?;
            return Ok(t.clone());
        }
        d.process
            .take(device, d.spec(device).context, Account::Process)?;
        // Relaxed: a statistic.
        d.process
            .usage(device)
            .contexts
            .fetch_add(1, Ordering::Relaxed);
        let t = Timeline::new(d.process.clone(), device);
        all.insert(device, t.clone());
        Ok(t)
    }

    /// Waits until no work of this context is in flight.
    pub fn settle(&self) -> Reply {
        if fcsp_sim::stream::on_device_thread() {
            return Ok(());
        }
        let all: Vec<_> = self.lock().values().cloned().collect();
        Ok(all.iter().try_for_each(|t| t.synchronise())?)
    }

    /// Fails if a device was lost to this context.
    pub fn check(&self) -> Reply {
        Ok(self.lock().values().try_for_each(|t| t.check())?)
    }

    /// Returns true if this context knows an allocation: "Context A has no knowledge of ptrB".
    /// Mapped physical memory has no context in the model.
    pub fn has(&self, r: &Range) -> bool {
        r.context == 0 || r.context == self.handle || !is_on(Rule::Contexts)
    }

    /// Whether an object of `other` may be used together with one of this context. Ends the program
    /// where the specification demands one context: "must ensure the command list and events were
    /// created on the same context".
    pub fn must_be(&self, other: &Self, kind: &str, handle: u64) {
        if self.handle != other.handle && is_on(Rule::Contexts) {
            let (own, its) = (self.handle, other.handle);
            fatal(&format!(
                "{kind} {handle:#x} is of context {its:#x}, not of {own:#x}"
            ));
        }
    }

    /// Finishes the context's work, ends what was made in it and gives back all it held.
    pub fn end(&self) -> Reply {
        let d = driver()?;
        let all = std::mem::take(&mut *self.lock());
        all.values().for_each(|t| t.shut());
        let mappings =
            std::mem::take(&mut *self.mappings.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, size) in mappings {
            // A mapping that a larger unmapping ended is gone already.
            let _ = d.memory.physical_unmap(at, size);
        }
        self.end_children(d)?;
        d.memory.release_context(self.handle);
        for device in all.keys() {
            d.process
                .give(*device, d.spec(*device).context, Account::Process);
            d.process
                .usage(*device)
                .contexts
                .fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Ends what was made in this context and is alive still. "The implementation of this function
    /// may immediately free all Host and Device allocations associated with this context": none of
    /// it may be used after it, not even to be destroyed. That there is some is a leak and no crash
    /// on a device; `FCSP_SIM_LOG` tells of it.
    fn end_children(&self, d: &Driver) -> Reply {
        let mut left = Vec::new();
        let mut note = |kind: &str, n: usize| {
            if n > 0 {
                left.push(format!("{kind} {n}"));
            }
        };
        note("fences", d.fences.drain(|f| self.is(f.context())).len());
        note(
            "command lists",
            d.lists.drain(|l| self.is(&l.context)).len(),
        );
        note(
            "command queues",
            d.queues.drain(|q| self.is(&q.context)).len(),
        );
        note("events", d.events.drain(|e| self.is(&e.context)).len());
        note("event pools", d.pools.drain(|p| self.is(&p.context)).len());
        note(
            "kernels",
            d.kernels.drain(|k| self.is(&k.module.context)).len(),
        );
        note("modules", d.modules.drain(|m| self.is(&m.context)).len());
        note("images", d.images.drain(|i| self.is(&i.context)).len());
        note("samplers", d.samplers.drain(|s| self.is(&s.context)).len());
        let physical = d.physical.drain(|p| self.is(&p.context));
        note("physical memories", physical.len());
        for p in physical {
            d.memory.physical_release(p.id)?;
        }
        if !left.is_empty() {
            let left = left.join(", ");
            export::log(&format!(
                "context {:#x} ended with {left} alive",
                self.handle
            ));
        }
        Ok(())
    }

    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
