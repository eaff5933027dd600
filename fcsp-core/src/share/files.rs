//! Files of claim pages: one file for each tenant, in one folder for each device. A tenant's
//! processes write their own page and map the neighbours' pages read-only.
//!
//! ```text
//! <state>/devices/<device uuid>/<tenant>.page
//! ```
//! A tenant that cannot see the folder keeps its guarantee and uses no surplus of neighbours that
//! it cannot see.
//!
//! Each process holds a lock on its tenant's page while it has the page mapped; the kernel releases
//! the lock when the process dies. A page without a lock belongs to a dead tenant, and neighbours
//! ignore it. The next process of that tenant replaces it by a new file, which neighbours notice at
//! once.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::clock::nap;
use crate::config::check_tenant_name;
use crate::device::DeviceUuid;
use crate::file::{self, Folder, Mapping, Transient};
use crate::places;
use crate::share::claim_page::{ClaimPage, ClaimView, PAGE_BYTES};
use crate::share::policy::ABOUT_NS;
use crate::share::wait::now_ns;
use crate::state::{StateDir, layout};

mod neighbours;

pub use neighbours::Neighbours;

/// Byte of a page's file on which its tenant's processes hold a shared lock.
const LIFE_LOCK: u64 = PAGE_BYTES as u64;
/// Number of attempts to open a page that another process is replacing.
const ATTEMPTS: u32 = 64;
/// Pause between two attempts, ns.
const PAUSE_NS: u64 = 1_000_000;

const EXTENSION: &str = layout::CLAIM_PAGE;

/// Returns the folder of a device's pages.
pub fn folder(state: &StateDir, device: &DeviceUuid) -> PathBuf {
    state.path().join(layout::DEVICES).join(device.to_string())
}

fn page_of(mapping: &Mapping) -> &ClaimPage {
    // SAFETY: mappings made here are PAGE_BYTES long and page-aligned. Their file was checked or
    // made to be as long. The page consists of atomics, for which any bytes are valid and other
    // writers are allowed.
    unsafe { mapping.base().cast::<ClaimPage>().as_ref() }
}

/// Tenant's own claim page, writable.
#[derive(Debug)]
pub struct OwnPage {
    mapping: Mapping,
    state: StateDir,
    device: DeviceUuid,
    tenant: String,
}

impl OwnPage {
    /// Maps the page of `tenant` for `device`, and creates folder and file if needed.
    ///
    /// A page alone makes no tenant: `fcsp ps` lists tenants that were joined. A program uses
    /// [`crate::tenant::Tenant::share_page`].
    ///
    /// # Errors
    ///
    /// An invalid tenant name, a relative state folder, or any error of the file operations.
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
        let common = is_open(&state.path().join(layout::DEVICES));
        // Like its tenant: either processes of all users belong to one tenant, or each user has its
        // own.
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
            // If the mode cannot be set, neighbours do not see this tenant's figures. That is all.
            // A page that the node agent made has more.
            let more = file.metadata()?.permissions().mode() & 0o777;
            let _ = file.set_permissions(Permissions::from_mode(mode | more));
        }
        Self::map(&file, state, device, tenant)
    }

    /// Maps a page in the tenant's own folder, which no neighbour sees. It serves processes that
    /// may not write in the folder of the device's pages, since another user created the tenant.
    /// These processes have one account together.
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

    /// Returns the pages of the other tenants on the same device. Empty until
    /// [`Neighbours::rescan`].
    pub fn neighbours(&self) -> Neighbours {
        Neighbours::new(&self.state, &self.device, &self.tenant)
    }

    /// Returns the page.
    pub fn page(&self) -> &ClaimPage {
        page_of(&self.mapping)
    }
}

/// Creates a tenant's page for a device if it has none, and the device's folder. `give` sets the
/// owner and the mode of the page.
///
/// # Errors
///
/// That of `give`, or the system's reason.
pub(crate) fn provide(
    state: &StateDir,
    device: &DeviceUuid,
    tenant: &str,
    give: impl Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder(state, device);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)?;
    let path = folder.join(layout::claim_page(tenant));
    match file::open_rw(&path, false) {
        Ok(page) => give(&page),
        Err(error) if error.kind() == io::ErrorKind::NotFound => file::make(&path, |page| {
            file::allocate(page, PAGE_BYTES as u64)?;
            give(page)
        })
        .map(drop),
        Err(error) => Err(error),
    }
}

/// Opens and locks the page's file. A file without a lock is replaced by a new file with the same
/// contents, of this `mode` if any.
fn held(
    path: &Path,
    mode: Option<u32>,
    open: impl Fn() -> io::Result<Transient>,
) -> io::Result<Transient> {
    for _ in 0..ATTEMPTS {
        let file = open()?;
        // On file systems without locks, the time of the last publication tells live pages from
        // dead ones.
        if file::try_lock(&file, LIFE_LOCK, 1).unwrap_or(false) && file::is_at(&file, path)? {
            if replace(path, mode, &file).unwrap_or(false) {
                continue;
            }
            // It is new, or in use by a build that takes no lock, or this user may not replace it.
            let _ = file::try_lock_shared(&file, LIFE_LOCK, 1);
            return Ok(file);
        }
        match file::try_lock_shared(&file, LIFE_LOCK, 1) {
            Ok(true) if file::is_at(&file, path)? => return Ok(file),
            // Another file has taken its place.
            Ok(true) => {}
            Ok(false) => nap(PAUSE_NS),
            Err(_) => return Ok(file),
        }
    }
    Err(io::Error::other("the page is being replaced over and over"))
}

/// Replaces a file that only this process has locked, unless that file is new.
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

/// Returns the tenant whose page has this name. Returns `None` if no tenant can have it.
fn tenant_of(file: &str) -> Option<&str> {
    let name = file.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    check_tenant_name("tenant", name).is_ok().then_some(name)
}

/// Reads a page's file. It is not mapped: a tenant that truncates its file must not fault a reader.
fn read_page(file: &File) -> io::Result<ClaimPage> {
    use std::os::unix::fs::FileExt;
    filled(|bytes| file.read_exact_at(bytes, 0))
}

/// Creates a page in this process's memory with the bytes that `fill` writes.
fn filled<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<ClaimPage, E> {
    let mut page = ClaimPage::new();
    // SAFETY: the page is this function's own and made of atomics, for which any bytes are valid.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut((&raw mut page).cast::<u8>(), size_of::<ClaimPage>())
    };
    fill(bytes)?;
    Ok(page)
}

/// Reads a tenant's page for a device from outside. Returns `None` if it has none.
pub fn read(state: &StateDir, device: &DeviceUuid, tenant: &str) -> Option<Snapshot> {
    let file = file::open_ro(&folder(state, device).join(format!("{tenant}.{EXTENSION}"))).ok()?;
    let page = read_page(&file).ok()?;
    Some(Snapshot {
        view: page.view()?,
        counters: page.counters(),
    })
}

/// Copy of a claim page, read from outside.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// The claims.
    pub view: ClaimView,
    /// The tenant's own counters.
    pub counters: crate::share::claim_page::Counters,
}

/// Reason for which a tenant's share and its neighbours' shares on the device do not see each
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// The page has another version, which the tenant's processes cannot use.
    Version,
    /// Some of its processes use a page of their own, since they may not write the shared one.
    Private,
}

/// Returns the reason for which no neighbour sees the page of a running tenant. Returns `None` if
/// they see it.
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

/// Removes every page of a removed tenant.
pub fn remove(state: &StateDir, tenant: &str) {
    let Ok(devices) = std::fs::read_dir(state.path().join(layout::DEVICES)) else {
        return;
    };
    for device in devices.flatten() {
        // A missing page is no error.
        if let Ok(folder) = Folder::open(&device.path()) {
            let _ = folder.remove(&format!("{tenant}.{EXTENSION}"));
        }
        // A folder with another tenant's page stays.
        let _ = std::fs::remove_dir(device.path());
    }
}

/// Returns the devices for which the tenant has a page.
pub fn devices(state: &StateDir, tenant: &str) -> Vec<DeviceUuid> {
    let mut found: Vec<DeviceUuid> = std::fs::read_dir(state.path().join(layout::DEVICES))
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
            others
                .views()
                .iter()
                .map(|v| v.guarantee)
                .collect::<Vec<_>>(),
            [250_000]
        );
        let mut own = Neighbours::new(&state, &device, "a");
        own.rescan();
        assert!(own.views().is_empty());
        std::fs::write(folder(&state, &device).join("short.page"), b"x").unwrap();
        others.rescan();
        assert_eq!(others.views().len(), 1);
        assert_eq!(read(&state, &device, "a").unwrap().view.guarantee, 250_000);
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

    /// Checks that pipes, links and pages that other users made under any name do no harm.
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
        // Own page that another user created first: that user could write the tenant's account.
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
        // A tenant of one user keeps its page to that user there too.
        use std::os::unix::fs::MetadataExt;
        OwnPage::open(&state, &device, "e").unwrap();
        assert_eq!(
            std::fs::metadata(folder.join("e.page")).unwrap().mode() & 0o777,
            0o644
        );
    }

    /// Its instants belong to a clock that starts again with each boot. Neighbours do not believe
    /// them, and its own tenant ignores them.
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
