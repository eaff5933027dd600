//! FCSP for oneAPI Level Zero: binds the core's memory tracker and rate limiter to the core API and to Sysman.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/` gives them their C
//! names and builds `libfcsp_levelzero.so`; an embedder links this one and exports nothing by accident.
//!
//! | room | what is in it |
//! |---|---|
//! | [`ffi`] | the API's types, by hand, checked against the headers |
//! | [`symbols`] | every function, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`loader`] | dispatch tables; this library as a driver to the loader |
//! | [`process`] | this process's tenant and devices |
//! | [`device`] | which devices there are |
//! | [`memory`] | everything that takes or gives back device memory |
//! | [`context`] | contexts and code: memory the driver takes for itself |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`queues`] | which queue and which list belongs to which device |
//! | [`events`] | events of our own in the application's queues |
//! | [`launch`] | everything that starts work on the device, and waits for it |

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be read side by side.
#![allow(non_snake_case)]

pub mod context;
pub mod device;
pub mod driver;
pub mod events;
pub mod ffi;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod loader;
pub mod memory;
pub mod process;
pub mod queues;
pub mod symbols;
