//! The driver as a program finds it: `dlopen` of `libcuda.so.1`, then `dlsym` or `cuGetProcAddress`
//! for each function, called with integers and pointers. Both calling conventions in use (x86-64
//! and aarch64 Linux) pass those alike, whatever the function's own parameter types, and let a
//! caller pass more than a function takes.

use crate::crash;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::RwLock;

/// Route by which functions are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `dlsym` for every name.
    Symbols,
    /// `cuGetProcAddress` for every name.
    Addresses,
    /// The same, asking for the functions in which stream 0 is the calling thread's own.
    AddressesPerThread,
}

/// Answered for a function that the driver does not have; no driver uses it.
pub const NO_FUNCTION: i32 = 9999;

type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> i32;

/// `CUipcMemHandle`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct IpcHandle(pub [u8; 64]);

/// A loaded driver.
pub struct Driver {
    handle: usize,
    resolver: Option<usize>,
    /// Route by which functions are looked up.
    pub route: Route,
    found: RwLock<HashMap<&'static str, usize>>,
}

impl Driver {
    /// Loads `libcuda.so.1`.
    ///
    /// # Errors
    /// What the loader says.
    pub fn load(route: Route) -> Result<Self, String> {
        // SAFETY: a name that ends with a NUL, and flags; the library's initialisers are the
        // driver's own.
        let handle =
            unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() {
            return Err("libcuda.so.1 cannot be loaded".into());
        }
        // SAFETY: a handle that is never closed, and a name that ends with a NUL.
        let resolver = unsafe { libc::dlsym(handle, c"cuGetProcAddress_v2".as_ptr()) };
        Ok(Self {
            handle: handle as usize,
            resolver: (!resolver.is_null()).then_some(resolver as usize),
            route,
            found: RwLock::default(),
        })
    }

    fn by_symbol(&self, name: &str) -> usize {
        let Ok(name) = CString::new(name) else {
            return 0;
        };
        // SAFETY: a handle that is never closed, and a name that ends with a NUL.
        unsafe { libc::dlsym(self.handle as *mut c_void, name.as_ptr()) as usize }
    }

    /// Returns the address of an exported name by `cuGetProcAddress`, for its base name and its
    /// version.
    fn by_address(&self, name: &str, per_thread: bool) -> usize {
        let (Some(resolver), Some(symbol)) = (self.resolver, fcsp_cuda::symbols::find(name)) else {
            return 0;
        };
        let Ok(base) = CString::new(symbol.base) else {
            return 0;
        };
        let (mut address, mut status) = (0u64, 0u64);
        // SAFETY: the function's own address; a name, two places to write to, a version and flags
        // as it documents.
        let code = unsafe {
            std::mem::transmute::<usize, Function>(resolver)(
                base.as_ptr() as u64,
                &raw mut address as u64,
                u64::from(if symbol.since == 0 {
                    12_000
                } else {
                    symbol.since
                }),
                if per_thread { 2 } else { 1 },
                &raw mut status as u64,
                0,
                0,
                0,
                0,
                0,
                0,
            )
        };
        if code == 0 { address as usize } else { 0 }
    }

    fn find(&self, name: &'static str) -> usize {
        if let Some(&known) = self
            .found
            .read()
            .ok()
            .as_ref()
            .and_then(|found| found.get(name))
        {
            return known;
        }
        let address = match self.route {
            Route::Symbols => 0,
            Route::Addresses => self.by_address(name, false),
            Route::AddressesPerThread => self.by_address(name, true),
        };
        let address = if address == 0 {
            self.by_symbol(name)
        } else {
            address
        };
        if let Ok(mut found) = self.found.write() {
            found.insert(name, address);
        }
        address
    }

    /// Calls `cuIpcOpenMemHandle`, which takes a struct of 64 bytes by value.
    ///
    /// # Safety
    /// `place` must be where an address can be written.
    pub unsafe fn open_memory(&self, place: u64, handle: IpcHandle, flags: u32) -> i32 {
        let address = self.find("cuIpcOpenMemHandle_v2");
        if address == 0 {
            return NO_FUNCTION;
        }
        type Open = unsafe extern "C" fn(u64, IpcHandle, u32) -> i32;
        crash::note("cuIpcOpenMemHandle_v2");
        // SAFETY: the function's own address, with its parameters' sizes and classes; the caller
        // answers for the place.
        let code = unsafe { std::mem::transmute::<usize, Open>(address)(place, handle, flags) };
        crash::note("");
        code
    }

    /// Looks an exported function up, for a call that must not wait for a lock.
    pub fn entry(&self, name: &'static str) -> Entry {
        Entry {
            name,
            address: self.find(name),
        }
    }

    /// Calls an exported function.
    ///
    /// # Safety
    /// The arguments must be what the function documents, as far as it reads or writes through
    /// them.
    pub unsafe fn call(&self, name: &'static str, arguments: &[u64]) -> i32 {
        // SAFETY: by the caller's promise.
        unsafe { self.entry(name).call(arguments) }
    }
}

/// A function of the driver that was looked up.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    name: &'static str,
    address: usize,
}

impl Entry {
    /// Calls the function. Takes no lock of the tester's: a forked child may call it.
    ///
    /// # Safety
    /// The arguments must be what the function documents, as far as it reads or writes through
    /// them.
    pub unsafe fn call(self, arguments: &[u64]) -> i32 {
        let Self { name, address } = self;
        if address == 0 {
            return NO_FUNCTION;
        }
        let mut all = [0; 11];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f, g, h, i, j, k] = all;
        crash::note(name);
        // SAFETY: the function's own address; the caller answers for the arguments.
        let code = unsafe {
            std::mem::transmute::<usize, Function>(address)(a, b, c, d, e, f, g, h, i, j, k)
        };
        crash::note("");
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn sum(one: u64, other: u64) -> i32 {
        (one + other) as i32
    }

    /// Checks that a function that was looked up needs no lock. Another thread may hold the table's
    /// lock at a fork, and no thread of the child would release it.
    #[test]
    fn a_function_that_was_looked_up_is_called_without_the_table() {
        let driver = Driver {
            handle: 0,
            resolver: None,
            route: Route::Symbols,
            found: RwLock::default(),
        };
        driver
            .found
            .write()
            .unwrap()
            .insert("sum", sum as *const () as usize);
        let entry = driver.entry("sum");
        let held = driver.found.write().unwrap();
        // SAFETY: a function of two integers, which are passed as any driver function's.
        assert_eq!(unsafe { entry.call(&[2, 40]) }, 42);
        drop(held);
    }
}
