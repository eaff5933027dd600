//! Last words of a worker that dies by a signal or hangs. For each thread they give the driver call
//! in progress and the frames of its stack, as module and offset. They show whether a fault is in
//! the driver, in the library or in the tester.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Asks a thread for its frames: sent by the tester to a worker that hangs, and by a thread that
/// dies to the others.
pub const TELL: c_int = libc::SIGUSR2;
/// Begins the line of a thread that has been asked in vain.
pub const NO_ANSWER: &str = "no answer from thread";
/// Begins the names of the driver's own threads, which block every signal.
pub const DRIVERS: &str = "cuda";

/// Signals that end a worker by its own fault.
const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGILL,
    libc::SIGFPE,
];
/// Most frames that are written.
const FRAMES: usize = 40;
/// Time for which a dying thread waits for each of the others.
const WAIT_MS: u32 = 50;

/// True once a thread is dying; the first one asks the others.
static DYING: AtomicBool = AtomicBool::new(false);
/// Threads that have told their frames.
static TOLD: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The driver call that this thread is in.
    static CALL: Cell<&'static str> = const { Cell::new("") };
}

/// Notes the driver call that this thread is in; an empty name for none.
pub fn note(call: &'static str) {
    CALL.set(call);
}

/// Writes last words to stderr when this process dies by a signal.
pub fn install() {
    #[cfg(target_env = "gnu")]
    {
        let mut frame = std::ptr::null_mut();
        // SAFETY: room for one frame. The first call loads the unwinder, which a handler must not.
        unsafe { libc::backtrace(&raw mut frame, 1) };
    }
    for signal in SIGNALS {
        handle(signal, last_words);
    }
    handle(TELL, tell);
}

fn handle(signal: c_int, handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)) {
    // SAFETY: a struct of integers, addresses and a set, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: a handler with this signature. It uses nothing that the interrupted code may have
    // locked, except the loader's list of modules. A dying process may hang there, and the tester
    // then ends it.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// Returns the calling thread's number.
fn this_thread() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Writes the driver call that this thread is in, the interrupted instruction and the frames.
fn frames(mut line: Line, context: *mut c_void) {
    let _ = line.write_str(match CALL.get() {
        "" => "no driver call",
        name => name,
    });
    let _ = line.write_str("; at ");
    // SAFETY: what the kernel passed to the handler.
    line.place(unsafe { counter(context) });
    line.end();
    #[cfg(target_env = "gnu")]
    {
        let mut frames = [std::ptr::null_mut(); FRAMES];
        // SAFETY: room for as many frames.
        let count = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int) };
        for (number, frame) in frames.iter().take(count.max(0) as usize).enumerate() {
            let _ = write!(line, "  #{number} ");
            line.place(*frame as usize);
            line.end();
        }
    }
}

extern "C" fn tell(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let mut line = Line::default();
    let _ = write!(line, "thread {} in ", this_thread());
    frames(line, context);
    // Relaxed: the order of what is written to stderr does not depend on it.
    TOLD.fetch_add(1, Relaxed);
}

/// Asks every other thread for its frames. Async-signal-safe.
fn ask_others() {
    let me = this_thread();
    // SAFETY: a string that ends with a NUL.
    let folder = unsafe {
        libc::open(
            c"/proc/self/task".as_ptr(),
            libc::O_RDONLY | libc::O_DIRECTORY,
        )
    };
    let mut room = [0u64; 512];
    loop {
        // SAFETY: room of that size, aligned for the kernel's entries.
        let filled = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder,
                room.as_mut_ptr(),
                size_of_val(&room),
            )
        };
        if filled <= 0 {
            break;
        }
        // SAFETY: the kernel has written that many bytes of the array.
        let bytes =
            unsafe { std::slice::from_raw_parts(room.as_ptr().cast::<u8>(), filled as usize) };
        let mut at = 0;
        // An entry: number and offset of 8 bytes each, its length in 2, its type, and its name.
        while at + 19 < bytes.len() {
            let length = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
            let name = bytes[at + 19..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            let number = name.fold(0i32, |sum, byte| {
                sum.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'))
            });
            if number > 0 && number != me {
                ask(number);
            }
            at += length.max(19);
        }
    }
}

fn ask(thread: i32) {
    let before = TOLD.load(Relaxed);
    // SAFETY: a thread of this process; one that has ended meanwhile is an error.
    if unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, TELL) } != 0 {
        return;
    }
    let moment = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    for _ in 0..WAIT_MS {
        if TOLD.load(Relaxed) != before {
            return;
        }
        // SAFETY: a time, and no place for the rest.
        unsafe { libc::nanosleep(&raw const moment, std::ptr::null_mut()) };
    }
    if is_drivers(thread) {
        return;
    }
    let mut line = Line::default();
    let _ = write!(line, "{NO_ANSWER} {thread}");
    line.end();
}

/// Returns true if a thread of this process has a name of the driver's.
fn is_drivers(thread: i32) -> bool {
    let (mut path, mut name) = (Line::default(), [0u8; 16]);
    let _ = write!(path, "/proc/self/task/{thread}/comm\0");
    // SAFETY: a path that ends with a NUL; room of that size. Without the file nothing is read.
    let read = unsafe {
        let file = libc::open(path.bytes.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        libc::read(file, name.as_mut_ptr().cast(), name.len())
    };
    read > 0 && name.starts_with(DRIVERS.as_bytes())
}

extern "C" fn last_words(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes it, as SA_SIGINFO asks.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let mut line = Line::default();
    let _ = write!(line, "signal {signal} code {code} address {address:#x} in ");
    frames(line, context);
    // Relaxed: whichever thread comes first asks.
    if !DYING.swap(true, Relaxed) {
        ask_others();
    }
    // SAFETY: the signal ends the process as soon as this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Returns the interrupted instruction, if this machine's context is known.
///
/// # Safety
/// `context` must be what the kernel passed to a handler.
unsafe fn counter(context: *mut c_void) -> usize {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    // SAFETY: by the caller's promise.
    return unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] as usize };
    #[cfg(all(target_arch = "aarch64", target_os = "linux"))]
    // SAFETY: by the caller's promise.
    return unsafe { (*context).uc_mcontext.pc as usize };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        0
    }
}

/// A line under construction, without the allocator.
struct Line {
    bytes: [u8; 400],
    used: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 400],
            used: 0,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.used..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.used += count;
        Ok(())
    }
}

impl Line {
    /// Writes an address as module and offset, with the exported name before it.
    fn place(&mut self, address: usize) {
        // SAFETY: a struct of addresses, for which zero is a value.
        let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: any address may be asked for.
        let known = unsafe { libc::dladdr(address as *const c_void, &raw mut found) } != 0;
        if !known || found.dli_fname.is_null() {
            let _ = write!(self, "{address:#x}");
            return;
        }
        // SAFETY: the loader's own name of a module, which stays.
        let module = unsafe { CStr::from_ptr(found.dli_fname) };
        let module = module.to_str().unwrap_or("?");
        let module = module.rsplit('/').next().unwrap_or(module);
        let _ = write!(self, "{module}+{:#x}", address - found.dli_fbase as usize);
        if !found.dli_sname.is_null() {
            // SAFETY: the loader's own name of a symbol, which stays.
            let symbol = unsafe { CStr::from_ptr(found.dli_sname) };
            let offset = address.wrapping_sub(found.dli_saddr as usize);
            let _ = write!(self, " ({}+{offset:#x})", symbol.to_str().unwrap_or("?"));
        }
    }

    /// Writes the line to stderr and begins another.
    fn end(&mut self) {
        let _ = self.write_str("\n");
        // SAFETY: that many bytes of this struct.
        unsafe { libc::write(2, self.bytes.as_ptr().cast(), self.used) };
        self.used = 0;
    }
}
