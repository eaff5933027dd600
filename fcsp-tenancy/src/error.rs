//! Failures of operations on tenants.

use std::io;

use fcsp_core::config::ConfigError;

/// Advice for files that cannot be read: they are damaged, or another version's.
pub const MEND: &str = "stop the tenant's programs, then `fcsp gc`";

/// Reason why an operation on a tenant failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is wrong, or does not fit the others.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A name without limits joins a tenant, and no such tenant runs.
    #[error("no tenant {name} runs, so there are no limits to join")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// The tenant runs with other limits than those asked for.
    #[error("tenant {name} lives, with memory {memory} and compute {compute}")]
    OtherLimits {
        /// The name.
        name: String,
        /// Its quotas, for people.
        memory: String,
        /// Its shares, for people.
        compute: String,
    },
    /// This process runs in a tenant, and the tenant asked for is no part of it.
    #[error(
        "this runs in tenant {outer}, which a program does not leave, and tenant {name} is no part of it"
    )]
    NotAPart {
        /// The tenant that this process runs in.
        outer: String,
        /// The tenant asked for.
        name: String,
    },
    /// More would be promised of a device than it has.
    #[error("{0}")]
    Overcommitted(String),
    /// The state folder or a file of a tenant cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}
