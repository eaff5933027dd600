//! Synapse and HLML as an interposer sees them: integers, `#[repr(C)]` structs and function pointer
//! types, written by hand.
//!
//! The vendor publishes no headers with its packages; these types follow its reference and
//! published sources, and nothing but the simulator and a card can test them.
//!
//! How lists are written is in [`fcsp_hook::ffi`].

// The C spelling is the name that a reader searches for, in the vendor's documentation and in a
// debugger.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

pub use fcsp_hook::ffi::{Constant, Field, Function, Layout};

pub mod hlml;
pub mod synapse;
