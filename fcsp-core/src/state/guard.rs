//! Proof that a tenant's setup lock is held.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::layout;
use crate::file::SetupLock;

/// A tenant's folder whose setup lock this process holds.
///
/// Functions that make or change a tenant's files take one, so a caller without the lock does not
/// compile. Dropping the guard releases the lock.
///
/// ```
/// use fcsp_core::control::{Control, Limits};
/// use fcsp_core::state::SetupGuard;
///
/// # let folder = tempfile::tempdir()?;
/// # let tenant = folder.path();
/// let guard = SetupGuard::acquire(tenant)?;
/// Control::create(&guard)?.write(&Limits::default())?;
/// drop(guard);
/// assert!(Control::open(tenant)?.is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SetupGuard {
    dir: PathBuf,
    lock: SetupLock,
}

impl SetupGuard {
    /// Waits for the setup lock of the tenant in the folder `dir`.
    ///
    /// # Errors
    ///
    /// `NotFound` if the folder is gone; `TimedOut` if another process keeps the lock.
    pub fn acquire(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            lock: SetupLock::acquire(&dir.join(layout::SETUP_LOCK))?,
            dir: dir.to_owned(),
        })
    }

    /// Takes the setup lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub fn try_acquire(dir: &Path) -> io::Result<Option<Self>> {
        let lock = SetupLock::try_acquire(&dir.join(layout::SETUP_LOCK))?;
        Ok(lock.map(|lock| Self {
            lock,
            dir: dir.to_owned(),
        }))
    }

    /// Returns the tenant's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Deref for SetupGuard {
    type Target = SetupLock;

    fn deref(&self) -> &SetupLock {
        &self.lock
    }
}
