//! Pointer arguments of this library's functions: null, or what the prototype says.

use crate::codes::{Code, PARAM_INVALID};
use fcsp_sim::abi::{self, Vendor};

pub use fcsp_sim::abi::put_text;

/// The library's own code for a null pointer.
#[derive(Debug)]
pub enum Abi {}

impl Vendor for Abi {
    type Code = Code;
    const NULL_POINTER: Code = PARAM_INVALID;
}

/// A pointer through which results go out.
pub type Out<T> = abi::Out<T, Abi>;

/// A pointer from which arguments come in.
pub type In<T> = abi::In<T, Abi>;

/// A C string argument.
pub type Text = abi::Text<Abi>;
