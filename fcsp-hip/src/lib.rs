//! FCSP for AMD HIP: binds the core's memory tracker and rate limiter to the HIP runtime, to ROCm
//! SMI and to AMD SMI.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_hip.so`; an embedder links this one and exports
//! nothing by accident.
//!
//! | room | what is in it |
//! |---|---|
//! | [`ffi`] | the runtime's types, by hand, checked against the headers |
//! | [`symbols`] | every function of the runtime and of ROCm SMI, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`loader`] | `dlsym` and `hipGetProcAddress`: ask the real one first, then swap what we wrap |
//! | [`process`] | what the neutral part asks of this driver, and the wrappers of the process |
//! | [`device`] | what the runtime says of its devices |
//! | [`memory`] | everything that takes or gives back device memory |
//! | [`context`] | contexts, code and limits: memory the runtime takes for itself |
//! | [`errors`] | a refusal is the thread's last error, as if the runtime had refused |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`events`] | events and kernel names, for the compute share |
//! | [`launch`] | everything that starts work on the device |
//! | [`units`] | compute units of the tenant's own |
//!
//! No AMD device was at hand when this was written: it is exact against the official headers and
//! runs on the simulated device; figures that CUDA's backend measured are taken over where a guess
//! was needed, and say so.
//!
//! The runtime's own functions call each other by their public names in some releases (ROCm 7),
//! which under a preload library leads back into the wrappers. Every wrapper therefore enters once
//! a thread: what the runtime calls while it serves a wrapper goes straight to the runtime,
//! uncharged and unlimited, and the address of a real function is always one inside the runtime's
//! library, never a wrapper's.

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be
// read side by side.
#![allow(non_snake_case, non_upper_case_globals)]

pub mod context;
pub mod device;
pub mod driver;
pub mod errors;
pub mod events;
pub mod ffi;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod loader;
pub mod memory;
pub mod process;
pub mod symbols;
pub mod units;
