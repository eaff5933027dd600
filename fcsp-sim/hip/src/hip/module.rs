//! Modules, libraries, functions, links. Code objects and bundles of them are binary images of
//! which nothing is known; an image in the text that the simulator reads is accepted as well.

use super::launch::host_function;
use crate::abi::{In, Out, Text};
use crate::codes::{INVALID_VALUE, Reply};
use crate::export::{cu, handle_api, hip_api, same_api};
use std::ffi::c_char;

/// What the fat binaries that a compiler embeds begin with, and where the pointer to their bundle
/// is.
const WRAPPER: [u8; 4] = *b"FPIH";
const WRAPPED_AT: usize = 8;
/// Bundles of code objects, plain and compressed.
const BUNDLES: [[u8; 4]; 2] = [*b"__CL", *b"CCOB"];
/// Any binary image, for the driver.
static BINARY: [u8; 4] = *b"\x7fELF";

/// Returns the image as the driver reads it.
pub fn image(data: In<u8>) -> Reply<In<u8>> {
    let first = [data.at(0)?, data.at(1)?, data.at(2)?, data.at(3)?];
    if first == WRAPPER {
        let inner =
            In::<u64>::from_raw((data.address() as usize + WRAPPED_AT) as *const u64).get()?;
        return image(In::from_raw(inner as *const u8));
    }
    Ok(if BUNDLES.contains(&first) {
        In::from_raw(BINARY.as_ptr())
    } else {
        data
    })
}

hip_api! {
    fn hipModuleLoadData(place: Out<u64>, data: In<u8>) {
        cu(crate::module::cuModuleLoadData(place, image(data)?))
    }
    fn hipModuleLoadDataEx(place: Out<u64>, data: In<u8>, _n: u32, _options: u64, _values: u64) {
        cu(crate::module::cuModuleLoadData(place, image(data)?))
    }
    fn hipModuleLoadFatBinary(place: Out<u64>, data: In<u8>) {
        cu(crate::module::cuModuleLoadData(place, image(data)?))
    }
    fn hipLibraryLoadData(
        place: Out<u64>, data: In<u8>, jit: u64, jit_values: u64, n: u32, options: u64, values: u64, m: u32,
    ) {
        cu(crate::module::cuLibraryLoadData(place, image(data)?, jit, jit_values, n, options, values, m))
    }
    /// Texture references are not modelled, so no module has any.
    fn hipModuleGetTexRef(_place: Out<u64>, module: u64, _name: Text) {
        super::handles::module(module)?;
        Err(crate::codes::NOT_FOUND)
    }
    fn hipFuncGetAttribute(value: Out<i32>, which: i32, f: u64) {
        // Both number alike; one of HIP's callers may name a function by its host address.
        cu(crate::module::cuFuncGetAttribute(value, which, host_function(f)?))
    }
    fn hipFuncGetAttributes(place: Out<Attributes>, f: u64) {
        let f = host_function(f)?;
        let get = |which| -> Reply<i32> {
            let mut value = 0;
            cu(crate::module::cuFuncGetAttribute(Out::from_raw(&raw mut value), which, f))?;
            Ok(value)
        };
        place.put(Attributes {
            binary: get(6)?,
            cache: get(7)?,
            constant: get(2)? as u64,
            local: get(3)? as u64,
            dynamic: get(8)?,
            threads: get(0)?,
            registers: get(4)?,
            carveout: get(9)?,
            ptx: get(5)?,
            shared: get(1)? as u64,
        })
    }
    fn hipFuncSetAttribute(f: u64, which: i32, value: i32) {
        cu(crate::module::cuFuncSetAttribute(host_function(f)?, which, value))
    }
    fn hipFuncSetCacheConfig(f: u64, config: i32) {
        cu(crate::module::cuFuncSetCacheConfig(host_function(f)?, config))
    }
    fn hipFuncSetSharedMemConfig(f: u64, config: i32) {
        cu(crate::module::cuFuncSetSharedMemConfig(host_function(f)?, config))
    }
    fn hipGetFuncBySymbol(place: Out<u64>, symbol: u64) {
        place.put(host_function(symbol)?)
    }
}

/// `hipFuncAttributes`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    binary: i32,
    cache: i32,
    constant: u64,
    local: u64,
    dynamic: i32,
    threads: i32,
    registers: i32,
    carveout: i32,
    ptx: i32,
    shared: u64,
}

const _: () = assert!(size_of::<Attributes>() == 56);

same_api! {
    fn hipModuleLoad = module::cuModuleLoad(place: Out<u64>, name: Text);
    fn hipLibraryLoadFromFile = module::cuLibraryLoadFromFile(
        place: Out<u64>, name: Text, jit: u64, jit_values: u64, n: u32, options: u64, values: u64, m: u32,
    );
    fn hipLibraryUnload = module::cuLibraryUnload(library: u64);
    fn hipLibraryGetKernel = module::cuLibraryGetKernel(place: Out<u64>, library: u64, name: Text);
    fn hipLibraryGetKernelCount = module::cuLibraryGetKernelCount(n: Out<u32>, library: u64);
    fn hipLinkCreate = link::cuLinkCreate_v2(n: u32, options: u64, values: u64, place: Out<u64>);
    fn hipLinkAddData = link::cuLinkAddData_v2(
        state: u64, kind: i32, data: In<u8>, size: u64, name: Text, n: u32, options: u64, values: u64,
    );
    fn hipLinkAddFile = link::cuLinkAddFile_v2(state: u64, kind: i32, name: Text, n: u32, options: u64, values: u64);
    fn hipLinkComplete = link::cuLinkComplete(state: u64, image: Out<u64>, size: Out<u64>);
    fn hipLinkDestroy = link::cuLinkDestroy(state: u64);
}

handle_api! {
    fn hipModuleUnload[module module] = module::cuModuleUnload(module: u64);
    fn hipModuleGetFunction[module module] = module::cuModuleGetFunction(place: Out<u64>, module: u64, name: Text);
    fn hipModuleGetFunctionCount[module module] = module::cuModuleGetFunctionCount(n: Out<u32>, module: u64);
    fn hipModuleGetGlobal[module module] = module::cuModuleGetGlobal_v2(
        at: Out<u64>, size: Out<u64>, module: u64, name: Text,
    );
}

/// Returns the name of a function, which lives as long as its handle; none for what is no function.
pub extern "C" fn hipKernelNameRef(f: u64) -> *const c_char {
    let mut name = std::ptr::null();
    match crate::module::cuFuncGetName(Out::from_raw(&raw mut name), f) {
        0 => name,
        _ => std::ptr::null(),
    }
}

/// Returns the name of a host function's kernel.
pub extern "C" fn hipKernelNameRefByPtr(f: u64, _stream: u64) -> *const c_char {
    let handle = || -> Reply<u64> {
        super::thread::ready()?;
        host_function(f).map_err(|_| INVALID_VALUE)
    };
    handle().map_or(std::ptr::null(), |f| hipKernelNameRef(f))
}
