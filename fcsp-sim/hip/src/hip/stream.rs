//! Streams, captures, and what streams wait for. A mask of compute units is kept for whoever asks,
//! and work takes the longer the fewer units it has; which units they are does not matter to the
//! model, which has one engine a device.

use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY, Reply};
use crate::driver::driver;
use crate::export::{cu, hip_api, same_api};
use crate::stream::target;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A callback of the older kind: stream, status, argument.
type Callback = extern "C" fn(u64, i32, usize);

fn masks() -> std::sync::MutexGuard<'static, HashMap<u64, Vec<u32>>> {
    static MASKS: OnceLock<Mutex<HashMap<u64, Vec<u32>>>> = OnceLock::new();
    MASKS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// One word of the mask that allows every unit of a device of `units`.
fn limit(units: u32, word: u32) -> u32 {
    match units.saturating_sub(word * 32) {
        left if left >= 32 => u32::MAX,
        left => (1 << left) - 1,
    }
}

/// Returns a mask that allows every unit of the stream's device.
fn whole(stream: u64) -> Reply<Vec<u32>> {
    let units = target(stream, false)?.context.spec()?.sm;
    Ok((0..units.div_ceil(32))
        .map(|word| limit(units, word))
        .collect())
}

/// With a mask a wait looks at some bits only; the driver's waits look at all.
fn plain(mask: u64, all: u64) -> Reply {
    if mask == all {
        Ok(())
    } else {
        Err(NOT_SUPPORTED)
    }
}

hip_api! {
    fn hipStreamCreate(place: Out<u64>) {
        cu(crate::stream::cuStreamCreate(place, 0))
    }
    fn hipExtStreamCreateWithCUMask(place: Out<u64>, words: u32, mask: In<u32>) {
        let mask = mask.list(words as usize)?;
        if mask.iter().all(|w| *w == 0) {
            return Err(INVALID_VALUE);
        }
        let ordinal = super::thread::chosen();
        let beyond = |own: &[u32]| mask.iter().enumerate().any(|(i, word)| word & !own.get(i).unwrap_or(&0) != 0);
        if crate::masks::of_process(ordinal).is_some_and(beyond) {
            // The layer below narrows the mask and says so, which the runtime takes for a failure:
            // no queue, no stream.
            return Err(OUT_OF_MEMORY);
        }
        cu(crate::stream::cuStreamCreate(place, 0))?;
        let stream = target(place.get()?, false)?;
        let all = stream.context.spec()?.sm;
        let inside: Vec<u32> = (0..).zip(&mask).map(|(i, word)| word & limit(all, i)).collect();
        stream.stream.units.store(crate::masks::count(&inside), std::sync::atomic::Ordering::Relaxed);
        masks().insert(place.get()?, mask);
        Ok(())
    }
    fn hipExtStreamGetCUMask(stream: u64, words: u32, mask: Out<u32>) {
        let all = whole(stream)?;
        if (words as usize) < all.len() {
            return Err(INVALID_VALUE);
        }
        let set = masks().get(&stream).cloned();
        for i in 0..words as usize {
            let limit = all.get(i).copied().unwrap_or(0);
            let word = set.as_ref().map_or(limit, |m| m.get(i).copied().unwrap_or(0));
            mask.set_at(i, word & limit);
        }
        Ok(())
    }
    fn hipStreamDestroy(stream: u64) {
        masks().remove(&stream);
        cu(crate::stream::cuStreamDestroy_v2(stream))
    }
    fn hipStreamGetDevice(stream: u64, device: Out<i32>) {
        device.put(target(stream, false)?.context.ordinal)
    }
    fn hipStreamGetId(stream: u64, id: Out<u64>) {
        id.put(target(stream, false)?.stream.id)
    }
    fn hipStreamWaitValue32(stream: u64, at: u64, value: u32, flags: u32, mask: u32) {
        plain(u64::from(mask), u64::from(u32::MAX))?;
        cu(crate::stream::cuStreamWaitValue32_v2(stream, at, value, flags))
    }
    fn hipStreamWaitValue64(stream: u64, at: u64, value: u64, flags: u32, mask: u64) {
        plain(mask, u64::MAX)?;
        cu(crate::stream::cuStreamWaitValue64_v2(stream, at, value, flags))
    }
    fn hipStreamBatchMemOp(stream: u64, n: u32, list: In<crate::stream::MemOp>, flags: u32) {
        cu(crate::stream::cuStreamBatchMemOp_v2(stream, n, list, flags))
    }
}

/// Returns the device of a stream; an invalid one has none.
pub extern "C" fn hipGetStreamDeviceId(stream: u64) -> i32 {
    let device = || -> Reply<i32> {
        super::thread::ready()?;
        driver()?;
        Ok(target(stream, false)?.context.ordinal)
    };
    device().unwrap_or(-1)
}

same_api! {
    fn hipStreamCreateWithFlags = stream::cuStreamCreate(place: Out<u64>, flags: u32);
    fn hipStreamCreateWithPriority = stream::cuStreamCreateWithPriority(place: Out<u64>, flags: u32, priority: i32);
    fn hipStreamSynchronize = stream::cuStreamSynchronize(stream: u64);
    fn hipStreamSynchronize_spt = stream::cuStreamSynchronize_ptsz(stream: u64);
    fn hipStreamQuery = stream::cuStreamQuery(stream: u64);
    fn hipStreamQuery_spt = stream::cuStreamQuery_ptsz(stream: u64);
    fn hipStreamWaitEvent = stream::cuStreamWaitEvent(stream: u64, event: u64, flags: u32);
    fn hipStreamWaitEvent_spt = stream::cuStreamWaitEvent_ptsz(stream: u64, event: u64, flags: u32);
    fn hipStreamGetPriority = stream::cuStreamGetPriority(stream: u64, priority: Out<i32>);
    fn hipStreamGetPriority_spt = stream::cuStreamGetPriority_ptsz(stream: u64, priority: Out<i32>);
    fn hipStreamGetFlags = stream::cuStreamGetFlags(stream: u64, flags: Out<u32>);
    fn hipStreamGetFlags_spt = stream::cuStreamGetFlags_ptsz(stream: u64, flags: Out<u32>);
    fn hipStreamGetAttribute = stream::cuStreamGetAttribute(stream: u64, which: i32, value: Out<[u64; 8]>);
    fn hipStreamSetAttribute = stream::cuStreamSetAttribute(stream: u64, which: i32, value: In<[u64; 8]>);
    fn hipStreamAddCallback = stream::cuStreamAddCallback(stream: u64, f: Option<Callback>, data: usize, flags: u32);
    fn hipStreamAddCallback_spt = stream::cuStreamAddCallback_ptsz(
        stream: u64, f: Option<Callback>, data: usize, flags: u32,
    );
    fn hipLaunchHostFunc = stream::cuLaunchHostFunc(stream: u64, f: Option<extern "C" fn(usize)>, data: usize);
    fn hipLaunchHostFunc_spt = stream::cuLaunchHostFunc_ptsz(
        stream: u64, f: Option<extern "C" fn(usize)>, data: usize,
    );
    fn hipStreamWriteValue32 = stream::cuStreamWriteValue32_v2(stream: u64, at: u64, value: u32, flags: u32);
    fn hipStreamWriteValue64 = stream::cuStreamWriteValue64_v2(stream: u64, at: u64, value: u64, flags: u32);
    fn hipStreamBeginCapture = capture::cuStreamBeginCapture_v2(stream: u64, mode: i32);
    fn hipStreamBeginCapture_spt = capture::cuStreamBeginCapture_v2_ptsz(stream: u64, mode: i32);
    fn hipStreamBeginCaptureToGraph = capture::cuStreamBeginCaptureToGraph(
        stream: u64, graph: u64, after: In<u64>, edges: u64, n: u64, mode: i32,
    );
    fn hipStreamEndCapture = capture::cuStreamEndCapture(stream: u64, graph: Out<u64>);
    fn hipStreamEndCapture_spt = capture::cuStreamEndCapture_ptsz(stream: u64, graph: Out<u64>);
    fn hipStreamIsCapturing = capture::cuStreamIsCapturing(stream: u64, status: Out<i32>);
    fn hipStreamIsCapturing_spt = capture::cuStreamIsCapturing_ptsz(stream: u64, status: Out<i32>);
    fn hipStreamGetCaptureInfo = capture::cuStreamGetCaptureInfo(stream: u64, status: Out<i32>, id: Out<u64>);
    fn hipStreamGetCaptureInfo_spt = capture::cuStreamGetCaptureInfo_ptsz(stream: u64, status: Out<i32>, id: Out<u64>);
    fn hipStreamGetCaptureInfo_v2 = capture::cuStreamGetCaptureInfo_v2(
        stream: u64, status: Out<i32>, id: Out<u64>, graph: Out<u64>, nodes: Out<u64>, n: Out<u64>,
    );
    fn hipStreamGetCaptureInfo_v2_spt = capture::cuStreamGetCaptureInfo_v2_ptsz(
        stream: u64, status: Out<i32>, id: Out<u64>, graph: Out<u64>, nodes: Out<u64>, n: Out<u64>,
    );
    fn hipStreamUpdateCaptureDependencies = capture::cuStreamUpdateCaptureDependencies(
        stream: u64, nodes: In<u64>, n: u64, flags: u32,
    );
    fn hipThreadExchangeStreamCaptureMode = capture::cuThreadExchangeStreamCaptureMode(mode: Out<i32>);
}
