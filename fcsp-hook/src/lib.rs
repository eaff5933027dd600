//! The neutral part of every backend. A backend adds its tables, its bindings and the knowledge of
//! its driver.
//!
//! | module | contents |
//! |---|---|
//! | [`library`] | a vendor's libraries and the real functions in them |
//! | [`table`] | the list of wrapped functions; the exports of a preload library |
//! | [`lookup`] | `dlsym`, `dlvsym`: asks the real one first, then replaces wrapped functions |
//! | [`elf`] | symbol tables of a loaded library, without the loader's look-up functions |
//! | [`symbols`] | tables of every function of a library, with its role |
//! | [`ffi`] | a vendor's types by hand, recorded for comparison with its headers |
//! | [`setup`] | one-time creation, the shield between wrappers and the program, the log |
//! | [`thread`] | per-thread state: whether the thread is inside a wrapper |
//! | [`frames`] | whether a function still runs, or was left by a jump |
//! | [`fork`] | detection of forks in the child |
//! | [`backend`] | what a backend says about its vendor's driver: the one trait it implements |
//! | [`embedding`] | limits of a program that links backends, in place of the environment |
//! | [`process`] | this process's tenant and devices; fork |
//! | [`device`] | one device's quota: reserve, release, measure the overhead |
//! | [`memory`] | the protocol of every allocation |
//! | [`family`] | what the drivers of one family share beyond that |
//! | [`overhead`] | contexts, code and limits: memory that the driver takes for itself |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`compute`] | one device's compute share: costs, fences, waits |
//! | [`launch`] | everything that starts work on the device |
//! | [`recordings`] | queues that are being recorded, and queries of the driver meanwhile |
//!
//! Everything is generic or a macro, so each backend gets code of its own, with its own statics and
//! without indirect calls. No code here names a vendor.

pub mod addresses;
pub mod backend;
pub mod compute;
pub mod device;
pub mod elf;
pub mod embedding;
pub mod family;
pub mod ffi;
pub mod fork;
pub mod frames;
pub mod info;
pub mod launch;
pub mod library;
pub mod lookup;
pub mod memory;
pub mod overhead;
pub mod process;
pub mod ranks;
pub mod recordings;
pub mod setup;
pub mod symbols;
pub mod table;
pub mod thread;
mod tree;
