//! The binding of FCSP: the types that decide for its tenants.
//!
//! Every backend names these four in its `vendor.rs`, and its code is compiled for them: nothing is
//! called indirectly. To have other decisions, write a crate with the same four names and compile
//! the backend's source with that crate under the name `fcsp_binding`. A few lines of a manifest do
//! it; no source of FCSP is edited. `examples/own_policy` shows it for CUDA.

use fcsp_core::classifier::ByName;
use fcsp_core::membership::Membership;
use fcsp_core::share::limiter::ShareLimiter;
use fcsp_core::tenant::{Tenant, TenantProcesses};

/// The memory tracker: a ledger that all processes of a tenant share.
pub type Memory = Membership<&'static Tenant>;
/// The rate limiter: shares of the device's time, among the tenants on it.
pub type Limiter = ShareLimiter<'static>;
/// The stream classifier: by the names of kernels.
pub type Classifier = ByName;
/// The process manager: what a tenant's shared files tell.
pub type Processes = TenantProcesses;
