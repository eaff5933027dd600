//! What compiled programs register before `main`: their fat binaries, and which host symbol stands
//! for which kernel or variable in them. A binary is loaded into a context with the first use of
//! one of its symbols there.

use super::module::image;
use crate::abi::{In, Out, Text};
use crate::codes::{Code, NOT_FOUND, Reply};
use crate::driver::current;
use crate::export::cu;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Like the real library: a symbol that nobody registered.
const INVALID_DEVICE_FUNCTION: Code = Code(98);

/// A binary and the modules it became, by the number of their context, which no other context ever
/// has.
#[derive(Debug)]
struct Binary {
    data: usize,
    modules: HashMap<u64, u64>,
}

/// A kernel or a variable.
#[derive(Debug, Clone)]
struct Symbol {
    binary: u64,
    name: CString,
    /// By the number of the context.
    functions: HashMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    binaries: HashMap<u64, Binary>,
    kernels: HashMap<u64, Symbol>,
    variables: HashMap<u64, Symbol>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    REGISTRY
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Returns a binary's module in a context.
    fn module(&mut self, binary: u64, context: u64) -> Reply<u64> {
        let b = self.binaries.get_mut(&binary).ok_or(NOT_FOUND)?;
        if let Some(m) = b.modules.get(&context) {
            return Ok(*m);
        }
        let data = image(In::from_raw(b.data as *const u8))?;
        let mut module = 0;
        cu(crate::module::cuModuleLoadData(
            Out::from_raw(&raw mut module),
            data,
        ))?;
        b.modules.insert(context, module);
        Ok(module)
    }
}

/// Returns the function handle of a host function in the current context, if one was registered.
pub fn kernel(host: u64) -> Reply<Option<u64>> {
    let context = current()?.id;
    let mut all = registry();
    let Some(symbol) = all.kernels.get(&host).cloned() else {
        return Ok(None);
    };
    let module = all.module(symbol.binary, context)?;
    if let Some(f) = symbol.functions.get(&context) {
        return Ok(Some(*f));
    }
    let mut f = 0;
    let name = Text::from_raw(symbol.name.as_ptr());
    cu(crate::module::cuModuleGetFunction(
        Out::from_raw(&raw mut f),
        module,
        name,
    ))
    .map_err(|_| INVALID_DEVICE_FUNCTION)?;
    if let Some(s) = all.kernels.get_mut(&host) {
        s.functions.insert(context, f);
    }
    Ok(Some(f))
}

/// Address and size of a registered variable in the current context.
pub fn variable(host: u64) -> Reply<(u64, u64)> {
    let context = current()?.id;
    let mut all = registry();
    let symbol = all.variables.get(&host).cloned().ok_or(Code(13))?;
    let module = all.module(symbol.binary, context)?;
    let (mut at, mut size) = (0, 0);
    let name = Text::from_raw(symbol.name.as_ptr());
    cu(crate::module::cuModuleGetGlobal_v2(
        Out::from_raw(&raw mut at),
        Out::from_raw(&raw mut size),
        module,
        name,
    ))?;
    Ok((at, size))
}

pub extern "C" fn __hipRegisterFatBinary(data: *const c_void) -> *mut u64 {
    let mut all = registry();
    all.next += 1;
    // The handle is an address that programs only hand back; the number behind it says which
    // binary.
    let handle = Box::into_raw(Box::new(all.next));
    all.binaries.insert(
        handle as u64,
        Binary {
            data: data as usize,
            modules: HashMap::new(),
        },
    );
    handle
}

pub extern "C" fn __hipUnregisterFatBinary(handle: *mut u64) {
    let mut all = registry();
    if all.binaries.remove(&(handle as u64)).is_none() {
        return;
    }
    all.kernels.retain(|_, s| s.binary != handle as u64);
    all.variables.retain(|_, s| s.binary != handle as u64);
    // SAFETY: made by `__hipRegisterFatBinary`, and taken out of the registry just now, so only
    // once.
    drop(unsafe { Box::from_raw(handle) });
}

fn symbol(binary: u64, name: *const c_char) -> Option<Symbol> {
    let name = CString::new(Text::from_raw(name).get().ok()?).ok()?;
    Some(Symbol {
        binary,
        name,
        functions: HashMap::new(),
    })
}

pub extern "C" fn __hipRegisterFunction(
    binary: u64,
    host: u64,
    _device: *mut c_char,
    name: *const c_char,
    _threads: u32,
    _tid: u64,
    _bid: u64,
    _block: u64,
    _grid: u64,
    _size: u64,
) {
    if let Some(s) = symbol(binary, name) {
        registry().kernels.insert(host, s);
    }
}

pub extern "C" fn __hipRegisterVar(
    binary: u64,
    host: u64,
    _host_name: *mut c_char,
    name: *const c_char,
    _external: i32,
    _size: u64,
    _constant: i32,
    _global: i32,
) {
    if let Some(s) = symbol(binary, name) {
        registry().variables.insert(host, s);
    }
}

pub extern "C" fn __hipRegisterManagedVar(
    binary: u64,
    host: u64,
    _init: u64,
    name: *const c_char,
    _size: u64,
    _align: u32,
) {
    if let Some(s) = symbol(binary, name) {
        registry().variables.insert(host, s);
    }
}

/// Textures and surfaces are not modelled; a program may register what it never uses.
pub extern "C" fn __hipRegisterTexture(
    _binary: u64,
    _host: u64,
    _a: u64,
    _b: u64,
    _c: i32,
    _d: i32,
    _e: i32,
) {
}

pub extern "C" fn __hipRegisterSurface(
    _binary: u64,
    _host: u64,
    _a: u64,
    _b: u64,
    _c: i32,
    _d: i32,
) {
}
