//! Green contexts: a part of a device's multiprocessors, with the memory of its primary context.

use crate::abi::{In, Out};
use crate::codes::{CONTEXT_IS_DESTROYED, Code, INVALID_VALUE, Reply};
use crate::driver::{Context, driver};
use crate::export::api;
use crate::stream::target;
use std::sync::Arc;

/// A resource of a device, of cuda.h; one of multiprocessors is the only kind here.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    kind: i32,
    _internal: [u8; 92],
    /// How many multiprocessors.
    count: u32,
    /// The fewest that can be split off.
    least: u32,
    /// What counts are multiples of.
    step: u32,
    flags: u32,
    _rest: [u8; 32],
}

const MULTIPROCESSORS: i32 = 1;
const STEP: u32 = 8;
const DEFAULT_STREAM: u32 = 1;
const NON_BLOCKING: u32 = 1;
const INVALID_RESOURCE_TYPE: Code = Code(914);

fn resource(count: u32) -> Resource {
    Resource {
        kind: MULTIPROCESSORS,
        _internal: [0; 92],
        count,
        least: STEP,
        step: STEP,
        flags: 0,
        _rest: [0; 32],
    }
}

fn tell(place: Out<Resource>, kind: i32, count: u32) -> Reply {
    if kind == MULTIPROCESSORS {
        place.put(resource(count))
    } else {
        Err(INVALID_RESOURCE_TYPE)
    }
}

fn count(c: &Context) -> Reply<u32> {
    Ok(if c.units > 0 { c.units } else { c.spec()?.sm })
}

/// Returns the context of a green context's handle. The driver refuses a dead one by a code;
/// measured.
fn green(handle: u64) -> Reply<Arc<Context>> {
    let d = driver()?;
    let dead = d.greens.is_dead(handle);
    let c = d.greens.checked(handle);
    let c = c.map_err(|_| {
        if dead {
            CONTEXT_IS_DESTROYED
        } else {
            INVALID_VALUE
        }
    })?;
    Ok(c.as_ref().clone())
}

api! {
    fn cuDeviceGetDevResource(device: i32, place: Out<Resource>, kind: i32) {
        tell(place, kind, driver()?.spec(device)?.sm)
    }
    fn cuCtxGetDevResource(context: u64, place: Out<Resource>, kind: i32) {
        tell(place, kind, count(&*crate::context::named(context)?)?)
    }
    fn cuGreenCtxGetDevResource(handle: u64, place: Out<Resource>, kind: i32) {
        tell(place, kind, count(&*green(handle)?)?)
    }
    fn cuDevSmResourceSplitByCount(
        parts: Out<Resource>, n: Out<u32>, whole: In<Resource>, rest: Out<Resource>, flags: u32, least: u32,
    ) {
        driver()?;
        let whole = whole.get()?;
        let each = least.max(1).next_multiple_of(STEP);
        if flags > 3 || whole.kind != MULTIPROCESSORS || each > whole.count {
            return Err(INVALID_VALUE);
        }
        let most = whole.count / each;
        if parts.is_null() {
            return n.put(most);
        }
        let made = n.get()?.min(most);
        for i in 0..made as usize {
            parts.set_at(i, resource(each));
        }
        rest.set(resource(whole.count - made * each));
        n.put(made)
    }
    fn cuDevResourceGenerateDesc(place: Out<u64>, list: In<Resource>, n: u32) {
        place.need()?;
        let d = driver()?;
        if n == 0 {
            return Err(INVALID_VALUE);
        }
        let mut all = 0;
        for i in 0..n as usize {
            all += list.at(i)?.count;
        }
        place.put(d.resources.add(all))
    }
    fn cuGreenCtxCreate(place: Out<u64>, description: u64, device: i32, flags: u32) {
        place.need()?;
        let d = driver()?;
        let units = *d.resources.get(description)?;
        if flags != DEFAULT_STREAM || units > d.spec(device)?.sm {
            return Err(INVALID_VALUE);
        }
        let c = d.create_green(device, units)?;
        place.put(d.greens.add(c))
    }
    fn cuGreenCtxDestroy(handle: u64) {
        let c = green(handle)?;
        driver()?.greens.take_checked(handle)?;
        crate::context::end(&c)
    }
    fn cuCtxFromGreenCtx(place: Out<u64>, handle: u64) {
        place.need()?;
        place.put(green(handle)?.handle)
    }
    fn cuGreenCtxGetId(handle: u64, id: Out<u64>) {
        id.put(green(handle)?.id)
    }
    fn cuGreenCtxStreamCreate(place: Out<u64>, handle: u64, flags: u32, priority: i32) {
        place.need()?;
        if flags != NON_BLOCKING {
            return Err(INVALID_VALUE);
        }
        let c = green(handle)?;
        c.usable()?;
        crate::stream::open(place, &c, flags, priority)
    }
    fn cuStreamGetGreenCtx(stream: u64, place: Out<u64>) {
        let c = target(stream, false)?.context;
        place.put(driver()?.greens.handle_of(|g| Arc::ptr_eq(g, &c)).unwrap_or(0))
    }
}
