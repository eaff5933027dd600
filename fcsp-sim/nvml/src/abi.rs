//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

use fcsp_sim::abi::{self, Vendor};

pub use fcsp_sim::abi::fixed;

/// The result of an exported function's body.
pub type Reply<T = ()> = Result<T, i32>;

pub const UNINITIALIZED: i32 = 1;
pub const INVALID_ARGUMENT: i32 = 2;
pub const NOT_SUPPORTED: i32 = 3;
pub const NOT_FOUND: i32 = 6;
pub const INSUFFICIENT_SIZE: i32 = 7;
pub const DRIVER_NOT_LOADED: i32 = 9;
pub const VERSION_MISMATCH: i32 = 25;

/// The library's own code for a null pointer.
#[derive(Debug)]
pub enum Abi {}

impl Vendor for Abi {
    type Code = i32;
    const NULL_POINTER: i32 = INVALID_ARGUMENT;
}

/// A pointer through which results go out.
pub type Out<T> = abi::Out<T, Abi>;

/// A C string argument.
pub type Text = abi::Text<Abi>;

/// Writes a string into a caller's buffer of `len` bytes; it must fit.
pub fn put_text(buffer: Out<u8>, len: u32, text: &str) -> Reply {
    if buffer.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= len as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    abi::put_text(buffer, len as usize, text)
}
