//! What every backend is made of, whoever the vendor is: a backend adds its tables, its bindings
//! and what its driver alone knows.
//!
//! | room | what is in it |
//! |---|---|
//! | [`library`] | a vendor's libraries and the real functions in them |
//! | [`table`] | the list of wrapped functions; the exports of a preload library |
//! | [`lookup`] | `dlsym`, `dlvsym`: ask the real one first, then swap what we wrap |
//! | [`elf`] | looking into a loaded library without the loader's look-up functions |
//! | [`symbols`] | tables of every function of a library, with its role |
//! | [`ffi`] | a vendor's types by hand, recorded for comparison with its headers |
//! | [`setup`] | making things once, the shield between our code and the host's, the log |
//! | [`thread`] | what a thread remembers: whether it is inside a wrapper |
//! | [`frames`] | whether a function of ours still runs, or was left by a jump |
//! | [`fork`] | forks, noticed in the child |
//! | [`backend`] | what a backend says about its vendor's driver: the one trait it implements |
//! | [`embedding`] | what a program that links backends asks for, in place of the environment |
//! | [`process`] | this process's tenant and devices; fork |
//! | [`device`] | one device's quota: hold, release, measure the overhead |
//! | [`memory`] | the protocol of every allocation |
//! | [`overhead`] | contexts, code and limits: memory the driver takes for itself |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`compute`] | one device's compute share: costs, marks, waits |
//! | [`launch`] | everything that starts work on the device |
//! | [`recordings`] | queues that are being recorded, and questions to the driver beside them |
//!
//! Everything is generic or a macro, so each backend gets code of its own, with its own statics and
//! without indirect calls. Nothing here names a vendor.

pub mod addresses;
pub mod backend;
pub mod compute;
pub mod device;
pub mod elf;
pub mod embedding;
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
