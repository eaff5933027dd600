//! Naming of an unnamed tree of processes when the library is loaded, so that all descendants
//! inherit the name.
//!
//! At this moment the program has one thread and has not begun, so its environment can be changed.
//! Later that would race with the program's own threads, and earlier children would not have the
//! name. A process that sets no limits only pays for a look at its environment, which allocates
//! nothing.

use core::ffi::{CStr, c_char};
use std::ffi::CString;

use fcsp_core::config::{Source, env, names};
use fcsp_core::tree;

use crate::setup::catch_panic;

/// Called by the dynamic linker, once, after the C library is ready.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

unsafe extern "C" {
    /// The C library's list of this process's variables, with a null pointer after the last.
    static mut environ: *const *const c_char;
}

extern "C" fn at_load() {
    catch_panic((), || {
        if is_unnamed() {
            name();
        }
    });
}

/// Returns true if the environment sets limits and names no tenant.
fn is_unnamed() -> bool {
    let mut limited = false;
    // SAFETY: read while the linker loads libraries, before any thread of the program could change
    // it.
    let mut at = unsafe { environ };
    if at.is_null() {
        return false;
    }
    loop {
        // SAFETY: the list ends with a null pointer, at which this loop stops.
        let entry = unsafe { *at };
        if entry.is_null() {
            return limited;
        }
        // SAFETY: entries are strings with a zero byte at their end.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        if entry.starts_with(b"FCSP_TENANT=") && entry.len() > b"FCSP_TENANT=".len() {
            return false;
        }
        if [&b"FCSP_"[..], b"BUD_", b"CUDA_"]
            .iter()
            .any(|prefix| entry.starts_with(prefix))
        {
            let name = entry.split(|&byte| byte == b'=').next().unwrap_or_default();
            limited |= core::str::from_utf8(name).is_ok_and(names::is_setting);
        }
        // SAFETY: not at the end yet.
        at = unsafe { at.add(1) };
    }
}

#[cold]
fn name() {
    let Ok(config) = env::read_own() else { return };
    if config.source != Source::Environment || config.tenant.is_some() {
        return;
    }
    let Some(name) = tree::name_at_load(&config) else {
        return;
    };
    // A library that a running program loads late, as a plug-in, comes upon threads that may read
    // the environment.
    let alone = std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1);
    if alone {
        // SAFETY: this process has no other thread.
        unsafe { put_first(name) };
    }
}

/// Puts the name in front of all other variables. Programs that overwrite the environment with
/// their title take the end of the last variable for the end of that memory. A new variable must
/// therefore not be the last, as `setenv` would make it.
///
/// # Safety
/// No other thread reads or changes the environment at the same time.
unsafe fn put_first(name: &str) {
    let prefix = format!("{}=", tree::VARIABLE);
    let Ok(entry) = CString::new(format!("{prefix}{name}")) else {
        return;
    };
    let mut list = vec![entry.into_raw().cast_const()];
    // SAFETY: as in `is_unnamed`, and by this function's contract.
    let mut at = unsafe { environ };
    // SAFETY: the list ends with a null pointer, at which this loop stops.
    while let Some(variable) = unsafe { at.as_ref() }.filter(|variable| !variable.is_null()) {
        // SAFETY: entries are strings with a zero byte at their end.
        if !unsafe { CStr::from_ptr(*variable) }
            .to_bytes()
            .starts_with(prefix.as_bytes())
        {
            list.push(*variable);
        }
        // SAFETY: not at the end yet.
        at = unsafe { at.add(1) };
    }
    list.push(core::ptr::null());
    // For the life of the process, as the strings in it. The C library never frees a list that it
    // has not made.
    let list: &'static [*const c_char] = list.leak();
    // SAFETY: the list is whole, ends with a null pointer and stays.
    unsafe { environ = list.as_ptr() };
}
