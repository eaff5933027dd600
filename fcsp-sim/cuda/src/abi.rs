//! Pointer arguments of this library's functions: null, or what the prototype says.

use crate::codes::{
    CAPTURE_IMPLICIT, CAPTURE_UNSUPPORTED, Code, INVALID_VALUE, OUT_OF_MEMORY, Reply,
};
use fcsp_sim::abi::{self, Vendor};

pub use fcsp_sim::abi::put_text;

/// The library's own code for a null pointer.
#[derive(Debug)]
pub enum Abi {}

impl Vendor for Abi {
    type Code = Code;
    const NULL_POINTER: Code = INVALID_VALUE;
}

/// A pointer through which results go out.
pub type Out<T> = abi::Out<T, Abi>;

/// A pointer from which arguments come in.
pub type In<T> = abi::In<T, Abi>;

/// A C string argument.
pub type Text = abi::Text<Abi>;

/// Results of allocations that fail.
pub trait Nowhere {
    /// Stores zeroes, as a device does that has no memory or whose capture forbids an allocation
    /// (measured, H200, driver 580.159.04). Returns the code.
    fn nowhere<R>(self, code: Code) -> Reply<R>;
}

impl<T: Copy + Default> Nowhere for Out<T> {
    fn nowhere<R>(self, code: Code) -> Reply<R> {
        if [OUT_OF_MEMORY, CAPTURE_UNSUPPORTED, CAPTURE_IMPLICIT].contains(&code) {
            self.set(T::default());
        }
        Err(code)
    }
}
