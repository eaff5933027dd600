//! Unit reservations: one small file for each tenant, in the folder of the device's claim pages.
//!
//! ```text
//! <state>/devices/<device uuid>/<tenant>.units    layout and units, as text
//! <state>/devices/<device uuid>/units.lock        taken while units are chosen
//! ```
//! Units are chosen once, when the tenant is made, since a program's units are fixed when it
//! starts. A new tenant gets available units, a tenant that ends leaves its units to the next, and
//! neither moves other tenants. A reservation lives as long as its tenant.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;

use super::{Layout, SpatialError, UnitRequest, UnitSet, place};
use crate::config::check_tenant_name;
use crate::device::DeviceUuid;
use crate::file::{self, Folder, SetupLock};
use crate::share::files;
use crate::state::{StateDir, layout};
use crate::units::Ppm;

const EXTENSION: &str = layout::UNITS;
const FIRST_LINE: &str = "fcsp units 1";

/// Unit reservation of a tenant on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitReservation {
    /// Layout of the device.
    pub layout: Layout,
    /// Units of the tenant.
    pub set: UnitSet,
}

/// Reason why units could not be reserved.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The shared folder cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No such units are available. The error names the tenants of the others.
    #[error("{reason}{}", taken_by(holders))]
    Spatial {
        /// Reason.
        reason: SpatialError,
        /// The other tenants and their units.
        holders: Vec<(String, UnitSet)>,
    },
    /// The tenant already runs on all units.
    #[error("it runs on all compute units: what a tenant runs on is fixed while it lives")]
    Everywhere,
    /// The tenant already runs on other units.
    #[error("it runs on compute units {has}: what a tenant runs on is fixed while it lives")]
    Fixed {
        /// Units of the tenant.
        has: UnitSet,
    },
}

fn taken_by(holders: &[(String, UnitSet)]) -> String {
    match holders {
        [] => String::new(),
        holders => {
            let list: Vec<String> = holders
                .iter()
                .map(|(tenant, set)| format!("{tenant} has {set}"))
                .collect();
            format!(" ({})", list.join(", "))
        }
    }
}

impl UnitReservation {
    fn text(&self) -> String {
        let Layout { units, group } = self.layout;
        format!("{FIRST_LINE}\n{units} {group}\n{}\n", self.set)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let (units, group) = lines.next()?.split_once(' ')?;
        Some(Self {
            layout: Layout {
                units: units.parse().ok()?,
                group: group.parse().ok()?,
            },
            set: lines.next()?.parse().ok()?,
        })
    }

    /// Returns the part of the device's units that the set is.
    pub fn part(&self) -> Ppm {
        self.set.part(self.layout.units)
    }
}

/// Reads the reservation of `tenant` on `device`. Returns `None` if it has none.
///
/// # Errors
/// The file cannot be read, or is no reservation.
pub fn read(
    state: &StateDir,
    device: &DeviceUuid,
    tenant: &str,
) -> io::Result<Option<UnitReservation>> {
    let path = files::folder(state, device).join(format!("{tenant}.{EXTENSION}"));
    let bytes = match file::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let odd = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is no claim", path.display()),
        )
    };
    let claim = String::from_utf8(bytes)
        .ok()
        .and_then(|text| UnitReservation::parse(&text));
    claim.map(Some).ok_or_else(odd)
}

/// Reserves units of `device` for `tenant`. They are the units that it has, if it lives and they
/// match its request. Otherwise they are new ones, next to those of every other tenant for which
/// `lives` holds. Reservations of other tenants are removed. `share` is the tenant's share of the
/// device.
///
/// # Errors
/// No such units are available, the tenant lives on others, or the shared folder cannot be used.
pub fn claim(
    state: &StateDir,
    device: &DeviceUuid,
    (tenant, joins): (&str, bool),
    layout: Layout,
    (wish, share): (UnitRequest, Ppm),
    lives: impl Fn(&str) -> bool,
) -> Result<UnitSet, ClaimError> {
    let folder = files::folder(state, device);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)?;
    let _lock = SetupLock::acquire(&folder.join("units.lock"))?;
    if joins {
        return match (read(state, device, tenant)?.map(|claim| claim.set), wish) {
            (None, _) => Err(ClaimError::Everywhere),
            (Some(has), UnitRequest::Units(first, end)) if UnitSet::from_run(first..end) != has => {
                Err(ClaimError::Fixed { has })
            }
            (Some(has), _) => Ok(has),
        };
    }
    let mut holders = Vec::new();
    for entry in std::fs::read_dir(&folder)?.flatten() {
        let name = entry.file_name();
        let Some(other) = name
            .to_str()
            .and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'))
            .filter(|other| check_tenant_name("tenant", other).is_ok())
        else {
            continue;
        };
        if other == tenant {
            continue;
        }
        if !lives(other) {
            // A missing file is no error.
            let _ = Folder::open(&folder)
                .and_then(|folder| folder.remove(&format!("{other}.{EXTENSION}")));
        } else if let Some(claim) = read(state, device, other)? {
            holders.push((other.to_owned(), claim.set));
        }
    }
    holders.sort_by(|one, other| one.0.cmp(&other.0));
    let taken: Vec<UnitSet> = holders.iter().map(|(_, set)| set.clone()).collect();
    let set = place(layout, &taken, wish, share)
        .map_err(|reason| ClaimError::Spatial { reason, holders })?;
    let claim = UnitReservation { layout, set };
    // The tenant's programs may belong to another user than its creator, and read it.
    file::replace(
        &folder.join(format!("{tenant}.{EXTENSION}")),
        claim.text().as_bytes(),
    )?;
    Ok(claim.set)
}

/// Removes every reservation of `tenant`.
pub fn release(state: &StateDir, tenant: &str) {
    let Ok(devices) = std::fs::read_dir(state.path().join(layout::DEVICES)) else {
        return;
    };
    for device in devices.flatten() {
        // A missing file is no error.
        let _ = Folder::open(&device.path())
            .and_then(|folder| folder.remove(&format!("{tenant}.{EXTENSION}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const DEVICE: DeviceUuid = DeviceUuid([4; 16]);
    const LAYOUT: Layout = Layout {
        units: 304,
        group: 8,
    };

    fn take(
        state: &StateDir,
        tenant: &str,
        wish: &str,
        share: Ppm,
        alive: &[&str],
    ) -> Result<String, String> {
        let alive: BTreeSet<&str> = alive.iter().copied().collect();
        let wish = (UnitRequest::parse(wish).unwrap(), share);
        claim(
            state,
            &DEVICE,
            (tenant, alive.contains(tenant)),
            LAYOUT,
            wish,
            |name| alive.contains(name),
        )
        .map(|set| set.to_string())
        .map_err(|error| error.to_string())
    }

    #[test]
    fn tenants_that_live_keep_theirs_and_the_dead_leave_them() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        assert_eq!(take(&state, "a", "auto", 250_000, &[]).unwrap(), "0-71");
        assert_eq!(
            take(&state, "b", "auto", 500_000, &["a"]).unwrap(),
            "72-223"
        );
        let claim = read(&state, &DEVICE, "b").unwrap().unwrap();
        assert_eq!((claim.part(), claim.layout), (500_000, LAYOUT));
        // A second program of a live tenant has the same units.
        assert_eq!(
            take(&state, "a", "auto", 250_000, &["a", "b"]).unwrap(),
            "0-71"
        );
        assert_eq!(take(&state, "a", "0-71", 0, &["a", "b"]).unwrap(), "0-71");
        let error = take(&state, "a", "224-231", 0, &["a", "b"]).unwrap_err();
        assert!(
            error.starts_with("it runs on compute units 0-71"),
            "{error}"
        );
        let error = take(&state, "e", "auto", 250_000, &["a", "b", "e"]).unwrap_err();
        assert!(error.starts_with("it runs on all compute units"), "{error}");
        let error = take(&state, "c", "auto", 500_000, &["a", "b"]).unwrap_err();
        assert_eq!(
            error,
            "152 compute units are wanted and 80 of 304 are free (a has 0-71, b has 72-223)"
        );
        assert!(read(&state, &DEVICE, "c").unwrap().is_none());
        // A dead tenant's units are available.
        assert_eq!(take(&state, "c", "auto", 250_000, &["b"]).unwrap(), "0-71");
        assert!(read(&state, &DEVICE, "a").unwrap().is_none());
        release(&state, "b");
        assert!(read(&state, &DEVICE, "b").unwrap().is_none());
        assert_eq!(take(&state, "d", "72-303", 0, &["c"]).unwrap(), "72-303");
    }

    #[test]
    fn what_is_no_claim_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        take(&state, "a", "auto", 250_000, &[]).unwrap();
        let path = files::folder(&state, &DEVICE).join("a.units");
        for text in [
            "",
            "fcsp units 2\n304 8\n0-71\n",
            "fcsp units 1\n304 8\n",
            "fcsp units 1\n304\n0-71\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&state, &DEVICE, "a").unwrap_err().to_string();
            assert!(error.contains("a.units"), "{error}");
            // The owner of those units is unknown, so no tenant gets any.
            assert!(take(&state, "b", "auto", 250_000, &["a"]).is_err());
        }
    }

    /// Checks that another user's traps in the folder cause neither a wait nor a write elsewhere.
    #[test]
    fn a_pipe_or_a_link_in_a_claims_place_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        take(&state, "a", "auto", 250_000, &[]).unwrap();
        let path = files::folder(&state, &DEVICE).join("a.units");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "kept").unwrap();
        std::fs::remove_file(&path).unwrap();
        crate::file::tests::make_pipe(&path);
        assert!(
            read(&state, &DEVICE, "a")
                .unwrap_err()
                .to_string()
                .contains("regular")
        );
        assert!(take(&state, "b", "auto", 250_000, &["a"]).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(read(&state, &DEVICE, "a").is_err());
        // The reservation replaces the link.
        assert_eq!(take(&state, "a", "auto", 250_000, &[]).unwrap(), "0-71");
        assert_eq!(
            read(&state, &DEVICE, "a").unwrap().unwrap().set.to_string(),
            "0-71"
        );
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept");
        // A file that never ends is read up to the bound.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(read(&state, &DEVICE, "a").unwrap().is_some());
    }

    #[test]
    fn many_that_claim_at_once_meet_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let names: Vec<String> = (0..19).map(|n| format!("t{n}")).collect();
        let sets: Vec<UnitSet> = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| {
                    let state = &state;
                    scope.spawn(move || {
                        claim(
                            state,
                            &DEVICE,
                            (name, false),
                            LAYOUT,
                            (UnitRequest::Share, 52_700),
                            |_| true,
                        )
                        .unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(sets.iter().all(|set| set.len() == 16));
        let all: u32 = (0..304)
            .filter(|unit| sets.iter().any(|set| set.contains(*unit)))
            .count() as u32;
        assert_eq!(all, 304, "19 disjoint sets of 16");
    }
}
