//! Fixed Capacity Spatial Partition: one physical accelerator becomes several virtual ones, each
//! with a fixed memory quota and a defined share of the compute, with no change to the driver or to
//! the application.
//!
//! This crate is the door for embedders. It names the types that a program starts from. The crates
//! behind it have the rest: [`fcsp_core`], and one crate for each vendor.
//!
//! | to | use |
//! |---|---|
//! | ask before device memory is allocated | [`MemoryTracker`]: [`LocalLedger`] in one process, [`Membership`] among processes |
//! | ask before work is submitted | [`Membership::submitter`]: [`Submitter`] |
//! | name a kind of work | [`StreamClassifier`], [`Class`] |
//! | list the processes of a tenant | [`ProcessManager`]: [`TenantProcesses`] |
//! | set limits | [`Config::builder`], [`Quota`], [`Share`] |
//! | join a tenant | [`Tenant`], [`StateDir`] |
//! | name a device | [`DeviceIdentity`], [`DeviceUuid`], [`PciAddress`], [`Selector`] |
//! | call a vendor's driver through its wrappers | the modules `ascend`, `cuda`, `gaudi`, `hip` and `levelzero`, each by the feature of its name |
//!
//! No feature is on by default: `fcsp = "0.1"` is the core alone. The command `fcsp` is the crate
//! `fcsp-cli`. A program that manages tenants for others uses `fcsp-tenancy`.
//!
//! A program that hands out accelerator memory itself needs no preload library: it asks a
//! [`MemoryTracker`] before it asks the driver.
//!
//! ```
//! use fcsp::{LocalLedger, MemoryTracker};
//!
//! let quota = LocalLedger::new(80 << 30, 8 << 30);
//! let block = quota.try_hold(6 << 30).expect("6 of 8 GiB");
//! assert!(quota.try_hold(3 << 30).is_err());
//! block.keep();
//! assert_eq!(quota.usage().used, 6 << 30);
//! ```
//!
//! Processes that share a quota join a tenant by its name, and each takes a slot on the device. The
//! bytes of a process that died are available again, whatever killed it. `fcsp ps` shows the tenant
//! like any other.
//!
//! ```
//! use fcsp::{Config, DeviceIdentity, Membership, MemoryTracker, Quota, StateDir, Tenant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let state = StateDir::at(folder.path());
//! # #[cfg(any())]
//! let state = StateDir::locate();
//! let config = Config::builder()
//!     .tenant("server")?
//!     .memory(Quota::percent(10)?)
//!     .build();
//! let tenant = Tenant::join(&state, &config)?;
//! // As the driver gives them.
//! let (uuid, total) = ("GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778", 80 << 30);
//! let device = DeviceIdentity { index: Some(0), uuid: uuid.parse()?, pci: None };
//! // Follows `fcsp limit` by itself.
//! let quota = Membership::join(tenant, &device, total)?;
//! let block = quota.try_hold(6 << 30)?;
//! assert!(quota.try_hold(3 << 30).is_err());
//! # drop(block);
//! # Ok(())
//! # }
//! ```
//!
//! A program that shares a device's time asks a [`Submitter`] before it submits work. The example
//! `embedded_share` runs two tenants that way. The examples `allocator` and `launcher` are small
//! programs whose limits `fcsp limit` and `fcsp pause` change.
//!
//! A program that uses the vendors' own allocators and queues links their backends, calls their
//! wrappers instead of the driver, and gives each its limits. The example `embedded_two_vendors`
//! serves from the accelerators of two vendors in one process.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use fcsp_core::classifier::{ByName, Launch, StreamClassifier};
pub use fcsp_core::classify::Class;
pub use fcsp_core::config::{Config, ConfigBuilder, ConfigError, Parameter, Quota, Rules, Source};
pub use fcsp_core::control::Limits;
pub use fcsp_core::device::{DeviceIdentity, DeviceUuid, ParseDeviceError, PciAddress, Selector};
pub use fcsp_core::limiter::{Admission, Position, RateLimiter, Work};
pub use fcsp_core::membership::Membership;
pub use fcsp_core::memory::{Denied, MemoryTracker, Reservation, Usage};
pub use fcsp_core::process::{Identity as ProcessIdentity, ProcessManager};
pub use fcsp_core::region::heap::LocalLedger;
pub use fcsp_core::region::{Attachment, Governed, RegionError};
pub use fcsp_core::share::params::{Mode, ParamError, Params as Share, Priority};
pub use fcsp_core::state::{STATE_DIR_VARIABLE, StateDir};
pub use fcsp_core::submitter::{Markers, Submitter, SubmitterError};
pub use fcsp_core::tenant::{Tenant, TenantError, TenantProcesses};
pub use fcsp_core::units::{Bytes, Percent, Ppm, UnitError};

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
