//! Devices, contexts, code and look-ups.

use core::ffi::{c_char, c_void};

use fcsp_hook::functions;

use super::*;

functions! {
    /// Devices, contexts, code and look-ups.
    CONTEXT_FUNCTIONS -> hipError_t;
    __hipPopCallConfiguration(gridDim: *mut dim3, blockDim: *mut dim3, sharedMem: *mut usize, stream: *mut hipStream_t);
    __hipPushCallConfiguration(gridDim: dim3, blockDim: dim3, sharedMem: usize, stream: hipStream_t);
    hipConfigureCall(gridDim: dim3, blockDim: dim3, sharedMem: usize, stream: hipStream_t);
    hipCtxCreate(ctx: *mut hipCtx_t, flags: u32, device: hipDevice_t);
    hipCtxDestroy(ctx: hipCtx_t);
    hipCtxGetCurrent(ctx: *mut hipCtx_t);
    hipDeviceGetDefaultMemPool(mem_pool: *mut hipMemPool_t, device: i32);
    hipDeviceGetGraphMemAttribute(device: i32, attr: hipGraphMemAttributeType, value: *mut c_void);
    hipDeviceGetLimit(pValue: *mut usize, limit: hipLimit_t);
    hipDeviceGetMemPool(mem_pool: *mut hipMemPool_t, device: i32);
    hipDeviceGetPCIBusId(pciBusId: *mut c_char, len: i32, device: i32);
    hipDeviceGetUuid(uuid: *mut hipUUID, device: hipDevice_t);
    hipDevicePrimaryCtxGetState(dev: hipDevice_t, flags: *mut u32, active: *mut i32);
    hipDevicePrimaryCtxRelease(dev: hipDevice_t);
    hipDevicePrimaryCtxReset(dev: hipDevice_t);
    hipDevicePrimaryCtxRetain(pctx: *mut hipCtx_t, dev: hipDevice_t);
    hipDevicePrimaryCtxSetFlags(dev: hipDevice_t, flags: u32);
    hipDeviceReset();
    hipDeviceSetLimit(limit: hipLimit_t, value: usize);
    hipDriverGetVersion(driverVersion: *mut i32);
    hipExtGetLastError();
    hipGetDevice(deviceId: *mut i32);
    hipGetDeviceCount(count: *mut i32);
    hipGetDriverEntryPoint, hipGetDriverEntryPoint_spt(symbol: *const c_char, funcPtr: *mut *mut c_void, flags: u64, driverStatus: *mut hipDriverEntryPointQueryResult);
    hipGetFuncBySymbol(functionPtr: *mut hipFunction_t, symbolPtr: *const c_void);
    hipGetLastError();
    hipGetProcAddress(symbol: *const c_char, pfn: *mut *mut c_void, hipVersion: i32, flags: uint64_t, symbolStatus: *mut hipDriverProcAddressQueryResult);
    hipGetSymbolAddress(devPtr: *mut *mut c_void, symbol: *const c_void);
    hipGetSymbolSize(size: *mut usize, symbol: *const c_void);
    hipHostMalloc(ptr: *mut *mut c_void, size: usize, flags: u32);
    hipInit(flags: u32);
    hipLibraryGetKernel(pKernel: *mut hipKernel_t, library: hipLibrary_t, name: *const c_char);
    hipLibraryLoadData(library: *mut hipLibrary_t, code: *const c_void, jitOptions: *mut *mut hipJitOption, jitOptionsValues: *mut *mut c_void, numJitOptions: u32, libraryOptions: *mut *mut hipLibraryOption, libraryOptionValues: *mut *mut c_void, numLibraryOptions: u32);
    hipLibraryLoadFromFile(library: *mut hipLibrary_t, fileName: *const c_char, jitOptions: *mut *mut hipJitOption, jitOptionsValues: *mut *mut c_void, numJitOptions: u32, libraryOptions: *mut *mut hipLibraryOption, libraryOptionValues: *mut *mut c_void, numLibraryOptions: u32);
    hipLibraryUnload(library: hipLibrary_t);
    hipMemPoolGetAttribute(mem_pool: hipMemPool_t, attr: hipMemPoolAttr, value: *mut c_void);
    hipModuleGetFunction(function: *mut hipFunction_t, module: hipModule_t, kname: *const c_char);
    hipModuleGetGlobal(dptr: *mut hipDeviceptr_t, bytes: *mut usize, hmod: hipModule_t, name: *const c_char);
    hipModuleLoad(module: *mut hipModule_t, fname: *const c_char);
    hipModuleLoadData(module: *mut hipModule_t, image: *const c_void);
    hipModuleLoadDataEx(module: *mut hipModule_t, image: *const c_void, numOptions: u32, options: *mut hipJitOption, optionValues: *mut *mut c_void);
    hipModuleLoadFatBinary(module: *mut hipModule_t, fatbin: *const c_void);
    hipModuleUnload(module: hipModule_t);
    hipPeekAtLastError();
    hipPointerGetAttribute(data: *mut c_void, attribute: hipPointer_attribute, ptr: hipDeviceptr_t);
    hipPointerGetAttributes(attributes: *mut hipPointerAttribute_t, ptr: *const c_void);
    hipSetDevice(deviceId: i32);
    hipSetDeviceFlags(flags: u32);
    hipSetValidDevices(device_arr: *mut i32, len: i32);
}
