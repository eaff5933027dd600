//! The last words of a worker that dies by a signal: signal, address, the driver call under way and the frames of the
//! stack, each as module and offset. They say whether a fault is in the driver, in the library or in the tester.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::fmt::{self, Write};

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
        // SAFETY: a struct of integers, addresses and a set, for which zero is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = last_words as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: a handler of that signature, which uses nothing that the interrupted code may have locked but the
        // loader's list of modules; a process that is dying may hang there, and is then ended by the tester.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

extern "C" fn last_words(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both, as SA_SIGINFO asks.
    let (code, address, at) = unsafe { ((*info).si_code, (*info).si_addr() as usize, counter(context)) };
    let mut line = Line::default();
    let _ = write!(line, "signal {signal} code {code} address {address:#x} in ");
    let _ = line.write_str(match CALL.get() {
        "" => "no driver call",
        name => name,
    });
    let _ = line.write_str("; at ");
    line.place(at);
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
    // SAFETY: the signal ends the process as soon as this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// The interrupted instruction, where this machine's context is known.
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
