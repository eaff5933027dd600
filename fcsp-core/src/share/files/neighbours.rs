//! The claim pages of the other tenants of one device.
//!
//! A page outlives its tenant, so a folder may hold any number of pages of dead tenants. Only pages
//! of live tenants are mapped: pages with a lock, and pages written recently. At most [`MOST`] are
//! mapped; a mapped page keeps its place. The folder is read when it has changed and at intervals,
//! and for at most a fiftieth of the time.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use super::{EXTENSION, LIFE_LOCK, filled, folder, page_of, tenant_of};
use crate::device::DeviceUuid;
use crate::file::{self, Mapping};
use crate::share::authority::{self, Authority, Classes, Owner, Side};
use crate::share::claim_page::{ClaimPage, ClaimView, PAGE_BYTES, SEEN_AT};
use crate::share::params::Priority;
use crate::share::policy::ABOUT_NS;
use crate::share::wait::{self, now_ns};
use crate::state::StateDir;

/// Most pages that are mapped at once.
pub const MOST: usize = 256;
/// Most pages of dead tenants that are remembered, so that they are not opened again.
const MOST_DEAD: usize = 16_384;
/// Most unknown pages that are opened in one scan.
const MOST_OPENED: usize = 256;
/// Time for which pages of dead tenants are remembered, ns.
const BURIED_NS: u64 = 60_000_000_000;
/// Age of a file below which its process may not have locked it yet.
const YOUNG: Duration = Duration::from_secs(10);
/// Interval at which the folder's time of change is read, ns.
const REFRESH_NS: u64 = 100_000_000;
/// Interval at which an unchanged folder is read, ns.
const RESCAN_NS: u64 = 1_000_000_000;
/// Inverse of the part of the time that scans may take.
const PART: u64 = 50;
/// Age of the last publication below which a page belongs to a live tenant, ns.
const FRESH_NS: u64 = 2 * ABOUT_NS;

#[derive(Debug)]
struct Neighbour {
    /// Name of the page's file.
    name: String,
    /// Inode of the file.
    file: u64,
    /// Owner of the file.
    owner: Owner,
    /// Classes that count between its owner and this tenant.
    authority: Authority,
    /// Classes that the page may claim if both tenants have one owner.
    classes: Classes,
    /// Read-only mapping of the page.
    mapping: Mapping,
    /// True if an untrusted user may truncate the file.
    is_strange: bool,
    /// True if the last scan found the file.
    found: bool,
}

impl Neighbour {
    /// Reads the page. If another user may truncate the file, the kernel copies it and reports an
    /// error instead of a fault.
    fn read<T>(&self, read: impl FnOnce(&ClaimPage) -> T) -> Option<T> {
        if !self.is_strange {
            return Some(read(page_of(&self.mapping)));
        }
        let copy = |bytes: &mut [u8]| self.mapping.copy(bytes).then_some(()).ok_or(());
        filled(copy).ok().map(|page| read(&page))
    }

    /// Returns the instant of the tenant's last publication, ns; 0 for a truncated file.
    fn seen(&self) -> u64 {
        self.read(ClaimPage::seen).unwrap_or(0)
    }

    fn is_fresh(&self, now: u64) -> bool {
        is_fresh(self.seen(), now)
    }

    fn view(&self) -> Option<ClaimView> {
        let mut view = self.read(ClaimPage::view)??;
        view.authority = match self.authority {
            Authority::Said if !self.classes.has(view.priority) => Authority::Apart {
                theirs: Some(Priority::Normal),
                ours: None,
            },
            authority => authority,
        };
        Some(view)
    }
}

/// Returns true if a page last written at `seen` may belong to a live tenant. An instant in the
/// future does not count.
fn is_fresh(seen: u64, now: u64) -> bool {
    seen != 0 && seen.abs_diff(now) < FRESH_NS
}

/// Claim pages of the other tenants of one device, as of the last scan.
#[derive(Debug)]
pub struct Neighbours {
    /// State folder.
    state: StateDir,
    /// Device.
    device: DeviceUuid,
    /// Folder of the device's pages.
    folder: PathBuf,
    /// Name of this tenant's page.
    own: String,
    /// Mapped pages.
    pages: Vec<Neighbour>,
    /// Hashes of names and inodes of pages of dead tenants.
    dead: HashSet<u64>,
    hasher: RandomState,
    /// Claims of the last look. The memory is allocated once.
    views: Vec<ClaimView>,
    /// Time of the folder's last change that was read, ns since the epoch.
    changed: i64,
    /// Instant at which `dead` was last cleared, ns.
    buried_at: u64,
    /// Instant at which the folder's time of change was last read, ns.
    asked_at: u64,
    /// Instant of the last scan, ns.
    scanned_at: u64,
    /// Processor time of the last scan, ns.
    took: u64,
}

impl Neighbours {
    /// Creates the list of all tenants but `tenant` on `device`. It is empty until
    /// [`Neighbours::rescan`].
    pub fn new(state: &StateDir, device: &DeviceUuid, tenant: &str) -> Self {
        Self {
            state: state.clone(),
            device: *device,
            folder: folder(state, device),
            own: format!("{tenant}.{EXTENSION}"),
            pages: Vec::new(),
            dead: HashSet::new(),
            hasher: RandomState::new(),
            views: Vec::with_capacity(MOST),
            changed: 0,
            buried_at: 0,
            asked_at: 0,
            scanned_at: 0,
            took: 0,
        }
    }

    /// Scans the folder if a page has come or gone since the last scan. Otherwise it costs one
    /// `stat`.
    pub fn refresh(&mut self) {
        let changed = std::fs::metadata(&self.folder).map_or(0, |folder| {
            folder
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(folder.mtime_nsec())
        });
        let now = now_ns();
        let since = now.saturating_sub(self.scanned_at);
        if since < self.took.saturating_mul(PART) || (changed == self.changed && since < RESCAN_NS)
        {
            return;
        }
        self.changed = changed;
        self.rescan();
    }

    /// Maps pages of live tenants and unmaps the others. Takes a few tens of microseconds if few
    /// have died.
    pub fn rescan(&mut self) {
        let (now, began) = (now_ns(), thread_ns());
        self.scan(now);
        self.took = thread_ns().saturating_sub(began);
        self.scanned_at = now;
    }

    fn scan(&mut self, now: u64) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            self.pages.clear();
            return;
        };
        let owner =
            std::fs::symlink_metadata(self.folder.join(&self.own)).map(|meta| Owner::of(&meta));
        let ours = owner.ok().map(|owner| self.side(&self.own, owner));
        let mut pages = std::mem::take(&mut self.pages);
        for page in &mut pages {
            page.found = false;
            (page.authority, page.classes) = self.authority(&page.name, page.owner, ours);
        }
        self.pages = pages;
        if now.saturating_sub(self.buried_at) > BURIED_NS {
            self.buried_at = now;
            self.dead.clear();
        }
        let mut opened = 0;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_others = |name: &&str| *name != self.own && tenant_of(name).is_some();
            let Some(name) = name.to_str().filter(is_others) else {
                continue;
            };
            // By inode and name: a tenant that was removed and made again has another page.
            let file = entry.ino();
            if let Some(page) = self
                .pages
                .iter_mut()
                .find(|page| page.file == file && page.name == name)
            {
                page.found = true;
                continue;
            }
            let hash = self.hasher.hash_one((name, file));
            if self.pages.len() >= MOST || opened >= MOST_OPENED || self.dead.contains(&hash) {
                continue;
            }
            opened += 1;
            if let Ok(page) = self.open(name, file, ours, now) {
                self.pages.push(page);
                continue;
            }
            // A new file may not be locked yet.
            let age = entry.metadata().and_then(|meta| meta.modified()).ok();
            let is_old = age.and_then(|made| made.elapsed().ok()) > Some(YOUNG);
            if is_old && self.dead.len() < MOST_DEAD {
                self.dead.insert(hash);
            }
        }
        // A page without a recent publication may belong to a dead tenant.
        let folder = &self.folder;
        self.pages.retain(|page| {
            page.found && (page.is_fresh(now) || is_held(&folder.join(&page.name)).unwrap_or(false))
        });
    }

    /// Opens the page of this name, if its tenant lives.
    fn open(&self, name: &str, inode: u64, ours: Option<Side>, now: u64) -> io::Result<Neighbour> {
        let file = file::open_ro(&self.folder.join(name))?;
        let meta = file.metadata()?;
        let mut seen = [0; 8];
        file.read_exact_at(&mut seen, SEEN_AT)?;
        let lives = is_fresh(u64::from_le_bytes(seen), now) || file::is_held(&file, LIFE_LOCK, 1)?;
        if meta.len() < PAGE_BYTES as u64 || meta.ino() != inode || !lives {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let owner = Owner::of(&meta);
        let (authority, classes) = self.authority(name, owner, ours);
        Ok(Neighbour {
            name: name.to_owned(),
            file: inode,
            owner,
            authority,
            classes,
            mapping: Mapping::new(&file, PAGE_BYTES, false)?,
            is_strange: owner.is_strange(),
            found: true,
        })
    }

    /// Returns the classes that count between the owner of the page of this name and this tenant.
    fn authority(&self, name: &str, owner: Owner, ours: Option<Side>) -> (Authority, Classes) {
        // Without a page here, this tenant sees no neighbour and no neighbour sees it.
        let authority = ours.map_or(Authority::Said, |ours| {
            authority::between(self.side(name, owner), ours)
        });
        let classes = match (authority, tenant_of(name)) {
            (Authority::Said, Some(tenant)) => Classes::in_limits(&self.state, tenant),
            _ => Classes::default(),
        };
        (authority, classes)
    }

    /// Returns the owner of the page of this name, and the class that root has recorded for it.
    fn side(&self, name: &str, owner: Owner) -> Side {
        let entered = tenant_of(name)
            .and_then(|tenant| authority::entered(&self.state, &self.device, tenant, owner));
        Side { owner, entered }
    }

    /// Returns the claims of recently active neighbours. The folder itself is read at intervals.
    /// Memory is allocated only for a new neighbour.
    pub fn look(&mut self, now: u64) -> &[ClaimView] {
        if now.saturating_sub(self.asked_at) >= REFRESH_NS {
            self.asked_at = now;
            self.refresh();
        }
        self.views.clear();
        let is_about = |seen: u64| now.saturating_sub(seen) < ABOUT_NS;
        // One copy of an untrusted page suffices; for the others, one word decides whether to read
        // on.
        let views = self
            .pages
            .iter()
            .filter(|page| page.is_strange || is_about(page.seen()))
            .filter_map(Neighbour::view)
            .filter(|view| is_about(view.seen));
        // Never more than the allocated memory holds.
        self.views.extend(views.take(MOST));
        &self.views
    }

    /// Returns the present claims of all neighbours.
    pub fn views(&self) -> Vec<ClaimView> {
        self.pages.iter().filter_map(Neighbour::view).collect()
    }

    /// Returns true if a neighbour has written to its page since `since`. New neighbours count too.
    pub fn any_since(&mut self, since: u64) -> bool {
        self.refresh();
        let mut views = self.pages.iter().filter_map(Neighbour::view);
        views.any(|view| view.seen >= since)
    }

    /// Wakes the neighbours that wait at their gates.
    pub fn wake_waiting(&self, now: u64) {
        for page in &self.pages {
            if page.view().is_some_and(|view| view.waits(now)) {
                wait::wake(page_of(&page.mapping).event_word());
            }
        }
    }
}

/// Returns the processor time of this thread, ns: a preempted thread uses none.
fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// Returns true if a process has locked the page at `path`.
fn is_held(path: &std::path::Path) -> io::Result<bool> {
    file::is_held(&*file::open_ro(path)?, LIFE_LOCK, 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::share::claim_page::MAGIC;
    use crate::share::files::OwnPage;
    use crate::share::params::Params;

    const DEVICE: DeviceUuid = DeviceUuid([3; 16]);

    fn bytes(page: &ClaimPage) -> Vec<u8> {
        // SAFETY: a page is 256 bytes of atomics, which nobody else writes.
        let words = unsafe { std::slice::from_raw_parts((&raw const *page).cast::<u8>(), 256) };
        let mut bytes = words.to_vec();
        bytes.resize(PAGE_BYTES, 0);
        bytes
    }

    /// Writes pages without a lock, last written at `seen`.
    fn leave(state: &StateDir, names: impl Iterator<Item = String>, seen: u64) {
        let page = ClaimPage::new();
        page.attach(&Params::balanced(1_000_000), seen).unwrap();
        page.publish(seen);
        page.block(seen);
        page.count(7);
        for name in names {
            let path = folder(state, &DEVICE).join(format!("{name}.{EXTENSION}"));
            std::fs::write(path, bytes(&page)).unwrap();
        }
    }

    fn setting() -> (tempfile::TempDir, StateDir, OwnPage, Neighbours) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let own = OwnPage::open(&state, &DEVICE, "own").unwrap();
        let others = own.neighbours();
        (dir, state, own, others)
    }

    /// Checks that a page truncated by another user's tenant while it is mapped causes no fault.
    /// be a fault.
    #[test]
    fn a_page_of_another_users_that_is_cut_short_ends_no_neighbour() {
        let (_dir, state, _own, mut others) = setting();
        leave(&state, ["theirs".to_owned()].into_iter(), now_ns());
        let path = folder(&state, &DEVICE).join("theirs.page");
        if crate::places::uid() != 0 {
            println!("SKIPPED: only root can make a page of another user's");
            return;
        }
        let open = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(folder(&state, &DEVICE), open).unwrap();
        std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
        others.rescan();
        assert_eq!(others.views().len(), 1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for bytes in [100, 0] {
            file.set_len(bytes).unwrap();
            assert_eq!(others.views().len(), usize::from(bytes > 0), "{bytes}");
        }
        others.wake_waiting(now_ns());
        assert!(others.look(now_ns()).is_empty());
        others.rescan();
        assert!(others.views().is_empty());
    }

    #[test]
    fn pages_of_the_dead_are_neither_mapped_nor_opened_again() {
        let (_dir, state, _own, mut others) = setting();
        leave(
            &state,
            (0..300).map(|i| format!("t{i}")),
            now_ns() - 2 * FRESH_NS,
        );
        let living = OwnPage::open(&state, &DEVICE, "living").unwrap();
        living.page().attach(&Params::balanced(250_000), 1).unwrap();
        // Older than the age at which a file may still get its lock.
        for entry in std::fs::read_dir(folder(&state, &DEVICE)).unwrap() {
            let file = std::fs::File::options()
                .write(true)
                .open(entry.unwrap().path())
                .unwrap();
            file.set_modified(std::time::SystemTime::now() - 2 * YOUNG)
                .unwrap();
        }
        for _ in 0..3 {
            others.rescan();
        }
        assert_eq!((others.pages.len(), others.dead.len()), (1, 300));
        assert_eq!(others.views()[0].guarantee, 250_000);
        // It was not active recently, so no launch reads its claims.
        let now = now_ns();
        assert!(others.look(now).is_empty());
        living.page().publish(now);
        assert_eq!(others.look(now).len(), 1);
        drop(living);
        others.rescan();
        assert_eq!(others.pages.len(), 1, "it was written to just now");
    }

    #[test]
    fn a_tenant_that_comes_back_is_noticed_at_once_and_owes_what_it_owed() {
        let (_dir, state, _own, mut others) = setting();
        leave(
            &state,
            ["a".to_owned()].into_iter(),
            now_ns() - 2 * FRESH_NS,
        );
        others.rescan();
        assert!(others.views().is_empty());
        let first = OwnPage::open(&state, &DEVICE, "a").unwrap();
        first
            .page()
            .attach(&Params::balanced(250_000), now_ns())
            .unwrap();
        let second = OwnPage::open(&state, &DEVICE, "a").unwrap();
        second.page().count(1);
        assert_eq!(
            first.page().counters().consumed,
            8,
            "one account, which goes on"
        );
        others.changed = 0;
        others.took = 0;
        others.refresh();
        let view = others.views().remove(0);
        assert_eq!((view.consumed, view.blocked_since), (8, 0));
    }

    #[test]
    fn there_is_a_bound_to_the_pages_that_are_looked_at() {
        let (_dir, state, _own, mut others) = setting();
        let first = OwnPage::open(&state, &DEVICE, "first").unwrap();
        first
            .page()
            .attach(&Params::balanced(250_000), now_ns())
            .unwrap();
        first.page().publish(now_ns());
        others.rescan();
        leave(&state, (0..2 * MOST).map(|i| format!("t{i}")), now_ns());
        others.rescan();
        others.rescan();
        let views = others.look(now_ns());
        assert_eq!(views.len(), MOST);
        assert!(
            views.iter().any(|view| view.guarantee == 250_000),
            "who was there stays"
        );
    }

    /// Checks that between pages of one owner a page alone raises no class; the limits in the
    /// tenant's folder must have it.
    #[test]
    fn a_priority_counts_if_the_limits_have_it() {
        let (_dir, state, _own, mut others) = setting();
        let high = Params::balanced(500_000).with_priority(Priority::High);
        let mut config = crate::config::Config::unlimited();
        config.source = crate::config::Source::Environment;
        config.compute.set(crate::device::Selector::All, high);
        config.tenant = Some("set-up".into());
        let _tenant = crate::tenant::Tenant::join(&state, &config).unwrap();
        let pages = ["liar", "set-up"].map(|name| OwnPage::open(&state, &DEVICE, name).unwrap());
        for page in &pages {
            page.page().attach(&high, now_ns()).unwrap();
        }
        others.rescan();
        let counted = |name: &str| {
            let page = others.pages.iter().find(|page| page.name == name).unwrap();
            let view = page.view().unwrap();
            view.authority.classes(view.priority, Priority::Normal).0
        };
        assert_eq!(counted("liar.page"), Priority::Normal);
        assert_eq!(counted("set-up.page"), Priority::High);
    }

    /// Checks that a page of another version, or noise, belongs to no tenant that this version
    /// sees.
    #[test]
    fn a_page_that_says_nothing_is_replaced() {
        let (_dir, state, _own, _) = setting();
        let path = folder(&state, &DEVICE).join("a.page");
        for noise in [
            vec![0xa5; PAGE_BYTES],
            (MAGIC + (1 << 56)).to_le_bytes().repeat(512),
        ] {
            std::fs::write(&path, noise).unwrap();
            let page = OwnPage::open(&state, &DEVICE, "a").unwrap();
            page.page()
                .attach(&Params::strict(100_000), now_ns())
                .unwrap();
            assert_eq!(page.page().view().unwrap().guarantee, 100_000);
        }
    }

    #[test]
    fn processes_that_come_back_at_once_meet_in_one_page() {
        let (_dir, state, _own, _) = setting();
        for round in 0..20 {
            leave(
                &state,
                [format!("t{round}")].into_iter(),
                now_ns() - 2 * FRESH_NS,
            );
            let pages: Vec<OwnPage> = std::thread::scope(|scope| {
                let open = || OwnPage::open(&state, &DEVICE, &format!("t{round}")).unwrap();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            for page in &pages {
                page.page().count(1);
            }
            assert!(
                pages
                    .iter()
                    .all(|page| page.page().counters().consumed == 15)
            );
        }
    }
}
