//! Pointer arguments of this library's functions: null, or what the prototype says.

use crate::codes::{Code, INVALID_NULL_POINTER, Reply};
use fcsp_sim::abi::{self, Vendor};

pub use fcsp_sim::abi::fixed as text;

/// The library's own code for a null pointer.
#[derive(Debug)]
pub enum Abi {}

impl Vendor for Abi {
    type Code = Code;
    const NULL_POINTER: Code = INVALID_NULL_POINTER;
}

/// A pointer through which results go out.
pub type Out<T> = abi::Out<T, Abi>;

/// A pointer from which arguments come in.
pub type In<T> = abi::In<T, Abi>;

/// A C string argument.
pub type Text = abi::Text<Abi>;

/// Answers a call that lists things: their number if the caller gave no place, else as many as
/// fit.
pub fn put_list<T: Copy>(count: Out<u32>, place: Out<T>, items: &[T]) -> Reply {
    let room = count.get()? as usize;
    if room == 0 || place.is_null() {
        return count.put(items.len() as u32);
    }
    let n = room.min(items.len());
    for (i, item) in items.iter().take(n).enumerate() {
        place.set_at(i, *item);
    }
    count.put(n as u32)
}
