//! Appending: every command that a list can hold.

use crate::abi::In;
use crate::codes::{INVALID_ARGUMENT, INVALID_SIZE, Reply};
use crate::driver::driver;
use crate::event;
use crate::export::api;
use crate::list::{Command, Work};
use crate::structs::{CopyRegion, GroupCount, ImageRegion};
use fcsp_sim::copy::{Copy, Place};
use std::sync::Arc;

/// The events around a command: the one it signals, and those it waits for.
#[derive(Debug, Clone, Copy)]
struct Events(u64, u32, In<u64>);

fn add(list: u64, work: Work, events: Events) -> Reply {
    let l = driver()?.lists.get(list)?;
    let Events(signal, n, waits) = events;
    l.append(Command {
        waits: if n == 0 {
            Vec::new()
        } else {
            event::list(waits, n)?
        },
        work,
        signal: event::optional(signal)?,
    })
}

const NO_EVENTS: Events = Events(0, 0, In::null());

/// Whether an address is in memory that the driver knows. Any other is the host's own, which copies may reach.
fn known(at: u64) -> Reply<bool> {
    Ok(driver()?.memory.find(at).is_some())
}

fn linear(to: u64, from: u64, n: u64) -> Reply<Work> {
    if to == 0 || from == 0 {
        return Err(crate::codes::INVALID_NULL_POINTER);
    }
    Ok(Work::Copy(Copy::linear(
        (to, known(to)?),
        (from, known(from)?),
        n,
    )))
}

fn region(at: u64, r: CopyRegion, pitch: u32, slice: u32) -> Reply<Place> {
    let pitch = if pitch == 0 {
        u64::from(r.width)
    } else {
        u64::from(pitch)
    };
    let slice = if slice == 0 {
        pitch * u64::from(r.height.max(1))
    } else {
        u64::from(slice)
    };
    Ok(Place {
        at: at + u64::from(r.origin_z) * slice + u64::from(r.origin_y) * pitch + u64::from(r.origin_x),
        pitch,
        slice,
        device: known(at)?,
    })
}

fn image_region(r: In<ImageRegion>) -> Reply<Option<ImageRegion>> {
    if r.is_null() { Ok(None) } else { r.get().map(Some) }
}

/// A copy between an image's region and rows in memory.
fn image_rows(image: u64, part: In<ImageRegion>, at: u64, pitch: u32, slice: u32, out: bool) -> Reply<Work> {
    let i = driver()?.images.get(image)?;
    let (inside, [width, height, depth]) = i.place(image_region(part)?)?;
    let pitch = if pitch == 0 { width } else { u64::from(pitch) };
    let slice = if slice == 0 {
        pitch * height
    } else {
        u64::from(slice)
    };
    let outside = Place {
        at,
        pitch,
        slice,
        device: known(at)?,
    };
    let (to, from) = if out { (outside, inside) } else { (inside, outside) };
    Ok(Work::Copy(Copy {
        to,
        from,
        width,
        height,
        depth,
        staged: None,
    }))
}

fn image_to_image(to: u64, from: u64, to_part: In<ImageRegion>, from_part: In<ImageRegion>) -> Reply<Work> {
    let d = driver()?;
    let (to, a) = d.images.get(to)?.place(image_region(to_part)?)?;
    let (from, b) = d.images.get(from)?.place(image_region(from_part)?)?;
    if a != b {
        return Err(INVALID_ARGUMENT);
    }
    let [width, height, depth] = a;
    Ok(Work::Copy(Copy {
        to,
        from,
        width,
        height,
        depth,
        staged: None,
    }))
}

fn kernel(handle: u64, groups: In<GroupCount>) -> Reply<Work> {
    Ok(Work::Kernel(
        driver()?.kernels.get(handle)?.launch(groups.get()?)?,
    ))
}

api! {
    fn zeCommandListAppendLaunchKernel(list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>) {
        add(list, kernel(k, groups)?, Events(e, n, w))
    }
    fn zeCommandListAppendLaunchCooperativeKernel(
        list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, kernel(k, groups)?, Events(e, n, w))
    }
    fn zeCommandListAppendLaunchKernelIndirect(
        list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>,
    ) {
        let k = driver()?.kernels.get(k)?;
        groups.get()?;
        add(list, Work::Indirect(k, groups.address()), Events(e, n, w))
    }
    fn zeCommandListAppendLaunchMultipleKernelsIndirect(
        list: u64, n: u32, ks: In<u64>, count: In<u32>, groups: In<GroupCount>, e: u64, m: u32, w: In<u64>,
    ) {
        let d = driver()?;
        let all = ks.list(n as usize)?;
        // How many of them run is read now, when the list is made.
        let count = (count.get()? as usize).min(all.len());
        let mut before = Events(0, m, w);
        for (i, h) in all.into_iter().take(count).enumerate() {
            let at = groups.address() + 12 * i as u64;
            add(list, Work::Indirect(d.kernels.get(h)?, at), before)?;
            before = NO_EVENTS;
        }
        if e == 0 { Ok(()) } else { add(list, Work::Nothing, Events(e, before.1, before.2)) }
    }
    fn zeCommandListAppendMemoryCopy(list: u64, to: u64, from: u64, size: u64, e: u64, n: u32, w: In<u64>) {
        add(list, linear(to, from, size)?, Events(e, n, w))
    }
    fn zeCommandListAppendMemoryCopyFromContext(
        list: u64, to: u64, context: u64, from: u64, size: u64, e: u64, n: u32, w: In<u64>,
    ) {
        driver()?.contexts.get(context)?;
        add(list, linear(to, from, size)?, Events(e, n, w))
    }
    fn zeCommandListAppendMemoryFill(
        list: u64, at: u64, pattern: In<u8>, length: u64, size: u64, e: u64, n: u32, w: In<u64>,
    ) {
        if !length.is_power_of_two() || length > 256 {
            return Err(INVALID_SIZE);
        }
        let pattern = Arc::new(pattern.list(length as usize)?);
        add(list, Work::Fill(at, size, pattern), Events(e, n, w))
    }
    fn zeCommandListAppendMemoryCopyRegion(
        list: u64, to: u64, to_part: In<CopyRegion>, to_pitch: u32, to_slice: u32, from: u64,
        from_part: In<CopyRegion>, from_pitch: u32, from_slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        let (a, b) = (to_part.get()?, from_part.get()?);
        if (a.width, a.height, a.depth.max(1)) != (b.width, b.height, b.depth.max(1)) {
            return Err(INVALID_SIZE);
        }
        let copy = Copy {
            to: region(to, a, to_pitch, to_slice)?,
            from: region(from, b, from_pitch, from_slice)?,
            width: u64::from(a.width),
            height: u64::from(a.height.max(1)),
            depth: u64::from(a.depth.max(1)),
            staged: None,
        };
        add(list, Work::Copy(copy), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopy(list: u64, to: u64, from: u64, e: u64, n: u32, w: In<u64>) {
        add(list, image_to_image(to, from, In::null(), In::null())?, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyRegion(
        list: u64, to: u64, from: u64, to_part: In<ImageRegion>, from_part: In<ImageRegion>, e: u64, n: u32,
        w: In<u64>,
    ) {
        add(list, image_to_image(to, from, to_part, from_part)?, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyToMemory(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, image_rows(from, part, to, 0, 0, true)?, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyFromMemory(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, image_rows(to, part, from, 0, 0, false)?, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyToMemoryExt(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, pitch: u32, slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, image_rows(from, part, to, pitch, slice, true)?, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyFromMemoryExt(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, pitch: u32, slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, image_rows(to, part, from, pitch, slice, false)?, Events(e, n, w))
    }
    fn zeCommandListAppendMemoryPrefetch(list: u64, _at: u64, _size: u64) {
        driver()?.lists.get(list).map(|_| ())
    }
    fn zeCommandListAppendMemAdvise(list: u64, on: u64, _at: u64, _size: u64, _advice: u32) {
        crate::driver::device(on)?;
        driver()?.lists.get(list).map(|_| ())
    }
    fn zeCommandListAppendWriteGlobalTimestamp(list: u64, at: u64, e: u64, n: u32, w: In<u64>) {
        add(list, Work::Time(at), Events(e, n, w))
    }
    fn zeCommandListAppendBarrier(list: u64, e: u64, n: u32, w: In<u64>) {
        add(list, Work::Nothing, Events(e, n, w))
    }
    fn zeCommandListAppendMemoryRangesBarrier(
        list: u64, _ranges: u32, _sizes: In<u64>, _at: In<u64>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, Work::Nothing, Events(e, n, w))
    }
    fn zeCommandListAppendSignalEvent(list: u64, e: u64) {
        add(list, Work::Nothing, Events(e, 0, In::null()))
    }
    fn zeCommandListAppendWaitOnEvents(list: u64, n: u32, w: In<u64>) {
        add(list, Work::Nothing, Events(0, n, w))
    }
    fn zeCommandListAppendEventReset(list: u64, e: u64) {
        add(list, Work::Reset(driver()?.events.get(e)?), NO_EVENTS)
    }
    fn zeCommandListAppendQueryKernelTimestamps(
        list: u64, n: u32, events: In<u64>, to: u64, offsets: In<u64>, e: u64, m: u32, w: In<u64>,
    ) {
        let offsets = if offsets.is_null() { None } else { Some(offsets.list(n as usize)?) };
        add(list, Work::Times(event::list(events, n)?, to, offsets), Events(e, m, w))
    }
}
