//! Launches of recipes.

use crate::graph::MOST_DIMENSIONS;
use crate::recipe::Recipe;
use crate::stream::queue;
use crate::{
    Card, DEVICE, DRIVER, FAIL, Handle, INVALID_ARGUMENT, Reply, api, driver, event, number, stale,
    text,
};
use fcsp_sim::error::Error;
use fcsp_sim::stream::{Effect, Op};
use std::ffi::c_char;
use std::sync::atomic::Ordering;

/// `SYN_FLAGS_TENSOR_NAME`: tensors are known by their names, not by their ids.
const BY_NAME: u32 = 1;

/// `synLaunchTensorInfo` and `synLaunchTensorInfoExt`, which are one.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TensorInfo {
    name: *const c_char,
    address: u64,
    kind: i32,
    size: [u64; MOST_DIMENSIONS],
    id: u64,
}

const _: () = assert!(size_of::<TensorInfo>() == 232);

/// Returns the address of every tensor of the recipe.
fn addresses(
    recipe: &Recipe,
    card: &Card,
    tensors: *const TensorInfo,
    count: u32,
    workspace: u64,
    flags: u32,
) -> Reply<Vec<u64>> {
    if (tensors.is_null() && count > 0) || flags & !BY_NAME != 0 {
        return Err(INVALID_ARGUMENT);
    }
    let mut given: Vec<Option<u64>> = vec![None; recipe.tensors.len()];
    for at in 0..count as usize {
        // SAFETY: by the API's contract `count` of them.
        let info = unsafe { tensors.add(at).read_unaligned() };
        let place = match flags {
            BY_NAME => {
                let name = text(info.name).ok_or(INVALID_ARGUMENT)?;
                recipe.tensors.iter().position(|tensor| tensor.name == name)
            }
            _ => usize::try_from(info.id).ok(),
        };
        let place = place
            .and_then(|place| given.get_mut(place))
            .ok_or(INVALID_ARGUMENT)?;
        *place = Some(info.address);
    }
    if recipe.workspace > 0 && !card.holds(workspace, recipe.workspace) {
        return Err(INVALID_ARGUMENT);
    }
    recipe
        .tensors
        .iter()
        .zip(given)
        .map(|(tensor, given)| match (tensor.workspace, given) {
            (Some(at), _) => Ok(workspace + at),
            (None, Some(address)) if card.holds(address, tensor.bytes) => Ok(address),
            _ => Err(INVALID_ARGUMENT),
        })
        .collect()
}

/// Returns the effect of copying `bytes`, if both ends are still the card's.
fn copy(from: u64, to: u64, bytes: u64) -> Effect {
    Box::new(move || {
        // SAFETY: leaked, never freed.
        let driver =
            unsafe { DRIVER.load(Ordering::Acquire).as_ref() }.ok_or(Error::IllegalAddress)?;
        driver
            .with_card(DEVICE, |card| {
                if !card.holds(from, bytes) || !card.holds(to, bytes) {
                    return Err(FAIL);
                }
                // SAFETY: inside mappings that the lock keeps alive.
                unsafe { core::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
                Ok(())
            })
            .map_err(|_| Error::IllegalAddress)
    })
}

fn launch(
    stream: Handle,
    tensors: *const TensorInfo,
    count: u32,
    workspace: u64,
    recipe: Handle,
    flags: u32,
) -> Reply {
    let driver = driver()?;
    let (timeline, queue) = queue(stream)?;
    let recipe = driver.recipes.get(number(recipe)).map_err(stale)?;
    let (addresses, bandwidth) = driver.with_card(DEVICE, |card| {
        let addresses = addresses(&recipe, card, tensors, count, workspace, flags)?;
        Ok((addresses, driver.spec(card.index).bandwidth))
    })?;
    let ops = recipe.steps.iter().map(|step| {
        let moved = || 2_000 + step.bytes.saturating_mul(1_000) / bandwidth;
        let effect: Effect = match step.copies {
            Some((from, to)) => copy(addresses[from], addresses[to], recipe.tensors[from].bytes),
            None => Box::new(|| Ok(())),
        };
        Op::Engine(step.nanoseconds.unwrap_or_else(moved), effect)
    });
    timeline.submit(queue, ops.collect()).map_err(|_| FAIL)
}

/// As [`launch`]; events that are mapped to tensors are reached when the whole recipe is done.
fn launch_with_events(
    (stream, tensors, count): (Handle, *const TensorInfo, u32),
    (workspace, recipe, flags): (u64, Handle, u32),
    (events, event_count): (*const Handle, u32),
) -> Reply {
    let mut mapped = Vec::new();
    if events.is_null() && event_count > 0 {
        return Err(INVALID_ARGUMENT);
    }
    for at in 0..event_count as usize {
        // SAFETY: by the API's contract so many of them.
        mapped.push(event::find(unsafe { events.add(at).read_unaligned() })?);
    }
    launch(stream, tensors, count, workspace, recipe, flags)?;
    let (timeline, queue) = queue(stream)?;
    let records = mapped.into_iter().map(|event| {
        let version = event.record();
        Op::Record(event, version)
    });
    timeline.submit(queue, records.collect()).map_err(|_| FAIL)
}

api! {
    fn synLaunch(
        stream: Handle, tensors: *const TensorInfo, count: u32, workspace: u64, recipe: Handle, flags: u32,
    ) {
        launch(stream, tensors, count, workspace, recipe, flags)
    }

    fn synLaunchExt(
        stream: Handle, tensors: *const TensorInfo, count: u32, workspace: u64, recipe: Handle, flags: u32,
    ) {
        launch(stream, tensors, count, workspace, recipe, flags)
    }

    fn synLaunchWithExternalEvents(
        stream: Handle, tensors: *const TensorInfo, count: u32, workspace: u64, recipe: Handle,
        events: *const Handle, event_count: u32, flags: u32,
    ) {
        launch_with_events((stream, tensors, count), (workspace, recipe, flags), (events, event_count))
    }

    fn synLaunchWithExternalEventsExt(
        stream: Handle, tensors: *const TensorInfo, count: u32, workspace: u64, recipe: Handle,
        events: *const Handle, event_count: u32, flags: u32,
    ) {
        launch_with_events((stream, tensors, count), (workspace, recipe, flags), (events, event_count))
    }
}
