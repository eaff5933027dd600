//! The runtime's state in this process: objects by handle, open devices, contexts, and which one is current on a thread.
//!
//! Memory and work belong to a device of a process, which opens with its first context and closes with its last reset;
//! contexts are light and only group streams.

use crate::codes::{CONTEXT_NULL, Code, INVALID_DEVICE, INVALID_HANDLE, NO_DEVICE, Reply};
use crate::export;
use crate::stream::Stream;
use fcsp_sim::faults::Faults;
use fcsp_sim::memory::Memory;
use fcsp_sim::process::{Account, Process};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::Timeline;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

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
    pub fn add_with(&self, make: impl FnOnce(u64) -> T) -> (u64, Arc<T>) {
        // Spaced and tagged so that a handle looks like an address and is none. Relaxed: uniqueness is all it needs.
        let h = self.kind << 40 | self.next.fetch_add(1, Ordering::Relaxed) << 4;
        let object = Arc::new(make(h));
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(h, object.clone());
        (h, object)
    }

    /// A handle for an object.
    pub fn add(&self, object: T) -> u64 {
        self.add_with(|_| object).0
    }

    /// The object of a handle.
    pub fn get(&self, h: u64) -> Reply<Arc<T>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&h)
            .cloned()
            .ok_or(INVALID_HANDLE)
    }

    /// Forgets a handle; its object.
    pub fn remove(&self, h: u64) -> Reply<Arc<T>> {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&h)
            .ok_or(INVALID_HANDLE)
    }

    /// Forgets what does not pass.
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, o| keep(o));
    }
}

/// A device that this process has open.
#[derive(Debug)]
pub struct Open {
    /// Its position on the machine.
    pub device: usize,
    /// Its number in this process.
    pub ordinal: i32,
    /// Its work.
    pub timeline: Arc<Timeline>,
    /// Cores that operators may use, cube and vector; 0 where nobody limited them.
    pub cores: [AtomicU32; 2],
    alive: AtomicBool,
}

/// A context.
#[derive(Debug)]
pub struct Context {
    /// Its handle.
    pub handle: u64,
    /// Its device.
    pub open: Arc<Open>,
    /// What stream 0 means in it.
    pub default: Arc<Stream>,
}

#[derive(Debug, Default)]
struct Slot {
    users: u32,
    primary: Option<Arc<Context>>,
}

/// The runtime, from its first use.
#[derive(Debug)]
pub struct Driver {
    /// This process on the machine.
    pub process: Arc<Process>,
    /// Its device memory.
    pub memory: Arc<Memory>,
    /// Devices this process sees, by position on the machine.
    pub visible: Vec<usize>,
    slots: Vec<Mutex<Slot>>,
    /// Live objects.
    pub contexts: Table<Context>,
    /// Live objects.
    pub streams: Table<Stream>,
    /// Live objects.
    pub events: Table<crate::event::EventObject>,
    /// Live objects.
    pub binaries: Table<crate::module::Binary>,
    /// Live objects.
    pub functions: Table<crate::module::Function>,
    /// Functions by the address of their stub on the host.
    pub stubs: RwLock<HashMap<u64, Arc<crate::module::Function>>>,
    /// Live objects.
    pub arguments: Table<crate::module::Arguments>,
    /// Live objects.
    pub models: Table<crate::model::Model>,
    /// Reserved addresses and their lengths.
    pub spaces: Mutex<HashMap<u64, u64>>,
    /// Mapped addresses and their lengths.
    pub mapped: Mutex<HashMap<u64, u64>>,
    /// Memory for graphs, of which Ascend has none; the model asks for it.
    pub graphs: Arc<fcsp_sim::graph::GraphPool>,
}

static DRIVER: OnceLock<Result<Driver, Code>> = OnceLock::new();

thread_local! {
    static CURRENT: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

extern "C" fn in_child() {
    export::mark_forked();
    if let Some(Ok(d)) = DRIVER.get() {
        d.process.region.abandon_in_child();
    }
}

fn start() -> Result<Driver, Code> {
    let fail = |text: String| {
        export::log(&text);
        NO_DEVICE
    };
    Faults::parse(&std::env::var("FCSP_SIM_FAULTS").unwrap_or_default()).map_err(|e| fail(e.to_string()))?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let path = path_from_env(&topology);
    let visible = topology.visible(std::env::var("ASCEND_RT_VISIBLE_DEVICES").ok().as_deref());
    if visible.is_empty() {
        return Err(fail("ASCEND_RT_VISIBLE_DEVICES leaves no device".into()));
    }
    let region = Region::open(&path, &topology).map_err(|e| fail(e.to_string()))?;
    let process = Arc::new(Process::join(topology, Arc::new(region)).map_err(|e| fail(e.to_string()))?);
    // SAFETY: the handler only sets a flag and closes a descriptor, both allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    Ok(Driver {
        memory: Arc::new(Memory::new(process.clone())),
        slots: visible.iter().map(|_| Mutex::default()).collect(),
        process,
        visible,
        contexts: Table::new(0x30),
        streams: Table::new(0x31),
        events: Table::new(0x32),
        binaries: Table::new(0x33),
        functions: Table::new(0x34),
        stubs: RwLock::default(),
        arguments: Table::new(0x35),
        models: Table::new(0x36),
        spaces: Mutex::default(),
        mapped: Mutex::default(),
        graphs: Arc::default(),
    })
}

/// The runtime, started on first use.
pub fn driver() -> Reply<&'static Driver> {
    DRIVER.get_or_init(start).as_ref().map_err(|c| *c)
}

/// The context that is current on this thread.
///
/// # Errors
/// `CONTEXT_NULL` if there is none or its device was reset, or the error that ended its device's work.
pub fn current() -> Reply<Arc<Context>> {
    let c = CURRENT
        .try_with(|c| c.borrow().clone())
        .ok()
        .flatten()
        .ok_or(CONTEXT_NULL)?;
    c.open.usable()?;
    Ok(c)
}

/// Makes a context current on this thread.
pub fn set_current(c: Option<Arc<Context>>) {
    let _ = CURRENT.try_with(|now| *now.borrow_mut() = c);
}

/// Memory is tagged with its device's number, so that a reset finds it.
pub fn tag(device: usize) -> u64 {
    device as u64 + 1
}

impl Open {
    /// Fails if the device was reset or its work was ended by an error.
    pub fn usable(&self) -> Reply {
        // Acquire: who sees it closed also sees its memory gone.
        if !self.alive.load(Ordering::Acquire) {
            return Err(CONTEXT_NULL);
        }
        Ok(self.timeline.check()?)
    }
}

impl Driver {
    /// The position on the machine of a device number.
    pub fn device(&self, ordinal: i32) -> Reply<usize> {
        usize::try_from(ordinal)
            .ok()
            .and_then(|i| self.visible.get(i))
            .copied()
            .ok_or(INVALID_DEVICE)
    }

    /// The description of a device number.
    pub fn spec(&self, ordinal: i32) -> Reply<&DeviceSpec> {
        Ok(&self.process.topology.devices[self.device(ordinal)?])
    }

    fn slot(&self, ordinal: i32) -> Reply<MutexGuard<'_, Slot>> {
        self.device(ordinal)?;
        Ok(self.slots[ordinal as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn make_context(&self, open: Arc<Open>) -> Arc<Context> {
        let default = Stream::make(self, &open, 0, 0);
        self.contexts
            .add_with(|handle| Context {
                handle,
                open,
                default,
            })
            .1
    }

    fn open(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let device = self.device(ordinal)?;
        let bytes = self.process.topology.devices[device].context;
        self.process.take(device, bytes, Account::Process)?;
        self.process
            .usage(device)
            .contexts
            .fetch_add(1, Ordering::Relaxed);
        Ok(self.make_context(Arc::new(Open {
            device,
            ordinal,
            timeline: Timeline::new(self.process.clone(), device),
            cores: [const { AtomicU32::new(0) }; 2],
            alive: AtomicBool::new(true),
        })))
    }

    /// One more user of a device; its primary context.
    pub fn set_device(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let mut slot = self.slot(ordinal)?;
        let c = match &slot.primary {
            Some(c) => c.clone(),
            None => self.open(ordinal)?,
        };
        slot.primary = Some(c.clone());
        slot.users += 1;
        Ok(c)
    }

    /// One user less, or none at all; the last one closes the device and all it held.
    pub fn reset_device(&self, ordinal: i32, force: bool) -> Reply {
        let mut slot = self.slot(ordinal)?;
        let Some(primary) = slot.primary.clone() else {
            return Ok(());
        };
        slot.users = if force { 0 } else { slot.users.saturating_sub(1) };
        if slot.users > 0 {
            return Ok(());
        }
        slot.primary = None;
        let open = &primary.open;
        open.timeline.shut();
        // Release: pairs with `usable`.
        open.alive.store(false, Ordering::Release);
        self.contexts.retain(|c| !Arc::ptr_eq(&c.open, open));
        self.streams.retain(|s| !s.is_of(open));
        self.memory.release_context(tag(open.device));
        self.process.give(
            open.device,
            self.process.topology.devices[open.device].context,
            Account::Process,
        );
        self.process
            .usage(open.device)
            .contexts
            .fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a device is open.
    pub fn is_open(&self, ordinal: i32) -> Reply<bool> {
        Ok(self.slot(ordinal)?.primary.is_some())
    }

    /// Another context of a device, which stays open with it.
    pub fn create_context(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let primary = self.set_device(ordinal)?;
        Ok(self.make_context(primary.open.clone()))
    }
}
