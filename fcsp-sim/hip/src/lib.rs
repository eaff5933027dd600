//! The simulated accelerator as `libamdhip64.so.6`.
//!
//! HIP's host API is CUDA's driver and runtime APIs in one, call by call, with the same numbers for
//! most results and flags. So is this library: the modules of the CUDA library beside this one,
//! which put objects, streams, graphs and captures over the device model, are compiled in without
//! being exported, and the modules in [`hip`] give them HIP's names, argument orders, structures
//! and its habit of making contexts by itself. Every function that the real library exports (up to
//! HIP 7.2) is exported, under its own symbol version (`hip_4.2` and so on); what is not modelled
//! answers "not supported" from functions that the build script writes.

// Not every module of the driver has a caller here, and HIP's modules use each only in part.
#![allow(dead_code)]
// Names are the API's.
#![allow(non_snake_case)]

#[path = "../../cuda/src/abi.rs"]
mod abi;
#[path = "../../cuda/src/array.rs"]
mod array;
#[path = "../../cuda/src/attributes.rs"]
mod attributes;
#[path = "../../cuda/src/capture.rs"]
mod capture;
#[path = "../../cuda/src/codes.rs"]
mod codes;
#[path = "../../cuda/src/context.rs"]
mod context;
#[path = "../../cuda/src/copy.rs"]
mod copy;
#[path = "../../cuda/src/device.rs"]
mod device;
#[path = "../../cuda/src/driver.rs"]
mod driver;
#[path = "../../cuda/src/event.rs"]
mod event;
mod export;
#[path = "../../cuda/src/graph.rs"]
mod graph;
mod hip;
#[path = "../../cuda/src/ipc.rs"]
mod ipc;
#[path = "../../cuda/src/launch.rs"]
mod launch;
#[path = "../../cuda/src/link.rs"]
mod link;
mod masks;
#[path = "../../cuda/src/memory.rs"]
mod memory;
#[path = "../../cuda/src/module.rs"]
mod module;
#[path = "../../cuda/src/node.rs"]
mod node;
#[path = "../../cuda/src/occupancy.rs"]
mod occupancy;
#[path = "../../cuda/src/pointer.rs"]
mod pointer;
#[path = "../../cuda/src/pool.rs"]
mod pool;
#[path = "../../cuda/src/stream.rs"]
mod stream;
#[path = "../../cuda/src/vmm.rs"]
mod vmm;

/// Code that the build script made from the list of names.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
