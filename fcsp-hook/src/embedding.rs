//! What a program that links backends asks for, in place of the environment.
//!
//! One configuration for the whole process: backends of several vendors in it belong to one tenant,
//! and rules name each vendor's devices by UUID or PCI address, as numbers begin at 0 with every
//! vendor.

use core::sync::atomic::{AtomicPtr, Ordering};

use fcsp_core::config::{Config, ConfigError, Source, file};

/// Null until somebody asks or looks; then what was asked for, leaked, or [`LATE`].
static ASKED: AtomicPtr<Config> = AtomicPtr::new(core::ptr::null_mut());

/// Stands for "looked at before anybody had asked".
const LATE: *mut Config = usize::MAX as *mut Config;

/// Says what this process is to be held to, before the first call through a wrapper of any backend.
/// The file of the machine's owner beats it, and so do limits and a tenant's name in the
/// environment, such as those of `fcsp run`: a program does not leave the tenant that it was
/// started in. A tenant of that name which lives keeps the limits that it has.
///
/// # Errors
/// Gives `config` back if the process has its limits already: a backend has looked, or this was
/// called before.
pub fn configure(config: Config) -> Result<(), Config> {
    let mine = Box::into_raw(Box::new(config));
    // Release pairs with the Acquire in `in_force`.
    match ASKED.compare_exchange(
        core::ptr::null_mut(),
        mine,
        Ordering::Release,
        Ordering::Relaxed,
    ) {
        Ok(_) => Ok(()),
        // SAFETY: nobody has seen it.
        Err(_) => Err(*unsafe { Box::from_raw(mine) }),
    }
}

/// The configuration in force: the authority's, or else the environment's, or else what was asked
/// for.
pub(crate) fn in_force() -> Result<Config, ConfigError> {
    // Acquire: what was asked for was made before its address was published.
    let asked = match ASKED.compare_exchange(
        core::ptr::null_mut(),
        LATE,
        Ordering::Acquire,
        Ordering::Acquire,
    ) {
        Ok(_) | Err(LATE) => return file::in_force(),
        // SAFETY: leaked in `configure`, never freed.
        Err(asked) => unsafe { &*asked },
    };
    // Whoever started the program decides: `fcsp run` leaves a tenant's name and limits in the
    // environment.
    let outer = file::in_force()?;
    if outer.source != Source::Nothing || outer.tenant.is_some() {
        return Ok(outer);
    }
    Ok(asked.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_first_is_heard() {
        let mut config = Config::unlimited();
        config.tenant = Some("embedded".into());
        configure(config.clone()).unwrap();
        if file::read_authority().unwrap().is_none() {
            assert_eq!(in_force().unwrap(), config);
        }
        let other = Config::unlimited();
        assert_eq!(configure(other.clone()), Err(other));
    }
}
