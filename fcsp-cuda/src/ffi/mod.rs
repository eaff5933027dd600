//! The CUDA driver API and NVML as an interposer sees them: integers, `#[repr(C)]` structs and
//! function pointer types, written by hand.
//!
//! C names are kept, with one Rust alias for each exported symbol. `cuMemAlloc` is the 32-bit ABI
//! that `libcuda` still exports under that name. `cuMemAlloc_v2` is the function that today's
//! headers call `cuMemAlloc`.
//!
//! [`fcsp_hook::ffi`] explains how lists are written and compared with the headers.

// The C spelling is the name that a reader searches for, in NVIDIA's documentation and in a
// debugger.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

pub use fcsp_hook::ffi::{Constant, Field, Function, Layout};

pub mod cuda;
pub mod nvml;
