//! Binaries, functions by handle and by stub, and arguments that are put together call by call.

use crate::abi::{In, Out, Text, put_text};
use crate::codes::{INVALID_HANDLE, PARAM_INVALID, Reply};
use crate::driver::{Open, current, driver, tag};
use crate::export::api;
use fcsp_sim::memory::Kind;
use fcsp_sim::program::{Kernel, Program};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A loaded binary, which lives in device memory.
#[derive(Debug)]
pub struct Binary {
    program: Program,
    /// Where its code is, and on which device; none where no context was current.
    code: Option<(u64, Weak<Open>)>,
    /// Its functions by name. They go with it.
    functions: Mutex<HashMap<String, Arc<Function>>>,
}

/// A function of a binary.
#[derive(Debug)]
pub struct Function {
    /// Its handle; 0 for one that is known by its stub alone.
    pub handle: u64,
    /// The kernel.
    pub kernel: Arc<Kernel>,
}

/// Arguments being put together.
#[derive(Debug, Default)]
pub struct Arguments {
    bytes: Mutex<Vec<u8>>,
}

impl Arguments {
    /// Returns the bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// `rtDevBinary_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Described {
    _magic: u32,
    _version: u32,
    data: In<u8>,
    length: u64,
}

fn load(place: Out<u64>, data: In<u8>, length: u64) -> Reply {
    place.need()?;
    if length < 4 {
        return Err(PARAM_INVALID);
    }
    let first = [data.at(0)?, data.at(1)?, data.at(2)?, data.at(3)?];
    if !Program::is_binary(first) {
        return Err(PARAM_INVALID);
    }
    let d = driver()?;
    // Without a current context the code goes to the device later, which this model leaves out.
    let code = match current() {
        Ok(c) => {
            let device = c.open.device;
            let at = d.memory.alloc(device, tag(device), length, Kind::Module)?;
            Some((at, Arc::downgrade(&c.open)))
        }
        Err(_) => None,
    };
    place.put(d.binaries.add(Binary {
        program: Program::binary(),
        code,
        functions: Mutex::default(),
    }))
}

fn unload(handle: u64) -> Reply {
    let d = driver()?;
    let b = d.binaries.remove(handle)?;
    let functions = b.functions.lock().unwrap_or_else(PoisonError::into_inner);
    for f in functions.values() {
        let _ = d.functions.take(f.handle);
    }
    let mut stubs = d.stubs.write().unwrap_or_else(PoisonError::into_inner);
    stubs.retain(|_, s| !functions.values().any(|f| Arc::ptr_eq(s, f)));
    drop(stubs);
    // Code went with its device if that was closed meanwhile.
    if let Some((at, open)) = &b.code
        && open.upgrade().is_some_and(|o| o.usable().is_ok())
    {
        d.memory.free(*at, true)?;
    }
    Ok(())
}

fn function(handle: u64, name: &str) -> Reply<Arc<Function>> {
    let d = driver()?;
    let b = d.binaries.get(handle)?;
    let mut functions = b.functions.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = functions.get(name) {
        return Ok(known.clone());
    }
    let kernel = Arc::new(b.program.kernel(name)?);
    let (_, f) = d.functions.add_with(|handle| Function { handle, kernel });
    functions.insert(name.to_string(), f.clone());
    Ok(f)
}

/// Returns the function of a binary whose variants are numbered by tiling key.
pub fn tiled(handle: u64, key: u64) -> Reply<Arc<Kernel>> {
    Ok(Arc::new(
        driver()?
            .binaries
            .get(handle)?
            .program
            .kernel(&format!("tiling_{key}"))?,
    ))
}

/// Returns the function registered for a stub.
pub fn stub(at: u64) -> Reply<Arc<Function>> {
    driver()?
        .stubs
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&at)
        .cloned()
        .ok_or(INVALID_HANDLE)
}

api! {
    fn rtDevBinaryRegister, rtRegisterAllKernel(binary: In<Described>, place: Out<u64>) {
        let b = binary.get()?;
        load(place, b.data, b.length)
    }
    fn rtDevBinaryUnRegister, rtBinaryUnLoad(handle: u64) {
        unload(handle)
    }
    fn rtBinaryLoadWithoutTilingKey(data: In<u8>, length: u64, place: Out<u64>) {
        load(place, data, length)
    }
    fn rtsBinaryLoadFromData(data: In<u8>, length: u64, _options: u64, place: Out<u64>) {
        load(place, data, length)
    }
    fn rtsBinaryLoadFromFile(path: Text, _options: u64, place: Out<u64>) {
        let bytes = std::fs::read(path.get()?).map_err(|_| PARAM_INVALID)?;
        load(place, In::from_raw(bytes.as_ptr()), bytes.len() as u64)
    }
    fn rtFunctionRegister(binary: u64, stub: u64, name: Text, _info: u64, _mode: u32) {
        let f = function(binary, &name.get()?)?;
        driver()?.stubs.write().unwrap_or_else(PoisonError::into_inner).insert(stub, f);
        Ok(())
    }
    fn rtsFuncGetByName(binary: u64, name: Text, place: Out<u64>) {
        place.need()?;
        place.put(function(binary, &name.get()?)?.handle)
    }
    fn rtsFuncGetName(f: u64, len: u32, text: Out<u8>) {
        put_text(text, len as usize, &driver()?.functions.get(f)?.kernel.name)
    }
    fn rtsKernelArgsInit(f: u64, place: Out<u64>) {
        driver()?.functions.get(f)?;
        place.put(driver()?.arguments.add(Arguments::default()))
    }
    fn rtsKernelArgsAppend(handle: u64, param: In<u8>, size: usize, placed: Out<u64>) {
        let a = driver()?.arguments.get(handle)?;
        let mut bytes = a.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let at = bytes.len().next_multiple_of(size.clamp(1, 8).next_power_of_two());
        bytes.resize(at, 0);
        bytes.extend(param.list(size)?);
        placed.set(at as u64);
        Ok(())
    }
    fn rtsKernelArgsFinalize(handle: u64) {
        driver()?.arguments.get(handle)?;
        Ok(())
    }
}
