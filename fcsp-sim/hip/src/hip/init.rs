//! Initialisation, versions, error texts, and looking functions up.

use crate::abi::{Out, Text};
use crate::codes::{INVALID_VALUE, NAMES, NOT_FOUND, Reply};
use crate::export::{early_api, last};
use crate::names::PROCS;
use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The version that this library speaks: HIP 7.1.
pub const VERSION: i32 = 70_125_424;

early_api! {
    fn hipInit(flags: u32) {
        if flags == 0 { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn hipDriverGetVersion(version: Out<i32>) {
        version.put(VERSION)
    }
    fn hipRuntimeGetVersion(version: Out<i32>) {
        version.put(VERSION)
    }
    fn hipProfilerStart() {
        Ok(())
    }
    fn hipProfilerStop() {
        Ok(())
    }
    fn hipGetProcAddress(symbol: Text, place: Out<u64>, version: i32, flags: u64, status: Out<i32>) {
        place.need()?;
        if flags > 2 {
            return Err(INVALID_VALUE);
        }
        let name = symbol.get()?;
        let (at, found) = lookup(&name, version, flags == PER_THREAD);
        place.set(at);
        status.set(found);
        // With a place for the status the status tells; without one the code must.
        if found == FOUND || !status.is_null() { Ok(()) } else { Err(NOT_FOUND) }
    }
    fn hipGetDriverEntryPoint(symbol: Text, place: Out<u64>, flags: u64, status: Out<i32>) {
        entry(symbol, place, flags == PER_THREAD, status)
    }
    fn hipGetDriverEntryPoint_spt(symbol: Text, place: Out<u64>, flags: u64, status: Out<i32>) {
        entry(symbol, place, flags != 1, status)
    }
}

const PER_THREAD: u64 = 2;
const FOUND: i32 = 0;
const NO_SUCH_NAME: i32 = 1;
const TOO_OLD: i32 = 2;

fn entry(symbol: Text, place: Out<u64>, per_thread: bool, status: Out<i32>) -> Reply {
    place.need()?;
    let (at, found) = lookup(&symbol.get()?, VERSION, per_thread);
    place.set(at);
    status.set(found);
    if at != 0 { Ok(()) } else { Err(NOT_FOUND) }
}

/// Returns the exported function of a name if it was there in a version of the API, in its variant
/// with a default stream a thread if there is one and it is asked for. Versions of symbols say
/// since when.
fn lookup(name: &str, version: i32, per_thread: bool) -> (u64, i32) {
    // Properties and device choice got new structures, and new names, with version 6.
    let today = match name {
        "hipGetDeviceProperties" | "hipChooseDevice" if version >= 60_000_000 => {
            format!("{name}R0600")
        }
        _ => name.to_string(),
    };
    let of = |n: &str| PROCS.iter().find(|(p, _, _)| *p == n);
    let hit = per_thread
        .then(|| of(&format!("{today}_spt")))
        .flatten()
        .or_else(|| of(&today));
    match hit {
        // Symbols keep the version that their library first gave them, so anything up to 4.2 is as
        // old as can be.
        Some((_, since, f)) if *since <= 402 || version >= *since * 100_000 => {
            (*f as usize as u64, FOUND)
        }
        Some(_) => (0, TOO_OLD),
        None => (0, NO_SUCH_NAME),
    }
}

fn words(code: i32) -> Option<(&'static str, &'static std::ffi::CStr)> {
    NAMES
        .iter()
        .find(|(n, _, _)| *n == code)
        .and_then(|(_, name, text)| Some((name.to_str().ok()?, *text)))
}

/// HIP's name of a code, kept for ever: `CUDA_ERROR_OUT_OF_MEMORY` is `hipErrorOutOfMemory`.
fn name_of(code: i32) -> *const c_char {
    static KNOWN: OnceLock<Mutex<HashMap<i32, CString>>> = OnceLock::new();
    let mut known = KNOWN
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    known
        .entry(code)
        .or_insert_with(|| {
            let text = match (code, words(code)) {
                (0, _) => "hipSuccess".to_string(),
                (98, _) => "hipErrorInvalidDeviceFunction".to_string(),
                (_, Some((name, _))) => {
                    let camel = name.trim_start_matches("CUDA_ERROR_").split('_').map(|w| {
                        let (first, rest) = w.split_at(1);
                        format!("{first}{}", rest.to_lowercase())
                    });
                    format!("hipError{}", camel.collect::<String>())
                }
                _ => "hipErrorUnknown".to_string(),
            };
            CString::new(text).unwrap_or_default()
        })
        .as_ptr()
}

fn text_of(code: i32) -> *const c_char {
    words(code).map_or(c"unknown error".as_ptr(), |(_, text)| text.as_ptr())
}

/// Works before `hipInit` and in a forked child, like the next ones.
pub extern "C" fn hipGetErrorName(code: i32) -> *const c_char {
    name_of(code)
}

pub extern "C" fn hipGetErrorString(code: i32) -> *const c_char {
    text_of(code)
}

pub extern "C" fn hipDrvGetErrorName(code: i32, text: Out<*const c_char>) -> i32 {
    text.put(name_of(code)).map_or_else(|c| c.0, |()| 0)
}

pub extern "C" fn hipDrvGetErrorString(code: i32, text: Out<*const c_char>) -> i32 {
    text.put(text_of(code)).map_or_else(|c| c.0, |()| 0)
}

pub extern "C" fn hipGetLastError() -> i32 {
    last(true)
}

pub extern "C" fn hipExtGetLastError() -> i32 {
    last(true)
}

pub extern "C" fn hipPeekAtLastError() -> i32 {
    last(false)
}
