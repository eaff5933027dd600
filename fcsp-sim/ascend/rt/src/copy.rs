//! Copies and fills.

use crate::codes::{PARAM_INVALID, Reply};
use crate::driver::{current, driver};
use crate::export::api;
use crate::stream::target;
use fcsp_sim::copy::{Copy, Fill};
use fcsp_sim::graph::Work;

const HOST_TO_HOST: i32 = 0;
const HOST_TO_DEVICE: i32 = 1;
const DEVICE_TO_HOST: i32 = 2;
const DEVICE_TO_DEVICE: i32 = 3;
/// `ACL_MEMCPY_DEFAULT`: by what the addresses are.
const DEFAULT: i32 = 4;

fn copy(dst: u64, most: u64, src: u64, n: u64, kind: i32) -> Reply<Copy> {
    if n > most || dst == 0 || src == 0 {
        return Err(PARAM_INVALID);
    }
    let memory = &driver()?.memory;
    let inside = |at: u64| memory.find(at).is_some_and(|r| r.on_device());
    let (to, from) = match kind {
        HOST_TO_HOST => (false, false),
        HOST_TO_DEVICE => (true, false),
        DEVICE_TO_HOST => (false, true),
        DEVICE_TO_DEVICE => (true, true),
        DEFAULT | 5.. => (inside(dst), inside(src)),
        _ => return Err(PARAM_INVALID),
    };
    let copy = Copy::linear((dst, to), (src, from), n);
    copy.check(memory)?;
    Ok(copy)
}

fn fill(at: u64, most: u64, value: u32, n: u64) -> Reply<Fill> {
    if n > most {
        return Err(PARAM_INVALID);
    }
    let fill = Fill {
        at,
        pitch: n,
        value,
        element: 1,
        width: n,
        height: 1,
    };
    fill.check(&driver()?.memory)?;
    Ok(fill)
}

api! {
    fn rtMemcpy(dst: u64, most: u64, src: u64, n: u64, kind: i32) {
        let c = current()?;
        let copy = copy(dst, most, src, n, kind)?;
        // Behind whatever the default stream has been given.
        c.default.run(Work::Copy(copy))?;
        c.default.finish()
    }
    fn rtMemcpyAsync(dst: u64, most: u64, src: u64, n: u64, kind: i32, stream: u64) {
        target(stream)?.run(Work::Copy(copy(dst, most, src, n, kind)?))
    }
    fn rtMemset(at: u64, most: u64, value: u32, n: u64) {
        let c = current()?;
        c.default.run(Work::Fill(fill(at, most, value, n)?))?;
        c.default.finish()
    }
    fn rtMemsetAsync(at: u64, most: u64, value: u32, n: u64, stream: u64) {
        target(stream)?.run(Work::Fill(fill(at, most, value, n)?))
    }
    /// A sum in place, which collectives are made of: takes the time of a copy and leaves the
    /// source's bytes.
    fn rtReduceAsync(dst: u64, most: u64, src: u64, n: u64, _kind: i32, _data: i32, stream: u64) {
        target(stream)?.run(Work::Copy(copy(dst, most, src, n, DEVICE_TO_DEVICE)?))
    }
}
