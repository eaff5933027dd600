//! FCSP for NVIDIA CUDA: binds the core's memory tracker and rate limiter to the driver API and to
//! NVML.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_cuda.so`; an embedder links this one and exports
//! nothing by accident.
//!
//! What all vendors have in common is in [`fcsp_hook`]; here are the tables, the bindings and what
//! this driver alone knows.
//!
//! | room | what is in it |
//! |---|---|
//! | [`ffi`] | the driver's types, by hand, checked against the headers |
//! | [`symbols`] | every function of the driver and NVML, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`loader`] | `cuGetProcAddress`: ask the real one first, then swap what we wrap; `cuInit` |
//! | [`vendor`] | the vendor's type, its binding, and this process as wrappers ask for it |
//! | [`fork`] | state that a forked child forgets |
//! | [`device`] | who a device is, and what is kept for it |
//! | [`events`] | events and kernel names, for compute shares |
//! | [`memory`] | everything that takes or gives back device memory |
//! | [`context`] | contexts, code and limits: memory the driver takes for itself |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`launch`] | everything that starts work on the device, and everything that waits for it |

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be
// read side by side.
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
pub mod loader;
pub mod memory;
pub mod symbols;
pub mod vendor;
