//! The HIP runtime, ROCm SMI and AMD SMI as an interposer sees them: integers, `#[repr(C)]` structs
//! and function pointer types, written by hand.
//!
//! C names are kept as they are, one Rust alias per exported symbol. Of structures that changed
//! with HIP 6 both forms are here, under the names of their revisions (`R0000`, `R0600`).
//!
//! How lists are written and compared with the headers is in [`fcsp_hook::ffi`].

// The C spelling is the name that a reader searches for, in AMD's documentation and in a debugger.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

pub use fcsp_hook::ffi::{Constant, Field, Function, Layout};

pub mod amd_smi;
pub mod hip;
pub mod rocm_smi;
