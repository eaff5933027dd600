//! Fixed Capacity Spatial Partition: one physical accelerator becomes several virtual ones, each with a fixed memory
//! quota and a defined share of the compute, with no change to the driver or to the application.
//!
//! This crate is the door to the parts:
//!
//! | module | what it is | cargo feature |
//! |---|---|---|
//! | the modules below | [`fcsp_core`]: memory tracker, rate limiter, stream classifier, processes, shared state | always |
//! | `ascend` | the backend for Huawei Ascend | `ascend` |
//! | [`cuda`] | the backend for NVIDIA CUDA | `cuda` |
//! | `hip` | the backend for AMD HIP | `hip` |
//! | `gaudi` | the backend for Intel Gaudi | `gaudi` |
//! | `levelzero` | the backend for oneAPI Level Zero | `levelzero` |
//! | `hook` | what every backend is made of | any of those |
//! | the command `fcsp` | run, ps, top, doctor, demo | `cli` (default) |
//!
//! A program that hands out accelerator memory itself needs no preload library: it asks a
//! [`MemoryTracker`](memory::MemoryTracker) before it asks the driver.
//!
//! ```
//! use fcsp::memory::MemoryTracker;
//! use fcsp::region::heap::LocalLedger;
//!
//! let quota = LocalLedger::new(80 << 30, 8 << 30);
//! let block = quota.try_hold(6 << 30).expect("6 of 8 GiB");
//! assert!(quota.try_hold(3 << 30).is_err());
//! block.keep();
//! assert_eq!(quota.usage().used, 6 << 30);
//! ```
//!
//! One that shares a device's time likewise asks a [`Governor`](governor::Governor) before it submits work; the example
//! `embedded_share` runs two tenants that way.
//!
//! One that uses the vendors' own allocators and queues links their backends, calls their wrappers where it called the
//! driver, and says to each what it is to be held to; the example `embedded_two_vendors` serves from the accelerators of two
//! vendors in one process.
//!
//! Libraries take this crate without the command: `fcsp = { version = "0.1", default-features = false }`.

pub use fcsp_core::{
    allocations, classifier, classify, config, control, device, file, governor, limiter, memory, process,
    region, share, spatial, state, tenant, units,
};

#[cfg(feature = "ascend")]
pub use fcsp_ascend as ascend;
#[cfg(feature = "cuda")]
pub use fcsp_cuda as cuda;
#[cfg(feature = "gaudi")]
pub use fcsp_gaudi as gaudi;
#[cfg(feature = "hip")]
pub use fcsp_hip as hip;
#[cfg(any(
    feature = "ascend",
    feature = "cuda",
    feature = "gaudi",
    feature = "hip",
    feature = "levelzero"
))]
pub use fcsp_hook as hook;
#[cfg(feature = "levelzero")]
pub use fcsp_levelzero as levelzero;
