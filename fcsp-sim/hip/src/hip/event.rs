//! Events.

use crate::abi::Out;
use crate::codes::INVALID_VALUE;
use crate::export::{cu, handle_api, hip_api, same_api};

hip_api! {
    fn hipEventCreate(place: Out<u64>) {
        cu(crate::event::cuEventCreate(place, 0))
    }
    fn hipEventCreateWithFlags(place: Out<u64>, flags: u32) {
        // The upper flags say which caches a record writes back.
        if flags & !0xe000_0007 != 0 {
            return Err(INVALID_VALUE);
        }
        cu(crate::event::cuEventCreate(place, flags & 7))
    }
}

handle_api! {
    fn hipEventDestroy[event_to_destroy event] = event::cuEventDestroy_v2(event: u64);
}

same_api! {
    fn hipEventRecord = event::cuEventRecord(event: u64, stream: u64);
    fn hipEventRecord_spt = event::cuEventRecord_ptsz(event: u64, stream: u64);
    fn hipEventRecordWithFlags = event::cuEventRecordWithFlags(event: u64, stream: u64, flags: u32);
    fn hipEventQuery = event::cuEventQuery(event: u64);
    fn hipEventSynchronize = event::cuEventSynchronize(event: u64);
    fn hipEventElapsedTime = event::cuEventElapsedTime(ms: Out<f32>, start: u64, end: u64);
}
