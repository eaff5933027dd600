//! Programs of driver calls: what they consist of, and their text, which can be kept, edited and
//! run again.
//!
//! A line is a thread, an operation and its arguments: `1 mem_alloc m9 65536`. Objects are a letter
//! for their kind and a number that no other object of the program has. Thread 0 runs first and
//! alone; its objects are shared by the threads from 1 on, which run at once. A program has no way
//! to be illegal: the worker skips an operation whose objects are not alive, so any line can be
//! taken out of any program.

use std::collections::HashSet;
use std::fmt;

/// A kind of object, by the letter that names it in texts. Contexts are `c`, streams `s`, events
/// `e`, memory `m`, host memory `h`, pools `p`, arrays `a`, mipmapped arrays `i`. Physical memory
/// is `y`, ranges of addresses `r`, modules `u`, libraries `l`, graphs `g`, executable graphs `x`.
pub type Kind = char;

/// Numbers below this one are objects that always exist.
pub const FIRST_ID: u32 = 8;
/// The primary context.
pub const PRIMARY: u32 = 0;
/// The null stream, the legacy stream and the calling thread's own stream.
pub const NULL_STREAM: u32 = 0;
#[allow(missing_docs)]
pub const LEGACY_STREAM: u32 = 1;
#[allow(missing_docs)]
pub const THREAD_STREAM: u32 = 2;
/// The device's default pool.
pub const DEFAULT_POOL: u32 = 0;

macro_rules! operations {
    ($($(#[$doc:meta])* $code:ident $name:literal $arguments:literal $weight:literal;)*) => {
        /// An operation: mostly one driver call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $code,)* }

        /// Every operation: name, arguments, and how often the generator takes it.
        ///
        /// Arguments are separated by spaces. `+m` is a new object of kind `m`, `-m` one that ends,
        /// `m` one that is used; of kinds `s`, `p` and `c`, objects that always exist are among
        /// them. The others are numbers: `z` bytes, `q` bytes of a copy, `f` flags, `v` a value,
        /// `k` a choice, `w` elements.
        pub const OPERATIONS: &[(Code, &str, &str, u32)] = &[$((Code::$code, $name, $arguments, $weight),)*];
    };
}

operations! {
    /// `cuCtxCreate`.
    CtxCreate "ctx_create" "+c f" 1;
    /// `cuCtxDestroy`, after the destruction of what may not outlive a context.
    CtxDestroy "ctx_destroy" "-c" 2;
    /// `cuCtxPushCurrent`.
    CtxPush "ctx_push" "c" 4;
    /// `cuCtxPopCurrent`.
    CtxPop "ctx_pop" "" 4;
    /// `cuCtxSetCurrent`.
    CtxSet "ctx_set" "c" 5;
    /// `cuCtxSynchronize`.
    CtxSync "ctx_sync" "" 24;
    /// One of the questions to a context.
    CtxAsk "ctx_ask" "k" 6;
    /// `cuCtxGetLimit`.
    LimitGet "limit_get" "k" 3;
    /// `cuCtxSetLimit`, to one of a few values, and back at the end.
    LimitSet "limit_set" "k k" 1;
    /// `cuDevicePrimaryCtxReset`, in a program of one thread.
    PrimaryReset "primary_reset" "" 1;
    /// `cuDevicePrimaryCtxRetain` and `Release`.
    PrimaryRetain "primary_retain" "" 2;
    /// One of the questions to the device or the driver.
    DeviceAsk "device_ask" "k" 10;
    /// `cuMemGetInfo`.
    MemInfo "mem_info" "" 16;
    /// A call with a wrong argument.
    Wrong "wrong" "k" 60;
    /// A call made by a forked child.
    Fork "fork" "k" 1;

    /// `cuStreamCreate`.
    StreamCreate "stream_create" "+s f" 14;
    /// `cuStreamCreateWithPriority`.
    StreamCreatePriority "stream_create_priority" "+s f k" 6;
    /// `cuStreamDestroy`.
    StreamDestroy "stream_destroy" "-s" 12;
    /// `cuStreamSynchronize`.
    StreamSync "stream_sync" "s" 14;
    /// `cuStreamQuery`.
    StreamQuery "stream_query" "s" 8;
    /// One of the questions to a stream.
    StreamAsk "stream_ask" "s k" 6;
    /// `cuStreamWaitEvent`.
    StreamWait "stream_wait" "s e" 10;
    /// `cuLaunchHostFunc`.
    HostFunction "host_function" "s" 6;
    /// `cuStreamWriteValue32` to memory.
    StreamWrite "stream_write" "s m v" 4;

    /// `cuEventCreate`.
    EventCreate "event_create" "+e f" 12;
    /// `cuEventDestroy`.
    EventDestroy "event_destroy" "-e" 9;
    /// `cuEventRecord`.
    EventRecord "event_record" "e s" 18;
    /// `cuEventQuery`.
    EventQuery "event_query" "e" 6;
    /// `cuEventSynchronize`.
    EventSync "event_sync" "e" 10;
    /// `cuEventElapsedTime`.
    EventElapsed "event_elapsed" "e e" 5;

    /// `cuMemAlloc`.
    MemAlloc "mem_alloc" "+m z" 34;
    /// `cuMemAllocPitch`.
    MemPitch "mem_pitch" "+m w w k" 6;
    /// `cuMemHostAlloc` or `cuMemAllocHost`.
    MemHost "mem_host" "+h z k" 6;
    /// `cuMemAllocManaged`.
    MemManaged "mem_managed" "+m z f" 3;
    /// `cuMemAllocAsync`.
    MemAsync "mem_async" "+m z s" 16;
    /// `cuMemAllocFromPoolAsync`.
    MemPool "mem_pool" "+m z p s" 12;
    /// `cuMemFree`.
    MemFree "mem_free" "-m" 26;
    /// `cuMemFreeAsync`.
    MemFreeAsync "mem_free_async" "-m s" 14;
    /// `cuMemFreeHost`.
    HostFree "host_free" "-h" 4;
    /// `cuMemGetAddressRange`.
    MemRange "mem_range" "m" 4;
    /// `cuPointerGetAttribute`.
    PointerAsk "pointer_ask" "m k" 6;
    /// `cuMemsetD8`, `D16` or `D32` of the first 64 KiB.
    Fill "fill" "m v k" 20;
    /// The same in a stream.
    FillAsync "fill_async" "m v k s" 24;
    /// `cuMemsetD2D8` or `D2D32`.
    Fill2D "fill_2d" "m v w w" 5;
    /// `cuMemcpyHtoD` of bytes that follow from a value.
    Write "write" "m v q" 10;
    /// `cuMemcpyDtoD`.
    Copy "copy" "m m q" 8;
    /// `cuMemcpyDtoDAsync`.
    CopyAsync "copy_async" "m m q s" 14;
    /// `cuMemcpy2D` within a device.
    Copy2D "copy_2d" "m m w w" 4;
    /// The processor writes host memory.
    HostWrite "host_write" "h v" 4;
    /// `cuMemcpyHtoDAsync`.
    HostToDevice "host_to_device" "m h q s" 6;
    /// `cuMemcpyDtoHAsync`.
    DeviceToHost "device_to_host" "h m q s" 6;
    /// Synchronises and reads host memory.
    HostRead "host_read" "h" 4;
    /// Synchronises and reads memory back.
    Read "read" "m" 26;

    /// `cuIpcGetMemHandle`, and a process that opens it, reads, writes and closes.
    Ipc "ipc" "m v" 1;

    /// `cuMemPoolCreate`.
    PoolCreate "pool_create" "+p k" 4;
    /// `cuMemPoolDestroy`, once its memory is free.
    PoolDestroy "pool_destroy" "-p" 3;
    /// `cuMemPoolTrimTo`.
    PoolTrim "pool_trim" "p z" 5;
    /// `cuMemPoolSetAttribute`.
    PoolSet "pool_set" "p k z" 4;
    /// `cuMemPoolGetAttribute`.
    PoolGet "pool_get" "p k" 6;
    /// `cuMemPoolSetAccess` and `GetAccess` for the device itself.
    PoolAccess "pool_access" "p k" 2;
    /// `cuDeviceSetMemPool`; the default one again at the end.
    PoolCurrent "pool_current" "p" 2;

    /// `cuArrayCreate`.
    ArrayCreate "array_create" "+a w w k" 6;
    /// `cuArray3DCreate`.
    ArrayCreate3D "array_create_3d" "+a w w k k" 5;
    /// `cuMipmappedArrayCreate`.
    MipmapCreate "mipmap_create" "+i w w k k" 4;
    /// `cuMipmappedArrayGetLevel`.
    MipmapLevel "mipmap_level" "i k" 3;
    /// `cuMipmappedArrayDestroy`.
    MipmapDestroy "mipmap_destroy" "-i" 3;
    /// `cuArrayDestroy`.
    ArrayDestroy "array_destroy" "-a" 7;
    /// `cuArray3DGetDescriptor`.
    ArrayAsk "array_ask" "a" 3;
    /// `cuMemcpyHtoA` of the first row, and back.
    ArrayCopy "array_copy" "a v" 6;

    /// `cuMemCreate`.
    PhysicalCreate "physical_create" "+y k k" 8;
    /// `cuMemRelease`.
    PhysicalRelease "physical_release" "-y" 6;
    /// `cuMemGetAllocationPropertiesFromHandle`.
    PhysicalAsk "physical_ask" "y" 2;
    /// `cuMemExportToShareableHandle`, and import in the same process.
    PhysicalImport "physical_import" "+y y" 3;
    /// `cuMemAddressReserve`.
    RangeReserve "range_reserve" "+r k" 7;
    /// `cuMemAddressFree`, after unmapping.
    RangeFree "range_free" "-r" 5;
    /// `cuMemMap`.
    RangeMap "range_map" "r y" 10;
    /// `cuMemSetAccess`.
    RangeAccess "range_access" "r k" 9;
    /// `cuMemUnmap`.
    RangeUnmap "range_unmap" "r" 5;
    /// `cuMemsetD32` of mapped memory, and back.
    RangeUse "range_use" "r v" 7;
    /// `cuMemRetainAllocationHandle`, released at once.
    RangeRetain "range_retain" "r" 2;

    /// `cuModuleLoadData`.
    ModuleLoad "module_load" "+u k" 8;
    /// `cuModuleUnload`.
    ModuleUnload "module_unload" "-u" 4;
    /// `cuModuleGetFunction`.
    ModuleFunction "module_function" "u k" 3;
    /// `cuModuleGetGlobal`, filled and read.
    ModuleGlobal "module_global" "u v" 3;
    /// Attributes of a function, and occupancy.
    FunctionAsk "function_ask" "u k" 4;
    /// `cuLibraryLoadData`.
    LibraryLoad "library_load" "+l k" 4;
    /// `cuLibraryUnload`.
    LibraryUnload "library_unload" "-l" 3;
    /// `cuLaunchKernel` of a fill.
    LaunchFill "launch_fill" "u m v q s" 26;
    /// `cuLaunchKernel` of a kernel that reads and writes.
    LaunchSaxpy "launch_saxpy" "u m m v s" 12;
    /// `cuLaunchKernel` of a kernel that takes a while.
    LaunchSpin "launch_spin" "u k s" 14;
    /// `cuLaunchKernelEx`.
    LaunchEx "launch_ex" "u m v s k" 8;
    /// `cuLaunchCooperativeKernel`.
    LaunchCooperative "launch_cooperative" "u m v s" 4;
    /// `cuLaunchKernel` of a library's kernel.
    LaunchLibrary "launch_library" "l m v s" 8;

    /// A green context of some multiprocessors, from its making to its end, with a library's kernel
    /// in a stream of it.
    GreenRun "green_run" "l m v k" 1;

    /// `cuGraphCreate`.
    GraphCreate "graph_create" "+g" 8;
    /// `cuGraphDestroy`.
    GraphDestroy "graph_destroy" "-g" 6;
    /// `cuGraphAddEmptyNode`.
    GraphEmpty "graph_empty" "g" 4;
    /// `cuGraphAddKernelNode`.
    GraphKernel "graph_kernel" "g u m v" 12;
    /// `cuGraphAddMemsetNode`.
    GraphFill "graph_fill" "g m v" 8;
    /// `cuGraphAddMemcpyNode`.
    GraphCopy "graph_copy" "g m m q" 6;
    /// `cuGraphAddHostNode`.
    GraphHost "graph_host" "g" 3;
    /// `cuGraphAddEventRecordNode`.
    GraphRecord "graph_record" "g e" 3;
    /// `cuGraphAddEventWaitNode`.
    GraphWait "graph_wait" "g e" 3;
    /// `cuGraphAddChildGraphNode`.
    GraphChild "graph_child" "g g" 4;
    /// `cuGraphAddMemAllocNode`, a fill of it and `cuGraphAddMemFreeNode`.
    GraphMemory "graph_memory" "g z v" 5;
    /// `cuGraphClone`.
    GraphClone "graph_clone" "+g g" 3;
    /// `cuGraphGetNodes` and `cuGraphGetEdges`.
    GraphAsk "graph_ask" "g" 3;
    /// `cuGraphInstantiate`.
    GraphInstantiate "graph_instantiate" "+x g k" 16;
    /// `cuGraphLaunch`.
    GraphLaunch "graph_launch" "x s" 24;
    /// `cuGraphUpload`.
    GraphUpload "graph_upload" "x s" 4;
    /// `cuGraphExecUpdate`.
    GraphUpdate "graph_update" "x g" 5;
    /// `cuGraphExecDestroy`.
    ExecDestroy "exec_destroy" "-x" 8;
    /// `cuDeviceGraphMemTrim`.
    GraphTrim "graph_trim" "" 3;
    /// `cuDeviceGetGraphMemAttribute`.
    GraphMemoryAsk "graph_memory_ask" "k" 3;
    /// `cuStreamBeginCapture`.
    CaptureBegin "capture_begin" "s k" 12;
    /// `cuStreamEndCapture` of the thread's latest capture.
    CaptureEnd "capture_end" "+g" 30;
    /// `cuStreamGetCaptureInfo` and `cuStreamIsCapturing`.
    CaptureAsk "capture_ask" "s" 4;
    /// `cuThreadExchangeStreamCaptureMode`.
    CaptureMode "capture_mode" "k" 3;
}

/// Use of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// An object that the operation makes.
    New(Kind),
    /// An object that the operation ends.
    End(Kind),
    /// An object that it uses.
    Use(Kind),
    /// A number of this class.
    Number(char),
}

/// Most arguments that an operation has.
pub const MOST: usize = 5;

impl Code {
    fn row(self) -> &'static (Code, &'static str, &'static str, u32) {
        let row = &OPERATIONS[self as usize];
        debug_assert!(row.0 == self);
        row
    }

    /// Returns the name in texts.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the weight with which the generator takes it.
    pub fn weight(self) -> u32 {
        self.row().3
    }

    /// Returns the arguments, in order.
    pub fn arguments(self) -> impl Iterator<Item = Argument> {
        self.row().2.split_ascii_whitespace().map(|word| {
            let mut letters = word.chars();
            match letters.next() {
                Some('+') => Argument::New(letters.next().unwrap_or('?')),
                Some('-') => Argument::End(letters.next().unwrap_or('?')),
                Some(letter @ ('z' | 'q' | 'f' | 'w' | 'k' | 'v')) => Argument::Number(letter),
                Some(letter) => Argument::Use(letter),
                None => unreachable!("words are not empty"),
            }
        })
    }
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// 0 runs first; the others run at once.
    pub thread: u8,
    /// Operation code.
    pub code: Code,
    /// Objects by number, and numbers.
    pub arguments: [u64; MOST],
}

/// A sequence of operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// In the order of the text; each thread takes its own.
    pub operations: Vec<Operation>,
}

impl Program {
    /// Returns the highest thread.
    pub fn threads(&self) -> u8 {
        self.operations
            .iter()
            .map(|operation| operation.thread)
            .max()
            .unwrap_or(0)
    }

    /// Returns one more than the highest object.
    pub fn objects(&self) -> u32 {
        let mut most = FIRST_ID;
        for operation in &self.operations {
            for (argument, &value) in operation.code.arguments().zip(&operation.arguments) {
                if !matches!(argument, Argument::Number(_)) {
                    most = most.max(value as u32 + 1);
                }
            }
        }
        most
    }

    /// Removes some operations from the program, by name; `wrong 3` removes one wrong call.
    #[must_use]
    pub fn without(mut self, names: &[String]) -> Self {
        if !names.is_empty() {
            self.operations
                .retain(|operation| !names.contains(&operation.label()));
        }
        self
    }

    /// Reads the text; what follows a `#` says nothing.
    ///
    /// # Errors
    /// Names the line that cannot be read and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut operations, mut made) = (Vec::new(), HashSet::new());
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() && !line.starts_with('#') {
                let read = Operation::parse(line).and_then(|operation| match operation.makes() {
                    Some(id) if !made.insert(id) => Err(format!("object {id} is made twice")),
                    _ => Ok(operation),
                });
                operations.push(read.map_err(|why| format!("line {}: {why}: {line}", at + 1))?);
            }
        }
        Ok(Self { operations })
    }
}

impl Operation {
    /// Returns the name, with the number of a wrong call.
    pub fn label(&self) -> String {
        match self.code {
            Code::Wrong => format!(
                "wrong {}",
                self.arguments[0] % crate::worker::wrong_calls() as u64
            ),
            code => code.name().to_owned(),
        }
    }

    /// Returns the object that the operation makes.
    pub fn makes(&self) -> Option<u64> {
        self.code
            .arguments()
            .zip(self.arguments)
            .find_map(|(argument, value)| matches!(argument, Argument::New(_)).then_some(value))
    }

    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let thread = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or("no thread")?;
        let name = words.next().ok_or("no operation")?;
        let &(code, ..) = OPERATIONS
            .iter()
            .find(|row| row.1 == name)
            .ok_or_else(|| format!("no operation {name}"))?;
        let mut arguments = [0; MOST];
        for (argument, into) in code.arguments().zip(&mut arguments) {
            let word = words.next().ok_or("too few arguments")?;
            let digits = match argument {
                Argument::Number(_) => word,
                Argument::New(kind) | Argument::End(kind) | Argument::Use(kind) => word
                    .strip_prefix(kind)
                    .ok_or_else(|| format!("{word} is no {kind}"))?,
            };
            *into = digits.parse().map_err(|_| format!("{word} is no number"))?;
            if !matches!(argument, Argument::Number(_)) && *into > 100_000 {
                return Err(format!("{word} is out of range"));
            }
        }
        match words.next() {
            None => Ok(Self {
                thread,
                code,
                arguments,
            }),
            Some(word) => Err(format!("{word} is one argument too many")),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.thread, self.code.name())?;
        for (argument, value) in self.code.arguments().zip(&self.arguments) {
            match argument {
                Argument::Number(_) => write!(out, " {value}")?,
                Argument::New(kind) | Argument::End(kind) | Argument::Use(kind) => {
                    write!(out, " {kind}{value}")?
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations
            .iter()
            .try_for_each(|operation| writeln!(out, "{operation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_codes_and_its_names_are_unique() {
        for (at, row) in OPERATIONS.iter().enumerate() {
            assert_eq!(row.0 as usize, at);
            assert!(row.0.arguments().count() <= MOST, "{}", row.1);
            assert_eq!(
                OPERATIONS.iter().filter(|other| other.1 == row.1).count(),
                1,
                "{}",
                row.1
            );
        }
    }

    #[test]
    fn every_operation_survives_its_text() {
        let mut program = Program::default();
        for (at, row) in OPERATIONS.iter().enumerate() {
            program.operations.push(Operation {
                thread: (at % 3) as u8,
                code: row.0,
                arguments: [0; MOST],
            });
            for (value, into) in (at as u64 * 10..).zip(0..row.0.arguments().count()) {
                program.operations[at].arguments[into] = value;
            }
        }
        assert_eq!(Program::parse(&program.to_string()).unwrap(), program);
    }

    #[test]
    fn a_text_that_cannot_be_read_names_its_line() {
        assert!(
            Program::parse("0 ctx_sync\n0 mem_alloc m9")
                .unwrap_err()
                .starts_with("line 2: too few")
        );
        assert!(
            Program::parse("0 mem_alloc s9 1")
                .unwrap_err()
                .contains("s9 is no m")
        );
    }
}
