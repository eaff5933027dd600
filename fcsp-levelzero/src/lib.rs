//! FCSP for oneAPI Level Zero: binds the core's memory tracker and rate limiter to the core API and
//! to Sysman.
//!
//! This crate contains the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_levelzero.so`. An embedder links this one and
//! exports nothing by accident.
//!
//! None of this has run on a device, since none was available. It is exact against the official
//! headers of version 1.4: every function has a role and a type, and every wrapper its place in the
//! loader's tables. It runs under Debian's own loader 1.8.12 on a simulated driver. Everything that
//! depends on a real driver's habits is an estimate, and says so.
//!
//! Known limits:
//! - A program that opens a driver's own library by name and asks it for functions bypasses the
//!   wrappers; so does a static binary. The ways in are the loader's library, its tables, and this
//!   library as a driver.
//! - Functions that came after version 1.9 are met by name, not in tables: no header of the tests
//!   has their places. Two of them launch, `zeCommandListAppendLaunchKernelWithArguments` and
//!   `WithParameters`. A static loader that takes them from a table bypasses the compute share with
//!   them, not the memory quota.
//! - A process's memory is asked of Sysman with the core's handles. It accepts them only with
//!   `ZES_ENABLE_SYSMAN=1` in the environment when the driver is initialised. Otherwise contexts
//!   keep their estimate of 64 MiB for each device, and code is not seen.
//! - A context is refused its first use of a device if less than that estimate is left, since the
//!   use could not be undone.
//! - Memory that is freed with the deferring policy is released at once, while the driver keeps it
//!   until the device is done with it.
//! - Neither a launch nor a list can be interrupted: a tenant pays for a long one afterwards.
//!
//! | module | contents |
//! |---|---|
//! | [`ffi`] | the API's types, by hand, checked against the headers |
//! | [`symbols`] | every function, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`loader`] | dispatch tables; this library as a driver to the loader |
//! | [`vendor`] | the vendor's type, its binding, and this process as wrappers ask for it |
//! | [`fork`] | state that a forked child forgets |
//! | [`device`] | the devices |
//! | [`memory`] | everything that allocates or frees device memory |
//! | [`uses`] | the first use of each context on each device |
//! | [`context`] | contexts and code: memory that the driver takes for itself |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`queues`] | the device of each queue and list |
//! | [`events`] | the library's own events in the application's queues |
//! | [`launch`] | everything that starts work on the device, and waits for it |

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
pub mod queues;
pub mod symbols;
pub mod uses;
pub mod vendor;
