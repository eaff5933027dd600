//! Which priorities count between tenants: those that somebody with the right to decide wrote down.
//!
//! A priority in a page is a claim of whoever may write the page. Between pages of one owner it
//! counts as it is said, if the limits in the tenant's folder say so as well: that user decides
//! about all of them. Between owners a class counts for the guarantee if the page is root's own, or
//! if root has entered the tenant:
//!
//! ```text
//! <state>/priorities/<tenant>    owner of the page, then rules: `1000 *=high`
//! ```
//! Folder and entry must be root's, and nobody else's to write. Every other tenant counts as
//! [`Priority::Normal`]; the class that it says then decides the surplus only.

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
/// The longest entry that is read, bytes.
const MOST: u64 = 4096;
/// The owner that the kernel shows for every user without a number in this user namespace.
const UNKNOWN_OWNER: u32 = 65_534;

/// The classes that count between a neighbour and this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// One owner decides about both: as the pages say.
    Said,
    /// Different owners: these, and only where there is none as the page says.
    Apart {
        /// The neighbour's class.
        theirs: Option<Priority>,
        /// This tenant's class.
        ours: Option<Priority>,
    },
}

impl Authority {
    /// The classes that count where the pages say `theirs` and `ours`.
    pub fn classes(self, theirs: Priority, ours: Priority) -> (Priority, Priority) {
        match self {
            Self::Said => (theirs, ours),
            Self::Apart { theirs: a, ours: b } => (a.unwrap_or(theirs), b.unwrap_or(ours)),
        }
    }
}

/// Who may write a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    /// Whether other users may write it as well.
    open: bool,
}

impl Owner {
    /// Of a page's file.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            user: meta.uid(),
            open: meta.mode() & 0o022 != 0,
        }
    }

    /// Whether one user, and nobody else, writes both.
    fn is_one_with(self, other: Self) -> bool {
        self.user == other.user && self.user != UNKNOWN_OWNER && !self.open && !other.open
    }

    /// Whether a user that this process has no reason to trust may write the file, or cut it short.
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
    /// Who may write its page.
    pub owner: Owner,
    /// The class that root has entered for it, if any.
    pub entered: Option<Priority>,
}

impl Side {
    /// The class that counts; `None` for that of the page, which is root's own.
    fn class(self) -> Option<Priority> {
        (!self.owner.is_root_alone()).then(|| self.entered.unwrap_or_default())
    }
}

/// The classes that count between two tenants.
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

/// Whether root alone may write it.
fn is_roots(meta: &Metadata) -> bool {
    Owner::of(meta).is_root_alone()
}

/// The class that root has entered for `tenant`, whose page belongs to `owner`.
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

/// Classes, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u32);

impl Classes {
    /// Those that the limits in the folder of `tenant` have for any device.
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

    /// Whether `priority` is one of them. The usual one needs no permission.
    pub fn has(self, priority: Priority) -> bool {
        priority == Priority::Normal || self.0 & 1 << priority.code() != 0
    }
}

/// Enters the classes of `tenant`, whose pages belong to `user`. Only root can.
///
/// # Errors
///
/// What the system says of the files.
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

/// Makes the folder, in whose place another user may have put something.
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
    // Whatever the umask is: every user's programs read it.
    places::set_mode(folder, 0o755)
}

/// Removes the entry of a tenant that is gone.
pub fn forget(state: &StateDir, tenant: &str) {
    // Gone already is as good, and nobody but root can.
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
        // In the way, as another user may have put it there.
        std::fs::write(dir.path().join(FOLDER), "").unwrap();
        enter(&state, "t", 77, &shares).unwrap();
        // Found by everybody, if it was root who entered it.
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
