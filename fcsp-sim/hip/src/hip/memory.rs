//! Plain, managed, pitched and pinned memory, and memory of other processes.

use crate::abi::Out;
use crate::capture::{RELAXED, cuThreadExchangeStreamCaptureMode, forbid};
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::{cu, hip_api, same_api};
use fcsp_sim::memory::Kind;

/// A pitched piece of memory.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Pitched {
    /// First byte.
    pub at: u64,
    /// Bytes a row.
    pub pitch: u64,
    /// Bytes of a row that count.
    pub width: u64,
    /// Rows.
    pub rows: u64,
}

/// Width (in bytes, or elements of an array), height, depth.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Along a row.
    pub width: u64,
    /// Rows.
    pub height: u64,
    /// Slices.
    pub depth: u64,
}

const _: () = assert!(size_of::<Pitched>() == 32 && size_of::<Extent>() == 24);

fn alloc(place: Out<u64>, size: u64) -> Reply {
    // What a capture forbids comes before everything else (`CHECK_STREAM_CAPTURE_SUPPORTED`).
    forbid()?;
    place.need()?;
    if size == 0 {
        // No error here: nothing is what is asked for.
        return place.put(0);
    }
    cu(crate::memory::cuMemAlloc_v2(place, size))
}

fn free(at: u64) -> Reply {
    let r = driver()?.memory.find(at);
    match r.map(|r| r.kind) {
        Some(Kind::Host(_)) => cu(crate::memory::cuMemFreeHost(at)),
        _ => cu(crate::memory::cuMemFree_v2(at)),
    }
}

fn host(place: Out<u64>, size: u64, flags: u32) -> Reply {
    // Portable, mapped and write-combined are the driver's; where the memory lies and how coherent
    // it is, is AMD's.
    cu(crate::memory::cuMemHostAlloc(place, size, flags & 7))
}

fn pitched(place: Out<u64>, pitch: Out<u64>, width: u64, height: u64) -> Reply {
    forbid()?;
    if width == 0 || height == 0 {
        return place.put(0);
    }
    cu(crate::memory::cuMemAllocPitch_v2(
        place, pitch, width, height, 4,
    ))
}

hip_api! {
    fn hipMalloc(place: Out<u64>, size: u64) {
        alloc(place, size)
    }
    fn hipExtMallocWithFlags(place: Out<u64>, size: u64, flags: u32) {
        if !matches!(flags, 0..=4) {
            return Err(INVALID_VALUE);
        }
        // No capture minds this one.
        let mut mode = RELAXED;
        cu(cuThreadExchangeStreamCaptureMode(Out::from_raw(&raw mut mode)))?;
        let result = alloc(place, size);
        cu(cuThreadExchangeStreamCaptureMode(Out::from_raw(&raw mut mode)))?;
        result
    }
    fn hipFree(at: u64) {
        if at == 0 {
            return Ok(());
        }
        free(at)
    }
    fn hipMallocManaged(place: Out<u64>, size: u64, flags: u32) {
        cu(crate::memory::cuMemAllocManaged(place, size, flags))
    }
    fn hipMallocPitch(place: Out<u64>, pitch: Out<u64>, width: u64, height: u64) {
        pitched(place, pitch, width, height)
    }
    fn hipMemAllocPitch(place: Out<u64>, pitch: Out<u64>, width: u64, height: u64, element: u32) {
        cu(crate::memory::cuMemAllocPitch_v2(place, pitch, width, height, element))
    }
    fn hipMalloc3D(place: Out<Pitched>, extent: Extent) {
        place.need()?;
        let (mut at, mut pitch) = (0u64, 0u64);
        let rows = extent.height.checked_mul(extent.depth).ok_or(INVALID_VALUE)?;
        pitched(Out::from_raw(&raw mut at), Out::from_raw(&raw mut pitch), extent.width, rows)?;
        place.put(Pitched { at, pitch, width: extent.width, rows: extent.height })
    }
    fn hipHostMalloc(place: Out<u64>, size: u64, flags: u32) {
        host(place, size, flags)
    }
    fn hipHostAlloc(place: Out<u64>, size: u64, flags: u32) {
        host(place, size, flags)
    }
    fn hipMallocHost(place: Out<u64>, size: u64) {
        host(place, size, 0)
    }
    fn hipMemAllocHost(place: Out<u64>, size: u64) {
        host(place, size, 0)
    }
    fn hipHostRegister(at: u64, size: u64, flags: u32) {
        cu(crate::memory::cuMemHostRegister_v2(at, size, flags & 0xf))
    }
    fn hipMemPtrGetInfo(at: u64, size: Out<u64>) {
        size.put(driver()?.memory.find(at).ok_or(INVALID_VALUE)?.size)
    }
    fn hipStreamAttachMemAsync(stream: u64, at: u64, _length: u64, flags: u32) {
        let t = crate::stream::target(stream, false)?;
        let managed = driver()?.memory.find(at).is_some_and(|r| r.kind == Kind::Managed);
        if !managed || !matches!(flags, 1 | 2 | 4) {
            return Err(INVALID_VALUE);
        }
        t.run(fcsp_sim::graph::Work::Empty)
    }
}

same_api! {
    fn hipHostFree = memory::cuMemFreeHost(at: u64);
    fn hipFreeHost = memory::cuMemFreeHost(at: u64);
    fn hipHostUnregister = memory::cuMemHostUnregister(at: u64);
    fn hipHostGetDevicePointer = memory::cuMemHostGetDevicePointer_v2(place: Out<u64>, at: u64, flags: u32);
    fn hipHostGetFlags = memory::cuMemHostGetFlags(flags: Out<u32>, at: u64);
    fn hipMemGetInfo = memory::cuMemGetInfo_v2(free: Out<u64>, total: Out<u64>);
    fn hipMemGetAddressRange = memory::cuMemGetAddressRange_v2(base: Out<u64>, size: Out<u64>, at: u64);
    fn hipMemAdvise = memory::cuMemAdvise(at: u64, size: u64, advice: i32, device: i32);
    fn hipMemAdvise_v2 = memory::cuMemAdvise_v2(at: u64, size: u64, advice: i32, location: crate::memory::Location);
    fn hipMemPrefetchAsync = memory::cuMemPrefetchAsync(at: u64, size: u64, device: i32, stream: u64);
    fn hipMemPrefetchAsync_v2 = memory::cuMemPrefetchAsync_v2(
        at: u64, size: u64, location: crate::memory::Location, flags: u32, stream: u64,
    );
    fn hipMemRangeGetAttribute = pointer::cuMemRangeGetAttribute(
        place: Out<i32>, size: u64, which: i32, at: u64, count: u64,
    );
    fn hipIpcGetMemHandle = ipc::cuIpcGetMemHandle(handle: Out<crate::ipc::Handle>, at: u64);
    fn hipIpcOpenMemHandle = ipc::cuIpcOpenMemHandle_v2(place: Out<u64>, handle: crate::ipc::Handle, flags: u32);
    fn hipIpcCloseMemHandle = ipc::cuIpcCloseMemHandle(at: u64);
}
