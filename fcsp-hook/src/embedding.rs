//! Configuration that a program with linked backends sets in place of the environment.
//!
//! There is one configuration for the whole process: its backends of several vendors belong to one
//! tenant. Rules name each vendor's devices by UUID or PCI address, because every vendor numbers
//! its devices from 0.

use core::sync::atomic::{AtomicPtr, Ordering};

use fcsp_core::config::{Config, ConfigError, Source, file};

/// Null until the first call of [`configure`] or [`in_force`]; then the configuration, leaked, or
/// [`LATE`].
static ASKED: AtomicPtr<Config> = AtomicPtr::new(core::ptr::null_mut());

/// Value of [`ASKED`] after [`in_force`] was called first.
const LATE: *mut Config = usize::MAX as *mut Config;

/// Sets the limits of this process; call it before the first call through a wrapper of any backend.
///
/// The file of the machine's owner takes precedence. So do limits and a tenant's name in the
/// environment, such as those of `fcsp run`: a program cannot leave the tenant that it was started
/// in. A living tenant of the configured name keeps its limits.
///
///  # Errors
/// Returns `config` if the process has its limits already: a backend has read them, or `configure`
/// was called before.
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

/// Returns the configuration in force: the authority's, otherwise the environment's, otherwise the
/// one given to [`configure`].
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
    // The environment of the program's start decides: `fcsp run` leaves a tenant's name and limits
    // there.
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
