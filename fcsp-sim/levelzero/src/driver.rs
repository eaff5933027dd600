//! The driver's state in this process: objects by handle, and the contexts' work.

use crate::codes::{Code, INVALID_ARGUMENT, INVALID_NULL_HANDLE, Reply, UNINITIALIZED};
use crate::export;
use fcsp_sim::faults::Faults;
use fcsp_sim::memory::Memory;
use fcsp_sim::process::{Account, Process};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::Timeline;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// Live objects of one kind by handle. A handle is never used twice, so a stale one is found out.
#[derive(Debug)]
pub struct Table<T> {
    kind: u64,
    next: AtomicU64,
    live: RwLock<HashMap<u64, Arc<T>>>,
}

impl<T> Table<T> {
    fn new(kind: u64) -> Self {
        Self {
            kind,
            next: AtomicU64::new(1),
            live: RwLock::default(),
        }
    }

    /// A handle for an object made from it.
    pub fn add_with(&self, make: impl FnOnce(u64) -> T) -> u64 {
        // Spaced and tagged so that a handle looks like an address and is none. Relaxed: uniqueness is all it needs.
        let h = self.kind << 40 | self.next.fetch_add(1, Ordering::Relaxed) << 4;
        let object = Arc::new(make(h));
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(h, object);
        h
    }

    /// A handle for an object.
    pub fn add(&self, object: T) -> u64 {
        self.add_with(|_| object)
    }

    /// The object of a handle.
    pub fn get(&self, h: u64) -> Reply<Arc<T>> {
        if h == 0 {
            return Err(INVALID_NULL_HANDLE);
        }
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&h)
            .cloned()
            .ok_or(INVALID_ARGUMENT)
    }

    /// Forgets what passes; the objects.
    pub fn drain(&self, gone: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let handles: Vec<u64> = live.iter().filter(|(_, o)| gone(o)).map(|(h, _)| *h).collect();
        handles.iter().filter_map(|h| live.remove(h)).collect()
    }

    /// Forgets a handle; its object.
    pub fn remove(&self, h: u64) -> Reply<Arc<T>> {
        if h == 0 {
            return Err(INVALID_NULL_HANDLE);
        }
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&h)
            .ok_or(INVALID_ARGUMENT)
    }
}

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
    /// Whether the management functions answer: as in the real driver only where the environment asked for them.
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
    /// Live objects; nothing is known of a sampler but that it is there.
    pub samplers: Table<()>,
}

static DRIVER: OnceLock<Result<Driver, Code>> = OnceLock::new();

/// The handle of the one driver.
pub const DRIVER_HANDLE: u64 = 0x4c5a_0000_0010;
const DEVICE_TAG: u64 = 0x4c5a_0001_0000;

extern "C" fn in_child() {
    export::mark_forked();
    if let Some(Ok(d)) = DRIVER.get() {
        d.process.region.abandon_in_child();
    }
}

/// The devices that `ZE_AFFINITY_MASK` leaves: numbers separated by commas, each perhaps with a tile after a dot, which
/// devices of one tile have only as 0. The mask chooses; the order stays the machine's.
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
    Faults::parse(&std::env::var("FCSP_SIM_FAULTS").unwrap_or_default()).map_err(|e| fail(e.to_string()))?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let path = path_from_env(&topology);
    let visible = visible(&topology, std::env::var("ZE_AFFINITY_MASK").ok().as_deref());
    if visible.is_empty() {
        return Err(fail("ZE_AFFINITY_MASK leaves no device".into()));
    }
    let region = Region::open(&path, &topology).map_err(|e| fail(e.to_string()))?;
    let process = Process::join(topology, Arc::new(region)).map_err(|e| fail(e.to_string()))?;
    let process = Arc::new(process);
    // SAFETY: the handler only sets a flag and closes a descriptor, both allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    Ok(Driver {
        memory: Arc::new(Memory::new(process.clone())),
        process,
        visible,
        sysman: std::env::var("ZES_ENABLE_SYSMAN").is_ok_and(|v| v == "1"),
        contexts: Table::new(0x30),
        queues: Table::new(0x31),
        lists: Table::new(0x32),
        pools: Table::new(0x33),
        events: Table::new(0x34),
        fences: Table::new(0x35),
        modules: Table::new(0x36),
        logs: Table::new(0x37),
        kernels: Table::new(0x38),
        images: Table::new(0x39),
        physical: Table::new(0x3a),
        samplers: Table::new(0x3b),
    })
}

/// `zeInit`.
pub fn init() -> Reply {
    DRIVER.get_or_init(start).as_ref().map(|_| ()).map_err(|c| *c)
}

/// The driver.
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

/// The driver, if this is its handle.
pub fn named(handle: u64) -> Reply<&'static Driver> {
    match handle {
        DRIVER_HANDLE => driver(),
        0 => Err(INVALID_NULL_HANDLE),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// The handle of a device, by its position on the machine.
pub fn device_handle(device: usize) -> u64 {
    DEVICE_TAG | (device as u64 + 1) << 4
}

/// The driver, and a device's position on the machine.
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
    /// A device's description.
    pub fn spec(&self, device: usize) -> &DeviceSpec {
        &self.process.topology.devices[device]
    }
}

impl Context {
    /// An empty context.
    pub fn new(handle: u64) -> Self {
        Self {
            handle,
            mappings: Mutex::default(),
            timelines: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Timeline>>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This context's work on a device. The first use takes what a context takes of the device.
    pub fn on(&self, device: usize) -> Reply<Arc<Timeline>> {
        let d = driver()?;
        let mut all = self.lock();
        if let Some(t) = all.get(&device) {
            t.check()?;
            return Ok(t.clone());
        }
        d.process.take(device, d.spec(device).context, Account::Process)?;
        // Relaxed: a statistic.
        d.process.usage(device).contexts.fetch_add(1, Ordering::Relaxed);
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

    /// Finishes the context's work and gives back all it held.
    pub fn end(&self) -> Reply {
        let d = driver()?;
        let all = std::mem::take(&mut *self.lock());
        all.values().for_each(|t| t.shut());
        let mappings = std::mem::take(&mut *self.mappings.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, size) in mappings {
            // A mapping that a larger unmapping ended is gone already.
            let _ = d.memory.physical_unmap(at, size);
        }
        for id in d.physical.drain(|p| p.context == self.handle) {
            d.memory.physical_release(id.id)?;
        }
        d.memory.release_context(self.handle);
        for device in all.keys() {
            d.process.give(*device, d.spec(*device).context, Account::Process);
            d.process.usage(*device).contexts.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
