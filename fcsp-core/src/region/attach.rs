//! Attachments: mapping a region file, taking a slot, and clearing the slots of dead processes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::layout::{
    FIRST_SLOTS, HEADER_BYTES, IDENTITY_BYTES, Identity, LAYOUT, MAX_SLOTS, SLOT_FREE, SLOT_LIVE,
    SlotWords, TENANT_WORDS_AT, TenantWords, WINDOW_BYTES, description,
};
use super::ledger::{self, Ledger};
use super::made::{check_identity, create, is_of_another_boot, lock_offset, slots_in};
use super::outer::Outer;
use crate::boot;
use crate::device::DeviceIdentity;
use crate::file::{self, FileId, Mapping, SetupLock, Transient};
use crate::memory::{Denied, MemoryTracker, Usage};
use crate::process;
use crate::sync::{AtomicU32, Ordering};

/// Reason why a region cannot be used. Memory fails closed: a backend that gets this refuses
/// allocations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The file system refused: full, read-only, not permitted.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Reason of the system.
        source: io::Error,
    },
    /// The file is not a region this build can share.
    #[error("{path} {reason}; stop the tenant's processes and remove the file")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Defect of the file.
        reason: String,
    },
    /// Every slot is taken.
    #[error("{path} already has {MAX_SLOTS} processes")]
    Full {
        /// The file.
        path: PathBuf,
    },
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegionError {
    let path = path.to_owned();
    move |source| RegionError::Io {
        action,
        path,
        source,
    }
}

/// Interval at which one tenant searches for dead processes while requests are being refused.
pub const REAP_INTERVAL_NS: u64 = 10_000_000;
/// Longest such interval, with many processes: the memory of dead processes is available within a
/// second.
const MOST_REAP_INTERVAL_NS: u64 = 500_000_000;
/// Most taken slots with which a new process always searches: it may have been started because
/// another one died.
const FEW: u32 = 64;

/// One process's slot in a region. Dropping it clears the slot; a death leaves it to be cleared.
#[derive(Debug)]
pub struct Attachment {
    /// Path of the file.
    path: PathBuf,
    /// Device and inode of the file.
    id: FileId,
    /// Mapping of the file. It also keeps the slot's lock, so that there is no descriptor that the
    /// program could close.
    mapping: Mapping,
    /// Number of this process's slot; `u32::MAX` before one is taken.
    pub(super) index: u32,
    /// Slots that are known to be in the file, whatever its words say.
    backed: AtomicU32,
    /// This process's attachment to the outer tenant.
    pub(super) outer: Option<Box<Outer>>,
}

impl Attachment {
    /// Attaches this process to the region at `path`, which must be in an existing folder, and
    /// creates the region if needed. The caller holds the tenant's [`SetupLock`], passed as proof.
    pub fn open(
        path: &Path,
        device: &DeviceIdentity,
        total: u64,
        limit: u64,
        _setup: &SetupLock,
    ) -> Result<Self, RegionError> {
        let file = match file::open_rw(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path, device, total, limit)?
            }
            Err(error) => return Err(io_error("open", path)(error)),
        };
        // No process of another boot lives. Its counts and instants have no meaning now.
        let file = if is_of_another_boot(&file) {
            drop(file);
            create(path, device, total, limit)?
        } else {
            file
        };
        let unusable = |reason: String| RegionError::Unusable {
            path: path.to_owned(),
            reason,
        };
        let len = file.metadata().map_err(io_error("inspect", path))?.len();
        if len < HEADER_BYTES as u64 {
            return Err(unusable(format!("is truncated to {len} bytes")));
        }
        // Read by a system call, not through the mapping: the identity is not atomic, and another
        // process may overwrite it now.
        let mut identity = [0; IDENTITY_BYTES];
        file.read_exact_at(&mut identity, 0)
            .map_err(io_error("read", path))?;
        let identity = Identity::from_bytes(&identity);
        check_identity(&identity, len).map_err(unusable)?;
        let mapping = Mapping::new_own(&file, WINDOW_BYTES).map_err(io_error("map", path))?;
        if identity.uuid != device.uuid.0 {
            return Err(unusable("belongs to another device".into()));
        }
        let mut this = Self {
            path: path.to_owned(),
            id: FileId::of(&file).map_err(io_error("inspect", path))?,
            mapping,
            index: u32::MAX,
            backed: AtomicU32::new(slots_in(len)),
            outer: None,
        };
        let capacity = this.tenant().capacity.load(Ordering::Relaxed);
        if !(FIRST_SLOTS..=MAX_SLOTS).contains(&capacity) || len < lock_offset(capacity) {
            return Err(RegionError::Unusable {
                path: path.to_owned(),
                reason: format!("says it has {capacity} slots in {len} bytes"),
            });
        }
        this.index = this.take_slot(&file)?;
        // A region without a boot may belong to another one, with any number of dead processes.
        let knows_boot = this.tenant().boot.swap(boot::id(), Ordering::Relaxed) == boot::id();
        if this.high() <= FEW || !knows_boot || this.is_due() || this.crowd() <= FEW {
            this.reap_in(&file);
        }
        Ok(this)
    }

    /// Returns the tenant's words.
    pub fn tenant(&self) -> &TenantWords {
        // SAFETY: `open` checked that the file holds a header. The words are atomics, so other
        // processes may write them at any time. The mapping lives as long as `self`. 128 is aligned
        // for TenantWords.
        unsafe {
            self.mapping
                .base()
                .byte_add(TENANT_WORDS_AT)
                .cast::<TenantWords>()
                .as_ref()
        }
    }

    pub(super) fn slot_at(&self, index: u32) -> &SlotWords {
        debug_assert!(index < MAX_SLOTS);
        // SAFETY: callers pass an index below `capacity`, and the file was allocated up to that
        // slot before `capacity` was raised; atomics as above; slots are 256-aligned.
        unsafe {
            self.mapping
                .base()
                .byte_add(lock_offset(index) as usize)
                .cast::<SlotWords>()
                .as_ref()
        }
    }

    /// Returns this process's words.
    pub fn slot(&self) -> &SlotWords {
        self.slot_at(self.index)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the ledger of this process.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger {
            tenant: self.tenant(),
            slot: self.slot(),
        }
    }

    /// Returns the number of slots that scans must examine.
    pub(super) fn high(&self) -> u32 {
        let tenant = self.tenant();
        // Acquire on both: a slot below `high` is initialised, its bytes below `capacity` are
        // allocated.
        let said = tenant
            .high
            .load(Ordering::Acquire)
            .min(tenant.capacity.load(Ordering::Acquire))
            .min(MAX_SLOTS);
        // Relaxed: a number that only grows, like the file.
        if said <= self.backed.load(Ordering::Relaxed) {
            return said;
        }
        self.look_for(said)
    }

    /// Returns how many of `said` slots are in the file. Damaged words must not end the tenant's
    /// processes by a fault.
    #[cold]
    fn look_for(&self, said: u32) -> u32 {
        if self.mapping.reaches(lock_offset(said) as usize) {
            self.backed.fetch_max(said, Ordering::Relaxed);
        }
        said.min(self.backed.load(Ordering::Relaxed))
    }

    fn take_slot(&self, file: &File) -> Result<u32, RegionError> {
        let lock = |index| {
            file::try_lock(file, lock_offset(index), 1)
                .map_err(io_error("lock a slot of", &self.path))
        };
        let high = self.high();
        // Finding a vacant slot costs no system call, and a new one costs one. Slots of dead
        // processes differ from live ones only by their locks, at one system call each. They are
        // the last resort; the search for dead processes makes them vacant.
        for index in 0..high {
            if self.slot_at(index).state.load(Ordering::Acquire) == SLOT_FREE && lock(index)? {
                return Ok(self.adopt(index));
            }
        }
        let no_more = match self.make_room(file, high) {
            Ok(()) if lock(high)? => return Ok(self.adopt(high)),
            Ok(()) => {
                return Err(RegionError::Unusable {
                    path: self.path.clone(),
                    reason: "has a slot that is locked but was never taken".into(),
                });
            }
            Err(error) => error,
        };
        for index in 0..high {
            if lock(index)? {
                return Ok(self.adopt(index));
            }
        }
        Err(no_more)
    }

    /// Extends the file to hold slot `index`, the first one that was never taken.
    fn make_room(&self, file: &File, index: u32) -> Result<(), RegionError> {
        if index >= MAX_SLOTS {
            return Err(RegionError::Full {
                path: self.path.clone(),
            });
        }
        let tenant = self.tenant();
        let mut backed = slots_in(
            file.metadata()
                .map_err(io_error("inspect", &self.path))?
                .len(),
        );
        if index >= backed {
            backed = (index * 2).clamp(FIRST_SLOTS, MAX_SLOTS);
            file::allocate(file, lock_offset(backed)).map_err(io_error("grow", &self.path))?;
        }
        self.backed.fetch_max(backed, Ordering::Relaxed);
        if index >= tenant.capacity.load(Ordering::Acquire) {
            // Release: the bytes exist before another process may touch them.
            tenant.capacity.store(backed, Ordering::Release);
        }
        Ok(())
    }

    /// Takes a locked slot for this process.
    fn adopt(&self, index: u32) -> u32 {
        let (tenant, slot) = (self.tenant(), self.slot_at(index));
        if slot.state.load(Ordering::Acquire) != SLOT_FREE {
            ledger::clear_slot(tenant, slot);
            tenant.reaped.fetch_add(1, Ordering::Relaxed);
        }
        let me = process::myself();
        slot.held.store(0, Ordering::Relaxed);
        slot.refused.store(0, Ordering::Relaxed);
        slot.unchecked.store(0, Ordering::Relaxed);
        slot.waiting_since.store(0, Ordering::Relaxed);
        slot.making_since.store(0, Ordering::Relaxed);
        slot.requests.store(0, Ordering::Relaxed);
        slot.pid.store(me.pid, Ordering::Relaxed);
        slot.listed.store(0, Ordering::Relaxed);
        slot.start_time.store(me.start_time, Ordering::Relaxed);
        let mut name = [0u8; 32];
        let used = me.name.len().min(32);
        name[..used].copy_from_slice(&me.name.as_bytes()[..used]);
        for (word, bytes) in slot.name.iter().zip(name.chunks_exact(8)) {
            word.store(
                u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8])),
                Ordering::Relaxed,
            );
        }
        slot.name_len.store(used as u32, Ordering::Relaxed);
        slot.layout_version
            .store(u64::from(LAYOUT.version()), Ordering::Relaxed);
        slot.pid_namespace
            .store(me.pid_namespace, Ordering::Relaxed);
        slot.cgroup.store(me.cgroup, Ordering::Relaxed);
        slot.stopped.store(0, Ordering::Relaxed);
        // Release: a reader that finds its owner's description finds the owner's words.
        slot.described
            .store(description(me.pid, me.start_time), Ordering::Release);
        // Release: a scan that sees the slot live sees it initialised.
        slot.state.store(SLOT_LIVE, Ordering::Release);
        tenant.high.fetch_max(index + 1, Ordering::Release);
        index
    }

    /// Clears the slots of dead processes and recomputes `used`. Returns how many were cleared.
    /// There are none if this process cannot open the file, because of another root folder or
    /// another user. Then the next process that attaches clears them.
    pub fn reap(&self) -> u32 {
        match self.reopen() {
            Some(file) => self.reap_in(&file),
            None => {
                // Noted, so that it is not tried again at each refusal.
                self.tenant()
                    .reaped_ns
                    .store(file::monotonic_ns(), Ordering::Relaxed);
                self.recompute();
                0
            }
        }
    }

    /// Opens the region again, if its path still leads to it. Its locks conflict with this
    /// process's own, whose slot is never tried.
    fn reopen(&self) -> Option<Transient> {
        let file = file::open_rw(&self.path, false).ok()?;
        (FileId::of(&file).ok()? == self.id).then_some(file)
    }

    fn reap_in(&self, file: &File) -> u32 {
        let tenant = self.tenant();
        tenant
            .reaped_ns
            .store(file::monotonic_ns(), Ordering::Relaxed);
        let mut cleared = 0;
        for index in 0..self.high() {
            let slot = self.slot_at(index);
            if index == self.index || slot.state.load(Ordering::Acquire) == SLOT_FREE {
                continue;
            }
            // The lock proves that the owner is dead, and gives the right to clear the slot.
            if matches!(file::try_lock(file, lock_offset(index), 1), Ok(true)) {
                if slot.state.load(Ordering::Acquire) != SLOT_FREE {
                    ledger::clear_slot(tenant, slot);
                    cleared += 1;
                }
                file::unlock(file, lock_offset(index), 1);
            }
        }
        if cleared > 0 {
            tenant
                .reaped
                .fetch_add(u64::from(cleared), Ordering::Relaxed);
        }
        self.recompute();
        cleared
    }

    /// Sets `used` to the sum over all live slots, if it may differ.
    fn recompute(&self) {
        ledger::recompute(self.tenant(), || {
            Box::new((0..self.high()).map(|index| self.slot_at(index)))
        });
    }

    /// Returns the number of taken slots, of live and dead processes: a search tries each of them.
    fn crowd(&self) -> u32 {
        let taken = |index: &u32| self.slot_at(*index).state.load(Ordering::Relaxed) != SLOT_FREE;
        (0..self.high()).filter(taken).count() as u32
    }

    /// Returns true if a search for dead processes is due: there may be some, and none was made for
    /// [`REAP_INTERVAL_NS`], or longer with many processes. A search tries the lock of each slot,
    /// and each try searches the kernel's list of all locks: 12 ms for a thousand.
    fn is_due(&self) -> bool {
        let tenant = self.tenant();
        let high = u64::from(self.high());
        if high <= 1 && !ledger::is_stale(tenant) {
            return false;
        }
        let interval =
            |crowd: u64| (REAP_INTERVAL_NS * (1 + crowd / 64)).min(MOST_REAP_INTERVAL_NS);
        let Some(since) =
            file::monotonic_ns().checked_sub(tenant.reaped_ns.load(Ordering::Relaxed))
        else {
            // An instant in the future belongs to another clock.
            return true;
        };
        // There were never more than `high`, and there may be far fewer by now.
        since >= interval(high)
            || (since >= REAP_INTERVAL_NS && since >= interval(u64::from(self.crowd())))
    }

    /// Searches for dead processes if that is due.
    pub fn reap_if_due(&self) {
        if self.is_due() {
            self.reap();
        }
        if let Some(outer) = &self.outer {
            outer.place.reap_if_due();
        }
    }

    /// Reserves `bytes` under `limit`, and within the outer tenants. Before it refuses, it searches
    /// for dead processes. A refusal is counted.
    #[inline]
    pub fn reserve(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        match self.reserve_at_once(bytes, limit) {
            Ok(()) => Ok(()),
            Err(denied) => self
                .reserve_again(bytes, limit, denied)
                .inspect_err(|denied| self.count_refusal(denied.wanted)),
        }
    }

    /// Reserves like [`Attachment::reserve`], for a caller that can use less or tries again. A
    /// refusal is not counted.
    pub fn try_reserve(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.reserve_at_once(bytes, limit)
            .or_else(|denied| self.reserve_again(bytes, limit, denied))
    }

    /// Reserves without a search for dead processes.
    #[inline]
    pub fn reserve_at_once(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.ledger().reserve(bytes, limit)?;
        match &self.outer {
            None => Ok(()),
            Some(outer) => self.reserve_in(outer, bytes),
        }
    }

    /// Charges `bytes` that the driver has already taken, whatever the quota says.
    pub fn charge(&self, bytes: u64) {
        self.ledger().charge(bytes);
        if let Some(outer) = &self.outer {
            outer.place.charge(bytes);
        }
    }

    /// Releases `bytes` that this process has reserved or charged.
    #[inline]
    pub fn release(&self, bytes: u64) {
        self.release_own(bytes);
        if let Some(outer) = &self.outer {
            outer.place.release(bytes);
        }
    }

    #[inline]
    pub(super) fn release_own(&self, bytes: u64) {
        if !self.ledger().release(bytes) {
            self.recompute();
        }
    }

    #[cold]
    fn reserve_again(&self, bytes: u64, limit: u64, denied: Denied) -> Result<(), Denied> {
        let mut looked = false;
        let places = std::iter::successors(Some(self), |place| {
            place.outer.as_ref().map(|outer| &outer.place)
        });
        for place in places.filter(|place| place.is_due()) {
            place.reap();
            looked = true;
        }
        match looked {
            true => self.reserve_at_once(bytes, limit),
            false => Err(denied),
        }
    }

    /// Refuses more than the whole quota, which no death can make available. The refusal is
    /// counted.
    pub fn deny(&self, bytes: u64, limit: u64) -> Denied {
        self.count_refusal(bytes);
        Denied {
            wanted: bytes,
            used: ledger::used_bytes(self.tenant()),
            limit,
        }
    }

    /// Counts a refusal of `bytes` that [`Attachment::reserve`] did not make.
    pub fn count_refusal(&self, bytes: u64) {
        let tenant = self.tenant();
        // Relaxed: counters for people.
        tenant.refused.fetch_add(1, Ordering::Relaxed);
        tenant.refused_bytes.store(bytes, Ordering::Relaxed);
        self.slot().refused.fetch_add(1, Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            outer.place.count_refusal(bytes);
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.index == u32::MAX {
            return;
        }
        let (tenant, slot) = (self.tenant(), self.slot());
        // This process holds the lock, so clearing its slot is the same as clearing a dead one's.
        ledger::clear_slot(tenant, slot);
        self.recompute();
    }
}

/// Quota on an attachment.
#[derive(Debug)]
pub struct Governed<'a> {
    /// Slot in the region.
    pub attachment: &'a Attachment,
    /// Quota of the tenant in bytes; `u64::MAX` for no limit.
    pub limit: u64,
}

impl MemoryTracker for Governed<'_> {
    #[inline]
    fn limit(&self) -> u64 {
        self.limit
    }

    #[inline]
    fn reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.attachment.reserve(bytes, limit)
    }

    fn charge(&self, bytes: u64) {
        self.attachment.charge(bytes);
    }

    fn release(&self, bytes: u64) {
        self.attachment.release(bytes);
    }

    fn usage_under(&self, limit: u64) -> Usage {
        self.attachment.usage(limit)
    }
}
