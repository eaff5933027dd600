//! Tenants whose folder belongs to the node agent.
//!
//! The tenant's processes run as another user, of a group that the agent names. They read the
//! folder and the control page. They write only what they must: the setup lock, the regions and the
//! claim pages, which the agent makes beforehand. They can neither change their limits nor replace
//! or remove a file.
//!
//! ```text
//! tenants/<tenant>          0750 agent:group
//! tenants/<tenant>/control  0640 agent:group
//! tenants/<tenant>/setup.lock, *.region  0660 agent:group
//! devices/<device>/<tenant>.page         0664 agent:group
//! ```

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;

use super::layout::{self, DEVICES, TENANTS};
use super::{SetupGuard, StateDir, make_private};
use crate::config::check_tenant_name;
use crate::control::{Control, Limits};
use crate::device::DeviceIdentity;
use crate::file::{self, Folder};
use crate::places;
use crate::region;
use crate::share::files;

/// Mode of a folder through which users pass and which they cannot list.
const PASSED_MODE: u32 = 0o711;

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

/// Creates a folder of this user if needed, and lets other users pass through it. Another user's
/// folder is refused.
fn let_pass(path: &Path) -> io::Result<()> {
    make_private(path)?;
    let folder = Folder::open(path)?;
    if folder.owner() != places::uid() || folder.is_open() {
        return Err(refused(format!(
            "{} belongs to another user, or other users may write it",
            path.display()
        )));
    }
    places::set_mode(path, PASSED_MODE)
}

/// Gives an open file to the tenant's group.
fn give(file: &File, group: u32, mode: u32) -> io::Result<()> {
    // In this order: a change of group may clear bits of the mode.
    fchown(file, None, Some(group))?;
    file.set_permissions(Permissions::from_mode(mode))
}

impl StateDir {
    /// Creates or completes the folder of a tenant whose processes have the group `group` (its
    /// number) and another user than this process. `devices` are the devices that it may use, with
    /// their bytes. The files of earlier boots are made anew: call this after every boot.
    ///
    /// A new control page has no limits. Write them under the guard that is returned, before the
    /// tenant's processes start.
    ///
    /// # Errors
    ///
    /// An invalid name, a relative state folder, a tenant of that name that this process does not
    /// own, or the system's reason.
    pub fn provide_owned(
        &self,
        name: &str,
        group: u32,
        devices: &[(DeviceIdentity, u64)],
    ) -> io::Result<SetupGuard> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        check_tenant_name("tenant", name).map_err(|error| invalid(error.to_string()))?;
        if !self.path().is_absolute() {
            return Err(invalid(format!(
                "the state folder {} is relative; name it from the root",
                self.path().display()
            )));
        }
        let_pass(self.path())?;
        let_pass(&self.path().join(TENANTS))?;
        let_pass(&self.path().join(DEVICES))?;
        let dir = self.tenant(name);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let meta = std::fs::symlink_metadata(&dir)?;
        if !meta.is_dir() || meta.uid() != places::uid() {
            return Err(refused(format!(
                "{} is not a folder of this user; remove it, or name another tenant",
                dir.display()
            )));
        }
        let setup = SetupGuard::acquire(&dir)?;
        if Control::open(&dir)?.is_none() {
            Control::create(&setup)?.write(&Limits::default())?;
        }
        give(&*file::open_ro(&dir.join(layout::CONTROL))?, group, 0o640)?;
        // Nothing that the tenant's environment asks for replaces the page.
        file::replace(&dir.join(layout::MANAGED), b"")?;
        for (device, total) in devices {
            let path = dir.join(layout::region(&device.uuid));
            let region = region::provide(&path, device, *total, &setup)?;
            give(&region, group, 0o660)?;
            files::provide(self, &device.uuid, name, |page| give(page, group, 0o664))?;
        }
        give(
            &*file::open_ro(&dir.join(layout::SETUP_LOCK))?,
            group,
            0o660,
        )?;
        // Last: until now no process of the tenant reaches a file.
        chown(&dir, None, Some(group))?;
        places::set_mode(&dir, 0o750)?;
        Ok(setup)
    }
}
