//! Contexts, code and limits: memory that the driver takes for itself. It is measured (see
//! [`crate::device`]). This module brackets the driver calls that take it. Near the quota they are
//! refused after the fact.
//!
//! None of this is called often, so one copy of the code serves all callers: each function hands
//! its closures on by reference.

use core::sync::atomic::Ordering;

use crate::backend::Backend;
use crate::device::{Device, Making};
use crate::memory;
use crate::process::Target;
use crate::setup::{Reentry, log_refusal};

/// Runs `call`, which makes the driver take memory of its own on the target's device; if that
/// passes the quota, `undo` and refuse.
#[inline]
pub fn takes_memory<B: Backend>(
    target: Target<B>,
    call: impl Fn() -> B::Status,
    undo: impl FnOnce(),
) -> B::Status {
    let mut undo = Some(undo);
    takes(target, &call, &mut || {
        if let Some(undo) = undo.take() {
            undo();
        }
    })
}

fn takes<B: Backend>(
    target: Target<B>,
    call: &dyn Fn() -> B::Status,
    undo: &mut dyn FnMut(),
) -> B::Status {
    let device = match target {
        Target::Device(device, _) => device,
        Target::PassThrough => return call(),
        Target::Deny => return B::OUT_OF_MEMORY,
    };
    let before = device.free_around_call();
    let result = call();
    if result != B::SUCCESS {
        return result;
    }
    let seen = before
        .zip(device.free_around_call())
        .map_or(0, |(before, after)| before.fell_to(after));
    device.saw_overhead(seen);
    device.overhead_moved();
    refuse_if_over(device, &mut || {
        undo();
        device.saw_less(seen);
    })
}

/// Runs a call that raises a limit, as [`takes_memory`] does. The driver takes `cost` bytes for it,
/// with the call if `now` is true and later otherwise. They are held first.
pub fn raises_limit<B: Backend>(
    device: &'static Device<B>,
    what: &'static str,
    cost: u64,
    now: bool,
    call: &dyn Fn() -> B::Status,
    undo: &dyn Fn(),
) -> B::Status {
    let hold = match device.hold(cost) {
        Ok(hold) => hold,
        Err(denied) => {
            device.refused(what, &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    let result = call();
    if result != B::SUCCESS || !now {
        device.release(cost);
        device.overhead_moved();
        return result;
    }
    device.held_became_overhead(cost, cost);
    drop(hold);
    refuse_if_over(device, &mut || {
        undo();
        device.saw_less(cost);
    })
}

/// Enters a call that lowered a limit, for which the driver has given `freed` bytes back.
pub fn lowered_limit<B: Backend>(device: &Device<B>, freed: u64) {
    device.saw_less(freed);
    device.overhead_moved();
}

/// Runs a call that makes a context, as [`takes_memory`] does; `made` reads its handle. The known
/// size of a context is held before the call.
#[inline]
pub fn makes_context<B: Backend>(
    target: Target<B>,
    call: impl Fn() -> B::Status,
    made: impl Fn() -> usize,
    undo: impl FnOnce(),
) -> B::Status {
    let mut undo = Some(undo);
    makes(target, &call, &made, &mut || {
        if let Some(undo) = undo.take() {
            undo();
        }
    })
}

fn makes<B: Backend>(
    target: Target<B>,
    call: &dyn Fn() -> B::Status,
    made: &dyn Fn() -> usize,
    undo: &mut dyn FnMut(),
) -> B::Status {
    let device = match target {
        Target::Device(device, _) => device,
        Target::PassThrough => return call(),
        Target::Deny => return B::OUT_OF_MEMORY,
    };
    let making = match device.make_context(true) {
        Ok(making) => making,
        Err(denied) => {
            device.refused("a context", &denied);
            return B::OUT_OF_MEMORY;
        }
    };
    let before = device.free_around_context();
    let result = call();
    if result != B::SUCCESS {
        return result;
    }
    let seen = before
        .zip(device.free_around_context())
        .map(|(before, after)| before.fell_to(after));
    enters(device, making, made(), seen, undo)
}

/// Enters a context that the driver has made already, as [`makes_context`] does: for a driver that
/// chooses the device itself, which therefore has none that could be held for.
pub fn made_context<B: Backend>(
    target: Target<B>,
    context: usize,
    mut undo: impl FnMut(),
) -> B::Status {
    match target {
        Target::Device(device, _) => {
            enters(device, device.make_context_held(), context, None, &mut undo)
        }
        Target::PassThrough => B::SUCCESS,
        Target::Deny => B::OUT_OF_MEMORY,
    }
}

fn enters<B: Backend>(
    device: &Device<B>,
    making: Making<'_, B>,
    context: usize,
    seen: Option<u64>,
    undo: &mut dyn FnMut(),
) -> B::Status {
    device.find_entry(context);
    making.made(context, seen);
    refuse_if_over(device, &mut || {
        undo();
        device.context_gone(context);
    })
}

/// Measures near the quota, after the driver has taken memory of its own. Beyond the quota, takes
/// the call back.
fn refuse_if_over<B: Backend>(device: &Device<B>, undo: &mut dyn FnMut()) -> B::Status {
    if device.is_near() {
        device.measure_if_stale();
        if device.is_over() && device.stays_over() {
            let over = device.over();
            let question = B::beside_recordings();
            undo();
            drop(question);
            device.measure_now();
            device.count_refusal(over);
            log_refusal(&format!(
                "refused on {}: with what contexts and code take, the tenant would be {over} bytes over its quota of {}",
                device.identity.uuid,
                device.limit()
            ));
            return B::OUT_OF_MEMORY;
        }
    }
    B::SUCCESS
}

/// Destroys the events of a context that is about to end, or may be; `None` for every context of
/// the process. Called before the driver's call, whatever it returns: another thread must not use
/// an event of FCSP in a context that ends. A context that does not end gets new events.
pub fn context_ends<B: Backend>(context: Option<usize>) {
    if let Some(governed) = B::process().governed() {
        for device in governed.devices() {
            context_ends_on(context, device);
        }
    }
}

/// Destroys the events of a context on one device; `None` for every context there.
pub fn context_ends_on<B: Backend>(context: Option<usize>, device: &'static Device<B>) {
    if let Some(compute) = device.compute_made() {
        compute.context_ends(context);
    }
}

/// Enters the end of a context and of its memory. [`context_ends`] came before.
pub fn context_died<B: Backend>(context: usize, device: Option<&'static Device<B>>) {
    memory::context_died::<B>(context);
    B::context_died(context);
    context_left(context, device);
}

/// Enters the end of a context whose memory was taken aside before the call and has been given
/// back, see [`memory::Ending`].
pub fn context_left<B: Backend>(context: usize, device: Option<&'static Device<B>>) {
    B::process().forget_context();
    if let Some(device) = device {
        device.context_gone(context);
        if let Some(compute) = device.compute_made() {
            compute.context_died();
        }
        B::refresh(device);
        // The context's own overhead went with it; without this the tenant would look fuller than
        // it is until its next request near the quota.
        if device.limit() != u64::MAX && device.place().slot().overhead.load(Ordering::Relaxed) > 0
        {
            device.measure_now();
        }
    }
}

/// Forgets function handles before code is unloaded. Called before the driver's call: another
/// thread may have the same handle for a new function before that call returns.
pub fn code_ends<B: Backend>() {
    if let Some(governed) = B::process().governed() {
        for device in governed.devices() {
            if let Some(compute) = device.compute_made() {
                compute.code_ends();
            }
        }
    }
}

/// Runs a call that may give back memory of the driver's own on the calling thread's device, as
/// the end of a stream does.
#[inline]
pub fn gives_back<B: Backend>(inside: &Reentry, call: impl Fn() -> B::Status) -> B::Status {
    match B::process().target_inside(inside) {
        Target::Device(device, _) => gives_back_on(device, &call),
        _ => call(),
    }
}

fn gives_back_on<B: Backend>(device: &Device<B>, call: &dyn Fn() -> B::Status) -> B::Status {
    let before = device.free_around_call();
    let result = call();
    if let Some(before) = before
        && let Some(after) = device.free_around_call()
    {
        device.saw_less(after.fell_to(before));
    }
    // As when it was taken: the next measurement is without it.
    device.overhead_moved();
    result
}

/// Runs a call that unloads code on the calling thread's device. The code's memory is free
/// afterwards, and handles of its functions may come again.
#[inline]
pub fn unloads<B: Backend>(call: impl Fn() -> B::Status) -> B::Status {
    unloads_by::<B>(&call)
}

fn unloads_by<B: Backend>(call: &dyn Fn() -> B::Status) -> B::Status {
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    let device = match B::process().target_inside(&inside) {
        Target::Device(device, _) => Some(device),
        _ => None,
    };
    let before = device.and_then(Device::free_around_call);
    code_ends::<B>();
    let result = call();
    if let (Some(device), Some(before)) = (device, before)
        && let Some(after) = device.free_around_call()
    {
        device.saw_less(after.fell_to(before));
    }
    if let Some(governed) = B::process().governed() {
        governed.devices().for_each(Device::overhead_moved);
    }
    result
}

/// Runs `call`, which may load code lazily and cannot be taken back. A tenant beyond its quota is
/// refused beforehand. A tenant that passes its quota by this call is told so, and refused from
/// then on.
#[inline]
pub fn loads_lazily<B: Backend>(call: impl Fn() -> B::Status) -> B::Status {
    loads_lazily_by::<B>(&call)
}

fn loads_lazily_by<B: Backend>(call: &dyn Fn() -> B::Status) -> B::Status {
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    let process = B::process();
    if let Target::Device(device, _) = process.target_inside(&inside)
        && device.is_near()
    {
        device.measure_if_stale();
        if device.is_over() && device.stays_over() {
            device.count_refusal(0);
            log_refusal("refused: the tenant holds more than its quota, so no more code is loaded");
            return B::OUT_OF_MEMORY;
        }
    }
    takes(process.target_inside(&inside), call, &mut || {})
}
