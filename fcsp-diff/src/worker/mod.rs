//! The worker: runs programs against whatever driver the process finds, and writes down what came
//! of each operation.

mod arrays;
mod ask;
mod captures;
mod context;
mod fork;
mod graphs;
mod green;
mod ipc;
mod launches;
mod memory;
mod modules;
mod objects;
mod physical;
mod pools;
mod streams;
mod transfers;
mod wrong;

use crate::driver::Driver;
use crate::program::{
    Code, DEFAULT_POOL, FIRST_ID, NULL_STREAM, OPERATIONS, Operation, PRIMARY, Program,
};
use crate::progress::Progress;
use crate::record::{Outcome, Record, Value};
pub use ipc::{TASK, other_process};
use objects::{NOWHERE, Object, Objects, PROCESS};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// State that all programs of a process share.
pub struct Session {
    driver: Driver,
    device: u64,
    /// Bytes that the device must have by every answer.
    total: u64,
    /// The primary context.
    primary: AtomicU64,
    /// The device's default pool.
    pool: AtomicU64,
    /// The most free bytes before a program so far.
    most_free: AtomicU64,
    /// True if the driver is the simulated one.
    simulated: bool,
    /// True if each operation is written to stderr before it runs.
    loud: bool,
    /// Nanoseconds by operation.
    times: Vec<AtomicU64>,
    /// Operation that each thread is about to run. The tester reads it when this process has died.
    progress: Option<Progress>,
}

impl Session {
    /// Initialises the driver and retains the first device's primary context. `total` is what the
    /// device must say of its memory; without it, its first answer stands.
    ///
    /// # Errors
    /// Names the call that failed, and its code.
    pub fn open(
        driver: Driver,
        total: Option<u64>,
        loud: bool,
        progress: Option<Progress>,
    ) -> Result<Self, String> {
        let mut session = Self {
            driver,
            device: 0,
            total: 0,
            primary: AtomicU64::new(0),
            pool: AtomicU64::new(0),
            most_free: AtomicU64::new(0),
            simulated: std::env::var_os("FCSP_SIM").is_some(),
            loud,
            times: OPERATIONS.iter().map(|_| AtomicU64::new(0)).collect(),
            progress,
        };
        session.must("cuInit", &[0])?;
        let mut device = 0i32;
        session.must("cuDeviceGet", &[&raw mut device as u64, 0])?;
        session.device = device as u64;
        session.retain()?;
        let mut answered = 0u64;
        session.must(
            "cuDeviceTotalMem_v2",
            &[&raw mut answered as u64, session.device],
        )?;
        session.total = total.unwrap_or(answered);
        Ok(session)
    }

    fn must(&self, name: &'static str, arguments: &[u64]) -> Result<(), String> {
        match self.call(name, arguments) {
            0 => Ok(()),
            code => Err(format!("{name} returned {code}")),
        }
    }

    fn call(&self, name: &'static str, arguments: &[u64]) -> i32 {
        // SAFETY: every caller in this module passes places of the right size and handles that are
        // alive, or what the driver documents that it checks.
        unsafe { self.driver.call(name, arguments) }
    }

    fn retain(&self) -> Result<(), String> {
        let mut context = 0u64;
        self.must(
            "cuDevicePrimaryCtxRetain",
            &[&raw mut context as u64, self.device],
        )?;
        self.primary.store(context, Relaxed);
        self.must("cuCtxSetCurrent", &[context])?;
        let mut pool = 0u64;
        self.must(
            "cuDeviceGetDefaultMemPool",
            &[&raw mut pool as u64, self.device],
        )?;
        self.pool.store(pool, Relaxed);
        Ok(())
    }

    fn default_pool(&self) -> u64 {
        self.pool.load(Relaxed)
    }

    /// Returns the nanoseconds that each operation has taken since the last call, in the order of
    /// [`OPERATIONS`].
    pub fn times(&self) -> impl Iterator<Item = u64> + '_ {
        self.times.iter().map(|time| time.swap(0, Relaxed))
    }

    /// Returns the driver's available bytes, or 0.
    fn free_memory(&self) -> u64 {
        let (mut free, mut total) = (0u64, 0u64);
        self.call(
            "cuMemGetInfo_v2",
            &[&raw mut free as u64, &raw mut total as u64],
        );
        free
    }

    /// Returns the bytes that a pool has reserved.
    fn reserved(&self, pool: u64) -> u64 {
        let mut bytes = 0u64;
        self.call(
            "cuMemPoolGetAttribute",
            &[pool, RESERVED, &raw mut bytes as u64],
        );
        bytes
    }

    /// Returns the bytes that the device has reserved for graphs.
    fn reserved_for_graphs(&self) -> u64 {
        let mut bytes = 0u64;
        self.call(
            "cuDeviceGetGraphMemAttribute",
            &[self.device, GRAPHS_RESERVED, &raw mut bytes as u64],
        );
        bytes
    }

    /// Returns the available bytes before a program. The library measures the driver's own memory
    /// every 20 ms at most, so memory that the previous program freed may not show earlier.
    fn free_when_settled(&self, program: &Program) -> u64 {
        let asks = |operation: &Operation| operation.code == Code::MemInfo;
        // On a device it is not compared.
        let waits = self.simulated && program.threads() == 0 && program.operations.iter().any(asks);
        let mut free = self.free_memory();
        for _ in 0..3 {
            if !waits || free >= self.most_free.fetch_max(free, Relaxed) {
                return free;
            }
            std::thread::sleep(Duration::from_millis(10));
            free = self.free_memory();
        }
        // What is still missing stays: the next program need not wait for it.
        self.most_free.store(free, Relaxed);
        free
    }

    /// Ends everything that the device keeps for this process, and begins anew.
    ///
    /// # Errors
    /// Names the call that failed, and its code.
    pub fn renew(&self) -> Result<(), String> {
        self.must("cuDevicePrimaryCtxRelease_v2", &[self.device])?;
        self.must("cuDevicePrimaryCtxReset_v2", &[self.device])?;
        self.retain()
    }

    /// Frees what caches keep; bytes that are still in use by the driver's account.
    pub fn settle(&self) -> u64 {
        self.call("cuCtxSetCurrent", &[self.primary.load(Relaxed)]);
        self.call("cuCtxSynchronize", &[]);
        self.call("cuMemPoolTrimTo", &[self.default_pool(), 0]);
        self.call("cuDeviceGraphMemTrim", &[self.device]);
        self.total.saturating_sub(self.free_memory())
    }

    /// Runs a program and destroys what it left; a record for each operation, then those of the
    /// destruction.
    ///
    /// In a thread of its own: contexts that a program leaves on its thread's stack are not the
    /// next one's.
    pub fn run(&self, program: &Program) -> Vec<Record> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| self.run_here(program))
                .join()
                .unwrap_or_default()
        })
    }

    fn run_here(&self, program: &Program) -> Vec<Record> {
        if let Some(progress) = &self.progress {
            progress.clear();
        }
        self.call("cuCtxSetCurrent", &[self.primary.load(Relaxed)]);
        let world = World {
            session: self,
            objects: Objects::new(program.objects()),
            threads: program.threads(),
            free_at_start: self.free_when_settled(program)
                + self.reserved(self.default_pool())
                + self.reserved_for_graphs(),
        };
        for id in 0..FIRST_ID {
            let mut object = world.objects.lock(id);
            object.context = PRIMARY;
            object.pending = NOWHERE;
        }
        let of = |thread: u8| {
            program
                .operations
                .iter()
                .enumerate()
                .filter(move |(_, operation)| operation.thread == thread)
        };
        let mut main = Thread::new(&world, 0);
        main.run(of(0));
        if program.threads() > 0 {
            main.step(usize::MAX, &None, |thread| thread.finish_captures());
        }
        let mut records = std::mem::take(&mut main.records);
        std::thread::scope(|scope| {
            let running: Vec<_> = (1..=program.threads())
                .map(|number| {
                    let world = &world;
                    scope.spawn(move || {
                        let mut thread = Thread::new(world, number);
                        thread.call("cuCtxSetCurrent", &[world.session.primary.load(Relaxed)]);
                        thread.run(of(number));
                        thread.step(usize::MAX, &None, |thread| thread.finish_captures());
                        thread.records
                    })
                })
                .collect();
            for thread in running {
                records.extend(thread.join().unwrap_or_default());
            }
        });
        records.retain(|record| record.at != usize::MAX || !record.outcome.is_skip());
        records.sort_by_key(|record| record.at);
        main.destroy_all();
        records.append(&mut main.records);
        records
    }
}

/// `CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT`.
const RESERVED: u64 = 5;

/// `CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT`.
const GRAPHS_RESERVED: u64 = 2;

/// A program while it runs.
struct World<'s> {
    session: &'s Session,
    objects: Objects,
    threads: u8,
    /// Free bytes, and those of the default pool and of graphs.
    free_at_start: u64,
}

/// One of its threads.
struct Thread<'w> {
    world: &'w World<'w>,
    number: u8,
    /// Contexts of this thread, the current one last.
    stack: Vec<u32>,
    /// Captures that this thread began and has not ended: the stream, and what was recorded.
    captures: Vec<Capture>,
    /// The pool that `cuMemAllocAsync` draws on.
    current_pool: u32,
    /// Limits that were changed, with their old values.
    limits: Vec<(u64, u64)>,
    /// True if the primary context was reset.
    was_reset: bool,
    records: Vec<Record>,
}

/// A capture under way.
struct Capture {
    stream: u32,
    /// Objects that the recorded work needs, and the stream that used each.
    parts: Vec<(u32, u32)>,
    /// Memory that was allocated in it and not freed.
    allocated: Vec<u32>,
}

/// Result of an operation: `None` if it could not run.
type Done = Option<Outcome>;

/// Returns the outcome of one driver call.
fn code(code: i32) -> Done {
    Some(Outcome::new(code))
}

impl<'w> Thread<'w> {
    fn new(world: &'w World<'w>, number: u8) -> Self {
        Self {
            world,
            number,
            stack: vec![PRIMARY],
            captures: Vec::new(),
            current_pool: DEFAULT_POOL,
            limits: Vec::new(),
            was_reset: false,
            records: Vec::new(),
        }
    }

    fn call(&self, name: &'static str, arguments: &[u64]) -> i32 {
        self.world.session.call(name, arguments)
    }

    fn device(&self) -> u64 {
        self.world.session.device
    }

    fn run<'p>(&mut self, operations: impl Iterator<Item = (usize, &'p Operation)>) {
        for (at, operation) in operations {
            self.step(at, &Some(*operation), |thread| thread.perform(operation));
        }
    }

    fn step(
        &mut self,
        at: usize,
        operation: &Option<Operation>,
        perform: impl FnOnce(&mut Self) -> Done,
    ) {
        if self.world.session.loud {
            match operation {
                Some(operation) => eprintln!("{at}: {operation}"),
                None => eprintln!("{at}: end of thread {}", self.number),
            }
        }
        if let Some(progress) = &self.world.session.progress {
            progress.note(self.number, at);
        }
        let began = Instant::now();
        let outcome = perform(self).unwrap_or(Outcome::SKIP);
        if let Some(operation) = operation {
            self.world.session.times[operation.code as usize]
                .fetch_add(began.elapsed().as_nanos() as u64, Relaxed);
        }
        self.records.push(Record { at, outcome });
    }

    /// Returns the current context, if any.
    fn current(&self) -> Option<u32> {
        self.stack.last().copied()
    }

    fn context_handle(&self, id: u32) -> u64 {
        match id {
            PRIMARY => self.world.session.primary.load(Relaxed),
            _ => self.world.objects.lock(id).handle,
        }
    }

    /// Returns an object that this thread may use.
    fn usable(&self, id: u64, kind: char) -> Option<Object> {
        let object = self.world.objects.get(id as u32);
        (object.live && object.kind == kind && (object.owner == self.number || object.owner == 0))
            .then_some(object)
    }

    /// Returns an object that this thread may use, of the current context or of none.
    fn here(&self, id: u64, kind: char) -> Option<Object> {
        self.usable(id, kind)
            .filter(|object| object.context == PROCESS || Some(object.context) == self.current())
    }

    /// Returns an object that this thread may end.
    fn ending(&self, id: u64, kind: char) -> Option<Object> {
        self.here(id, kind)
            .filter(|object| object.owner == self.number)
    }

    /// Returns a stream's handle.
    fn stream(&self, id: u64) -> Option<u64> {
        if id < u64::from(FIRST_ID) {
            return self.current().map(|_| id.min(2));
        }
        self.here(id, 's').map(|object| object.handle)
    }

    /// Keeps a new object, if the call that makes it succeeded.
    fn keep(&self, id: u64, made: i32, object: Object) -> Done {
        let given = object.handle != 0;
        if made == 0 {
            *self.world.objects.lock(id as u32) = Object {
                live: true,
                owner: self.number,
                pending: NOWHERE,
                ..object
            };
            return Some(Outcome::new(made).with(Value::Exact(u64::from(given))));
        }
        code(made)
    }

    /// Returns a new object of the current context.
    fn of_here(&self, kind: char, handle: u64) -> Object {
        Object {
            kind,
            handle,
            context: self.current().unwrap_or(PROCESS),
            ..Object::default()
        }
    }

    /// Marks an object as gone, if the call that ends it succeeded.
    fn end(&self, id: u64, ended: i32) -> Done {
        if ended == 0 {
            self.world.objects.lock(id as u32).live = false;
        }
        code(ended)
    }

    /// Marks as gone all that lived in a context.
    fn context_ended(&mut self, id: u32) {
        self.world.objects.each(|_, object| {
            if object.live && object.context == id {
                object.live = false;
            }
        });
        self.captures.clear();
        if id == PRIMARY {
            self.limits.clear();
        }
    }

    /// Destroys what the program left, from the youngest object to the oldest, each in its own
    /// context.
    fn destroy_all(&mut self) {
        let nothing = None;
        self.step(usize::MAX, &nothing, |thread| thread.finish_captures());
        self.step(usize::MAX, &nothing, |thread| {
            thread.stack = vec![PRIMARY];
            thread.captures.clear();
            thread.number = 0;
            thread.world.objects.each(|_, object| object.owner = 0);
            let default = thread.default_pool();
            thread.call("cuCtxSetCurrent", &[thread.context_handle(PRIMARY)]);
            for (limit, value) in std::mem::take(&mut thread.limits) {
                thread.call("cuCtxSetLimit", &[limit, value]);
            }
            let last = thread.call("cuCtxSynchronize", &[]);
            let pool = thread.call("cuDeviceSetMemPool", &[thread.device(), default]);
            thread.quiet_everywhere();
            let mut mode = 0u32;
            thread.call("cuThreadExchangeStreamCaptureMode", &[&raw mut mode as u64]);
            Some(Outcome::new(last).with(Value::Exact(pool as u64)))
        });
        // What others depend on goes after them; memory in stream order before its pool.
        for kind in [
            'x', 'g', 'r', 'y', 'm', 'h', 'a', 'i', 'p', 'u', 'l', 'e', 's', 'c',
        ] {
            for id in self.world.objects.alive() {
                if self.world.objects.lock(id).kind == kind {
                    self.step(usize::MAX, &nothing, |thread| thread.destroy(id));
                }
            }
        }
        self.step(usize::MAX, &nothing, |thread| {
            thread.call("cuCtxSetCurrent", &[thread.context_handle(PRIMARY)]);
            thread.call("cuMemPoolTrimTo", &[thread.default_pool(), 0]);
            thread.call("cuDeviceGraphMemTrim", &[thread.device()]);
            code(thread.call("cuCtxSynchronize", &[]))
        });
    }

    /// Destroys one object, regardless of the thread that made it.
    fn destroy(&mut self, id: u32) -> Done {
        {
            let mut object = self.world.objects.lock(id);
            object.owner = 0;
            object.pending = NOWHERE;
            let context = if object.context == PROCESS {
                PRIMARY
            } else {
                object.context
            };
            drop(object);
            if self.stack.last() != Some(&context) && self.world.objects.get(id).kind != 'c' {
                self.call("cuCtxSetCurrent", &[self.context_handle(context)]);
                self.stack = vec![context];
            }
        }
        let object = self.world.objects.get(id);
        let id = u64::from(id);
        let end = |code| Operation {
            thread: 0,
            code,
            arguments: [id, u64::from(NULL_STREAM), 0, 0, 0],
        };
        let operation = match object.kind {
            'x' => end(Code::ExecDestroy),
            'g' => end(Code::GraphDestroy),
            'r' => end(Code::RangeFree),
            'y' => end(Code::PhysicalRelease),
            'm' => end(Code::MemFree),
            'h' => end(Code::HostFree),
            'a' => end(Code::ArrayDestroy),
            'i' => end(Code::MipmapDestroy),
            'p' => end(Code::PoolDestroy),
            'u' => end(Code::ModuleUnload),
            'l' => end(Code::LibraryUnload),
            'e' => end(Code::EventDestroy),
            's' => end(Code::StreamDestroy),
            _ => {
                self.call("cuCtxSetCurrent", &[self.context_handle(PRIMARY)]);
                self.stack = vec![PRIMARY];
                end(Code::CtxDestroy)
            }
        };
        self.perform(&operation)
    }

    fn perform(&mut self, operation: &Operation) -> Done {
        let [a, b, c, d, e] = operation.arguments;
        match operation.code {
            Code::CtxCreate => self.ctx_create(a, b),
            Code::CtxDestroy => self.ctx_destroy(a),
            Code::CtxPush => self.ctx_push(a),
            Code::CtxPop => self.ctx_pop(),
            Code::CtxSet => self.ctx_set(a),
            Code::CtxSync => self.ctx_sync(),
            Code::CtxAsk => self.ctx_ask(a),
            Code::LimitGet => self.limit_get(a),
            Code::LimitSet => self.limit_set(a, b),
            Code::PrimaryReset => self.primary_reset(),
            Code::PrimaryRetain => self.primary_retain(),
            Code::DeviceAsk => self.device_ask(a),
            Code::MemInfo => self.mem_info(),
            Code::Wrong => self.wrong(a),
            Code::Fork => self.fork(a),
            Code::StreamCreate => self.stream_create(a, b, None),
            Code::StreamCreatePriority => self.stream_create(a, b, Some(c)),
            Code::StreamDestroy => self.stream_destroy(a),
            Code::StreamSync => self.stream_sync(a),
            Code::StreamQuery => self.stream_query(a),
            Code::StreamAsk => self.stream_ask(a, b),
            Code::StreamWait => self.stream_wait(a, b),
            Code::HostFunction => self.host_function(a),
            Code::StreamWrite => self.stream_write(a, b, c),
            Code::EventCreate => self.event_create(a, b),
            Code::EventDestroy => self.event_destroy(a),
            Code::EventRecord => self.event_record(a, b),
            Code::EventQuery => self.event_query(a),
            Code::EventSync => self.event_sync(a),
            Code::EventElapsed => self.event_elapsed(a, b),
            Code::MemAlloc => self.mem_alloc(a, b),
            Code::MemPitch => self.mem_pitch(a, b, c, d),
            Code::MemHost => self.mem_host(a, b, c),
            Code::MemManaged => self.mem_managed(a, b, c),
            Code::MemAsync => self.mem_async(a, b, None, c),
            Code::MemPool => self.mem_async(a, b, Some(c), d),
            Code::MemFree => self.mem_free(a),
            Code::MemFreeAsync => self.mem_free_async(a, b),
            Code::HostFree => self.host_free(a),
            Code::MemRange => self.mem_range(a),
            Code::PointerAsk => self.pointer_ask(a, b),
            Code::Fill => self.fill(a, b, c, None),
            Code::FillAsync => self.fill(a, b, c, Some(d)),
            Code::Fill2D => self.fill_2d(a, b, c, d),
            Code::Write => self.write(a, b, c),
            Code::Copy => self.copy(a, b, c, None),
            Code::CopyAsync => self.copy(a, b, c, Some(d)),
            Code::Copy2D => self.copy_2d(a, b, c, d),
            Code::HostWrite => self.host_write(a, b),
            Code::HostToDevice => self.with_host(a, b, c, d, true),
            Code::DeviceToHost => self.with_host(b, a, c, d, false),
            Code::HostRead => self.host_read(a),
            Code::Read => self.read(a),
            Code::Ipc => self.ipc(a, b),
            Code::PoolCreate => self.pool_create(a, b),
            Code::PoolDestroy => self.pool_destroy(a),
            Code::PoolTrim => self.pool_trim(a, b),
            Code::PoolSet => self.pool_set(a, b, c),
            Code::PoolGet => self.pool_get(a, b),
            Code::PoolAccess => self.pool_access(a, b),
            Code::PoolCurrent => self.pool_current(a),
            Code::ArrayCreate => self.array_create(a, b, c, d),
            Code::ArrayCreate3D => self.array_create_3d(a, b, c, d, e),
            Code::MipmapCreate => self.mipmap_create(a, b, c, d, e),
            Code::MipmapLevel => self.mipmap_level(a, b),
            Code::MipmapDestroy => self.mipmap_destroy(a),
            Code::ArrayDestroy => self.array_destroy(a),
            Code::ArrayAsk => self.array_ask(a),
            Code::ArrayCopy => self.array_copy(a, b),
            Code::PhysicalCreate => self.physical_create(a, b, c),
            Code::PhysicalRelease => self.physical_release(a),
            Code::PhysicalAsk => self.physical_ask(a),
            Code::PhysicalImport => self.physical_import(a, b),
            Code::RangeReserve => self.range_reserve(a, b),
            Code::RangeFree => self.range_free(a),
            Code::RangeMap => self.range_map(a, b),
            Code::RangeAccess => self.range_access(a, b),
            Code::RangeUnmap => self.range_unmap(a),
            Code::RangeUse => self.range_use(a, b),
            Code::RangeRetain => self.range_retain(a),
            Code::ModuleLoad => self.module_load(a, b),
            Code::ModuleUnload => self.module_unload(a),
            Code::ModuleFunction => self.module_function(a, b),
            Code::ModuleGlobal => self.module_global(a, b),
            Code::FunctionAsk => self.function_ask(a, b),
            Code::LibraryLoad => self.library_load(a, b),
            Code::LibraryUnload => self.library_unload(a),
            Code::LaunchFill => self.launch_fill(a, b, c, d, e),
            Code::LaunchSaxpy => self.launch_saxpy(a, b, c, d, e),
            Code::LaunchSpin => self.launch_spin(a, b, c),
            Code::LaunchEx => self.launch_ex(a, b, c, d, e),
            Code::LaunchCooperative => self.launch_cooperative(a, b, c, d),
            Code::LaunchLibrary => self.launch_library(a, b, c, d),
            Code::GreenRun => self.green_run(a, b, c, d),
            Code::GraphCreate => self.graph_create(a),
            Code::GraphDestroy => self.graph_destroy(a),
            Code::GraphEmpty => self.graph_empty(a),
            Code::GraphKernel => self.graph_kernel(a, b, c, d),
            Code::GraphFill => self.graph_fill(a, b, c),
            Code::GraphCopy => self.graph_copy(a, b, c, d),
            Code::GraphHost => self.graph_host(a),
            Code::GraphRecord => self.graph_event(a, b, true),
            Code::GraphWait => self.graph_event(a, b, false),
            Code::GraphChild => self.graph_child(a, b),
            Code::GraphMemory => self.graph_memory(a, b, c),
            Code::GraphClone => self.graph_clone(a, b),
            Code::GraphAsk => self.graph_ask(a),
            Code::GraphInstantiate => self.graph_instantiate(a, b, c),
            Code::GraphLaunch => self.graph_launch(a, b),
            Code::GraphUpload => self.graph_upload(a, b),
            Code::GraphUpdate => self.graph_update(a, b),
            Code::ExecDestroy => self.exec_destroy(a),
            Code::GraphTrim => code(self.call("cuDeviceGraphMemTrim", &[self.device()])),
            Code::GraphMemoryAsk => self.graph_memory_ask(a),
            Code::CaptureBegin => self.capture_begin(a, b),
            Code::CaptureEnd => self.capture_end(a),
            Code::CaptureAsk => self.capture_ask(a),
            Code::CaptureMode => self.capture_mode(a),
        }
    }
}

/// Returns the number of calls with wrong arguments.
pub fn wrong_calls() -> usize {
    wrong::CALLS.len()
}
