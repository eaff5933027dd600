//! Appending: every command that a list can hold.

use crate::abi::In;
use crate::codes::{INVALID_ARGUMENT, INVALID_SIZE, Reply};
use crate::driver::{Context, driver};
use crate::event;
use crate::export::api;
use crate::image::Image;
use crate::kernel::KernelObject;
use crate::list::{Command, List, Work};
use crate::structs::{CopyRegion, GroupCount, ImageRegion};
use fcsp_sim::copy::{Copy, Place};
use fcsp_sim::strict::{Rule, fatal, is_on};
use std::sync::Arc;

/// The events around a command: the one it signals, and those it waits for.
#[derive(Debug, Clone, Copy)]
struct Events(u64, u32, In<u64>);

/// Appends what `work` makes for the list. Nothing of the call runs while another thread is in one
/// on the same list.
fn add(handle: u64, work: impl FnOnce(&List) -> Reply<Work>, events: Events) -> Reply {
    let l = driver()?.lists.get(handle)?;
    let _stay = l.threads.enter("command list", handle);
    let Events(signal, n, waits) = events;
    l.append(Command {
        work: work(&l)?,
        waits: if n == 0 {
            Vec::new()
        } else {
            event::list(waits, n, &l.context)?
        },
        signal: event::optional(signal, &l.context)?,
    })
}

const NO_EVENTS: Events = Events(0, 0, In::null());

/// Returns the work of a barrier, a signal or a wait.
fn nothing(_: &List) -> Reply<Work> {
    Ok(Work::Nothing)
}

/// Checks a command that is not modelled: its list exists, and no other thread is in a call on the
/// list.
fn touch(handle: u64) -> Reply {
    let l = driver()?.lists.get(handle)?;
    let _stay = l.threads.enter("command list", handle);
    Ok(())
}

/// Whether an address is in memory that the driver knows. Any other is the host's own, which copies
/// may reach. "The application must ensure the command list and events were created, and the memory
/// was allocated, on the same context."
fn known(context: &Context, at: u64) -> Reply<bool> {
    let Some(r) = driver()?.memory.find(at) else {
        return Ok(false);
    };
    // Mapped physical memory has no context in the model.
    if r.context != 0 && r.context != context.handle && is_on(Rule::Contexts) {
        let (its, own) = (r.context, context.handle);
        fatal(&format!(
            "memory at {at:#x} is of context {its:#x}, not of {own:#x}"
        ));
    }
    Ok(true)
}

/// Makes a copy between memory of two contexts.
fn linear((a, to): (&Context, u64), (b, from): (&Context, u64), n: u64) -> Reply<Work> {
    if to == 0 || from == 0 {
        return Err(crate::codes::INVALID_NULL_POINTER);
    }
    Ok(Work::Copy(Copy::linear(
        (to, known(a, to)?),
        (from, known(b, from)?),
        n,
    )))
}

fn region(context: &Context, at: u64, r: CopyRegion, pitch: u32, slice: u32) -> Reply<Place> {
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
        at: at
            + u64::from(r.origin_z) * slice
            + u64::from(r.origin_y) * pitch
            + u64::from(r.origin_x),
        pitch,
        slice,
        device: known(context, at)?,
    })
}

fn image_region(r: In<ImageRegion>) -> Reply<Option<ImageRegion>> {
    if r.is_null() {
        Ok(None)
    } else {
        r.get().map(Some)
    }
}

/// Returns the image of a handle, for a command list of `context`.
fn image(context: &Context, handle: u64) -> Reply<Arc<Image>> {
    let i = driver()?.images.get(handle)?;
    context.must_be(&i.context, "image", handle);
    Ok(i)
}

/// Rows in memory: first byte, bytes a row, bytes a slice; 0 where they follow each other without
/// gaps.
type Rows = (u64, u32, u32);

/// Makes a copy between an image's region and rows in memory.
fn image_rows(
    context: &Context,
    handle: u64,
    part: In<ImageRegion>,
    rows: Rows,
    out: bool,
) -> Reply<Work> {
    let i = image(context, handle)?;
    let (at, pitch, slice) = rows;
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
        device: known(context, at)?,
    };
    let (to, from) = if out {
        (outside, inside)
    } else {
        (inside, outside)
    };
    Ok(Work::Copy(Copy {
        to,
        from,
        width,
        height,
        depth,
        staged: None,
    }))
}

/// Makes a copy between regions of two images.
fn image_to_image(
    context: &Context,
    (to, to_part): (u64, In<ImageRegion>),
    (from, from_part): (u64, In<ImageRegion>),
) -> Reply<Work> {
    let (to, a) = image(context, to)?.place(image_region(to_part)?)?;
    let (from, b) = image(context, from)?.place(image_region(from_part)?)?;
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

/// Returns the kernel of a handle, for a command list of `context`.
fn kernel(context: &Context, handle: u64) -> Reply<Arc<KernelObject>> {
    let k = driver()?.kernels.get(handle)?;
    context.must_be(&k.module.context, "kernel", handle);
    Ok(k)
}

fn launch(context: &Context, handle: u64, groups: In<GroupCount>) -> Reply<Work> {
    let k = kernel(context, handle)?;
    let _stay = k.threads.enter("kernel", handle);
    Ok(Work::Kernel(k.launch(groups.get()?)?))
}

api! {
    fn zeCommandListAppendLaunchKernel(list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>) {
        add(list, |l| launch(&l.context, k, groups), Events(e, n, w))
    }
    fn zeCommandListAppendLaunchCooperativeKernel(
        list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, |l| launch(&l.context, k, groups), Events(e, n, w))
    }
    fn zeCommandListAppendLaunchKernelIndirect(
        list: u64, k: u64, groups: In<GroupCount>, e: u64, n: u32, w: In<u64>,
    ) {
        groups.get()?;
        add(list, |l| Ok(Work::Indirect(kernel(&l.context, k)?, groups.address())), Events(e, n, w))
    }
    fn zeCommandListAppendLaunchMultipleKernelsIndirect(
        list: u64, n: u32, ks: In<u64>, count: In<u32>, groups: In<GroupCount>, e: u64, m: u32, w: In<u64>,
    ) {
        let all = ks.list(n as usize)?;
        // How many of them run is read now, when the list is made.
        let count = (count.get()? as usize).min(all.len());
        let mut before = Events(0, m, w);
        for (i, h) in all.into_iter().take(count).enumerate() {
            let at = groups.address() + 12 * i as u64;
            add(list, |l| Ok(Work::Indirect(kernel(&l.context, h)?, at)), before)?;
            before = NO_EVENTS;
        }
        if e == 0 { Ok(()) } else { add(list, nothing, Events(e, before.1, before.2)) }
    }
    fn zeCommandListAppendMemoryCopy(list: u64, to: u64, from: u64, size: u64, e: u64, n: u32, w: In<u64>) {
        add(list, |l| linear((&l.context, to), (&l.context, from), size), Events(e, n, w))
    }
    fn zeCommandListAppendMemoryCopyFromContext(
        list: u64, to: u64, context: u64, from: u64, size: u64, e: u64, n: u32, w: In<u64>,
    ) {
        let source = driver()?.contexts.get(context)?;
        add(list, |l| linear((&l.context, to), (&source, from), size), Events(e, n, w))
    }
    fn zeCommandListAppendMemoryFill(
        list: u64, at: u64, pattern: In<u8>, length: u64, size: u64, e: u64, n: u32, w: In<u64>,
    ) {
        if !length.is_power_of_two() || length > 256 {
            return Err(INVALID_SIZE);
        }
        let pattern = Arc::new(pattern.list(length as usize)?);
        add(list, |l| known(&l.context, at).map(|_| Work::Fill(at, size, pattern)), Events(e, n, w))
    }
    fn zeCommandListAppendMemoryCopyRegion(
        list: u64, to: u64, to_part: In<CopyRegion>, to_pitch: u32, to_slice: u32, from: u64,
        from_part: In<CopyRegion>, from_pitch: u32, from_slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        let (a, b) = (to_part.get()?, from_part.get()?);
        if (a.width, a.height, a.depth.max(1)) != (b.width, b.height, b.depth.max(1)) {
            return Err(INVALID_SIZE);
        }
        let copy = |l: &List| Ok(Work::Copy(Copy {
            to: region(&l.context, to, a, to_pitch, to_slice)?,
            from: region(&l.context, from, b, from_pitch, from_slice)?,
            width: u64::from(a.width),
            height: u64::from(a.height.max(1)),
            depth: u64::from(a.depth.max(1)),
            staged: None,
        }));
        add(list, copy, Events(e, n, w))
    }
    fn zeCommandListAppendImageCopy(list: u64, to: u64, from: u64, e: u64, n: u32, w: In<u64>) {
        add(list, |l| image_to_image(&l.context, (to, In::null()), (from, In::null())), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyRegion(
        list: u64, to: u64, from: u64, to_part: In<ImageRegion>, from_part: In<ImageRegion>, e: u64, n: u32,
        w: In<u64>,
    ) {
        add(list, |l| image_to_image(&l.context, (to, to_part), (from, from_part)), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyToMemory(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, |l| image_rows(&l.context, from, part, (to, 0, 0), true), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyFromMemory(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, |l| image_rows(&l.context, to, part, (from, 0, 0), false), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyToMemoryExt(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, pitch: u32, slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, |l| image_rows(&l.context, from, part, (to, pitch, slice), true), Events(e, n, w))
    }
    fn zeCommandListAppendImageCopyFromMemoryExt(
        list: u64, to: u64, from: u64, part: In<ImageRegion>, pitch: u32, slice: u32, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, |l| image_rows(&l.context, to, part, (from, pitch, slice), false), Events(e, n, w))
    }
    fn zeCommandListAppendMemoryPrefetch(list: u64, _at: u64, _size: u64) {
        touch(list)
    }
    fn zeCommandListAppendMemAdvise(list: u64, on: u64, _at: u64, _size: u64, _advice: u32) {
        crate::driver::device(on)?;
        touch(list)
    }
    fn zeCommandListAppendWriteGlobalTimestamp(list: u64, at: u64, e: u64, n: u32, w: In<u64>) {
        add(list, |_| Ok(Work::Time(at)), Events(e, n, w))
    }
    fn zeCommandListAppendBarrier(list: u64, e: u64, n: u32, w: In<u64>) {
        add(list, nothing, Events(e, n, w))
    }
    fn zeCommandListAppendMemoryRangesBarrier(
        list: u64, _ranges: u32, _sizes: In<u64>, _at: In<u64>, e: u64, n: u32, w: In<u64>,
    ) {
        add(list, nothing, Events(e, n, w))
    }
    fn zeCommandListAppendSignalEvent(list: u64, e: u64) {
        add(list, nothing, Events(e, 0, In::null()))
    }
    fn zeCommandListAppendWaitOnEvents(list: u64, n: u32, w: In<u64>) {
        add(list, nothing, Events(0, n, w))
    }
    fn zeCommandListAppendEventReset(list: u64, e: u64) {
        add(list, |l| event::named(e, &l.context).map(Work::Reset), NO_EVENTS)
    }
    fn zeCommandListAppendQueryKernelTimestamps(
        list: u64, n: u32, events: In<u64>, to: u64, offsets: In<u64>, e: u64, m: u32, w: In<u64>,
    ) {
        let offsets = if offsets.is_null() { None } else { Some(offsets.list(n as usize)?) };
        add(list, |l| Ok(Work::Times(event::list(events, n, &l.context)?, to, offsets)), Events(e, m, w))
    }
}
