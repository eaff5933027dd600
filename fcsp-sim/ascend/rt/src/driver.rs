//! The runtime's state in this process: objects by handle, open devices, contexts, and which one is
//! current on a thread.
//!
//! As in the published sources of CANN (`Runtime::PrimaryContextRelease`,
//! `ApiImpl::ContextDestroy`): memory belongs to a device of a process, which opens with its first
//! context and closes with its last. Streams and models belong to a context and go with it. The
//! primary context counts its users, explicit ones are destroyed; neither ends the other.

use crate::codes::{CONTEXT_NULL, Code, INVALID_DEVICE, NO_DEVICE, Reply};
use crate::export;
use crate::stream::Stream;
use fcsp_sim::faults::check_environment;
use fcsp_sim::memory::Memory;
use fcsp_sim::owner;
use fcsp_sim::process::{Account, Process};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::Timeline;
use fcsp_sim::strict::{Rule, is_on};
use fcsp_sim::table::Table;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

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
    /// Its handle. Another context's once this one is destroyed.
    pub handle: u64,
    /// A number that no other context of this machine ever has.
    pub id: u64,
    /// Its device.
    pub open: Arc<Open>,
    /// What stream 0 means in it.
    pub default: Arc<Stream>,
    primary: bool,
    alive: AtomicBool,
}

/// What this process has of a device.
#[derive(Debug, Default)]
struct Slot {
    /// Users of the primary context.
    users: u32,
    primary: Option<Arc<Context>>,
    /// Living explicit contexts.
    explicit: u32,
    open: Option<Arc<Open>>,
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

/// Closes the parent's state file in a forked child. Once, however often it is called;
/// async-signal-safe.
pub extern "C" fn in_child() {
    if let Some(Ok(d)) = DRIVER.get() {
        d.process.region.abandon_in_child();
    }
}

fn start() -> Result<Driver, Code> {
    let fail = |text: String| {
        export::log(&text);
        NO_DEVICE
    };
    // There is no list of this library's names to compare with.
    check_environment(export::PREFIXES, |_| true).map_err(|_| NO_DEVICE)?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let path = path_from_env(&topology);
    let visible = topology.visible(std::env::var("ASCEND_RT_VISIBLE_DEVICES").ok().as_deref());
    if visible.is_empty() {
        return Err(fail("ASCEND_RT_VISIBLE_DEVICES leaves no device".into()));
    }
    let region = Region::open(&path, &topology).map_err(|e| fail(e.to_string()))?;
    let process =
        Arc::new(Process::join(topology, Arc::new(region)).map_err(|e| fail(e.to_string()))?);
    // SAFETY: the handler only closes a descriptor, which is allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    Ok(Driver {
        memory: Arc::new(Memory::new(process.clone())),
        slots: visible.iter().map(|_| Mutex::default()).collect(),
        process,
        visible,
        contexts: Table::new("context", 0x30),
        streams: Table::new("stream", 0x31),
        events: Table::new("event", 0x32),
        binaries: Table::new("binary", 0x33),
        functions: Table::new("function", 0x34),
        stubs: RwLock::default(),
        arguments: Table::new("argument list", 0x35),
        models: Table::new("model", 0x36),
        spaces: Mutex::default(),
        mapped: Mutex::default(),
        graphs: Arc::default(),
    })
}

/// Returns the runtime, started on first use.
pub fn driver() -> Reply<&'static Driver> {
    // Before the once-cell: a child that is forked while it is filled must be refused, not wait for
    // it.
    if !owner::claim() {
        return Err(NO_DEVICE);
    }
    let driver = DRIVER.get_or_init(start).as_ref().map_err(|c| *c);
    if driver.is_err() {
        owner::disclaim();
    }
    driver
}

/// Returns the context that is current on this thread.
///
/// # Errors
/// `CONTEXT_NULL` if there is none or it was destroyed, or the error that ended its device's work.
pub fn current() -> Reply<Arc<Context>> {
    let c = CURRENT
        .try_with(|c| c.borrow().clone())
        .ok()
        .flatten()
        .ok_or(CONTEXT_NULL)?;
    // Acquire: who sees it gone also sees its streams gone.
    if !c.alive.load(Ordering::Acquire) {
        return Err(CONTEXT_NULL);
    }
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
    /// Returns the position on the machine of a device number.
    pub fn device(&self, ordinal: i32) -> Reply<usize> {
        usize::try_from(ordinal)
            .ok()
            .and_then(|i| self.visible.get(i))
            .copied()
            .ok_or(INVALID_DEVICE)
    }

    /// Returns the description of a device number.
    pub fn spec(&self, ordinal: i32) -> Reply<&DeviceSpec> {
        Ok(&self.process.topology.devices[self.device(ordinal)?])
    }

    fn slot(&self, ordinal: i32) -> Reply<MutexGuard<'_, Slot>> {
        self.device(ordinal)?;
        Ok(self.slots[ordinal as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn make_context(&self, open: Arc<Open>, primary: bool) -> Arc<Context> {
        let id = self.process.region.fresh_id();
        let default = Stream::make(self, &open, id, 0, 0);
        self.contexts
            .add_with(|handle| Context {
                handle,
                id,
                open,
                default,
                primary,
                alive: AtomicBool::new(true),
            })
            .1
    }

    /// Returns the device, opened if it is not open.
    fn open(&self, slot: &mut Slot, ordinal: i32) -> Reply<Arc<Open>> {
        if let Some(open) = &slot.open {
            return Ok(open.clone());
        }
        let device = self.device(ordinal)?;
        let bytes = self.process.topology.devices[device].context;
        self.process.take(device, bytes, Account::Process)?;
        self.process
            .usage(device)
            .contexts
            .fetch_add(1, Ordering::Relaxed);
        let open = Arc::new(Open {
            device,
            ordinal,
            timeline: Timeline::new(self.process.clone(), device),
            cores: [const { AtomicU32::new(0) }; 2],
            alive: AtomicBool::new(true),
        });
        slot.open = Some(open.clone());
        Ok(open)
    }

    /// Counts one more user of a device's primary context.
    pub fn set_device(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let mut slot = self.slot(ordinal)?;
        let c = match &slot.primary {
            Some(c) => c.clone(),
            None => self.make_context(self.open(&mut slot, ordinal)?, true),
        };
        slot.primary = Some(c.clone());
        slot.users += 1;
        Ok(c)
    }

    /// One user of the primary context less, or none at all; the last one ends it.
    pub fn reset_device(&self, ordinal: i32, force: bool) -> Reply {
        let mut slot = self.slot(ordinal)?;
        if slot.primary.is_none() {
            return Ok(());
        }
        slot.users = if force {
            0
        } else {
            slot.users.saturating_sub(1)
        };
        if slot.users > 0 {
            return Ok(());
        }
        if let Some(primary) = slot.primary.take() {
            self.end(&primary);
        }
        self.close_unused(&mut slot);
        Ok(())
    }

    /// Returns an explicit context, which keeps its device open.
    pub fn create_context(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let mut slot = self.slot(ordinal)?;
        let c = self.make_context(self.open(&mut slot, ordinal)?, false);
        slot.explicit += 1;
        Ok(c)
    }

    /// Ends an explicit context. The runtime looks contexts up: one that is none is an error.
    pub fn destroy_context(&self, handle: u64) -> Reply {
        let c = self.contexts.look_up(handle).map_err(|_| CONTEXT_NULL)?;
        if c.primary {
            return Err(CONTEXT_NULL);
        }
        let mut slot = self.slot(c.open.ordinal)?;
        // Another thread may have been first.
        let still = self.contexts.look_up(handle).map_err(|_| CONTEXT_NULL)?;
        if !Arc::ptr_eq(&c, &still) {
            return Err(CONTEXT_NULL);
        }
        self.end(&c);
        slot.explicit -= 1;
        self.close_unused(&mut slot);
        Ok(())
    }

    /// Ends a context with its streams and models, once its work is done.
    fn end(&self, c: &Context) {
        let timeline = &c.open.timeline;
        let mut own = Vec::new();
        self.streams
            .each(|s| own.extend((s.context == c.id).then(|| s.clone())));
        for s in own {
            // Work that an error ended has nothing to wait for.
            let _ = timeline.synchronise_stream(s.queue);
            timeline.close(s.queue);
        }
        // Release: pairs with `current`.
        c.alive.store(false, Ordering::Release);
        self.streams.retain(|s| s.context != c.id);
        self.models.retain(|m| m.context != c.id);
        if is_on(Rule::Contexts) {
            self.events.each(|e| e.orphan(c.id));
        }
        let _ = self.contexts.take(c.handle);
    }

    /// Closes a device that has no context left, and frees all it held.
    fn close_unused(&self, slot: &mut Slot) {
        if slot.primary.is_some() || slot.explicit > 0 {
            return;
        }
        let Some(open) = slot.open.take() else { return };
        open.timeline.shut();
        // Release: pairs with `usable`.
        open.alive.store(false, Ordering::Release);
        if is_on(Rule::Contexts) {
            self.events.retain(|e| !Arc::ptr_eq(&e.open, &open));
        }
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
    }

    /// Whether a device's primary context is active.
    pub fn is_active(&self, ordinal: i32) -> Reply<bool> {
        Ok(self.slot(ordinal)?.primary.is_some())
    }
}
