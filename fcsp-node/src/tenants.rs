//! Tenants by file: which processes form a tenant, and what its limits are.
//!
//! One table is one tenant. Its first keys say which processes belong to it. All that are given
//! must hold. The other keys are those of `/etc/fcsp/tenant.toml`.
//!
//! ```toml
//! [team-a]
//! user = "alice"                  # name or number, with the user's own containers
//! group = "team-a"                # of its processes, which then cannot write their limits
//! memory = "8GiB"
//! compute = "25%"
//!
//! [notebooks]
//! unit = "jupyter.service"        # a unit of the system's service manager
//! memory = "0=8GiB,1=40%"
//! oversubscribe = true            # may promise more of a device than it has
//!
//! [web]
//! container = "3f9d0c5b7a8e"      # the identifier, or at least 12 digits of its beginning
//! memory = "2GiB"
//! ```
//!
//! `pod` takes a pod's UID, and `cgroup` a path from the root of the hierarchy.

pub mod apply;
pub mod file;
pub mod folder;
pub mod matcher;

pub use apply::{Applied, reconcile};
pub use file::{Declaration, FileError};
pub use folder::Declarations;
pub use matcher::Matcher;
