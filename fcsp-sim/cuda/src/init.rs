//! Initialisation, versions, error texts, and looking functions up.

use crate::abi::{Out, Text};
use crate::codes::{INVALID_VALUE, NAMES, NOT_FOUND, Reply};
use crate::export::{api, run};
use crate::names::PROCS;
use std::ffi::c_char;

/// The API version that this library speaks: CUDA 13.0.
pub const VERSION: i32 = 13000;

api! {
    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        crate::driver::init()
    }
    /// No private table is modelled; callers that live on them are told so.
    fn cuGetExportTable(table: Out<u64>, _id: u64) {
        table.set(0);
        Err(NOT_FOUND)
    }
    fn cuProfilerStart() {
        crate::driver::current().map(|_| ())
    }
    fn cuProfilerStop() {
        crate::driver::current().map(|_| ())
    }
}

/// Works before `cuInit` and in a forked child, like the next ones.
#[unsafe(no_mangle)]
pub extern "C" fn cuDriverGetVersion(version: Out<i32>) -> i32 {
    run("cuDriverGetVersion", || version.put(VERSION))
}

fn name_of(code: i32) -> Option<(*const c_char, *const c_char)> {
    NAMES
        .iter()
        .find(|(n, _, _)| *n == code)
        .map(|(_, name, text)| (name.as_ptr(), text.as_ptr()))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorName(code: i32, text: Out<*const c_char>) -> i32 {
    run("cuGetErrorName", || {
        text.put(name_of(code).map_or(std::ptr::null(), |(n, _)| n))?;
        name_of(code).map(|_| ()).ok_or(INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorString(code: i32, text: Out<*const c_char>) -> i32 {
    run("cuGetErrorString", || {
        text.put(name_of(code).map_or(std::ptr::null(), |(_, t)| t))?;
        name_of(code).map(|_| ()).ok_or(INVALID_VALUE)
    })
}

const PER_THREAD: u64 = 2;
const FOUND: i32 = 0;
const NO_SUCH_NAME: i32 = 1;
const TOO_OLD: i32 = 2;

/// Returns the function of a base name for a version of the API: the newest variant that is not
/// newer than the version, among those with a default stream a thread first if those are asked for.
fn lookup(name: &str, version: i32, flags: u64) -> (u64, i32) {
    let of = |thread: bool| {
        let fit = PROCS
            .iter()
            .filter(|(n, v, t, _)| *n == name && *t == thread && *v <= version);
        fit.max_by_key(|(_, v, _, _)| *v)
            .map(|(_, _, _, f)| *f as usize as u64)
    };
    let hit = if flags & PER_THREAD != 0 {
        of(true).or_else(|| of(false))
    } else {
        of(false)
    };
    match hit {
        Some(at) => (at, FOUND),
        None if PROCS.iter().any(|(n, _, _, _)| *n == name) => (0, TOO_OLD),
        None => (0, NO_SUCH_NAME),
    }
}

fn check(symbol: Text, place: Out<u64>, version: i32, flags: u64) -> Reply<(u64, i32)> {
    place.need()?;
    let name = symbol.get()?;
    // A version beyond the driver's own, as the API documents.
    if version > VERSION || flags > 3 {
        return Err(INVALID_VALUE);
    }
    Ok(lookup(&name, version, flags))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetProcAddress_v2(
    symbol: Text,
    place: Out<u64>,
    version: i32,
    flags: u64,
    status: Out<i32>,
) -> i32 {
    run("cuGetProcAddress_v2", || {
        let (at, found) = check(symbol, place, version, flags)?;
        place.set(at);
        status.set(found);
        // With a place for the status the status tells; without one the code must.
        if found == FOUND || !status.is_null() {
            Ok(())
        } else {
            Err(NOT_FOUND)
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetProcAddress(symbol: Text, place: Out<u64>, version: i32, flags: u64) -> i32 {
    run("cuGetProcAddress", || {
        let (at, found) = check(symbol, place, version, flags)?;
        place.set(at);
        if found == FOUND {
            Ok(())
        } else {
            Err(NOT_FOUND)
        }
    })
}
