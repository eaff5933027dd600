//! Tenants from outside: the part of FCSP above one process.
//!
//! A process of a tenant uses [`fcsp_core`]. A program that manages tenants for others uses this
//! crate: the command `fcsp`, a node agent, a Kubernetes driver. It writes to no terminal.
//!
//! | to | use |
//! |---|---|
//! | list tenants with their limits, memory and processes | [`inventory::all`], [`TenantSnapshot`] |
//! | say how much of a device's time each tenant used | [`Sampler`], [`ComputeUsage`] |
//! | change limits, pause, resume | [`edit_limits`], [`Changes`] |
//! | set a tenant up or join one | [`Request`], [`Placement`] |
//! | make a program one of a tenant's | [`Injection`] |
//! | remove tenants that have ended | [`collect`] |
//! | say what a device number means | [`DeviceOrder`] |
//! | compare promises with devices | [`promises::beyond`] |
//! | name vendors, and find their drivers | [`Vendor`] |
//!
//! Limits change under the tenant's setup lock. [`edit_limits`] takes the proof that it is held:
//!
//! ```
//! use fcsp_core::config::Parameter;
//! use fcsp_core::state::{SetupGuard, StateDir};
//! use fcsp_tenancy::{Changes, DeviceOrder, Error, TenantSnapshot, edit_limits};
//!
//! # let folder = tempfile::tempdir()?;
//! # let state = StateDir::at(folder.path());
//! # state.create_tenant("team-a")?;
//! let guard = SetupGuard::acquire(&state.tenant("team-a"))?;
//! let changes = Changes::new().with(Parameter::Memory, "memory", "12GiB");
//! edit_limits(&guard, &state, |before| -> Result<_, Error> {
//!     Ok(changes.apply(before, &DeviceOrder::default())?)
//! })?;
//! drop(guard);
//! let tenant = TenantSnapshot::read(&state, "team-a");
//! assert_eq!(tenant.memory[0].bytes, Some(12 << 30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod changes;
mod collect;
mod create;
mod device_order;
mod edit;
mod error;
pub mod injection;
pub mod inventory;
mod outer;
mod priority;
pub mod promises;
mod roots;
pub mod rules;
mod sampling;
mod standstill;
pub mod units;
mod usage;
mod vendor;

pub use changes::{Change, Changes};
pub use collect::{Scope, collect};
pub use create::{Overcommit, Placement, Request, Warning};
pub use device_order::{DeviceOrder, VisibleDevice, is_needed};
pub use edit::edit_limits;
pub use error::{Error, MEND};
pub use injection::{Injection, Mount};
pub use inventory::{DeviceSnapshot, TenantSnapshot};
pub use outer::OuterTenant;
pub use roots::Root;
pub use sampling::{INTERVAL, Sampler};
pub use standstill::{PausedProcess, Stance, Standstill, edit_run_state};
pub use usage::ComputeUsage;
pub use vendor::{Present, UnknownVendor, Vendor};
