//! Where share pages live: one file a tenant in a folder a device. A tenant's processes write their
//! own page and map everybody else's read-only.
//!
//! ```text
//! <state>/devices/<device uuid>/<tenant>.page
//! ```
//! A tenant that cannot see the folder keeps its guarantee and borrows nothing from neighbours it
//! cannot see.
//!
//! Each process holds a lock on its tenant's page for as long as it has it mapped; the kernel drops
//! it at death. A page that nobody holds is a dead tenant's: neighbours pass it by, and the next
//! process of that tenant puts a new file in its place, which neighbours notice at once.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::clock::nap;
use crate::config::check_tenant_name;
use crate::device::DeviceUuid;
use crate::file::{self, Folder, Mapping, Transient};
use crate::places;
use crate::share::page::{PAGE_BYTES, TenantPage, View};
use crate::share::policy::ABOUT_NS;
use crate::share::wait::now_ns;
use crate::state::StateDir;

mod neighbours;

pub use neighbours::Neighbours;

/// The byte of a page's file that its tenant's processes hold a shared lock on.
const LIFE_LOCK: u64 = PAGE_BYTES as u64;
/// How often a page is tried again in whose place another process is putting a new one.
const ATTEMPTS: u32 = 64;
/// The pause between two attempts, ns.
const PAUSE_NS: u64 = 1_000_000;

const EXTENSION: &str = "page";

/// The folder of a device's pages.
pub fn folder(state: &StateDir, device: &DeviceUuid) -> PathBuf {
    state.path().join("devices").join(device.to_string())
}

fn page_of(mapping: &Mapping) -> &TenantPage {
    // SAFETY: mappings made here are PAGE_BYTES long, page-aligned and backed by a file that was
    // checked or made to be as long; the page is made of atomics, for which any bytes are valid and
    // other writers are allowed.
    unsafe { mapping.base().cast::<TenantPage>().as_ref() }
}

/// A tenant's own page, writable.
#[derive(Debug)]
pub struct OwnPage {
    mapping: Mapping,
    state: StateDir,
    device: DeviceUuid,
    tenant: String,
}

impl OwnPage {
    /// Maps the page of `tenant` for `device`, making folder and file if need be.
    ///
    /// A page alone makes no tenant: `fcsp ps` lists tenants that were joined. A program uses
    /// [`crate::tenant::Tenant::share_page`].
    ///
    /// # Errors
    ///
    /// A name that cannot name a tenant, a state folder that is not named from the root, or what
    /// the system says of the files.
    pub fn open(state: &StateDir, device: &DeviceUuid, tenant: &str) -> io::Result<Self> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        check_tenant_name("tenant", tenant).map_err(|error| invalid(error.to_string()))?;
        if !state.path().is_absolute() {
            return Err(invalid(format!(
                "the state folder {} is relative; name it from the root",
                state.path().display()
            )));
        }
        let folder = folder(state, device);
        let is_open =
            |path: &Path| std::fs::metadata(path).is_ok_and(|meta| places::is_open(&meta));
        let common = is_open(&state.path().join("devices"));
        // As its tenant: all users' processes are of one, or each user's are of one of their own.
        let everybodys = common && is_open(&state.tenant(tenant));
        let path = folder.join(format!("{tenant}.{EXTENSION}"));
        let make = || {
            match common {
                true => places::make_open(&folder, 0o1777)?,
                false => DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(&folder)?,
            }
            match everybodys {
                true => file::open_rw(&path, true),
                false => file::open_own(&path),
            }
        };
        let made = || match make() {
            // The folder was empty, and a collector removed it between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(),
            made => made,
        };
        // Neighbours of other users read it.
        let mode = (!everybodys).then_some(0o644);
        let file = held(&path, mode, made)?;
        if let Some(mode) = mode {
            // Not being allowed to say so leaves them without our figures, no more.
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        Self::map(&file, state, device, tenant)
    }

    /// Maps a page in the tenant's own folder, which no neighbour sees: for processes that may not
    /// write in the folder of the device's pages, since their user is not the one that the tenant
    /// was made by. They have one account together.
    pub fn open_apart(state: &StateDir, device: &DeviceUuid, tenant: &str) -> io::Result<Self> {
        let path = state.tenant(tenant).join(format!("{device}.{EXTENSION}"));
        let file = held(&path, None, || file::open_rw(&path, true))?;
        Self::map(&file, state, device, tenant)
    }

    fn map(file: &File, state: &StateDir, device: &DeviceUuid, tenant: &str) -> io::Result<Self> {
        file::allocate(file, PAGE_BYTES as u64)?;
        Ok(Self {
            mapping: Mapping::new(file, PAGE_BYTES, true)?,
            state: state.clone(),
            device: *device,
            tenant: tenant.to_owned(),
        })
    }

    /// The pages of the other tenants on the same device. Empty until [`Neighbours::rescan`].
    pub fn neighbours(&self) -> Neighbours {
        Neighbours::new(&self.state, &self.device, &self.tenant)
    }

    /// The page.
    pub fn page(&self) -> &TenantPage {
        page_of(&self.mapping)
    }
}

/// The page's file, held. One that nobody held is replaced by a new file, of this `mode` if any,
/// that says the same.
fn held(
    path: &Path,
    mode: Option<u32>,
    open: impl Fn() -> io::Result<Transient>,
) -> io::Result<Transient> {
    for _ in 0..ATTEMPTS {
        let file = open()?;
        // Where nothing can be locked, pages are told apart by when they were written to.
        if file::try_lock(&file, LIFE_LOCK, 1).unwrap_or(false) && file::is_at(&file, path)? {
            if replace(path, mode, &file).unwrap_or(false) {
                continue;
            }
            // It is new, or in use by a build that holds nothing, or not this user's to replace.
            let _ = file::try_lock_shared(&file, LIFE_LOCK, 1);
            return Ok(file);
        }
        match file::try_lock_shared(&file, LIFE_LOCK, 1) {
            Ok(true) if file::is_at(&file, path)? => return Ok(file),
            // It has another file in its place now.
            Ok(true) => {}
            Ok(false) => nap(PAUSE_NS),
            Err(_) => return Ok(file),
        }
    }
    Err(io::Error::other("the page is being replaced over and over"))
}

/// Puts a new file in the place of one that this process alone holds, unless that one is new.
fn replace(path: &Path, mode: Option<u32>, old: &File) -> io::Result<bool> {
    if old.metadata()?.len() < PAGE_BYTES as u64 {
        return Ok(false);
    }
    let (before, now) = (read_page(old)?, now_ns());
    if before.is_blank() || before.is_valid() && before.seen().abs_diff(now) < ABOUT_NS {
        return Ok(false);
    }
    file::make(path, |file| {
        if let Some(mode) = mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        file::allocate(file, PAGE_BYTES as u64)?;
        page_of(&Mapping::new(file, PAGE_BYTES, true)?).succeed(&before, now);
        Ok(())
    })?;
    Ok(true)
}

/// The tenant whose page has this name; `None` for a name that no tenant can have.
fn tenant_of(file: &str) -> Option<&str> {
    let name = file.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    check_tenant_name("tenant", name).is_ok().then_some(name)
}

/// What stands in a page's file. Read and not mapped: a tenant that cuts its file short must not
/// fault who looks at it.
fn read_page(file: &File) -> io::Result<TenantPage> {
    use std::os::unix::fs::FileExt;
    filled(|bytes| file.read_exact_at(bytes, 0))
}

/// A page of one's own with the bytes that `fill` puts into it.
fn filled<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<TenantPage, E> {
    let mut page = TenantPage::new();
    // SAFETY: the page is this function's own and made of atomics, for which any bytes are valid.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut((&raw mut page).cast::<u8>(), size_of::<TenantPage>())
    };
    fill(bytes)?;
    Ok(page)
}

/// A tenant's page for a device, read from outside; `None` if it has none.
pub fn read(state: &StateDir, device: &DeviceUuid, tenant: &str) -> Option<Snapshot> {
    let file = file::open_ro(&folder(state, device).join(format!("{tenant}.{EXTENSION}"))).ok()?;
    let page = read_page(&file).ok()?;
    Some(Snapshot {
        view: page.view()?,
        counters: page.counters(),
    })
}

/// A page as read from outside.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// What neighbours see.
    pub view: View,
    /// The tenant's own counters.
    pub counters: crate::share::page::Counters,
}

/// The reason why others on the device see nothing of a tenant's share, and it nothing of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// Its page is of another version, which its processes cannot use.
    Version,
    /// Processes of it use a page of their own: they may not write the shared one.
    Private,
}

/// Says why no neighbour sees the page of a running tenant; `None` if they see it.
pub fn apart(state: &StateDir, device: &DeviceUuid, tenant: &str) -> Option<Apart> {
    let own = state.tenant(tenant).join(format!("{device}.{EXTENSION}"));
    let is_held = |file: &file::Transient| file::is_held(file, LIFE_LOCK, 1).unwrap_or(false);
    if file::open_ro(&own).is_ok_and(|file| is_held(&file)) {
        return Some(Apart::Private);
    }
    let file = file::open_ro(&folder(state, device).join(format!("{tenant}.{EXTENSION}"))).ok()?;
    let page = read_page(&file).ok()?;
    (!page.is_valid() && !page.is_blank()).then_some(Apart::Version)
}

/// Removes every page of a tenant that is gone.
pub fn remove(state: &StateDir, tenant: &str) {
    let Ok(devices) = std::fs::read_dir(state.path().join("devices")) else {
        return;
    };
    for device in devices.flatten() {
        // Gone already is as good.
        if let Ok(folder) = Folder::open(&device.path()) {
            let _ = folder.remove(&format!("{tenant}.{EXTENSION}"));
        }
        // A folder with anybody's page in it stays.
        let _ = std::fs::remove_dir(device.path());
    }
}

/// The devices for which the tenant has a page.
pub fn devices(state: &StateDir, tenant: &str) -> Vec<DeviceUuid> {
    let mut found: Vec<DeviceUuid> = std::fs::read_dir(state.path().join("devices"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|device| device.path().join(format!("{tenant}.{EXTENSION}")).exists())
        .filter_map(|device| device.file_name().to_str()?.parse().ok())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::params::Params;

    #[test]
    fn a_page_is_made_in_its_own_folder_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let device = DeviceUuid([3; 16]);
        for name in ["../../../outside", "", ".hidden", "a/b"] {
            let error = OwnPage::open(&StateDir::at(dir.path()), &device, name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        let error = OwnPage::open(&StateDir::at("relative/state"), &device, "a").unwrap_err();
        assert!(
            error.to_string().contains("name it from the root"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn tenants_see_each_other_and_not_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let device = DeviceUuid([3; 16]);
        let a = OwnPage::open(&state, &device, "a").unwrap();
        a.page().attach(&Params::balanced(250_000), 1_000).unwrap();
        a.page().publish(1_000);
        let mut others = Neighbours::new(&state, &device, "b");
        assert!(others.views().is_empty());
        others.rescan();
        assert_eq!(
            others.views().iter().map(|v| v.quota).collect::<Vec<_>>(),
            [250_000]
        );
        let mut own = Neighbours::new(&state, &device, "a");
        own.rescan();
        assert!(own.views().is_empty());
        std::fs::write(folder(&state, &device).join("short.page"), b"x").unwrap();
        others.rescan();
        assert_eq!(others.views().len(), 1);
        assert_eq!(read(&state, &device, "a").unwrap().view.quota, 250_000);
        assert!(
            read(&state, &device, "short").is_none() && read(&state, &device, "none").is_none()
        );
        assert_eq!(devices(&state, "a"), [device]);
        remove(&state, "a");
        others.rescan();
        assert!(others.views().is_empty());
        assert!(
            folder(&state, &device).exists(),
            "somebody else's page is in it"
        );
        std::fs::remove_file(folder(&state, &device).join("short.page")).unwrap();
        remove(&state, "a");
        assert!(!folder(&state, &device).exists());
    }

    /// In a folder that every user may write to, others make pipes, links and pages under any name.
    #[test]
    fn traps_in_the_folder_of_pages_are_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let device = DeviceUuid([3; 16]);
        let a = OwnPage::open(&state, &device, "a").unwrap();
        a.page().attach(&Params::balanced(250_000), 1_000).unwrap();
        a.page().publish(now_ns());
        let folder = folder(&state, &device);
        crate::file::tests::make_pipe(&folder.join("pipe.page"));
        std::os::unix::fs::symlink(folder.join("a.page"), folder.join("link.page")).unwrap();
        std::fs::copy(folder.join("a.page"), folder.join("\u{1b}[2J.page")).unwrap();
        std::fs::copy(folder.join("a.page"), folder.join("b.page")).unwrap();
        let mut others = Neighbours::new(&state, &device, "c");
        others.rescan();
        assert_eq!(others.views().len(), 2);
        assert!(read(&state, &device, "pipe").is_none() && read(&state, &device, "link").is_none());
        for name in ["pipe", "link"] {
            assert!(OwnPage::open(&state, &device, name).is_err(), "{name}");
        }
        std::fs::hard_link(folder.join("b.page"), folder.join("second")).unwrap();
        let error = OwnPage::open(&state, &device, "b").unwrap_err();
        assert!(error.to_string().contains("more than one name"), "{error}");
        if crate::places::uid() != 0 {
            println!("SKIPPED: only root can make a page of another user's");
            return;
        }
        // One's own page that another user was faster to make: it could write the tenant's account.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777)).unwrap();
        std::fs::set_permissions(
            folder.parent().unwrap(),
            std::fs::Permissions::from_mode(0o1777),
        )
        .unwrap();
        let squatted = folder.join("d.page");
        std::fs::copy(folder.join("a.page"), &squatted).unwrap();
        std::os::unix::fs::chown(&squatted, Some(4242), None).unwrap();
        let error = OwnPage::open(&state, &device, "d").unwrap_err();
        assert!(error.to_string().contains("another user"), "{error}");
        others.rescan();
        assert_eq!(others.views().len(), 3, "a, b and the neighbour d");
        // A tenant of one user's own keeps its page to that user also there.
        use std::os::unix::fs::MetadataExt;
        OwnPage::open(&state, &device, "e").unwrap();
        assert_eq!(
            std::fs::metadata(folder.join("e.page")).unwrap().mode() & 0o777,
            0o644
        );
    }

    /// Its times are of a clock that begins anew with each boot: neighbours do not believe them,
    /// and its own tenant is not bound by them.
    #[test]
    fn a_page_of_another_boot_begins_anew() {
        use std::os::unix::fs::FileExt;
        const BOOT_AT: u64 = 48;
        let (now, ahead) = (1_000_000_000_000, 30 * 86_400_000_000_000);
        let params = Params::strict(100_000);
        for stored in [crate::boot::id() ^ 4, 0] {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::at(dir.path());
            let device = DeviceUuid([3; 16]);
            let old = OwnPage::open(&state, &device, "a").unwrap();
            old.page().attach(&params, now + ahead).unwrap();
            old.page().submitted(5_000_000, now + ahead);
            old.page().block(now + ahead);
            old.page().count(7);
            drop(old);
            let path = folder(&state, &device).join("a.page");
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&stored.to_le_bytes(), BOOT_AT).unwrap();
            let mut others = Neighbours::new(&state, &device, "b");
            others.rescan();
            assert!(others.views().is_empty());
            let own = OwnPage::open(&state, &device, "a").unwrap();
            own.page().attach(&params, now).unwrap();
            own.page().publish(now);
            others.rescan();
            let view = others.views().remove(0);
            assert_eq!(
                (view.seen, view.finish_at, view.blocked_since, view.consumed),
                (now, 0, 0, 7)
            );
        }
    }
}
