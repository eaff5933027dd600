//! Authority over priorities: decides which tenant's priority counts.
//!
//! A priority in a claim page is a claim of any user that may write the page. Between pages of one
//! owner, the claimed class counts if the limits in the tenant's folder have it too: that user
//! decides about all of them. Between owners, a class counts for the guarantee if the page belongs
//! to root, or if root has recorded the tenant:
//!
//! ```text
//! <state>/priorities/<tenant>    owner of the page, then rules: `1000 *=high`
//! ```
//! Folder and entry must belong to root, and be writable by root alone. Every other tenant counts
//! as [`Priority::Normal`]; its claimed class then decides only the surplus.

use std::fs::{DirBuilder, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::Rules;
use crate::control::Control;
use crate::device::{DeviceIdentity, DeviceUuid};
use crate::file;
use crate::places;
use crate::share::params::{Params, Priority};
use crate::state::StateDir;

const FOLDER: &str = "priorities";
/// Longest entry that is read, bytes.
const MOST: u64 = 4096;
/// Owner that the kernel shows for users without a number in this user namespace.
const UNKNOWN_OWNER: u32 = 65_534;

/// Classes that count between a neighbour and this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// One owner decides about both: the claimed classes count.
    Said,
    /// Different owners: these classes count, and the claimed class where there is none.
    Apart {
        /// Class of the neighbour.
        theirs: Option<Priority>,
        /// Class of this tenant.
        ours: Option<Priority>,
    },
}

impl Authority {
    /// Returns the classes that count if the pages claim `theirs` and `ours`.
    pub fn classes(self, theirs: Priority, ours: Priority) -> (Priority, Priority) {
        match self {
            Self::Said => (theirs, ours),
            Self::Apart { theirs: a, ours: b } => (a.unwrap_or(theirs), b.unwrap_or(ours)),
        }
    }
}

/// Owner of a claim page: the user that may write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User number of the file's owner.
    user: u32,
    /// True if other users may write it too.
    open: bool,
}

impl Owner {
    /// Returns the owner of a page's file.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            user: meta.uid(),
            open: meta.mode() & 0o022 != 0,
        }
    }

    /// Returns true if one user, and no other, writes both.
    fn is_one_with(self, other: Self) -> bool {
        self.user == other.user && self.user != UNKNOWN_OWNER && !self.open && !other.open
    }

    /// Returns true if an untrusted user may write the file, or truncate it.
    pub fn is_strange(self) -> bool {
        self.open || !file::is_trusted(self.user)
    }

    fn is_root_alone(self) -> bool {
        self.user == 0 && !self.open
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Owner of its page.
    pub owner: Owner,
    /// Class that root has recorded for it, if any.
    pub entered: Option<Priority>,
}

impl Side {
    /// Returns the class that counts. Returns `None` for a page of root's own, whose claimed class
    /// counts.
    fn class(self) -> Option<Priority> {
        (!self.owner.is_root_alone()).then(|| self.entered.unwrap_or_default())
    }
}

/// Returns the classes that count between two tenants.
pub fn between(theirs: Side, ours: Side) -> Authority {
    if theirs.owner.is_one_with(ours.owner) {
        return Authority::Said;
    }
    Authority::Apart {
        theirs: theirs.class(),
        ours: ours.class(),
    }
}

fn folder(state: &StateDir) -> PathBuf {
    state.home().as_ref().unwrap_or(state).path().join(FOLDER)
}

/// Returns true if only root may write it.
fn is_roots(meta: &Metadata) -> bool {
    Owner::of(meta).is_root_alone()
}

/// Returns the class that root has recorded for `tenant`, whose page belongs to `owner`.
pub fn entered(
    state: &StateDir,
    device: &DeviceUuid,
    tenant: &str,
    owner: Owner,
) -> Option<Priority> {
    let folder = folder(state);
    let meta = std::fs::symlink_metadata(&folder).ok()?;
    if !meta.is_dir() || !is_roots(&meta) {
        return None;
    }
    let file = file::open_ro(&folder.join(tenant)).ok()?;
    if !is_roots(&file.metadata().ok()?) {
        return None;
    }
    let mut text = String::new();
    (&*file).take(MOST).read_to_string(&mut text).ok()?;
    read(&text, device, owner)
}

fn read(text: &str, device: &DeviceUuid, owner: Owner) -> Option<Priority> {
    let (user, rules) = text.trim_end().split_once(' ')?;
    if user.parse() != Ok(owner.user) {
        return None;
    }
    let rules = Rules::parse("priority", rules, str::parse::<Priority>).ok()?;
    rules.for_device(&DeviceIdentity {
        index: None,
        uuid: *device,
        pci: None,
    })
}

/// Set of priority classes, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u32);

impl Classes {
    /// Returns the classes that the limits in the folder of `tenant` have for any device.
    pub fn in_limits(state: &StateDir, tenant: &str) -> Self {
        let dir = state.home().as_ref().unwrap_or(state).tenant(tenant);
        let limits = match Control::open(&dir) {
            Ok(Some(page)) => page.read_settled().ok().map(|(_, limits)| limits),
            _ => None,
        };
        let rules = limits.map(|limits| limits.compute).unwrap_or_default();
        Self(
            rules
                .iter()
                .fold(0, |bits, (_, params)| bits | 1 << params.priority.code()),
        )
    }

    /// Returns true if `priority` is in the set. The normal class needs no permission.
    pub fn has(self, priority: Priority) -> bool {
        priority == Priority::Normal || self.0 & 1 << priority.code() != 0
    }
}

/// Records the classes of `tenant`, whose pages belong to `user`. Only root can.
///
/// # Errors
///
/// Any error of the file operations.
pub fn enter(state: &StateDir, tenant: &str, user: u32, shares: &Rules<Params>) -> io::Result<()> {
    let rules: Vec<String> = shares
        .iter()
        .map(|(selector, params)| format!("{selector}={}", params.priority))
        .collect();
    if rules.is_empty() {
        forget(state, tenant);
        return Ok(());
    }
    let folder = folder(state);
    make(&folder)?;
    let entry = folder.join(tenant);
    let text = format!("{user} {}\n", rules.join(","));
    if file::read_text(&entry) == text {
        return Ok(());
    }
    file::replace(&entry, text.as_bytes())
}

/// Creates the folder. Another user may have put something in its place.
fn make(folder: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_dir() && is_roots(&meta) => return Ok(()),
        Ok(_) => {
            let aside = folder.with_file_name(format!(".{FOLDER}.{}", std::process::id()));
            std::fs::rename(folder, aside)?;
        }
        Err(_) => {}
    }
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Regardless of the umask: every user's programs read it.
    places::set_mode(folder, 0o755)
}

/// Removes the record of a removed tenant.
pub fn forget(state: &StateDir, tenant: &str) {
    // A missing file is no error, and only root can remove one.
    let _ = std::fs::remove_file(folder(state).join(tenant));
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn side(user: u32, open: bool, entered: Option<Priority>) -> Side {
        Side {
            owner: Owner { user, open },
            entered,
        }
    }

    #[test]
    fn a_class_counts_by_who_can_write_it() {
        use Priority::{High, Low, Normal};
        for (theirs, ours, expected) in [
            (side(7, false, None), side(7, false, None), (High, Low)),
            (side(7, true, None), side(7, false, None), (Normal, Normal)),
            (side(7, false, None), side(8, false, None), (Normal, Normal)),
            (side(0, false, None), side(8, false, None), (High, Normal)),
            (side(0, true, None), side(8, false, None), (Normal, Normal)),
            (
                side(7, false, Some(High)),
                side(8, false, Some(Low)),
                (High, Low),
            ),
            (side(7, false, None), side(0, false, None), (Normal, Low)),
            (
                side(65_534, false, None),
                side(65_534, false, None),
                (Normal, Normal),
            ),
        ] {
            let counts = between(theirs, ours).classes(High, Low);
            assert_eq!(counts, expected, "{theirs:?} {ours:?}");
        }
    }

    #[test]
    fn an_entry_is_of_one_owner_and_of_devices() {
        let device = DeviceUuid([3; 16]);
        let owner = |user| Owner { user, open: false };
        let text = format!("1000 *=low,{device}=high\n");
        assert_eq!(read(&text, &device, owner(1000)), Some(Priority::High));
        assert_eq!(
            read(&text, &DeviceUuid([4; 16]), owner(1000)),
            Some(Priority::Low)
        );
        assert_eq!(read(&text, &device, owner(1001)), None);
        for text in ["", "1000", "1000 ", "1000 *=best", "x *=high"] {
            assert_eq!(read(text, &device, owner(1000)), None, "{text:?}");
        }
    }

    #[test]
    fn what_root_enters_is_found_and_goes_with_the_tenant() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let (device, owner) = (
            DeviceUuid([3; 16]),
            Owner {
                user: 77,
                open: false,
            },
        );
        let mut shares = Rules::new();
        let high = Params::balanced(500_000).with_priority(Priority::High);
        shares.set(crate::device::Selector::All, high);
        // Something in its place, as another user may put it there.
        std::fs::write(dir.path().join(FOLDER), "").unwrap();
        enter(&state, "t", 77, &shares).unwrap();
        // Every user finds it if root recorded it.
        let expected = (crate::places::uid() == 0).then_some(Priority::High);
        assert_eq!(entered(&state, &device, "t", owner), expected);
        let open = Permissions::from_mode(0o666);
        std::fs::set_permissions(dir.path().join(FOLDER).join("t"), open).unwrap();
        assert_eq!(
            entered(&state, &device, "t", owner),
            None,
            "anybody may write it"
        );
        forget(&state, "t");
        assert_eq!(entered(&state, &device, "t", owner), None);
    }
}
