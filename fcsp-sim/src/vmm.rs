//! Virtual memory calls: physical memory and addresses have lives of their own.
//!
//! Physical memory is charged when it is created and lives as long as a handle or a mapping does.
//! It is a range of an unnamed file, so that one piece can be mapped at several addresses; a piece
//! that may be exported has a file of its own.

use crate::error::{Error, Result};
use crate::host::{Mapping, PAGE, shared_file, shared_name};
use crate::memory::{Kind, Memory};
use crate::process::{Account, Process};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Access to mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// None: any use faults.
    None,
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
}

/// The properties physical memory was created with, kept for those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// The device, or none for host memory.
    pub device: Option<usize>,
    /// Kinds of handle it may be exported as, in the API's own bits.
    pub exportable: u32,
}

#[derive(Debug)]
struct Physical {
    id: u64,
    size: u64,
    properties: Properties,
    file: Arc<File>,
    offset: u64,
    arena: Option<Arc<Mutex<Arena>>>,
    charged: Option<Arc<Process>>,
    inode: u64,
    /// Held by nothing but a descriptor: on the device, attributed to nobody.
    adrift: AtomicBool,
    /// True if a descriptor of it was ever given out.
    exported: AtomicBool,
}

impl Physical {
    /// Returns true if anybody has a descriptor of it beside the one in here. An import in another
    /// process has one.
    fn has_descriptors(&self) -> bool {
        // Relaxed: changed under the memory's lock.
        if self.inode == 0 || !self.exported.load(Ordering::Relaxed) {
            return false;
        }
        let lease = |kind: i32| {
            // SAFETY: an open descriptor and two integers.
            let done = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, kind) };
            (done == 0)
                .then_some(())
                .ok_or_else(std::io::Error::last_os_error)
        };
        // The kernel grants a lease for writing only on a file that is open nowhere else. Every
        // descriptor that was exported is an opening of its own. Nobody can open the file
        // meanwhile: exports take the memory's lock.
        match lease(libc::F_WRLCK) {
            Ok(()) => {
                let _ = lease(libc::F_UNLCK);
                false
            }
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => true,
            Err(_) => self.is_among_descriptors(),
        }
    }

    /// Answers the same question by a look at every process, as far as this user may.
    fn is_among_descriptors(&self) -> bool {
        let of = |process: &std::path::Path| {
            let entries = std::fs::read_dir(process.join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            entries
                .filter(|entry| {
                    std::fs::metadata(entry.path()).is_ok_and(|m| m.ino() == self.inode)
                })
                .count()
        };
        let number =
            |name: &std::ffi::OsStr| name.to_str().is_some_and(|n| n.parse::<u32>().is_ok());
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| number(&entry.file_name()))
            .map(|entry| of(&entry.path()))
            .sum::<usize>()
            > 1
    }

    /// Moves its bytes between the process's account and nobody's. Whether that was done.
    fn set_adrift(&self, adrift: bool) -> bool {
        let (Some(process), Some(device)) = (&self.charged, self.properties.device) else {
            return false;
        };
        let (to, from) = if adrift {
            (Account::Managed, Account::Process)
        } else {
            (Account::Process, Account::Managed)
        };
        if process.take(device, self.size, to).is_err() {
            return false;
        }
        process.give(device, self.size, from);
        // Relaxed: changed under the memory's lock.
        self.adrift.store(adrift, Ordering::Relaxed);
        true
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        if let Some(a) = &self.arena {
            a.lock().unwrap_or_else(PoisonError::into_inner).give(
                &self.file,
                self.offset,
                self.size,
            );
        }
        if let (Some(p), Some(device)) = (&self.charged, self.properties.device) {
            let account = if self.adrift.load(Ordering::Relaxed) {
                Account::Managed
            } else {
                Account::Process
            };
            p.give(device, self.size, account);
        }
    }
}

/// Opens a file once more. Leases do not count the first one, which `memfd_create` makes.
fn opened_again(file: &File) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(|_| Error::OperatingSystem)
}

/// Places in the one file that holds all physical memory that is never exported: a file a piece
/// would use up the process's descriptors.
#[derive(Debug, Default)]
struct Arena {
    file: Option<Arc<File>>,
    end: u64,
    free: BTreeMap<u64, u64>,
}

impl Arena {
    fn take(&mut self, size: u64) -> Result<(Arc<File>, u64)> {
        let file = match &self.file {
            Some(f) => f.clone(),
            None => self
                .file
                .insert(Arc::new(shared_file("fcsp-sim-arena", 0)?))
                .clone(),
        };
        if let Some((&at, &len)) = self.free.iter().find(|(_, n)| **n >= size) {
            self.free.remove(&at);
            if len > size {
                self.free.insert(at + size, len - size);
            }
            return Ok((file, at));
        }
        let at = self.end;
        file.set_len(at + size).map_err(|_| Error::OutOfMemory)?;
        self.end += size;
        Ok((file, at))
    }

    fn give(&mut self, file: &File, at: u64, size: u64) {
        // SAFETY: a hole in a file of ours that no mapping covers any more: the last one held a
        // reference.
        unsafe {
            libc::fallocate(
                file.as_raw_fd(),
                libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                at as libc::off_t,
                size as libc::off_t,
            )
        };
        self.free.insert(at, size);
    }
}

#[derive(Debug)]
struct Placed {
    size: u64,
    physical: Arc<Physical>,
    access: Access,
}

#[derive(Debug, Default)]
pub(crate) struct Vmm {
    handles: HashMap<u64, (Arc<Physical>, u64)>,
    spaces: BTreeMap<u64, Mapping>,
    placed: BTreeMap<u64, Placed>,
    arena: Arc<Mutex<Arena>>,
    /// Exported memory whose last handle and mapping are gone while a descriptor is open. The
    /// driver keeps it on the device and shows it with no process (seen on an H100, driver 580), an
    /// import of it included. What closing a descriptor changes is seen when this process next
    /// asks.
    adrift: Vec<Arc<Physical>>,
}

impl Vmm {
    /// Ends a hold.
    fn let_go(&mut self, physical: Arc<Physical>) {
        // Relaxed: changed under the memory's lock, which the caller has.
        if physical.adrift.load(Ordering::Relaxed) {
            drop(physical);
            self.collect();
        } else if Arc::strong_count(&physical) == 1
            && physical.has_descriptors()
            && physical.set_adrift(true)
        {
            self.adrift.push(physical);
        }
    }

    /// Returns memory without a descriptor to its holder, or frees it.
    fn collect(&mut self) {
        self.adrift
            .retain(|p| p.has_descriptors() || (Arc::strong_count(p) > 1 && !p.set_adrift(false)));
    }

    pub fn readable(&self, base: u64) -> bool {
        self.placed
            .get(&base)
            .is_some_and(|p| p.access != Access::None)
    }

    fn space(&self, at: u64, size: u64) -> Result<&Mapping> {
        let (_, m) = self
            .spaces
            .range(..=at)
            .next_back()
            .ok_or(Error::InvalidValue)?;
        if at + size <= m.base() + m.size() {
            Ok(m)
        } else {
            Err(Error::InvalidValue)
        }
    }

    /// Returns the mappings that make up `[at, at+size)` exactly.
    fn exactly(&self, at: u64, size: u64) -> Result<Vec<u64>> {
        let mut next = at;
        let mut out = Vec::new();
        while next < at + size {
            let p = self.placed.get(&next).ok_or(Error::InvalidValue)?;
            out.push(next);
            next += p.size;
        }
        if next == at + size && size > 0 {
            Ok(out)
        } else {
            Err(Error::InvalidValue)
        }
    }
}

impl Memory {
    /// Reserves addresses. `size` in whole pages.
    pub fn space_reserve(&self, size: u64, align: u64, hint: u64) -> Result<u64> {
        if size == 0 || !size.is_multiple_of(PAGE) || (align != 0 && !align.is_power_of_two()) {
            return Err(Error::InvalidValue);
        }
        let m = Mapping::reserved(size, align.max(PAGE), hint).map_err(|_| Error::OutOfMemory)?;
        let at = m.base();
        self.lock().vmm.spaces.insert(at, m);
        Ok(at)
    }

    /// Gives reserved addresses back; nothing may be mapped there.
    pub fn space_free(&self, at: u64, size: u64) -> Result {
        let mut inner = self.lock();
        let whole = inner.vmm.spaces.get(&at).is_some_and(|m| m.size() == size);
        if !whole || inner.vmm.placed.range(at..at + size).next().is_some() {
            return Err(Error::InvalidValue);
        }
        inner.vmm.spaces.remove(&at);
        Ok(())
    }

    /// Creates physical memory; its handle.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has no room.
    pub fn physical_create(&self, size: u64, properties: Properties) -> Result<u64> {
        self.collect_adrift();
        if size == 0 || !size.is_multiple_of(PAGE) {
            return Err(Error::InvalidValue);
        }
        if let Some(d) = properties.device {
            self.take(&mut self.lock(), d, size)?;
        }
        let refund = |e| {
            if let Some(d) = properties.device {
                self.process.give(d, size, Account::Process);
            }
            e
        };
        let id = self.process.region.fresh_id();
        let mut inner = self.lock();
        let (file, offset, arena) = if properties.exportable != 0 {
            let device = properties.device.map_or(-1, |d| d as i64);
            let f = shared_file(&format!("fcsp-sim-vmm:{device}:{size}"), size).map_err(refund)?;
            (Arc::new(opened_again(&f).map_err(refund)?), 0, None)
        } else {
            let arena = inner.vmm.arena.clone();
            let (f, at) = arena
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(size)
                .map_err(refund)?;
            (f, at, Some(arena))
        };
        let inode = if arena.is_some() {
            0
        } else {
            file.metadata().map_or(0, |m| m.ino())
        };
        let charged = Some(self.process.clone());
        let physical = Physical {
            id,
            size,
            properties,
            file,
            offset,
            arena,
            charged,
            inode,
            adrift: AtomicBool::new(false),
            exported: AtomicBool::new(false),
        };
        inner.vmm.handles.insert(id, (Arc::new(physical), 1));
        Ok(id)
    }

    /// Drops one reference to a handle.
    pub fn physical_release(&self, handle: u64) -> Result {
        let mut inner = self.lock();
        let (_, n) = inner
            .vmm
            .handles
            .get_mut(&handle)
            .ok_or(Error::InvalidValue)?;
        *n -= 1;
        if *n == 0
            && let Some((physical, _)) = inner.vmm.handles.remove(&handle)
        {
            inner.vmm.let_go(physical);
        }
        Ok(())
    }

    /// Returns the properties and size of a handle.
    pub fn physical_properties(&self, handle: u64) -> Result<(Properties, u64)> {
        let inner = self.lock();
        let (p, _) = inner.vmm.handles.get(&handle).ok_or(Error::InvalidValue)?;
        Ok((p.properties, p.size))
    }

    /// Adds a reference to the memory mapped at an address.
    pub fn physical_retain(&self, at: u64) -> Result<u64> {
        let mut inner = self.lock();
        let base = inner
            .find(at)
            .filter(|r| r.kind == Kind::Mapped)
            .ok_or(Error::InvalidValue)?
            .base;
        let p = inner
            .vmm
            .placed
            .get(&base)
            .ok_or(Error::InvalidValue)?
            .physical
            .clone();
        let id = p.id;
        inner.vmm.handles.entry(id).or_insert((p, 0)).1 += 1;
        Ok(id)
    }

    /// Maps physical memory at reserved addresses, without access yet.
    pub fn physical_map(&self, at: u64, size: u64, offset: u64, handle: u64) -> Result {
        if size == 0
            || !size.is_multiple_of(PAGE)
            || !at.is_multiple_of(PAGE)
            || !offset.is_multiple_of(PAGE)
        {
            return Err(Error::InvalidValue);
        }
        let mut inner = self.lock();
        let (p, _) = inner.vmm.handles.get(&handle).ok_or(Error::InvalidValue)?;
        let p = p.clone();
        if offset.checked_add(size).is_none_or(|end| end > p.size) {
            return Err(Error::InvalidValue);
        }
        let before = inner.vmm.placed.range(..at + size).next_back();
        if before.is_some_and(|(b, q)| b + q.size > at) {
            return Err(Error::InvalidValue);
        }
        let m = inner.vmm.space(at, size)?;
        m.place(
            at - m.base(),
            size,
            &p.file,
            p.offset + offset,
            libc::PROT_NONE,
        )?;
        let device = p.properties.device.unwrap_or(0);
        inner.vmm.placed.insert(
            at,
            Placed {
                size,
                physical: p,
                access: Access::None,
            },
        );
        self.add(&mut inner, at, size, Kind::Mapped, device, 0);
        Ok(())
    }

    /// Unmaps whole mappings. The caller has made sure that no work in flight uses them.
    pub fn physical_unmap(&self, at: u64, size: u64) -> Result {
        let mut inner = self.lock();
        let free = size > 0
            && inner
                .vmm
                .placed
                .range(at..at.saturating_add(size))
                .next()
                .is_none();
        if free && inner.vmm.space(at, size).is_ok() {
            // Reserved and not mapped; the driver takes that for done. Measured.
            return Ok(());
        }
        let bases = inner.vmm.exactly(at, size)?;
        let m = inner.vmm.space(at, size)?;
        m.clear(at - m.base(), size);
        for b in bases {
            inner.ranges.remove(&b);
            if let Some(placed) = inner.vmm.placed.remove(&b) {
                inner.vmm.let_go(placed.physical);
            }
        }
        Ok(())
    }

    /// Grants or takes away access to whole mappings.
    pub fn physical_access(&self, at: u64, size: u64, access: Access) -> Result {
        let mut inner = self.lock();
        let bases = inner.vmm.exactly(at, size)?;
        let m = inner.vmm.space(at, size)?;
        let protection = match access {
            Access::None => libc::PROT_NONE,
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        m.protect(at - m.base(), size, protection)?;
        for b in bases {
            if let Some(p) = inner.vmm.placed.get_mut(&b) {
                p.access = access;
            }
        }
        Ok(())
    }

    /// Returns the access granted at an address.
    pub fn physical_granted(&self, at: u64) -> Result<Access> {
        let inner = self.lock();
        let r = inner
            .find(at)
            .filter(|r| r.kind == Kind::Mapped)
            .ok_or(Error::InvalidValue)?;
        inner
            .vmm
            .placed
            .get(&r.base)
            .map(|p| p.access)
            .ok_or(Error::InvalidValue)
    }

    /// Makes a file descriptor, owned by the caller, that stands for a handle in other processes.
    pub fn physical_export(&self, handle: u64) -> Result<i32> {
        let inner = self.lock();
        let (p, _) = inner.vmm.handles.get(&handle).ok_or(Error::InvalidValue)?;
        if p.arena.is_some() {
            return Err(Error::InvalidValue);
        }
        // An opening of its own, by which `has_descriptors` tells that it is there.
        let file = opened_again(&p.file)?;
        p.exported.store(true, Ordering::Relaxed);
        Ok(file.into_raw_fd())
    }

    /// Takes notice of descriptors that have been closed.
    pub fn collect_adrift(&self) {
        self.lock().vmm.collect();
    }

    /// Makes a handle for memory that a descriptor stands for. It is charged to the process that
    /// created it, not again.
    pub fn physical_import(&self, fd: i32) -> Result<u64> {
        let name = shared_name(fd).ok_or(Error::InvalidValue)?;
        let mut parts = name
            .strip_prefix("fcsp-sim-vmm:")
            .ok_or(Error::InvalidValue)?
            .split(':');
        let device = parts
            .next()
            .and_then(|d| d.parse::<i64>().ok())
            .ok_or(Error::InvalidValue)?;
        let size = parts
            .next()
            .and_then(|s| s.parse::<u64>().ok())
            .ok_or(Error::InvalidValue)?;
        // SAFETY: duplicates the caller's descriptor, which stays the caller's.
        let own = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if own < 0 {
            return Err(Error::OperatingSystem);
        }
        // SAFETY: the duplicate is ours alone.
        let file = unsafe { File::from_raw_fd(own) };
        let inode = file.metadata().map_err(|_| Error::OperatingSystem)?.ino();
        let mut inner = self.lock();
        if let Some(physical) = inner.vmm.adrift.iter().find(|p| p.inode == inode).cloned() {
            // It stays nobody's until the last descriptor is closed.
            let id = physical.id;
            inner.vmm.handles.entry(id).or_insert((physical, 0)).1 += 1;
            return Ok(id);
        }
        // The exporter's own process gets the memory it already has, so that it is freed once and
        // not twice.
        let known = inner
            .vmm
            .handles
            .iter()
            .find(|(_, (p, _))| p.inode == inode && p.inode != 0)
            .map(|(h, _)| *h);
        if let Some(h) = known {
            if let Some((_, n)) = inner.vmm.handles.get_mut(&h) {
                *n += 1;
            }
            return Ok(h);
        }
        let id = self.process.region.fresh_id();
        let properties = Properties {
            device: usize::try_from(device).ok(),
            exportable: 1,
        };
        let physical = Physical {
            id,
            size,
            properties,
            file: Arc::new(file),
            offset: 0,
            arena: None,
            charged: None,
            inode,
            adrift: AtomicBool::new(false),
            exported: AtomicBool::new(false),
        };
        inner.vmm.handles.insert(id, (Arc::new(physical), 1));
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;
    use crate::spec::Topology;

    fn memory(name: &str) -> (Memory, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("fcsp-sim-vmm-{}-{name}", std::process::id()));
        let t: Topology = "tiny".parse().unwrap();
        let p = Process::join(t.clone(), Arc::new(Region::open(&path, &t).unwrap())).unwrap();
        (Memory::new(Arc::new(p)), path)
    }

    const DEVICE: Properties = Properties {
        device: Some(0),
        exportable: 0,
    };

    #[test]
    fn memory_lives_while_handle_or_mapping_does() {
        let (m, path) = memory("life");
        let used = || m.process.memory(0).1 - m.process.memory(0).0;
        let h = m.physical_create(4 * PAGE, DEVICE).unwrap();
        let at = m.space_reserve(8 * PAGE, 0, 0).unwrap();
        m.physical_map(at, 2 * PAGE, PAGE, h).unwrap();
        assert_eq!(
            m.physical_map(at + PAGE, 2 * PAGE, 0, h),
            Err(Error::InvalidValue),
            "overlap"
        );
        m.physical_map(at + 4 * PAGE, 2 * PAGE, PAGE, h).unwrap();
        assert!(!m.covers(at, 8));
        m.physical_access(at, 2 * PAGE, Access::ReadWrite).unwrap();
        m.physical_access(at + 4 * PAGE, 2 * PAGE, Access::Read)
            .unwrap();
        assert!(m.covers(at, 2 * PAGE) && !m.covers(at, 3 * PAGE));
        // SAFETY: mapped and accessible by the two calls above; both are the same physical page.
        unsafe {
            (at as *mut u32).write(77);
            assert_eq!(((at + 4 * PAGE) as *const u32).read(), 77);
        }
        m.physical_release(h).unwrap();
        assert_eq!(used(), 4 * PAGE, "the mappings keep it");
        let again = m.physical_retain(at + 5).unwrap();
        assert_eq!(
            m.physical_unmap(at, PAGE),
            Err(Error::InvalidValue),
            "no part of a mapping"
        );
        m.physical_unmap(at, 2 * PAGE).unwrap();
        m.physical_unmap(at + 4 * PAGE, 2 * PAGE).unwrap();
        assert_eq!(used(), 4 * PAGE, "the retained handle keeps it");
        m.physical_release(again).unwrap();
        assert_eq!(used(), 0);
        assert_eq!(m.physical_release(again), Err(Error::InvalidValue));
        m.space_free(at, 8 * PAGE).unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn exported_memory_stays_on_the_device_while_a_descriptor_is_open() {
        let (m, path) = memory("adrift");
        let used = || m.process.memory(0).1 - m.process.memory(0).0;
        let shown = || m.process.usage(0).bytes.load(Ordering::Relaxed);
        let exportable = Properties {
            device: Some(0),
            exportable: 1,
        };
        let h = m.physical_create(PAGE, exportable).unwrap();
        let fd = m.physical_export(h).unwrap();
        m.physical_release(h).unwrap();
        assert_eq!((used(), shown()), (PAGE, 0), "on the device, and nobody's");
        let again = m.physical_import(fd).unwrap();
        assert_eq!((used(), shown()), (PAGE, 0), "while the descriptor is open");
        // SAFETY: the exported descriptor is ours to close.
        unsafe { libc::close(fd) };
        m.collect_adrift();
        assert_eq!((used(), shown()), (PAGE, PAGE));
        m.physical_release(again).unwrap();
        assert_eq!((used(), shown()), (0, 0));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_import_is_the_same_memory_and_not_charged_again() {
        let (m, path) = memory("export");
        let h = m
            .physical_create(
                PAGE,
                Properties {
                    device: Some(0),
                    exportable: 1,
                },
            )
            .unwrap();
        let fd = m.physical_export(h).unwrap();
        assert_eq!(
            m.physical_import(fd).unwrap(),
            h,
            "in the exporter's own process"
        );
        // Another process of the same machine.
        let t: Topology = "tiny".parse().unwrap();
        let other = Memory::new(Arc::new(
            Process::join(t.clone(), Arc::new(Region::open(&path, &t).unwrap())).unwrap(),
        ));
        let i = other.physical_import(fd).unwrap();
        // SAFETY: the exported descriptor is ours to close.
        unsafe { libc::close(fd) };
        assert_eq!(other.process.memory(0).0, other.process.memory(0).1 - PAGE);
        let (a, b) = (
            m.space_reserve(PAGE, 0, 0).unwrap(),
            other.space_reserve(PAGE, 0, 0).unwrap(),
        );
        m.physical_map(a, PAGE, 0, h).unwrap();
        other.physical_map(b, PAGE, 0, i).unwrap();
        m.physical_access(a, PAGE, Access::ReadWrite).unwrap();
        other.physical_access(b, PAGE, Access::ReadWrite).unwrap();
        // SAFETY: both addresses are mapped and accessible.
        unsafe {
            (a as *mut u64).write(0x1234);
            assert_eq!((b as *const u64).read(), 0x1234);
        }
        assert_eq!(
            m.physical_import(0),
            Err(Error::InvalidValue),
            "a descriptor of something else"
        );
        std::fs::remove_file(path).unwrap();
    }
}
