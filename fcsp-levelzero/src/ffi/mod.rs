//! oneAPI Level Zero as an interposer sees it: integers, `#[repr(C)]` structs and function pointer
//! types, written by hand.
//!
//! | room | header |
//! |---|---|
//! | [`ze`] | `ze_api.h`, the core |
//! | [`zes`] | `zes_api.h`, the management functions |
//! | [`zet`] | `zet_api.h`, tools: all pass, and are here so that none is forgotten |
//! | [`ddi`] | the getters of dispatch tables in `ze_ddi.h`, `zes_ddi.h` and `zet_ddi.h` |
//!
//! How lists are written and compared with the headers is in [`fcsp_hook::ffi`].

// The C spelling is the name that a reader searches for, in the specification and in a debugger.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(
    missing_docs,
    reason = "the specification describes what bears its names"
)]

pub use fcsp_hook::ffi::{Constant, Field, Function, Layout};

pub mod ddi;
pub mod ze;
pub mod zes;
pub mod zet;

/// Everything that is wrapped or asked, under one roof. The lists of each module bear the same
/// names; nobody asks for them here.
pub mod all {
    #![allow(ambiguous_glob_reexports)]
    pub use super::ddi::*;
    pub use super::ze::*;
    pub use super::zes::*;
}
