//! ACL, the runtime under it, HCCL and DCMI as an interposer sees them: integers, `#[repr(C)]`
//! structs and function pointer types, written by hand.
//!
//! [`acl`] and [`hccl`] are compared with the published headers. The headers of the runtime
//! ([`rt`]) and of the management library ([`dcmi`]) are in no published package. Their types
//! follow the published sources of CANN and the published reference. Only the simulator and a
//! device can test them.
//!
//! [`fcsp_hook::ffi`] explains how lists are written and compared with the headers.

// The C spelling is the name that a reader searches for, in Huawei's documentation and in a
// debugger.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

pub use fcsp_hook::ffi::{Constant, Field, Function, Layout};

pub mod acl;
pub mod dcmi;
pub mod hccl;
pub mod rt;
