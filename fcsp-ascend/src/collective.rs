//! HCCL: collectives are never held back, since another rank may be waiting; they are charged.
//!
//! A call is taken as one launch, under its own name, which the classifier knows; what it launches
//! by the runtime goes straight through.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use fcsp_hook::launch as hook;
use fcsp_hook::lookup::Hooked;

use crate::driver::real;
use crate::ffi::acl::aclrtStream;
use crate::ffi::hccl::*;
use crate::launch::kernel;
use crate::vendor::Ascend;

/// Calls a real function of HCCL, or answers that the library lacks it.
macro_rules! call_hccl {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(real::$name, else HCCL_E_NOT_FOUND; $($arg),*)
    };
}

/// Returns the name of the collective with this number, its wrapper's address.
pub fn name_of(function: usize) -> Option<String> {
    Ascend::hooks()
        .hooks()
        .find(|hook| hook.address as usize == function)
        .and_then(|hook| hook.name.to_str().ok())
        .map(str::to_owned)
}

/// Limits on cores go before the first collective. Two threads that begin together may both do
/// that; nobody waits, so a child that is forked meanwhile does not either.
fn first() {
    static DONE: AtomicBool = AtomicBool::new(false);
    // Acquire pairs with the Release: a thread that finds it done finds the limits lifted.
    if !DONE.load(Ordering::Acquire) {
        crate::cores::lift();
        DONE.store(true, Ordering::Release);
    }
}

macro_rules! collectives {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name($($arg: $ty,)* comm: HcclComm, stream: aclrtStream) -> HcclResult {
            if hook::is_unthrottled::<Ascend>() && let Some(real) = real::$name.get() {
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
                // library.
                return unsafe { real($($arg,)* comm, stream) };
            }
            let call = || call_hccl!($name($($arg,)* comm, stream));
            first();
            kernel($name as *const () as usize, 1, stream, &call)
        }
    )*};
}
collectives! {
    HcclAllReduce(sendBuf: *mut c_void, recvBuf: *mut c_void, count: u64, dataType: HcclDataType, op: HcclReduceOp);
    HcclBroadcast(buf: *mut c_void, count: u64, dataType: HcclDataType, root: u32);
    HcclReduceScatter(sendBuf: *mut c_void, recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType, op: HcclReduceOp);
    HcclReduceScatterV(
        sendBuf: *mut c_void, sendCounts: *const c_void, sendDispls: *const c_void, recvBuf: *mut c_void, recvCount: u64,
        dataType: HcclDataType, op: HcclReduceOp
    );
    HcclScatter(sendBuf: *mut c_void, recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType, root: u32);
    HcclAllGather(sendBuf: *mut c_void, recvBuf: *mut c_void, sendCount: u64, dataType: HcclDataType);
    HcclAllGatherV(
        sendBuf: *mut c_void, sendCount: u64, recvBuf: *mut c_void, recvCounts: *const c_void,
        recvDispls: *const c_void, dataType: HcclDataType
    );
    HcclBarrier();
    HcclSend(sendBuf: *mut c_void, count: u64, dataType: HcclDataType, destRank: u32);
    HcclRecv(recvBuf: *mut c_void, count: u64, dataType: HcclDataType, srcRank: u32);
    HcclAlltoAllVC(
        sendBuf: *const c_void, sendCountMatrix: *const c_void, sendType: HcclDataType, recvBuf: *const c_void,
        recvType: HcclDataType
    );
    HcclAlltoAllV(
        sendBuf: *const c_void, sendCounts: *const c_void, sdispls: *const c_void, sendType: HcclDataType,
        recvBuf: *const c_void, recvCounts: *const c_void, rdispls: *const c_void, recvType: HcclDataType
    );
    HcclAlltoAll(
        sendBuf: *const c_void, sendCount: u64, sendType: HcclDataType, recvBuf: *const c_void, recvCount: u64,
        recvType: HcclDataType
    );
    HcclReduce(
        sendBuf: *mut c_void, recvBuf: *mut c_void, count: u64, dataType: HcclDataType, op: HcclReduceOp, root: u32
    );
    HcclBatchSendRecv(sendRecvInfo: *mut HcclSendRecvItem, itemNum: u32);
}
