//! Fixed Capacity Spatial Partition: one physical accelerator becomes several virtual ones, each
//! with a fixed memory quota and a defined share of the compute, with no change to the driver or to
//! the application.
//!
//! This crate is the door to the parts:
//!
//! | module | what it is | cargo feature |
//! |---|---|---|
//! | the modules below | [`fcsp_core`]: memory tracker, rate limiter, stream classifier, processes, shared state | always |
//! | `ascend` | the backend for Huawei Ascend | `ascend` |
//! | `cuda` | the backend for NVIDIA CUDA | `cuda` |
//! | `hip` | the backend for AMD HIP | `hip` |
//! | `gaudi` | the backend for Intel Gaudi | `gaudi` |
//! | `levelzero` | the backend for oneAPI Level Zero | `levelzero` |
//! | `hook` | what every backend is made of | any of those |
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
//! Processes that share a quota join a tenant by its name, and each takes a place on the device.
//! What one held that died is free again, whatever killed it, and `fcsp ps` and `fcsp limit` see
//! the tenant as they see any other.
//!
//! ```
//! use fcsp::config::env;
//! use fcsp::device::DeviceIdentity;
//! use fcsp::memory::MemoryTracker;
//! use fcsp::region::Governed;
//! use fcsp::state::StateDir;
//! use fcsp::tenant::Tenant;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let state = StateDir::at(folder.path());
//! # #[cfg(any())]
//! let state = StateDir::locate();
//! let settings = [("FCSP_TENANT", "server"), ("FCSP_MEMORY_LIMIT", "10%")];
//! let config = env::read(settings.map(|(name, value)| (name.to_owned(), value.to_owned())))?;
//! let tenant = Tenant::join(&state, &config)?;
//! // As the driver gives them.
//! let (uuid, total) = ("GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778", 80 << 30);
//! let device = DeviceIdentity { index: Some(0), uuid: uuid.parse()?, pci: None };
//! let limit = Tenant::memory_limit(&tenant.limits()?.1, &device, total);
//! let attachment = tenant.attach(&device, total, limit)?;
//! let quota = Governed { attachment: &attachment, limit };
//! let block = quota.try_hold(6 << 30)?;
//! assert!(quota.try_hold(3 << 30).is_err());
//! # drop(block);
//! # Ok(())
//! # }
//! ```
//!
//! One that shares a device's time likewise asks a [`Governor`](governor::Governor) before it
//! submits work; the example `embedded_share` runs two tenants that way.
//!
//! One that uses the vendors' own allocators and queues links their backends, calls their wrappers
//! where it called the driver, and says to each what it is to be held to; the example
//! `embedded_two_vendors` serves from the accelerators of two vendors in one process.
//!
//! No feature is on by default: `fcsp = "0.1"` is the core alone. The command `fcsp` is the crate
//! `fcsp-cli`.

pub use fcsp_core::{
    allocations, classifier, classify, config, control, device, file, governor, limiter, memory,
    places, process, region, share, spatial, state, tenant, tree, units,
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
