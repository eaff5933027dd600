//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

use fcsp_sim::abi::{self, Vendor};

pub use fcsp_sim::abi::fixed;

/// The result of an exported function's body.
pub type Reply<T = ()> = Result<T, i32>;

pub const INVALID_ARGS: i32 = 1;
pub const NOT_SUPPORTED: i32 = 2;
pub const OUT_OF_RESOURCES: i32 = 15;
pub const NOT_FOUND: i32 = 31;
/// Not initialised.
pub const INIT_ERROR: i32 = 32;

/// Number and description of each code.
pub const TEXTS: &[(i32, &std::ffi::CStr)] = &[
    (0, c"AMDSMI_STATUS_SUCCESS: Call succeeded."),
    (1, c"AMDSMI_STATUS_INVAL: Invalid parameters."),
    (2, c"AMDSMI_STATUS_NOT_SUPPORTED: Command not supported."),
    (
        15,
        c"AMDSMI_STATUS_OUT_OF_RESOURCES: Not enough memory or other resources.",
    ),
    (31, c"AMDSMI_STATUS_NOT_FOUND: Device not found."),
    (32, c"AMDSMI_STATUS_NOT_INIT: Device not initialized."),
];

/// The library's own code for a null pointer.
#[derive(Debug)]
pub enum Abi {}

impl Vendor for Abi {
    type Code = i32;
    const NULL_POINTER: i32 = INVALID_ARGS;
}

/// A pointer through which results go out.
pub type Out<T> = abi::Out<T, Abi>;

/// Fills a caller's list, whose length comes in and goes out through `n`; without a list its length
/// is asked for.
pub fn fill<T: Copy>(n: Out<u32>, list: Out<T>, items: &[T]) -> Reply {
    if list.is_null() {
        return n.put(items.len() as u32);
    }
    let room = n.get()? as usize;
    for (i, item) in items.iter().take(room).enumerate() {
        list.put_at(i, *item)?;
    }
    n.put(items.len() as u32)?;
    if items.len() > room {
        Err(OUT_OF_RESOURCES)
    } else {
        Ok(())
    }
}
