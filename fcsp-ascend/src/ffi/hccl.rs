//! HCCL, the collective library: the calls that ranks wait for each other in.

// Names are Huawei's and documented there; ours would only repeat them.
#![allow(missing_docs)]

use core::ffi::{c_char, c_void};

use super::acl::{aclrtDrvMemHandle, aclrtStream};
use super::{Constant, Function, Layout};

/// Every function list of this module.
pub const FUNCTIONS: &[&[Function]] = &[HCCL_FUNCTIONS];
/// Every struct of this module.
pub const LAYOUTS: &[Layout] = &[];
/// Every constant of this module.
pub const CONSTANTS: &[Constant] = VALUES;

/// Status of every call; 0 is success.
pub type HcclResult = i32;
pub type HcclComm = *mut c_void;
pub type HcclDataType = i32;
pub type HcclReduceOp = i32;

// Handed on as they are.
pub type HcclCommConfig = c_void;
pub type HcclRootInfo = c_void;
pub type HcclSendRecvItem = c_void;

fcsp_hook::constants! {
    /// Values of the constants above, for the header test.
    VALUES;
    HcclResult {
        HCCL_SUCCESS = 0;
        HCCL_E_INTERNAL = 4;
        HCCL_E_NOT_SUPPORT = 5;
        HCCL_E_NOT_FOUND = 6;
    }
}

fcsp_hook::functions! {
    /// Signatures of this module, for the header test.
    HCCL_FUNCTIONS -> HcclResult;

    HcclAllGather(
        sendBuf: *mut c_void, recvBuf: *mut c_void, sendCount: u64, dataType: HcclDataType, comm: HcclComm,
        stream: aclrtStream
    );
    HcclAllGatherV(
        sendBuf: *mut c_void, sendCount: u64, recvBuf: *mut c_void, recvCounts: *const c_void, recvDispls:
        *const c_void, dataType: HcclDataType, comm: HcclComm, stream: aclrtStream
    );
    HcclAllReduce(
        sendBuf: *mut c_void, recvBuf: *mut c_void, count: u64, dataType: HcclDataType, op: HcclReduceOp,
        comm: HcclComm, stream: aclrtStream
    );
    HcclAlltoAll(
        sendBuf: *const c_void, sendCount: u64, sendType: HcclDataType, recvBuf: *const c_void, recvCount:
        u64, recvType: HcclDataType, comm: HcclComm, stream: aclrtStream
    );
    HcclAlltoAllV(
        sendBuf: *const c_void, sendCounts: *const c_void, sdispls: *const c_void, sendType: HcclDataType,
        recvBuf: *const c_void, recvCounts: *const c_void, rdispls: *const c_void, recvType: HcclDataType,
        comm: HcclComm, stream: aclrtStream
    );
    HcclAlltoAllVC(
        sendBuf: *const c_void, sendCountMatrix: *const c_void, sendType: HcclDataType, recvBuf: *const
        c_void, recvType: HcclDataType, comm: HcclComm, stream: aclrtStream
    );
    HcclBarrier(comm: HcclComm, stream: aclrtStream);
    HcclBatchSendRecv(sendRecvInfo: *mut HcclSendRecvItem, itemNum: u32, comm: HcclComm, stream: aclrtStream);
    HcclBroadcast(
        buf: *mut c_void, count: u64, dataType: HcclDataType, root: u32, comm: HcclComm, stream: aclrtStream
    );
    HcclCommActivateCommMemory(
        comm: HcclComm, virPtr: *mut c_void, size: usize, offset: usize, handle: aclrtDrvMemHandle, flags: u64
    );
    HcclCommDestroy(comm: HcclComm);
    HcclCommExchangeMem(comm: HcclComm, windowHandle: *mut c_void, peerRanks: *mut u32, peerRankNum: u32);
    HcclCommInitAll(ndev: u32, devices: *mut i32, comms: *mut HcclComm);
    HcclCommInitClusterInfo(clusterInfo: *const c_char, rank: u32, comm: *mut HcclComm);
    HcclCommInitClusterInfoConfig(
        clusterInfo: *const c_char, rank: u32, config: *mut HcclCommConfig, comm: *mut HcclComm
    );
    HcclCommInitRootInfo(nRanks: u32, rootInfo: *const HcclRootInfo, rank: u32, comm: *mut HcclComm);
    HcclCommInitRootInfoConfig(
        nRanks: u32, rootInfo: *const HcclRootInfo, rank: u32, config: *const HcclCommConfig, comm: *mut
        HcclComm
    );
    HcclCommInitRootInfoScalable(
        nRanks: u32, nRoot: u32, rootInfoList: *const HcclRootInfo, rank: u32, nExtRoot: u32, config: *const
        HcclCommConfig, comm: *mut HcclComm
    );
    HcclCommRegister(comm: HcclComm, addr: *mut c_void, size: u64, handle: *mut *mut c_void, flag: u32);
    HcclCommResume(comm: HcclComm);
    HcclCommSetMemoryRange(
        comm: HcclComm, baseVirPtr: *mut c_void, size: usize, alignment: usize, flags: u64
    );
    HcclCommSuspend(comm: HcclComm);
    HcclCreateSubCommConfig(
        comm: *mut HcclComm, rankNum: u32, rankIds: *mut u32, subCommId: u64, subCommRankId: u32, config: *mut
        HcclCommConfig, subComm: *mut HcclComm
    );
    HcclRecv(
        recvBuf: *mut c_void, count: u64, dataType: HcclDataType, srcRank: u32, comm: HcclComm, stream:
        aclrtStream
    );
    HcclReduce(
        sendBuf: *mut c_void, recvBuf: *mut c_void, count: u64, dataType: HcclDataType, op: HcclReduceOp,
        root: u32, comm: HcclComm, stream: aclrtStream
    );
    HcclReduceScatter(
        sendBuf: *mut c_void, recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType, op: HcclReduceOp,
        comm: HcclComm, stream: aclrtStream
    );
    HcclReduceScatterV(
        sendBuf: *mut c_void, sendCounts: *const c_void, sendDispls: *const c_void, recvBuf: *mut c_void,
        recvCount: u64, dataType: HcclDataType, op: HcclReduceOp, comm: HcclComm, stream: aclrtStream
    );
    HcclScatter(
        sendBuf: *mut c_void, recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType, root: u32, comm:
        HcclComm, stream: aclrtStream
    );
    HcclSend(
        sendBuf: *mut c_void, count: u64, dataType: HcclDataType, destRank: u32, comm: HcclComm, stream:
        aclrtStream
    );
}
