//! The parameters of a tenant's limits, with each of their names.

/// A parameter that an option, a variable or a key of the file sets.
///
/// ```
/// use fcsp_core::config::Parameter;
///
/// assert_eq!(Parameter::SharedPool.option(), "--shared-pool");
/// assert_eq!(Parameter::SharedPool.variable(), "FCSP_SHARED_POOL");
/// assert_eq!(Parameter::SharedPool.key(), "shared_pool");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parameter {
    /// Memory quota, by device.
    Memory,
    /// Share of the device's time, by device.
    Compute,
    /// Mode in which the share is enforced.
    Mode,
    /// Class that orders tenants.
    Priority,
    /// Part of the share that stays for low priority.
    Floor,
    /// Most surplus that the tenant may use.
    SharedPool,
    /// Share at which saved tokens may be spent.
    Burst,
}

impl Parameter {
    /// All of them, in the order in which help pages list them.
    pub const ALL: [Self; 7] = [
        Self::Memory,
        Self::Compute,
        Self::Mode,
        Self::Priority,
        Self::Floor,
        Self::SharedPool,
        Self::Burst,
    ];

    /// Returns the option of the command.
    pub const fn option(self) -> &'static str {
        self.names().0
    }

    /// Returns the environment variable.
    pub const fn variable(self) -> &'static str {
        self.names().1
    }

    /// Returns the key of the configuration file.
    pub const fn key(self) -> &'static str {
        self.names().2
    }

    /// Returns whether rules by device set it. The others hold for every device with a share.
    pub const fn is_by_device(self) -> bool {
        matches!(self, Self::Memory | Self::Compute)
    }

    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Memory => ("--memory", "FCSP_MEMORY_LIMIT", "memory"),
            Self::Compute => ("--compute", "FCSP_COMPUTE_LIMIT", "compute"),
            Self::Mode => ("--mode", "FCSP_MODE", "mode"),
            Self::Priority => ("--priority", "FCSP_PRIORITY", "priority"),
            Self::Floor => ("--floor", "FCSP_FLOOR", "floor"),
            Self::SharedPool => ("--shared-pool", "FCSP_SHARED_POOL", "shared_pool"),
            Self::Burst => ("--burst", "FCSP_BURST", "burst"),
        }
    }
}
