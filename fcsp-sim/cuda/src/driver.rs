//! The driver's state in this process: objects by handle, contexts, and which one is current on a
//! thread.

use crate::codes::{
    CONTEXT_IS_DESTROYED, Code, INVALID_CONTEXT, INVALID_DEVICE, NO_DEVICE, NOT_INITIALIZED, Reply,
};
use crate::export;
use fcsp_sim::faults::check_environment;
use fcsp_sim::memory::Memory;
use fcsp_sim::owner;
use fcsp_sim::process::{Account, Process};
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::{LEGACY, Timeline};
use fcsp_sim::strict::{Rule, is_on};
use fcsp_sim::table::Table;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One context.
#[derive(Debug)]
pub struct Context {
    /// Its handle, which also tags its memory. Another context's once this one is destroyed.
    pub handle: u64,
    /// A number that no other context of this machine ever has.
    pub id: u64,
    /// The device's position on the machine.
    pub device: usize,
    /// The device as this process numbers it.
    pub ordinal: i32,
    /// Its work.
    pub timeline: Arc<Timeline>,
    /// Flags it was created with.
    pub flags: AtomicU32,
    /// True if it is a device's primary context.
    pub primary: bool,
    /// Limits by number, as set; sizes in bytes.
    pub limits: Mutex<[u64; 11]>,
    /// The legacy stream.
    pub legacy: Arc<Stream>,
    /// The default streams of threads.
    pub threads: Mutex<HashMap<std::thread::ThreadId, Arc<Stream>>>,
    /// Live streams that the application created, and the bytes they take.
    pub streams: Mutex<(u64, u64)>,
    /// Contexts whose memory this one may use.
    pub peers: Mutex<Vec<u64>>,
    /// Blocking streams that record a graph now.
    pub captures: AtomicU32,
    /// Streams of either kind that record a graph now, in a mode that is not relaxed.
    pub recordings: AtomicU32,
    /// For a green context: the primary context that memory, modules and events made in it belong
    /// to.
    owner: Option<Arc<Context>>,
    /// Multiprocessors that its work runs on; 0 for all.
    pub units: u32,
    /// Bytes beside those of streams and stacks that it keeps until it ends.
    kept: AtomicU64,
    /// Uses that `cuCtxAttach` added and `cuCtxDetach` has not taken away, and the creator's.
    pub uses: AtomicU32,
    alive: AtomicBool,
    stack: Mutex<u64>,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its queue in the context's timeline.
    pub queue: u64,
    /// Its context.
    pub context: std::sync::Weak<Context>,
    /// Flags it was created with.
    pub flags: u32,
    /// Priority; lower goes first.
    pub priority: i32,
    /// A number no other stream has.
    pub id: u64,
    /// Compute units that its work runs on; 0 for as many as the process has.
    pub units: AtomicU32,
    /// The graph it records.
    pub capture: Mutex<Option<crate::capture::Recording>>,
    /// Attributes that were set, by number. Kept for the application; nothing depends on them.
    pub attributes: Mutex<HashMap<i32, [u64; 8]>>,
}

#[derive(Debug, Default)]
struct Primary {
    count: u32,
    flags: u32,
    context: Option<Arc<Context>>,
}

/// The driver after `cuInit`.
#[derive(Debug)]
pub struct Driver {
    /// This process on the machine.
    pub process: Arc<Process>,
    /// Its device memory.
    pub memory: Arc<Memory>,
    /// Devices this process sees, by position on the machine.
    pub visible: Vec<usize>,
    primaries: Vec<Mutex<Primary>>,
    /// Compute units that this process's work runs on, for each visible device; 0 for all.
    pub units: Vec<AtomicU32>,
    /// The pools of each visible device: default and current.
    pub pools: Vec<(AtomicU64, AtomicU64)>,
    /// Live objects.
    pub contexts: Table<Context>,
    /// Destroyed contexts by handle. The driver keeps them: they can be made current, and then
    /// refuse what is asked of them.
    graves: Mutex<HashMap<u64, Arc<Context>>>,
    /// Live objects.
    pub streams: Table<Stream>,
    /// Live objects.
    pub events: Table<crate::event::EventObject>,
    /// Live objects.
    pub modules: Table<crate::module::Module>,
    /// Live objects.
    pub libraries: Table<crate::module::Module>,
    /// Live objects: functions of modules.
    pub functions: Table<crate::module::Function>,
    /// Live objects: kernels of libraries, and their functions in a context.
    pub kernels: Table<crate::module::Function>,
    /// The physical memory, by the model's number, that handles name.
    pub physical: Table<u64>,
    /// The pools, by the model's number, that handles name.
    pub pool_handles: Table<u64>,
    /// Green contexts.
    pub greens: Table<Arc<Context>>,
    /// Descriptions of resources: how many multiprocessors.
    pub resources: Table<u32>,
    /// Live objects.
    pub arrays: Table<crate::array::Array>,
    /// Live objects.
    pub mipmaps: Table<crate::array::Mipmap>,
    /// Live objects.
    pub links: Table<crate::link::Link>,
    /// Live objects.
    pub externals: Table<crate::vmm::External>,
    /// Graphs and what belongs to them.
    pub graphs: crate::graph::Graphs,
}

static DRIVER: OnceLock<Result<Driver, Code>> = OnceLock::new();

thread_local! {
    static STACK: RefCell<Vec<Arc<Context>>> = const { RefCell::new(Vec::new()) };
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
    check_environment(export::PREFIXES, export::is_exported).map_err(|_| NO_DEVICE)?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let path = path_from_env(&topology);
    let visible = topology.visible(std::env::var(export::VISIBLE).ok().as_deref());
    if visible.is_empty() {
        return Err(fail(format!("{} leaves no device", export::VISIBLE)));
    }
    let region = Region::open(&path, &topology).map_err(|e| fail(e.to_string()))?;
    let process = Process::join(topology, Arc::new(region)).map_err(|e| fail(e.to_string()))?;
    let process = Arc::new(process);
    // SAFETY: the handler only closes a descriptor, which is allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    Ok(Driver {
        memory: Arc::new(Memory::new(process.clone())),
        primaries: visible.iter().map(|_| Mutex::default()).collect(),
        units: visible.iter().map(|_| AtomicU32::new(0)).collect(),
        pools: visible
            .iter()
            .map(|_| (AtomicU64::new(0), AtomicU64::new(0)))
            .collect(),
        process,
        visible,
        contexts: Table::new("context", 0x10),
        graves: Mutex::default(),
        streams: Table::new("stream", 0x11),
        events: Table::new("event", 0x12),
        modules: Table::new("module", 0x13),
        libraries: Table::new("library", 0x14),
        functions: Table::new("function", 0x15),
        kernels: Table::new("kernel", KERNEL),
        physical: Table::new("physical allocation", 0x1c),
        pool_handles: Table::new("memory pool", 0x2e),
        greens: Table::new("green context", 0x1d),
        resources: Table::new("resource description", 0x1e),
        arrays: Table::new("array", 0x16),
        mipmaps: Table::new("mipmapped array", 0x17),
        links: Table::new("linker state", 0x19),
        externals: Table::new("external memory", 0x18),
        graphs: crate::graph::Graphs::new(),
    })
}

/// `cuInit`.
pub fn init() -> Reply {
    // Before the once-cell: a child that is forked while it is filled must be refused, not wait for
    // it.
    if !owner::claim() {
        return Err(NOT_INITIALIZED);
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
/// `NOT_INITIALIZED` before `cuInit`, or what made it fail.
pub fn driver() -> Reply<&'static Driver> {
    match DRIVER.get() {
        Some(Ok(d)) => Ok(d),
        Some(Err(c)) => Err(*c),
        None => Err(NOT_INITIALIZED),
    }
}

/// Returns the context that is current on this thread, or none.
pub fn current_or_none() -> Option<Arc<Context>> {
    STACK
        .try_with(|s| s.borrow().last().cloned())
        .ok()
        .flatten()
}

/// Returns the context that is current on this thread.
///
/// # Errors
/// `INVALID_CONTEXT` if there is none, `CONTEXT_IS_DESTROYED` if it is gone, or the error that
/// ended it.
pub fn current() -> Reply<Arc<Context>> {
    driver()?;
    let c = current_or_none().ok_or(INVALID_CONTEXT)?;
    // A primary context that was reset and retained again is the same one, for whoever has it
    // current.
    let c = match driver()?.primary_again(&c) {
        Some(again) => {
            set_current(Some(again.clone()));
            again
        }
        None => c,
    };
    c.usable()?;
    Ok(c)
}

/// Fails if the context that is current on this thread is gone or lost. No context at all is as
/// good as any.
///
/// # Errors
/// As [`current`].
pub fn none_or_usable() -> Reply {
    driver()?;
    match current_or_none() {
        Some(_) => current().map(|_| ()),
        None => Ok(()),
    }
}

/// Replaces the current context of this thread.
pub fn set_current(c: Option<Arc<Context>>) {
    let _ = STACK.try_with(|s| {
        let mut s = s.borrow_mut();
        s.pop();
        s.extend(c);
    });
}

/// Makes a context current, keeping what was before.
pub fn push(c: Arc<Context>) {
    let _ = STACK.try_with(|s| s.borrow_mut().push(c));
}

/// Undoes [`push`].
pub fn pop() -> Reply<Arc<Context>> {
    STACK
        .try_with(|s| s.borrow_mut().pop())
        .ok()
        .flatten()
        .ok_or(INVALID_CONTEXT)
}

/// The tag of primary contexts.
const PRIMARY: u64 = 0x1a << 40;
/// The tag of kernels.
const KERNEL: u64 = 0x1b;

/// What the device's primary context keeps for each green context ever made; measured on an H200.
const GREEN_BYTES: u64 = 4 << 20;

/// The API's default for a context's stack a thread.
const STACK_DEFAULT: u64 = 1024;

impl Context {
    /// Fails if the context is gone or lost.
    pub fn usable(&self) -> Reply {
        // Acquire: who sees it gone also sees its memory gone.
        if !self.alive.load(Ordering::Acquire) {
            return Err(CONTEXT_IS_DESTROYED);
        }
        Ok(self.timeline.check()?)
    }

    /// Returns the handle that tags its memory and modules: its own, or a green context's primary
    /// context's.
    pub fn tag(&self) -> u64 {
        self.owner.as_ref().map_or(self.handle, |o| o.handle)
    }

    /// Returns the number of the context that its events die with.
    pub fn owner_id(&self) -> u64 {
        self.owner.as_ref().map_or(self.id, |o| o.id)
    }

    /// Returns true if it is a green context's.
    pub fn is_green(&self) -> bool {
        self.owner.is_some()
    }

    /// Its device.
    pub fn spec(&self) -> Reply<&'static DeviceSpec> {
        Ok(&driver()?.process.topology.devices[self.device])
    }

    /// Charges a new stack size for every thread that the device can have resident; measured.
    pub fn set_stack(&self, bytes: u64) -> Reply {
        let d = driver()?;
        let spec = self.spec()?;
        let need = |b: u64| {
            u64::from(spec.sm) * u64::from(spec.threads_sm) * b.saturating_sub(STACK_DEFAULT)
        };
        let mut held = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        let want = need(bytes);
        if want > *held {
            d.process
                .take(self.device, want - *held, Account::Process)?;
        } else {
            d.process.give(self.device, *held - want, Account::Process);
        }
        *held = want;
        Ok(())
    }

    /// Counts a stream and charges what streams take: whole steps of 2 MiB a context.
    pub fn count_stream(&self, more: bool) -> Reply {
        let d = driver()?;
        let each = self.spec()?.stream;
        let mut s = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let n = if more { s.0 + 1 } else { s.0.saturating_sub(1) };
        let want = (n * each).next_multiple_of(fcsp_sim::host::PAGE);
        if want > s.1 {
            d.process.take(self.device, want - s.1, Account::Process)?;
        } else {
            d.process.give(self.device, s.1 - want, Account::Process);
        }
        *s = (n, want);
        Ok(())
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

    /// Returns the number under which this process sees a device; of a device it does not see, 0.
    pub fn ordinal(&self, device: usize) -> i32 {
        self.visible.iter().position(|d| *d == device).unwrap_or(0) as i32
    }

    fn make(
        &self,
        handle: u64,
        ordinal: i32,
        device: usize,
        flags: u32,
        owner: Option<Arc<Context>>,
        units: u32,
    ) -> Context {
        Context {
            handle,
            id: self.process.region.fresh_id(),
            device,
            ordinal,
            timeline: Timeline::new(self.process.clone(), device),
            flags: AtomicU32::new(flags),
            primary: handle >> 40 == PRIMARY >> 40,
            limits: Mutex::new([STACK_DEFAULT, 1 << 20, 8 << 20, 2, 2048, 128, 0, 0, 0, 0, 0]),
            legacy: Arc::new(Stream {
                queue: LEGACY,
                context: std::sync::Weak::new(),
                flags: 0,
                priority: 0,
                units: AtomicU32::new(0),
                id: 1,
                capture: Mutex::default(),
                attributes: Mutex::default(),
            }),
            threads: Mutex::default(),
            streams: Mutex::default(),
            peers: Mutex::default(),
            captures: AtomicU32::new(0),
            recordings: AtomicU32::new(0),
            owner,
            units,
            kept: AtomicU64::new(0),
            uses: AtomicU32::new(1),
            alive: AtomicBool::new(true),
            stack: Mutex::new(0),
        }
    }

    /// Makes a green context of a device: one that has `units` multiprocessors, and the primary
    /// context's memory.
    pub fn create_green(&self, ordinal: i32, units: u32) -> Reply<Arc<Context>> {
        let owner = self.primary_retain(ordinal)?;
        let device = owner.device;
        if let Err(e) = self.process.take(device, GREEN_BYTES, Account::Process) {
            self.primary_release(ordinal)?;
            return Err(e.into());
        }
        // Relaxed: read when the owner ends, after everything else.
        owner.kept.fetch_add(GREEN_BYTES, Ordering::Relaxed);
        let make = |handle| self.make(handle, ordinal, device, 0, Some(owner), units);
        Ok(self.contexts.add_with(make).1)
    }

    /// Makes a context, taking its bytes of the device.
    pub fn create(&self, ordinal: i32, flags: u32, primary: bool) -> Reply<Arc<Context>> {
        let device = self.device(ordinal)?;
        self.process.take(
            device,
            self.process.topology.devices[device].context,
            Account::Process,
        )?;
        self.process
            .usage(device)
            .contexts
            .fetch_add(1, Ordering::Relaxed);
        let make = |handle| self.make(handle, ordinal, device, flags, None, 0);
        if !primary {
            return Ok(self.contexts.add_with(make).1);
        }
        // A device's primary context has one handle permanently.
        let c = Arc::new(make(PRIMARY | (ordinal as u64 + 1) << 4));
        self.contexts.put(c.handle, c.clone());
        Ok(c)
    }

    /// Ends a context: finishes its work, then gives back all it held.
    pub fn destroy(&self, c: &Arc<Context>) -> Reply {
        // Release: pairs with `usable`. Of two that destroy it, one does.
        if !c.alive.swap(false, Ordering::AcqRel) {
            return Err(INVALID_CONTEXT);
        }
        c.timeline.shut();
        let mut graves = self.graves.lock().unwrap_or_else(PoisonError::into_inner);
        graves.insert(c.handle, c.clone());
        drop(graves);
        if is_on(Rule::Contexts) {
            self.events.retain(|e| e.context_id != c.id);
            self.mipmaps.retain(|m| m.context != c.handle);
            self.links.retain(|l| l.context != c.handle);
        }
        let mine =
            |weak: &std::sync::Weak<Context>| weak.upgrade().is_some_and(|o| o.handle == c.handle);
        self.streams.retain(|s| !mine(&s.context));
        self.modules.retain(|m| m.context() != c.handle);
        self.functions.retain(|f| f.context != c.handle);
        self.kernels.retain(|f| f.context != c.handle);
        self.arrays.retain(|a| a.context != c.handle);
        // Its handle will be the next context's: nobody may keep it.
        self.libraries.each(|l| l.forget_context(c.handle));
        self.contexts.each(|other| {
            let mut peers = other.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.retain(|p| *p != c.handle);
        });
        self.memory.release_context(c.handle);
        let mut streams = c.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stack = c.stack.lock().unwrap_or_else(PoisonError::into_inner);
        let own = if c.owner.is_some() {
            0
        } else {
            self.process.topology.devices[c.device].context
        };
        let held = own + streams.1 + *stack + c.kept.load(Ordering::Relaxed);
        (*streams, *stack) = ((0, 0), 0);
        self.process.give(c.device, held, Account::Process);
        drop((streams, stack));
        // Last: what is found by the handle above must not be the next context's.
        self.contexts.take(c.handle).map_err(|_| INVALID_CONTEXT)?;
        if c.owner.is_some() {
            return self.primary_release(c.ordinal);
        }
        let usage = self.process.usage(c.device);
        usage.contexts.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the live context of a handle.
    pub fn context(&self, handle: u64) -> Reply<Arc<Context>> {
        self.contexts.look_up(handle).map_err(|_| INVALID_CONTEXT)
    }

    /// Returns the context of a handle that a caller named, alive or dead.
    ///
    /// # Errors
    /// `INVALID_CONTEXT` for the null handle. What never was a context ends the program.
    pub fn context_or_dead(&self, handle: u64) -> Reply<Arc<Context>> {
        let dead = || {
            let graves = self.graves.lock().unwrap_or_else(PoisonError::into_inner);
            graves.get(&handle).cloned()
        };
        match self.contexts.look_up(handle).ok().or_else(dead) {
            Some(c) => Ok(c),
            None => self.contexts.get(handle).map_err(|_| INVALID_CONTEXT),
        }
    }

    /// Returns the function or kernel of a handle; launches take either.
    pub fn function(&self, handle: u64) -> Reply<Arc<crate::module::Function>> {
        Ok(if handle >> 40 == KERNEL {
            self.kernels.get(handle)?
        } else {
            match export::CHECKS_FUNCTIONS {
                true => self.functions.checked(handle)?,
                false => self.functions.get(handle)?,
            }
        })
    }

    /// Returns the primary context that has taken the place of a dead one.
    fn primary_again(&self, c: &Context) -> Option<Arc<Context>> {
        let gone = c.primary && !c.alive.load(Ordering::Acquire);
        gone.then(|| self.context(c.handle).ok()).flatten()
    }

    fn primary(&self, ordinal: i32) -> Reply<std::sync::MutexGuard<'_, Primary>> {
        self.device(ordinal)?;
        Ok(self.primaries[ordinal as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one more user of a device's primary context.
    pub fn primary_retain(&self, ordinal: i32) -> Reply<Arc<Context>> {
        let mut p = self.primary(ordinal)?;
        let c = match &p.context {
            Some(c) => c.clone(),
            None => self.create(ordinal, p.flags, true)?,
        };
        p.context = Some(c.clone());
        p.count += 1;
        Ok(c)
    }

    /// Counts one user less; the last one ends it.
    pub fn primary_release(&self, ordinal: i32) -> Reply {
        let mut p = self.primary(ordinal)?;
        if p.count == 0 {
            return Err(INVALID_CONTEXT);
        }
        p.count -= 1;
        match p.count {
            0 => p.context.take().map_or(Ok(()), |c| self.destroy(&c)),
            _ => Ok(()),
        }
    }

    /// Ends a primary context whoever uses it; its users still have to release it.
    pub fn primary_reset(&self, ordinal: i32) -> Reply {
        let mut p = self.primary(ordinal)?;
        p.flags = 0;
        p.context.take().map_or(Ok(()), |c| self.destroy(&c))
    }

    /// Flags, and whether it is alive.
    pub fn primary_state(&self, ordinal: i32) -> Reply<(u32, bool)> {
        let p = self.primary(ordinal)?;
        Ok((
            p.context
                .as_ref()
                .map_or(p.flags, |c| c.flags.load(Ordering::Relaxed)),
            p.context.is_some(),
        ))
    }

    /// Flags of the primary context, now and when it is made.
    pub fn primary_flags(&self, ordinal: i32, flags: u32) -> Reply {
        let mut p = self.primary(ordinal)?;
        p.flags = flags;
        if let Some(c) = &p.context {
            c.flags.store(flags, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns a device's default pool.
    pub fn default_pool(&self, ordinal: i32) -> Reply<u64> {
        let device = self.device(ordinal)?;
        let (default, current) = &self.pools[ordinal as usize];
        // Relaxed: the pool itself is behind the memory's lock.
        match default.load(Ordering::Relaxed) {
            0 => {}
            id => return Ok(id),
        }
        let made = self.memory.pool_create(device, 0, true)?;
        let first = default.compare_exchange(0, made, Ordering::Relaxed, Ordering::Relaxed);
        let id = first.map_or_else(|other| other, |_| made);
        if id == made {
            self.pool_handles.add(id);
        }
        // Fails if another pool was made current meanwhile, which then stays.
        let _ = current.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
        Ok(id)
    }

    /// Ends a device's pools with all that was allocated from them. The next use makes a new
    /// default pool.
    #[allow(dead_code, reason = "for HIP's simulator, which shares this file")]
    pub fn end_pools(&self, ordinal: i32) -> Reply {
        let gone = self.memory.pools_end(self.device(ordinal)?);
        let (default, current) = &self.pools[ordinal as usize];
        // Relaxed: as in `default_pool`.
        default.store(0, Ordering::Relaxed);
        current.store(0, Ordering::Relaxed);
        self.pool_handles.retain(|p| !gone.contains(p));
        Ok(())
    }

    /// Returns the pool that a device allocates from.
    pub fn current_pool(&self, ordinal: i32) -> Reply<u64> {
        let default = self.default_pool(ordinal)?;
        match self.pools[ordinal as usize].1.load(Ordering::Relaxed) {
            0 => Ok(default),
            id => Ok(id),
        }
    }
}
