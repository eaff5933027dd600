//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

use fcsp_sim::abi::{self, Vendor};

/// The result of an exported function's body.
pub type Reply<T = ()> = Result<T, i32>;

pub const INVALID_ARGS: i32 = 1;
pub const NOT_SUPPORTED: i32 = 2;
pub const INIT_ERROR: i32 = 8;
pub const NOT_FOUND: i32 = 10;
pub const INSUFFICIENT_SIZE: i32 = 11;

/// Number and description of each code.
pub const TEXTS: &[(i32, &std::ffi::CStr)] = &[
    (0, c"RSMI_STATUS_SUCCESS: The function has been executed successfully."),
    (1, c"RSMI_STATUS_INVALID_ARGS: The provided arguments do not meet the preconditions required for calling this function."),
    (2, c"RSMI_STATUS_NOT_SUPPORTED: This function is not supported in the current environment."),
    (8, c"RSMI_STATUS_INIT_ERROR: An error occurred during initialization, during monitor discovery or when when initializing internal data structures."),
    (10, c"RSMI_STATUS_NOT_FOUND: An item required to complete the call was not found."),
    (11, c"RSMI_STATUS_INSUFFICIENT_SIZE: Not enough resources were available to fully execute the call."),
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

/// Writes a string into a caller's buffer of `len` bytes, truncated to fit. Then it fails if the
/// buffer was too small.
pub fn put_text(buffer: Out<u8>, len: usize, text: &str) -> Reply {
    abi::put_text(buffer, len, text)?;
    if text.len() < len {
        Ok(())
    } else {
        Err(INSUFFICIENT_SIZE)
    }
}
