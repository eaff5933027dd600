//! The smallest backend: for the driver that `fcsp-sim/empty/empty.h` describes. It is here to be
//! copied from, and to check that what [`docs/adding-a-vendor.md`] says is true: it takes part in
//! the conformance tests.
//!
//! [`docs/adding-a-vendor.md`]: https://github.com/fcsp/fcsp/blob/main/docs/adding-a-vendor.md

#![allow(non_snake_case)]

pub mod context;
pub mod device;
pub mod driver;
pub mod events;
pub mod ffi;
pub mod fork;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod memory;
pub mod symbols;
pub mod vendor;
