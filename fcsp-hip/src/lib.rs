//! FCSP for AMD HIP: binds the core's memory tracker and rate limiter to the HIP runtime, to ROCm
//! SMI and to AMD SMI.
//!
//! This crate contains the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_hip.so`. An embedder links this one and exports
//! nothing by accident.
//!
//! | module | contents |
//! |---|---|
//! | [`ffi`] | the runtime's types, by hand, checked against the headers |
//! | [`symbols`] | every function of the runtime and of ROCm SMI, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`loader`] | `dlsym` and `hipGetProcAddress`: asks the real one first, then replaces wrapped functions |
//! | [`vendor`] | the vendor's type, its binding, and this process as wrappers ask for it |
//! | [`fork`] | state that a forked child forgets |
//! | [`device`] | the runtime's devices |
//! | [`memory`] | everything that allocates or frees device memory |
//! | [`context`] | contexts, code and limits: memory that the runtime takes for itself |
//! | [`errors`] | refusals as the thread's last error, as if the runtime had refused |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`events`] | events and kernel names, for the compute share |
//! | [`launch`] | everything that starts work on the device |
//! | [`units`] | the tenant's own compute units |
//!
//! No AMD device was available when this was written. The crate is exact against the official
//! headers and runs on the simulated device. Guesses use figures measured for CUDA's backend, and
//! say so.
//!
//! In some releases (ROCm 7) the runtime's functions call each other by their public names, which
//! leads back into the wrappers under a preload library. Therefore a thread enters only one wrapper
//! at a time. Calls that the runtime makes meanwhile go directly to the runtime, uncharged and
//! unlimited. The address of a real function is always one inside the runtime's library, never a
//! wrapper's.

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be
// read side by side.
#![allow(non_snake_case, non_upper_case_globals)]

pub mod context;
pub mod device;
pub mod driver;
pub mod errors;
pub mod events;
pub mod ffi;
pub mod fork;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod loader;
pub mod memory;
pub mod symbols;
pub mod units;
pub mod vendor;
