//! FCSP for oneAPI Level Zero: binds the core's memory tracker and rate limiter to the core API and
//! to Sysman.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_levelzero.so`; an embedder links this one and
//! exports nothing by accident.
//!
//! Nothing here has run on a device: none was at hand. It is exact against the official headers of
//! version 1.4 (every function has a role and a type, every wrapper its place in the loader's
//! tables), and runs under Debian's own loader 1.8.12 on a simulated driver. What depends on a real
//! driver's habits is an estimate and says so where it stands.
//!
//! Left open, or to be known:
//! - A program that opens a driver's own library by name and asks it for functions passes the
//!   wrappers by; so does a static binary. The loader's library, its tables and this library as a
//!   driver are the ways in.
//! - Functions that came after version 1.9 are met by name, not in tables: their places are in no
//!   header that the tests have. Of those that launch there are two,
//!   `zeCommandListAppendLaunchKernelWithArguments` and `WithParameters`: a static loader that
//!   takes them from a table passes the compute share with them, not the memory quota.
//! - What the driver holds for a process is asked of Sysman with the core's handles, which it takes
//!   only with `ZES_ENABLE_SYSMAN=1` in the environment when the driver is initialised; without,
//!   contexts keep their estimate of 64 MiB a device and code is not seen.
//! - A context is refused its first use of a device where less than that estimate is left: it could
//!   not be taken back.
//! - Memory that is freed with the policy of deferring is given back when it is asked for, and held
//!   by the driver until the device is done with it.
//! - One launch cannot be interrupted, and neither can a list: a tenant pays for a long one
//!   afterwards.
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

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be
// read side by side.
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
