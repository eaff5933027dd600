//! Contexts: made, ended, current on a thread, and their settings.

use crate::abi::{In, Out};
use crate::codes::{
    CAPTURE_UNSUPPORTED, CONTEXT_IS_DESTROYED, INVALID_CONTEXT, INVALID_VALUE,
    PEER_ACCESS_ALREADY_ENABLED, PEER_ACCESS_NOT_ENABLED, Reply, UNSUPPORTED_LIMIT,
};
use crate::driver::{Context, current, current_or_none, driver, pop, push, set_current};
use crate::export::api;
use fcsp_sim::strict::{Rule, is_on};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

const FLAGS: u32 = 0xff;

fn create(place: Out<u64>, flags: u32, device: i32) -> Reply {
    let d = driver()?;
    d.device(device)?;
    place.need()?;
    if flags & !FLAGS != 0 || flags & 7 > 4 {
        return Err(INVALID_VALUE);
    }
    let c = d.create(device, flags, false)?;
    place.put(c.handle)?;
    push(c);
    Ok(())
}

/// Ends a context, and takes it off the calling thread's stack if it is on top.
pub fn end(c: &Arc<Context>) -> Reply {
    // One that is dead already says so.
    if c.usable() == Err(CONTEXT_IS_DESTROYED) {
        return Err(CONTEXT_IS_DESTROYED);
    }
    driver()?.destroy(c)?;
    if current_or_none().is_some_and(|now| Arc::ptr_eq(&now, c)) {
        let _ = pop();
    }
    Ok(())
}

/// Returns the context of a handle, or the current one for none.
pub fn named(handle: u64) -> Reply<Arc<Context>> {
    if handle == 0 {
        current()
    } else {
        let c = driver()?.context_or_dead(handle)?;
        c.usable()?;
        Ok(c)
    }
}

/// Waits for all work of a context and lets its pools give memory back.
pub fn finish(c: &Arc<Context>) -> Reply {
    if fcsp_sim::stream::on_device_thread() {
        return Err(crate::codes::NOT_PERMITTED);
    }
    // Refused whatever the thread's mode is: it would wait for a stream that records. Measured.
    if c.captures.load(Relaxed) > 0 || (is_on(Rule::Captures) && c.recordings.load(Relaxed) > 0) {
        crate::capture::spoil_context(c);
        return Err(CAPTURE_UNSUPPORTED);
    }
    c.timeline.synchronise()?;
    driver()?.memory.pools_synchronised(c.device);
    Ok(())
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CreateParams {
    affinity: u64,
    affinities: i32,
    cig: u64,
}

api! {
    fn cuCtxCreate, cuCtxCreate_v2(place: Out<u64>, flags: u32, device: i32) {
        create(place, flags, device)
    }
    fn cuCtxCreate_v3(place: Out<u64>, _affinity: u64, affinities: i32, flags: u32, device: i32) {
        if affinities != 0 {
            return Err(crate::codes::Code(224));
        }
        create(place, flags, device)
    }
    fn cuCtxCreate_v4(place: Out<u64>, params: In<CreateParams>, flags: u32, device: i32) {
        if !params.is_null() {
            let p = params.get()?;
            if p.affinities != 0 || p.cig != 0 || p.affinity != 0 {
                return Err(crate::codes::Code(224));
            }
        }
        create(place, flags, device)
    }
    fn cuCtxDestroy, cuCtxDestroy_v2(handle: u64) {
        let d = driver()?;
        let c = d.context_or_dead(handle)?;
        if c.primary || c.is_green() {
            return Err(INVALID_CONTEXT);
        }
        end(&c)
    }
    /// Counts one more use of the current context.
    fn cuCtxAttach(place: Out<u64>, flags: u32) {
        let c = current()?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        place.put(c.handle)?;
        c.uses.fetch_add(1, Relaxed);
        Ok(())
    }
    /// Counts one use less of the current context; the last one ends it. A primary context has its
    /// own count.
    fn cuCtxDetach(handle: u64) {
        let c = current()?;
        if c.handle != handle {
            return Err(INVALID_CONTEXT);
        }
        let last = c.uses.fetch_sub(1, Relaxed) == 1;
        if last && !c.primary { end(&c) } else { Ok(()) }
    }
    fn cuCtxPushCurrent, cuCtxPushCurrent_v2(handle: u64) {
        let c = driver()?.context_or_dead(handle)?;
        push(c);
        Ok(())
    }
    fn cuCtxPopCurrent, cuCtxPopCurrent_v2(place: Out<u64>) {
        driver()?;
        let c = pop()?;
        place.set(c.handle);
        Ok(())
    }
    fn cuCtxSetCurrent(handle: u64) {
        let d = driver()?;
        let c = if handle == 0 { None } else { Some(d.context_or_dead(handle)?) };
        set_current(c);
        Ok(())
    }
    fn cuCtxGetCurrent(place: Out<u64>) {
        driver()?;
        place.put(current_or_none().map_or(0, |c| c.handle))
    }
    /// Answered by a destroyed context as well; measured.
    fn cuCtxGetDevice(device: Out<i32>) {
        driver()?;
        device.put(current_or_none().ok_or(INVALID_CONTEXT)?.ordinal)
    }
    fn cuCtxGetDevice_v2(device: Out<i32>, handle: u64) {
        device.put(named(handle)?.ordinal)
    }
    fn cuCtxGetFlags(flags: Out<u32>) {
        flags.put(current()?.flags.load(Relaxed))
    }
    fn cuCtxSetFlags(flags: u32) {
        current()?.flags.store(flags, Relaxed);
        Ok(())
    }
    fn cuCtxGetId(handle: u64, id: Out<u64>) {
        id.put(named(handle)?.id)
    }
    fn cuCtxGetApiVersion(handle: u64, version: Out<u32>) {
        named(handle).map_err(|c| if c == CONTEXT_IS_DESTROYED { INVALID_CONTEXT } else { c })?;
        version.put(3020)
    }
    fn cuCtxSynchronize() {
        finish(&current()?)
    }
    fn cuCtxSynchronize_v2(handle: u64) {
        finish(&named(handle)?)
    }
    fn cuCtxSetLimit(limit: i32, value: u64) {
        let c = current()?;
        crate::capture::forbid()?;
        let i = usize::try_from(limit).ok().filter(|i| *i < 7).ok_or(INVALID_VALUE)?;
        if i == 0 {
            let value = value.next_multiple_of(16);
            if value > 512 << 10 {
                return Err(INVALID_VALUE);
            }
            c.set_stack(value)?;
        }
        c.limits.lock().unwrap_or_else(PoisonError::into_inner)[i] = value;
        Ok(())
    }
    fn cuCtxGetLimit(value: Out<u64>, limit: i32) {
        let c = current()?;
        let i = usize::try_from(limit).ok().filter(|i| *i < 7).ok_or(UNSUPPORTED_LIMIT)?;
        value.put(c.limits.lock().unwrap_or_else(PoisonError::into_inner)[i])
    }
    fn cuCtxGetCacheConfig(config: Out<i32>) {
        current()?;
        config.put(0)
    }
    fn cuCtxSetCacheConfig(config: i32) {
        current()?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn cuCtxGetSharedMemConfig(config: Out<i32>) {
        current()?;
        config.put(1)
    }
    fn cuCtxSetSharedMemConfig(config: i32) {
        current()?;
        if (0..=2).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        current()?;
        least.set(0);
        greatest.set(crate::stream::GREATEST);
        Ok(())
    }
    fn cuCtxResetPersistingL2Cache() {
        current().map(|_| ())
    }
    fn cuCtxEnablePeerAccess(peer: u64, flags: u32) {
        let c = current()?;
        let other = driver()?.context_or_dead(peer)?;
        other.usable()?;
        if flags != 0 || other.handle == c.handle {
            return Err(INVALID_VALUE);
        }
        let mut peers = c.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.contains(&peer) {
            return Err(PEER_ACCESS_ALREADY_ENABLED);
        }
        peers.push(peer);
        Ok(())
    }
    fn cuCtxDisablePeerAccess(peer: u64) {
        let c = current()?;
        let mut peers = c.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let i = peers.iter().position(|p| *p == peer).ok_or(PEER_ACCESS_NOT_ENABLED)?;
        peers.swap_remove(i);
        Ok(())
    }
    fn cuDevicePrimaryCtxRetain(place: Out<u64>, device: i32) {
        driver()?.device(device)?;
        place.need()?;
        place.put(driver()?.primary_retain(device)?.handle)
    }
    fn cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2(device: i32) {
        driver()?.primary_release(device)
    }
    fn cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2(device: i32) {
        driver()?.primary_reset(device)
    }
    fn cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        if flags & !FLAGS != 0 {
            return Err(INVALID_VALUE);
        }
        driver()?.primary_flags(device, flags)
    }
    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        let (f, a) = driver()?.primary_state(device)?;
        flags.set(f);
        active.set(i32::from(a));
        Ok(())
    }
}
