//! Modules, libraries, functions and kernels.

use crate::abi::{In, Out, Text};
use crate::capture::forbid_by;
use crate::codes::{Code, FILE_NOT_FOUND, INVALID_HANDLE, INVALID_VALUE, NOT_FOUND, Reply};
use crate::driver::{current, driver, none_or_usable};
use crate::export::api;
use fcsp_sim::memory::Kind;
use fcsp_sim::program::{Kernel, Program};
use fcsp_sim::strict::{Rule, is_on};
use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A module of a context, or a library, which has a module in each context that uses it.
#[derive(Debug)]
pub struct Module {
    context: u64,
    /// True if it is a library or a library's module in a context. The driver follows handles of
    /// their kernels and functions without a look, and refuses dead ones of other modules;
    /// measured.
    of_library: bool,
    program: Arc<Program>,
    variables: Vec<(String, u64, u64)>,
    functions: Mutex<HashMap<String, u64>>,
    modules: Mutex<HashMap<u64, u64>>,
}

impl Module {
    /// Returns the context it belongs to; 0 for a library.
    pub fn context(&self) -> u64 {
        self.context
    }

    /// Forgets a library's module in a context, which ends with the context.
    pub fn forget_context(&self, context: u64) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.remove(&context);
    }
}

/// A function of a module, or a kernel of a library.
#[derive(Debug)]
pub struct Function {
    /// What the image says of it.
    pub kernel: Arc<Kernel>,
    /// The context it belongs to; 0 for a kernel.
    pub context: u64,
    /// Dynamic shared memory it may be launched with beyond the default, in bytes.
    pub shared: AtomicI32,
    owner: u64,
    name: CString,
    carveout: AtomicI32,
}

/// Reads an image whose length only its own headers tell.
fn read(image: In<u8>) -> Reply<Program> {
    let first = [image.at(0)?, image.at(1)?, image.at(2)?, image.at(3)?];
    if Program::is_binary(first) {
        return Ok(Program::binary());
    }
    Ok(Program::ptx(
        &Text::from_raw(image.address() as *const c_char).get()?,
    )?)
}

fn load(place: Out<u64>, program: impl FnOnce() -> Reply<Program>) -> Reply {
    current()?;
    place.need()?;
    let program = program()?;
    let c = current()?;
    place.put(load_in(&c, Arc::new(program), false)?)
}

fn load_in(c: &Arc<crate::driver::Context>, program: Arc<Program>, of_library: bool) -> Reply<u64> {
    let d = driver()?;
    let mut variables = Vec::new();
    for v in program.variables.iter().filter(|v| v.size > 0) {
        let size = v.size as u64;
        let made = if crate::export::SIZES_ARE_KNOWN && is_on(Rule::Sizes) {
            d.memory.alloc_apart(c.device, c.tag(), size, Kind::Module)
        } else {
            d.memory.alloc(c.device, c.tag(), size, Kind::Module)
        };
        match made {
            Ok(at) => variables.push((v.name.clone(), at, v.size as u64)),
            Err(e) => {
                for (_, at, _) in &variables {
                    let _ = d.memory.free(*at, true);
                }
                return Err(e.into());
            }
        }
    }
    let (functions, modules) = (Mutex::default(), Mutex::default());
    Ok(d.modules.add(Module {
        context: c.tag(),
        of_library,
        program,
        variables,
        functions,
        modules,
    }))
}

fn file(name: Text) -> Reply<Program> {
    let bytes = std::fs::read(name.get()?).map_err(|_| FILE_NOT_FOUND)?;
    match bytes.first_chunk::<4>() {
        Some(first) if Program::is_binary(*first) => Ok(Program::binary()),
        _ => Ok(Program::ptx(&String::from_utf8_lossy(&bytes))?),
    }
}

fn function(m: &Module, owner: u64, name: &str) -> Reply<u64> {
    let mut known = m.functions.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(h) = known.get(name) {
        return Ok(*h);
    }
    let kernel = Arc::new(m.program.kernel(name)?);
    let f = Function {
        kernel,
        context: m.context,
        shared: AtomicI32::new(0),
        owner,
        name: CString::new(name).map_err(|_| INVALID_VALUE)?,
        carveout: AtomicI32::new(-1),
    };
    let d = driver()?;
    let h = if m.of_library {
        d.kernels.add(f)
    } else {
        d.functions.add(f)
    };
    known.insert(name.to_string(), h);
    Ok(h)
}

fn unload(m: &Module) -> Reply {
    let d = driver()?;
    for h in m
        .functions
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
    {
        let _ = d.functions.take(*h).or_else(|_| d.kernels.take(*h));
    }
    for (_, at, _) in &m.variables {
        // Gone already if its context is.
        let _ = d.memory.free(*at, true);
    }
    Ok(())
}

/// Returns a library's module in the current context.
fn module_of(library: u64) -> Reply<u64> {
    let d = driver()?;
    let c = current()?;
    let l = d.libraries.get(library)?;
    let mut modules = l.modules.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(h) = modules.get(&c.tag()) {
        return Ok(*h);
    }
    let h = load_in(&c, l.program.clone(), true)?;
    modules.insert(c.tag(), h);
    Ok(h)
}

fn global(m: &Module, name: Text, at: Out<u64>, size: Out<u64>) -> Reply {
    let name = name.get()?;
    let (_, a, n) = m
        .variables
        .iter()
        .find(|(v, _, _)| *v == name)
        .ok_or(NOT_FOUND)?;
    at.set(*a);
    size.set(*n);
    Ok(())
}

fn list(m: &Module, owner: u64, place: Out<u64>, n: u32) -> Reply {
    for (i, k) in m.program.kernels.iter().take(n as usize).enumerate() {
        place.set_at(i, function(m, owner, &k.name)?);
    }
    Ok(())
}

fn attribute(f: &Function, which: i32) -> Reply<i32> {
    Ok(match which {
        0 => 1024,
        1 => f.kernel.shared as i32,
        2 => 0,
        3 => f.kernel.local as i32,
        4 => 32,
        5 | 6 => 90,
        7 => 0,
        8 => f.shared.load(Relaxed).max(49_152 - f.kernel.shared as i32),
        9 => f.carveout.load(Relaxed),
        10..=16 => 0,
        _ => return Err(INVALID_VALUE),
    })
}

fn set_attribute(f: &Function, which: i32, value: i32) -> Reply {
    match which {
        8 if (0..=232_448).contains(&value) => f.shared.store(value, Relaxed),
        9 if (-1..=100).contains(&value) => f.carveout.store(value, Relaxed),
        11..=15 => {}
        _ => return Err(INVALID_VALUE),
    }
    Ok(())
}

fn parameter(f: &Function, i: u64, offset: Out<u64>, size: Out<u64>) -> Reply {
    // Of a binary image the parameters are not known, which looks like having none.
    let (o, s) = f
        .kernel
        .params
        .as_ref()
        .and_then(|p| p.get(i as usize))
        .copied()
        .ok_or(INVALID_VALUE)?;
    offset.put(o as u64)?;
    size.set(s as u64);
    Ok(())
}

api! {
    fn cuModuleLoad(place: Out<u64>, name: Text) {
        load(place, || file(name))
    }
    fn cuModuleLoadData, cuModuleLoadFatBinary(place: Out<u64>, image: In<u8>) {
        load(place, || read(image))
    }
    fn cuModuleLoadDataEx(place: Out<u64>, image: In<u8>, _n: u32, _options: u64, _values: u64) {
        load(place, || read(image))
    }
    fn cuModuleUnload(module: u64) {
        let d = driver()?;
        let m = d.modules.checked(module)?;
        none_or_usable()?;
        forbid_by(Rule::Captures)?;
        // Work in flight may use its variables.
        if let Ok(c) = d.context(m.context) {
            c.timeline.synchronise()?;
        }
        d.modules.take_checked(module)?;
        unload(&m)
    }
    fn cuModuleGetLoadingMode(mode: Out<i32>) {
        driver()?;
        mode.put(2)
    }
    fn cuModuleGetFunction(place: Out<u64>, module: u64, name: Text) {
        place.need()?;
        let m = driver()?.modules.checked(module)?;
        place.put(function(&m, module, &name.get()?)?)
    }
    fn cuModuleGetFunctionCount(n: Out<u32>, module: u64) {
        n.put(driver()?.modules.checked(module)?.program.kernels.len() as u32)
    }
    fn cuModuleEnumerateFunctions(place: Out<u64>, n: u32, module: u64) {
        list(&*driver()?.modules.checked(module)?, module, place, n)
    }
    fn cuModuleGetGlobal_v2(at: Out<u64>, size: Out<u64>, module: u64, name: Text) {
        global(&*driver()?.modules.checked(module)?, name, at, size)
    }
    fn cuLibraryLoadData(
        place: Out<u64>, image: In<u8>, _jit: u64, _jit_values: u64, _n: u32, _options: u64, _values: u64, _m: u32,
    ) {
        place.need()?;
        let program = Arc::new(read(image)?);
        let (functions, modules) = (Mutex::default(), Mutex::default());
        let l = Module { context: 0, of_library: true, program, variables: Vec::new(), functions, modules };
        place.put(driver()?.libraries.add(l))
    }
    fn cuLibraryLoadFromFile(
        place: Out<u64>, name: Text, _jit: u64, _jit_values: u64, _n: u32, _options: u64, _values: u64, _m: u32,
    ) {
        place.need()?;
        let program = Arc::new(file(name)?);
        let (functions, modules) = (Mutex::default(), Mutex::default());
        let l = Module { context: 0, of_library: true, program, variables: Vec::new(), functions, modules };
        place.put(driver()?.libraries.add(l))
    }
    fn cuLibraryUnload(library: u64) {
        let d = driver()?;
        d.libraries.get(library)?;
        forbid_by(Rule::Captures)?;
        let l = d.libraries.remove(library)?;
        for h in l.modules.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Ok(m) = d.modules.take(*h) {
                if let Ok(c) = d.context(m.context) {
                    c.timeline.synchronise()?;
                }
                unload(&m)?;
            }
        }
        unload(&l)
    }
    fn cuLibraryGetKernel(place: Out<u64>, library: u64, name: Text) {
        place.need()?;
        let l = driver()?.libraries.get(library)?;
        place.put(function(&l, library, &name.get()?)?)
    }
    fn cuLibraryGetKernelCount(n: Out<u32>, library: u64) {
        n.put(driver()?.libraries.get(library)?.program.kernels.len() as u32)
    }
    fn cuLibraryEnumerateKernels(place: Out<u64>, n: u32, library: u64) {
        list(&*driver()?.libraries.get(library)?, library, place, n)
    }
    fn cuLibraryGetModule(place: Out<u64>, library: u64) {
        place.put(module_of(library)?)
    }
    fn cuLibraryGetGlobal(at: Out<u64>, size: Out<u64>, library: u64, name: Text) {
        global(&*driver()?.modules.get(module_of(library)?)?, name, at, size)
    }
    fn cuLibraryGetManaged(_at: Out<u64>, _size: Out<u64>, library: u64, _name: Text) {
        driver()?.libraries.get(library)?;
        // No image format read here declares managed variables.
        Err(NOT_FOUND)
    }
    fn cuKernelGetFunction(place: Out<u64>, kernel: u64) {
        place.need()?;
        let d = driver()?;
        let k = d.function(kernel)?;
        let module = module_of(k.owner)?;
        let m = d.modules.get(module)?;
        place.put(function(&m, module, &k.kernel.name)?)
    }
    fn cuKernelGetLibrary(place: Out<u64>, kernel: u64) {
        let k = driver()?.function(kernel)?;
        if k.context != 0 {
            return Err(INVALID_HANDLE);
        }
        place.put(k.owner)
    }
    fn cuKernelGetName(name: Out<*const c_char>, kernel: u64) {
        // The function, and with it the text, lives as long as its handle.
        name.put(driver()?.function(kernel)?.name.as_ptr())
    }
    fn cuFuncGetName(name: Out<*const c_char>, f: u64) {
        name.put(driver()?.function(f)?.name.as_ptr())
    }
    fn cuFuncGetModule(place: Out<u64>, f: u64) {
        let f = driver()?.function(f)?;
        if f.context == 0 {
            return Err(Code(400));
        }
        place.put(f.owner)
    }
    fn cuFuncGetAttribute(value: Out<i32>, which: i32, f: u64) {
        value.put(attribute(&*driver()?.function(f)?, which)?)
    }
    fn cuFuncSetAttribute(f: u64, which: i32, value: i32) {
        set_attribute(&*driver()?.function(f)?, which, value)
    }
    fn cuFuncSetCacheConfig(f: u64, config: i32) {
        driver()?.function(f)?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn cuFuncSetSharedMemConfig(f: u64, config: i32) {
        driver()?.function(f)?;
        if (0..=2).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn cuFuncGetParamInfo(f: u64, i: u64, offset: Out<u64>, size: Out<u64>) {
        parameter(&*driver()?.function(f)?, i, offset, size)
    }
    fn cuKernelGetParamInfo(k: u64, i: u64, offset: Out<u64>, size: Out<u64>) {
        parameter(&*driver()?.function(k)?, i, offset, size)
    }
    fn cuKernelGetAttribute(value: Out<i32>, which: i32, k: u64, device: i32) {
        driver()?.device(device)?;
        value.put(attribute(&*driver()?.function(k)?, which)?)
    }
    fn cuKernelSetAttribute(which: i32, value: i32, k: u64, device: i32) {
        driver()?.device(device)?;
        set_attribute(&*driver()?.function(k)?, which, value)
    }
    fn cuKernelSetCacheConfig(k: u64, config: i32, device: i32) {
        driver()?.device(device)?;
        driver()?.function(k)?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }
}
