//! Binaries, functions, arguments and launches.

use crate::{INVALID_PARAM, forward, rt};

/// The head of `rtArgsEx_t`, and the rest of it.
#[repr(C)]
#[derive(Debug)]
pub struct Args {
    args: u64,
    inputs: u64,
    size: u32,
    tiling_address: u32,
    tiling_data: u32,
    inputs_count: u16,
    has_tiling: u8,
    no_copy: u8,
    reserved: [u8; 4],
}

/// `rtDevBinary_t`, which `aclrtCreateBinary` hands out.
#[derive(Debug)]
pub struct Binary {
    data: u64,
    length: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtCreateBinary(data: u64, length: u64) -> *mut Binary {
    if data == 0 {
        return std::ptr::null_mut();
    }
    Box::into_raw(Box::new(Binary { data, length }))
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtDestroyBinary(binary: *mut Binary) -> i32 {
    if binary.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: made by `aclrtCreateBinary`, by the API's contract, and given back once.
    drop(unsafe { Box::from_raw(binary) });
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtBinaryLoad(binary: *const Binary, place: *mut u64) -> i32 {
    // SAFETY: null or made by `aclrtCreateBinary`.
    match unsafe { binary.as_ref() } {
        // SAFETY: the runtime checks the rest.
        Some(b) => unsafe { rt::rtBinaryLoadWithoutTilingKey(b.data, b.length, place) },
        None => INVALID_PARAM,
    }
}

forward! {
    fn aclrtBinaryUnLoad(binary: u64) = rtBinaryUnLoad(binary);
    fn aclrtBinaryLoadFromData(data: u64, length: u64, options: u64, place: *mut u64) = rtsBinaryLoadFromData(data, length, options, place);
    fn aclrtBinaryLoadFromFile(path: u64, options: u64, place: *mut u64) = rtsBinaryLoadFromFile(path, options, place);
    fn aclrtBinaryGetFunction(binary: u64, name: u64, place: *mut u64) = rtsFuncGetByName(binary, name, place);
    fn aclrtGetFunctionName(f: u64, len: u32, text: *mut u8) = rtsFuncGetName(f, len, text);
    fn aclrtKernelArgsInit(f: u64, place: *mut u64) = rtsKernelArgsInit(f, place);
    fn aclrtKernelArgsAppend(args: u64, param: u64, size: u64, placed: *mut u64) = rtsKernelArgsAppend(args, param, size, placed);
    fn aclrtKernelArgsFinalize(args: u64) = rtsKernelArgsFinalize(args);
    fn aclrtLaunchKernelWithConfig(f: u64, blocks: u32, stream: u64, config: u64, args: u64, reserve: u64) = rtsLaunchKernelWithConfig(f, blocks, stream, config, args, reserve);
    fn aclrtLaunchKernelV2(f: u64, blocks: u32, args: u64, size: u64, config: u64, stream: u64) = rtsLaunchKernelWithDevArgs(f, blocks, stream, config, args, size as u32, 0);
    fn aclrtLaunchKernelWithHostArgs(f: u64, blocks: u32, stream: u64, config: u64, args: u64, size: u64, holders: u64, count: u64) = rtsLaunchKernelWithHostArgs(f, blocks, stream, config, args, size as u32, holders, count);
}

#[unsafe(no_mangle)]
pub extern "C" fn aclrtLaunchKernel(f: u64, blocks: u32, data: u64, size: u64, stream: u64) -> i32 {
    if f == 0 || data == 0 {
        return INVALID_PARAM;
    }
    let args = Args {
        args: data,
        inputs: 0,
        size: size as u32,
        tiling_address: 0,
        tiling_data: 0,
        inputs_count: 0,
        has_tiling: 0,
        no_copy: 1,
        reserved: [0; 4],
    };
    // SAFETY: the description outlives the call.
    unsafe { rt::rtLaunchKernelByFuncHandleV3(f, blocks, &args, stream, 0) }
}
