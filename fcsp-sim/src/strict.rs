//! Strictness: what a real driver would crash on ends the program with one line.
//!
//! A real driver follows most handles as pointers. A handle that was destroyed then reads freed
//! memory: the program crashes, or changes somebody else's object. A simulator that answers
//! "invalid handle" instead hides that crash. So a use of a dead or foreign handle writes one line
//! to stderr and raises `SIGSEGV`, the signal of the real crash:
//!
//! ```text
//! fcsp-sim: cuEventRecord: stream 0x110000000010 was destroyed by cuStreamDestroy_v2 in thread 4242; called from a.out+0x12
//! ```
//!
//! The program's own handler for `SIGSEGV` runs, as it would on a device. If it returns, the
//! program ends anyway.
//!
//! [`crate::table`] keeps the handles. `FCSP_SIM_STRICT` switches rules, see [`Rule`].

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

/// One kind of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// `handles`: a dead or foreign handle ends the program where the driver follows it without a
    /// look.
    Handles = 1,
    /// `reuse`: the handle of a destroyed object is the next new one of its kind.
    Reuse = 2,
    /// `contexts`: objects of two contexts in one call are refused, and objects die with their
    /// context.
    Contexts = 4,
    /// `captures`: calls that a capture in another thread forbids are refused and invalidate that
    /// capture.
    Captures = 8,
    /// `threads`: two threads in calls on one object that is not thread-safe end the program.
    Threads = 16,
    /// `busy`: an object that the device still works on may not be destroyed or submitted again.
    Busy = 32,
    /// `sizes`: arrays and modules take of the device what was measured.
    Sizes = 128,
    /// `checked`: a dead handle ends the program also where the driver was seen to refuse it by a
    /// code. Not among `all`: it is for tests of a library that must never name a dead handle, in
    /// programs that do not either.
    Checked = 64,
}

/// The rules and their names in `FCSP_SIM_STRICT`.
const NAMES: [(&str, Rule); 8] = [
    ("handles", Rule::Handles),
    ("reuse", Rule::Reuse),
    ("contexts", Rule::Contexts),
    ("captures", Rule::Captures),
    ("threads", Rule::Threads),
    ("busy", Rule::Busy),
    ("sizes", Rule::Sizes),
    ("checked", Rule::Checked),
];

/// The environment variable: `all`, `none`, or names of rules, separated by commas. `-name` after
/// `all` takes a rule away: `all,-captures`.
pub const VARIABLE: &str = "FCSP_SIM_STRICT";

const ALL: u32 = 63 | 128;
/// The rules where the variable is not set.
const DEFAULT: u32 = ALL;
/// Set in [`RULES`] once the environment was read.
const READ: u32 = 1 << 31;

/// The rules that hold, as bits, with [`READ`]. The first reader computes them. Two threads that
/// ask at once compute the same value, so nobody waits and a forked child never finds it half done.
static RULES: AtomicU32 = AtomicU32::new(0);

fn parse(text: &str) -> Result<u32, String> {
    let mut rules = if text.is_empty() { DEFAULT } else { 0 };
    for word in text.split(',').map(str::trim) {
        let bits = |name: &str| {
            NAMES
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, r)| *r as u32)
        };
        match (word, word.strip_prefix('-')) {
            ("", _) => {}
            ("all", _) => rules |= ALL,
            ("none", _) => rules = 0,
            (_, Some(name)) => rules &= !bits(name).ok_or(name)?,
            (name, None) => rules |= bits(name).ok_or(name)?,
        }
    }
    Ok(rules)
}

/// Reads the environment's rules, for a driver's initialisation to refuse what cannot be read.
///
/// # Errors
/// A sentence that names the variable, the word and the accepted form.
pub fn check() -> Result<(), String> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let forms = "all, none, or a list of handles, reuse, contexts, captures, threads, busy, sizes, checked; \
                 -name takes one away";
    parse(&text)
        .map(|_| ())
        .map_err(|word| format!("{VARIABLE}: '{word}' is no rule; write {forms}"))
}

/// Returns true if a rule holds.
pub fn is_on(rule: Rule) -> bool {
    // Relaxed: the word says everything by itself.
    let mut rules = RULES.load(Ordering::Relaxed);
    if rules & READ == 0 {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        rules = parse(&text).unwrap_or(DEFAULT) | READ;
        RULES.store(rules, Ordering::Relaxed);
    }
    rules & rule as u32 != 0
}

thread_local! {
    /// The driver's function that this thread is in.
    static CALL: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// A thread's stay in one of the driver's functions, for messages.
#[derive(Debug)]
pub struct Call {
    outermost: bool,
}

/// Enters a function. Of calls inside each other the outermost one is named: that is the program's.
pub fn enter(name: &'static str) -> Call {
    let outermost = CALL.try_with(|c| c.get().is_none() && c.replace(Some(name)).is_none());
    Call {
        outermost: outermost.unwrap_or(false),
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.outermost {
            let _ = CALL.try_with(|c| c.set(None));
        }
    }
}

/// Returns the function that this thread is in; on the threads that play the device there is none.
pub fn call() -> &'static str {
    CALL.try_with(Cell::get)
        .ok()
        .flatten()
        .unwrap_or("the device")
}

/// The end of an object.
#[derive(Debug, Clone, Copy)]
pub struct End {
    call: &'static str,
    thread: i32,
}

impl End {
    /// Records an end by this thread's call, now.
    pub fn now() -> Self {
        Self {
            call: call(),
            // SAFETY: takes nothing and cannot fail.
            thread: unsafe { libc::gettid() },
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in thread {}", self.call, self.thread)
    }
}

/// Names the callers that led to the driver's call: library and offset of the nearest frame outside
/// this library, then those of the libraries behind it. Nothing where the stack cannot be read.
fn callers() -> String {
    let locate = |at: *const c_void| -> Option<(u64, String)> {
        // SAFETY: Dl_info is plain data for which all zeroes is valid.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is valid for the call; any address may be asked for.
        if unsafe { libc::dladdr(at, &mut info) } == 0 || info.dli_fname.is_null() {
            return None;
        }
        // SAFETY: dladdr's names live as long as their library is loaded.
        let name = unsafe { std::ffi::CStr::from_ptr(info.dli_fname) };
        let name = name.to_string_lossy().into_owned();
        Some((info.dli_fbase as u64, name))
    };
    let Some((own, _)) = locate(callers as *const c_void) else {
        return String::new();
    };
    let mut frames = [std::ptr::null_mut(); 64];
    // SAFETY: the array has as many places as the call is told.
    let n = unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as i32) };
    let mut text = String::new();
    let mut before = own;
    for at in &frames[..n.max(0) as usize] {
        let Some((base, name)) = locate(*at) else {
            continue;
        };
        let name = name.rsplit('/').next().unwrap_or(&name);
        // The C library starts programs and threads: nothing before it is of interest.
        if base != own && name.starts_with("libc.so") {
            break;
        }
        if base != own && base != before {
            let how = if text.is_empty() {
                "; called from"
            } else {
                " from"
            };
            text += &format!("{how} {name}+{:#x}", *at as u64 - base);
        }
        before = base;
    }
    text
}

/// Writes one line to stderr, in one piece, without a lock that another thread could have held at a
/// fork.
pub fn say(text: &str) {
    let line = format!("fcsp-sim: {text}\n");
    // One write, so that lines of several processes do not mix. Its failure changes nothing.
    // SAFETY: the text is readable for its length.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// Ends the program as a real driver's crash would: one line on stderr, then `SIGSEGV`.
pub fn fatal(what: &str) -> ! {
    say(&format!("{}: {what}{}", call(), callers()));
    for default in [false, true] {
        // SAFETY: only this thread's mask, the default action and this thread are concerned. A
        // handler of the program's own runs first, as on a device.
        unsafe {
            if default {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            }
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGSEGV);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
            libc::raise(libc::SIGSEGV);
        }
    }
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_refused_by_name() {
        assert_eq!(parse(""), Ok(DEFAULT));
        assert_eq!(parse("all,-captures"), Ok(ALL & !(Rule::Captures as u32)));
        assert_eq!(parse("none"), Ok(0));
        assert_eq!(
            parse("handles, reuse"),
            Ok(Rule::Handles as u32 | Rule::Reuse as u32)
        );
        assert_eq!(parse("handles,hanldes"), Err("hanldes".into()));
        assert_eq!(parse("all,-x"), Err("x".into()));
    }

    #[test]
    fn the_outermost_call_is_named() {
        assert_eq!(call(), "the device");
        let outer = enter("outer");
        {
            let _inner = enter("inner");
            assert_eq!(call(), "outer");
        }
        assert_eq!(call(), "outer");
        drop(outer);
        assert_eq!(call(), "the device");
    }
}
