//! Calls with wrong arguments, which the driver documents that it refuses. A refusal for the
//! quota's sake must not win over them, whatever the tenant holds. Kept programs name them by
//! place: new ones go to the end. Left out is `cuThreadExchangeStreamCaptureMode` without a place:
//! the driver follows the address and dies (measured, H200, driver 580).

use super::{Done, Thread};
use crate::kernels::TEXT;
use crate::record::Outcome;
use fcsp_cuda::ffi::cuda::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR, CUDA_MEMCPY2D, CUmemAllocationProp,
    CUmemLocation, CUmemPoolProps,
};

/// More than any device has.
const HUGE: u64 = 1 << 50;
/// A device that no machine has.
const NO_DEVICE: u64 = 77;
/// Contents of places that a call may write to.
const UNTOUCHED: u64 = 0x5555_5555_5555_5555;
/// A granule of physical memory on every device so far.
const GRANULE: u64 = 2 << 20;
const NAME: &std::ffi::CStr = c"fcsp_fill";

type Table = CUmemAllocationProp;

fn physical(change: impl FnOnce(&mut Table)) -> Table {
    let mut properties = Table {
        type_: 1,
        requestedHandleTypes: 0,
        location: CUmemLocation { type_: 1, id: 0 },
        win32HandleMetaData: std::ptr::null_mut(),
        compressionType: 0,
        gpuDirectRDMACapable: 0,
        usage: 0,
        reserved: [0; 4],
    };
    change(&mut properties);
    properties
}

fn pool(change: impl FnOnce(&mut CUmemPoolProps)) -> CUmemPoolProps {
    let mut properties = CUmemPoolProps {
        allocType: 1,
        handleTypes: 0,
        location: CUmemLocation { type_: 1, id: 0 },
        win32SecurityAttributes: std::ptr::null_mut(),
        maxSize: 0,
        usage: 0,
        gpuDirectRDMACapable: 0,
        reserved: [0; 53],
    };
    change(&mut properties);
    properties
}

fn flat(width: usize, height: usize, format: u32, channels: u32) -> CUDA_ARRAY_DESCRIPTOR {
    CUDA_ARRAY_DESCRIPTOR {
        Width: width,
        Height: height,
        Format: format,
        NumChannels: channels,
    }
}

fn solid(width: usize, format: u32, flags: u32) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: width,
        Height: 16,
        Depth: 0,
        Format: format,
        NumChannels: 1,
        Flags: flags,
    }
}

/// One wrong call: two places that it may write to, and some host memory.
type Call = fn(&Thread, &mut u64, &mut u64, &[u64; 16]) -> i32;

macro_rules! calls {
    ($(($t:ident, $p:ident, $q:ident, $host:ident) { $($call:literal [$($argument:expr),* $(,)?];)* })*) => {
        /// The calls, by number.
        pub(super) const CALLS: &[(&str, Call)] = &[$($((
            concat!($call, " ", stringify!($($argument),*)),
            |$t, $p, $q, $host| {
                let _ = ($t.number, &$p, &$q, &$host);
                $t.call($call, &[$($argument as u64),*])
            },
        ),)*)*];
    };
}

/// The address of a value that lives until the end of the statement.
macro_rules! at {
    ($value:expr) => {
        &raw const *&$value
    };
}

calls! {
    (t, p, q, host) {
        "cuMemAlloc_v2" [0, 4096];
        "cuMemAlloc_v2" [&raw mut *p, 0];
        "cuMemAlloc_v2" [0, 0];
        "cuMemAlloc_v2" [0, HUGE];
        "cuMemAlloc_v2" [&raw mut *p, HUGE];
        "cuMemAllocPitch_v2" [0, &raw mut *q, 64, 4, 4];
        "cuMemAllocPitch_v2" [&raw mut *p, 0, 64, 4, 4];
        "cuMemAllocPitch_v2" [&raw mut *p, &raw mut *q, 0, 4, 4];
        "cuMemAllocPitch_v2" [&raw mut *p, &raw mut *q, 64, 0, 4];
        "cuMemAllocPitch_v2" [&raw mut *p, &raw mut *q, 64, 4, 5];
        "cuMemAllocPitch_v2" [&raw mut *p, &raw mut *q, 1u64 << 30, 1u64 << 30, 4];
        "cuMemAllocPitch_v2" [&raw mut *p, &raw mut *q, 1u64 << 30, 1u64 << 20, 3];
        "cuMemAllocHost_v2" [0, 16];
        "cuMemAllocHost_v2" [&raw mut *p, 0];
        "cuMemHostAlloc" [&raw mut *p, 4096, 0x80];
        "cuMemAllocManaged" [&raw mut *p, 4096, 0];
        "cuMemAllocManaged" [&raw mut *p, 4096, 3];
        "cuMemAllocManaged" [&raw mut *p, 0, 1];
        "cuMemAllocManaged" [0, 4096, 1];
        "cuMemAllocManaged" [0, 4096, 9];
        "cuMemAllocAsync" [0, 4096, 0];
        "cuMemAllocAsync" [&raw mut *p, 0, 0];
        "cuMemAllocAsync" [&raw mut *p, HUGE, 0];
        "cuMemAllocAsync" [0, HUGE, 0];
        "cuMemAllocFromPoolAsync" [&raw mut *p, 4096, 0, 0];
        "cuMemAllocFromPoolAsync" [0, 4096, t.default_pool(), 0];
        "cuMemAllocFromPoolAsync" [&raw mut *p, 0, t.default_pool(), 0];
        "cuMemAllocFromPoolAsync" [&raw mut *p, HUGE, 0, 0];
        "cuMemFree_v2" [0];
        "cuMemFree_v2" [0xdead_0000u64];
        "cuMemFree_v2" [host.as_ptr()];
        "cuMemFreeAsync" [0, 0];
        "cuMemFreeHost" [0];
        "cuMemFreeHost" [host.as_ptr()];
        "cuMemGetAddressRange_v2" [&raw mut *p, &raw mut *q, 0xdead_0000u64];
        "cuMemGetInfo_v2" [0, 0];
        "cuMemHostAlloc" [0, 4096, 0];
        "cuDeviceTotalMem_v2" [0, t.device()];
        "cuDeviceTotalMem_v2" [&raw mut *p, NO_DEVICE];
        "cuDeviceGet" [&raw mut *p, NO_DEVICE];
        "cuDeviceGet" [0, 0];
        "cuDeviceGet" [&raw mut *p, -1i64];
        "cuDevicePrimaryCtxRetain" [0, t.device()];
        "cuDevicePrimaryCtxRetain" [&raw mut *p, NO_DEVICE];
        "cuDevicePrimaryCtxRelease_v2" [NO_DEVICE];
        "cuDevicePrimaryCtxReset_v2" [NO_DEVICE];
        "cuCtxCreate_v2" [0, 0, t.device()];
        "cuCtxCreate_v2" [&raw mut *p, 0xffff_ff00u64, t.device()];
        "cuCtxCreate_v2" [&raw mut *p, 0, NO_DEVICE];
        "cuCtxCreate_v2" [0, 0xffff_ff00u64, NO_DEVICE];
        "cuCtxDestroy_v2" [0];
        "cuCtxPushCurrent_v2" [0];
        "cuCtxGetLimit" [0, 0];
        "cuCtxSetLimit" [99, 1];
        "cuCtxGetLimit" [&raw mut *p, 99];
        "cuCtxGetDevice" [0];
        "cuStreamCreate" [0, 0];
        "cuStreamCreate" [&raw mut *p, 0xff0];
        "cuStreamDestroy_v2" [0];
        "cuStreamDestroy_v2" [1];
        "cuEventCreate" [0, 0];
        "cuEventCreate" [&raw mut *p, 0xf00];
        "cuEventDestroy_v2" [0];
        "cuEventRecord" [0, 0];
        "cuEventQuery" [0];
        "cuEventSynchronize" [0];
        "cuEventElapsedTime" [&raw mut *p, 0, 0];
        "cuStreamWaitEvent" [0, 0, 0];
        "cuModuleLoadData" [0, TEXT.as_ptr()];
        "cuModuleLoadData" [&raw mut *p, c"no image".as_ptr()];
        "cuModuleLoadData" [&raw mut *p, 0];
        "cuModuleLoad" [&raw mut *p, c"/no/such/image".as_ptr()];
        "cuModuleUnload" [0];
        "cuModuleGetFunction" [&raw mut *p, 0, NAME.as_ptr()];
        "cuLaunchKernel" [0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0];
        "cuLaunchHostFunc" [0, 0, 0];
        "cuMemcpyHtoD_v2" [0, host.as_ptr(), 16];
        "cuMemcpyDtoH_v2" [&raw mut *p, 0, 8];
        "cuMemcpyDtoD_v2" [0, 0, 16];
        "cuMemcpyDtoD_v2" [0, 0, 0];
        "cuMemsetD8_v2" [0, 1, 16];
        "cuMemsetD8_v2" [0, 0, 0];
        "cuMemcpy2D_v2" [at!(CUDA_MEMCPY2D {
            srcMemoryType: 1,
            srcHost: host.as_ptr().cast(),
            srcPitch: 4,
            dstMemoryType: 1,
            dstHost: (&raw mut *p).cast(),
            dstPitch: 4,
            WidthInBytes: 8,
            Height: 1,
            // SAFETY: a struct of integers and addresses, for which zero is a value.
            ..unsafe { std::mem::zeroed() }
        })];
        "cuMemCreate" [&raw mut *p, GRANULE, 0, 0];
        "cuMemCreate" [0, GRANULE, at!(physical(|_| {})), 0];
        "cuMemCreate" [&raw mut *p, 0, at!(physical(|_| {})), 0];
        "cuMemCreate" [&raw mut *p, GRANULE + 1, at!(physical(|_| {})), 0];
        "cuMemCreate" [&raw mut *p, GRANULE, at!(physical(|it| it.type_ = 0)), 0];
        "cuMemCreate" [&raw mut *p, GRANULE, at!(physical(|it| it.location.type_ = 0)), 0];
        "cuMemCreate" [&raw mut *p, GRANULE, at!(physical(|it| it.location.id = 77)), 0];
        "cuMemCreate" [&raw mut *p, GRANULE, at!(physical(|_| {})), 1];
        "cuMemCreate" [&raw mut *p, HUGE, at!(physical(|it| it.type_ = 9)), 0];
        "cuMemCreate" [&raw mut *p, HUGE, at!(physical(|_| {})), 0];
        "cuMemCreate" [&raw mut *p, HUGE, at!(physical(|it| it.location.id = 77)), 0];
        "cuMemAddressReserve" [0, GRANULE, 0, 0, 0];
        "cuMemAddressReserve" [&raw mut *p, 0, 0, 0, 0];
        "cuMemAddressReserve" [&raw mut *p, GRANULE + 1, 0, 0, 0];
        "cuMemAddressReserve" [&raw mut *p, GRANULE, 0, 0, 1];
        "cuMemAddressFree" [0, GRANULE];
        "cuMemMap" [0, GRANULE, 0, 0, 0];
        "cuMemUnmap" [0, GRANULE];
        "cuMemRelease" [0];
        "cuMemRetainAllocationHandle" [&raw mut *p, host.as_ptr()];
        "cuMemExportToShareableHandle" [&raw mut *p, 0, 1, 0];
        "cuMemImportFromShareableHandle" [&raw mut *p, -1i64, 1];
        "cuMemPoolCreate" [0, at!(pool(|_| {}))];
        "cuMemPoolCreate" [&raw mut *p, 0];
        "cuMemPoolCreate" [&raw mut *p, at!(pool(|it| it.allocType = 0))];
        "cuMemPoolCreate" [&raw mut *p, at!(pool(|it| it.location.id = 77))];
        "cuMemPoolCreate" [&raw mut *p, at!(pool(|it| it.location.type_ = 0))];
        "cuMemPoolDestroy" [0];
        "cuMemPoolDestroy" [t.default_pool()];
        "cuMemPoolTrimTo" [0, 0];
        "cuMemPoolSetAttribute" [0, 4, &raw mut *p];
        "cuMemPoolGetAttribute" [0, 4, &raw mut *p];
        "cuDeviceSetMemPool" [t.device(), 0];
        "cuDeviceGetDefaultMemPool" [0, t.device()];
        "cuDeviceGetDefaultMemPool" [&raw mut *p, NO_DEVICE];
        "cuArrayCreate_v2" [0, at!(flat(16, 16, 0x20, 1))];
        "cuArrayCreate_v2" [&raw mut *p, at!(flat(0, 16, 0x20, 1))];
        "cuArrayCreate_v2" [&raw mut *p, at!(flat(16, 16, 0x77, 1))];
        "cuArrayCreate_v2" [&raw mut *p, at!(flat(16, 16, 0x20, 5))];
        "cuArrayCreate_v2" [&raw mut *p, at!(flat(1 << 30, 1 << 30, 0x20, 1))];
        "cuArrayCreate_v2" [&raw mut *p, at!(flat(1 << 16, 1 << 16, 0x77, 1))];
        "cuArrayDestroy" [0];
        "cuMipmappedArrayCreate" [&raw mut *p, at!(solid(16, 0x20, 0)), 0];
        "cuMipmappedArrayCreate" [&raw mut *p, at!(solid(16, 0x77, 0)), 1];
        "cuMipmappedArrayCreate" [0, at!(solid(16, 0x20, 0)), 1];
        "cuMipmappedArrayDestroy" [0];
        "cuArray3DCreate_v2" [&raw mut *p, at!(solid(0, 0x20, 0))];
        "cuArray3DCreate_v2" [&raw mut *p, at!(solid(1 << 30, 0x77, 0))];
        "cuGraphCreate" [0, 0];
        "cuGraphCreate" [&raw mut *p, 1];
        "cuGraphDestroy" [0];
        "cuGraphInstantiateWithFlags" [&raw mut *p, 0, 0];
        "cuGraphLaunch" [0, 0];
        "cuGraphExecDestroy" [0];
        "cuGraphAddEmptyNode" [&raw mut *p, 0, 0, 0];
        "cuStreamBeginCapture_v2" [1, 0];
        "cuStreamBeginCapture_v2" [1, 9];
        "cuStreamEndCapture" [1, &raw mut *p];
        "cuIpcGetMemHandle" [0, 0];
        "cuIpcCloseMemHandle" [0];
        "cuPointerGetAttribute" [0, 2, 0];
        "cuPointerGetAttribute" [&raw mut *p, 2, 0];
        "cuPointerGetAttribute" [&raw mut *p, 2, host.as_ptr()];
        "cuMemHostRegister_v2" [0, 4096, 0];
        "cuMemHostUnregister" [host.as_ptr()];
        "cuDeviceGetAttribute" [0, 1, t.device()];
        "cuDeviceGetAttribute" [&raw mut *p, 1, NO_DEVICE];
        "cuDriverGetVersion" [0];
        "cuInit" [7];
        "cuDeviceGetCount" [0];
        "cuGetProcAddress_v2" [c"cuNoSuchFunction".as_ptr(), &raw mut *p, 12_000, 0, &raw mut *q];
        "cuGetErrorString" [12_345, &raw mut *p];
        "cuDeviceGraphMemTrim" [NO_DEVICE];
        "cuDeviceGetGraphMemAttribute" [t.device(), 99, &raw mut *p];
        "cuLibraryLoadData" [&raw mut *p, c"no image".as_ptr(), 0, 0, 0, 0, 0, 0];
        "cuLibraryUnload" [0];
        "cuLibraryGetKernel" [&raw mut *p, 0, NAME.as_ptr()];
    }
}

impl Thread<'_> {
    pub(super) fn wrong(&mut self, choice: u64) -> Done {
        let (name, call) = CALLS[choice as usize % CALLS.len()];
        if self.world.session.loud {
            eprintln!("    {name}");
        }
        let (mut first, mut second, host) = (UNTOUCHED, UNTOUCHED, [0; 16]);
        let refused = call(self, &mut first, &mut second, &host);
        let _ = second;
        // A call that the driver granted after all has made something, of which only that is
        // compared.
        let place = match first {
            UNTOUCHED => 0u64,
            0 => 1,
            _ => 2,
        };
        Some(Outcome::new(refused).exact(place))
    }
}
