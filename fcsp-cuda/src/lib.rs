//! See the crate's README.
pub mod ffi;
pub mod symbols;
