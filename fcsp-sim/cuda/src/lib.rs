//! The simulated accelerator as `libcuda.so.1`.
//!
//! Every function that the real library exports is exported. The modules below define what is
//! modelled, one for each part of the API; the rest answers "not supported" from functions that the
//! build script writes. A device pointer is a host address, so what a program copies in it can copy
//! out.
//!
//! The modules: [`export`] how a function is exported; [`abi`] what its pointers mean; [`codes`]
//! what it returns; [`driver`] the state behind all of them; then the API, part by part.

mod abi;
mod array;
mod attributes;
mod capture;
mod codes;
mod context;
mod copy;
mod device;
mod driver;
mod event;
mod export;
mod graph;
mod green;
mod init;
mod ipc;
mod launch;
mod layout;
mod link;
mod memory;
mod module;
mod node;
mod occupancy;
mod pointer;
mod pool;
mod stream;
mod vmm;

/// Code that the build script made from the lists of names.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
