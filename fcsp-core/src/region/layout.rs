//! Layout of a region file, which all processes of one tenant share for one device.
//!
//! ```text
//! 0      header: identity, written once before the file gets its name
//! 128    the tenant's words: used, limit, total, peak, refusals     (own cache lines)
//! 4096   slot 0: one process                                        (256 bytes each)
//! 4352   slot 1 ...
//! ```
//! All numbers are little-endian machine words at fixed offsets. Words are only appended, and zero
//! means absent; see [`crate::layout_version`].

use crate::layout_version::Layout;
use crate::sync::{AtomicU32, AtomicU64};

/// Magic number: "FCSPREG" and a byte that makes byte order visible.
pub const MAGIC: u64 = u64::from_le_bytes(*b"FCSPREG\x01");
/// Layout versions. Version 3 appended [`TenantWords::layout_version`], and the words of a slot
/// from [`SlotWords::described`] on.
pub const LAYOUT: Layout = Layout::new(2, 2, 3);
/// Bytes before the first slot: a page of memory, so that slots may be mapped separately.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 256;
/// Slots in a new file. The file doubles when they are taken.
pub const FIRST_SLOTS: u32 = 32;
/// Most slots: as many as fit in the window that each process maps (16 MiB of address space, not of
/// memory).
pub const MAX_SLOTS: u32 = 65_536;
/// Bytes of the window that each process maps.
pub const WINDOW_BYTES: usize = HEADER_BYTES + MAX_SLOTS as usize * SLOT_BYTES;

/// Header, written once before the file gets its name, and checked on every attach.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// [`MAGIC`].
    pub magic: u64,
    /// Minimum reader ([`LAYOUT`]).
    pub minimum_reader: u32,
    /// [`HEADER_BYTES`].
    pub header_bytes: u32,
    /// [`SLOT_BYTES`].
    pub slot_bytes: u32,
    /// 1 if `pci_*` hold an address.
    pub has_pci: u32,
    /// The device.
    pub uuid: [u8; 16],
    /// PCI domain.
    pub pci_domain: u32,
    /// PCI bus, device, function, and a zero byte.
    pub pci_bdf: [u8; 4],
    /// FNV-1a over the fields above, against damaged headers.
    pub check: u64,
}

/// Size of an [`Identity`] in a file, in bytes.
pub const IDENTITY_BYTES: usize = size_of::<Identity>();

impl Identity {
    /// Returns the bytes of the identity in a file.
    pub fn to_bytes(self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.magic.to_le_bytes());
        put(&self.minimum_reader.to_le_bytes());
        put(&self.header_bytes.to_le_bytes());
        put(&self.slot_bytes.to_le_bytes());
        put(&self.has_pci.to_le_bytes());
        put(&self.uuid);
        put(&self.pci_domain.to_le_bytes());
        put(&self.pci_bdf);
        put(&self.check.to_le_bytes());
        bytes
    }

    /// Reads the identity from its bytes in a file.
    pub fn from_bytes(bytes: &[u8; IDENTITY_BYTES]) -> Self {
        fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> [u8; N] {
            let mut field = [0; N];
            field.copy_from_slice(&bytes[*at..*at + N]);
            *at += N;
            field
        }
        let at = &mut 0;
        Self {
            magic: u64::from_le_bytes(take(bytes, at)),
            minimum_reader: u32::from_le_bytes(take(bytes, at)),
            header_bytes: u32::from_le_bytes(take(bytes, at)),
            slot_bytes: u32::from_le_bytes(take(bytes, at)),
            has_pci: u32::from_le_bytes(take(bytes, at)),
            uuid: take(bytes, at),
            pci_domain: u32::from_le_bytes(take(bytes, at)),
            pci_bdf: take(bytes, at),
            check: u64::from_le_bytes(take(bytes, at)),
        }
    }

    /// Returns the check value that belongs to the other fields.
    pub fn expected_check(&self) -> u64 {
        let mut hash = Fnv::new();
        hash.add(&self.magic.to_le_bytes());
        hash.add(&self.minimum_reader.to_le_bytes());
        hash.add(&self.header_bytes.to_le_bytes());
        hash.add(&self.slot_bytes.to_le_bytes());
        hash.add(&self.has_pci.to_le_bytes());
        hash.add(&self.uuid);
        hash.add(&self.pci_domain.to_le_bytes());
        hash.add(&self.pci_bdf);
        hash.finish()
    }
}

/// Hash FNV-1a, 64 bits: enough to notice damage, no defence against forgery.
#[derive(Debug)]
pub struct Fnv(u64);

impl Fnv {
    /// Creates an empty hash.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Returns the hash so far.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

/// The tenant's words for one device. All processes of the tenant write them; [`super::ledger`]
/// gives the order. Snapshots read them from outside.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct TenantWords {
    /// `{version: 18 bits, epoch: 10 bits, granules: 36 bits}`: granules of 512 bytes reserved by
    /// all live slots. Every process exchanges it with AcqRel.
    pub used: AtomicU64,
    /// `{marks set: 32 bits, marks answered: 32 bits}`. A mark is set after a dead slot was cleared
    /// or a change met a recompute. The following recompute answers it.
    pub dirty: AtomicU64,
    /// Bytes of the device, as the first process to attach found it. Written once, before the file
    /// gets its name.
    pub total: AtomicU64,
    /// Quota of the tenant in bytes, for display; each process enforces the quota that it was
    /// configured with.
    pub limit: AtomicU64,
    /// Slots that the file has room for. Raised with Release after the file was allocated.
    pub capacity: AtomicU32,
    /// One more than the highest slot ever taken; scans stop there. Raised with Release after the
    /// slot was initialised.
    pub high: AtomicU32,
    /// Instant of the last search for dead processes, ns of CLOCK_MONOTONIC.
    pub reaped_ns: AtomicU64,
    /// Most granules ever in use. Raised by each reservation; read for display.
    pub peak: AtomicU64,
    /// Requests refused since the region was made. Counted by each process; read for display.
    pub refused: AtomicU64,
    /// Bytes requested by the last refused request.
    pub refused_bytes: AtomicU64,
    /// Dead processes whose slots were cleared.
    pub reaped: AtomicU64,
    /// Boot to which the region belongs ([`crate::boot::id`]); 0 in regions of builds that did not
    /// write it. Each attach writes it.
    pub boot: AtomicU64,
    /// Bytes of the smallest first context of any of the tenant's processes; 0 while none is known.
    /// See [`super::contexts`].
    pub first_context: AtomicU64,
    /// Bytes of the smallest further context of any process; 0 while none is known.
    pub further_context: AtomicU64,
    /// Layout version of the build that made the file; 0 for a build before version 3. Written
    /// once, before the file gets its name.
    pub layout_version: AtomicU64,
}

/// State of a vacant slot.
pub const SLOT_FREE: u32 = 0;
/// State of a slot whose owner lives, or died without clearing it.
pub const SLOT_LIVE: u32 = 1;

/// Words of one process for one device. Only that process writes them; after its death the process
/// that holds the slot's kernel lock clears them.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct SlotWords {
    /// [`SLOT_FREE`] or [`SLOT_LIVE`]. Written with Release, after the other words.
    pub state: AtomicU32,
    /// Used bytes of the name.
    pub name_len: AtomicU32,
    /// Granules of 512 bytes that this process has reserved or charged in `used`. Changed before
    /// `used`.
    pub held: AtomicU64,
    /// Process number in the process's own namespace. Written once, when the slot is taken.
    pub pid: AtomicU32,
    /// Number under which the management library lists the process, where that differs from its
    /// own; 0 if not known.
    pub listed: AtomicU32,
    /// Start time in clock ticks since boot (field 22 of /proc/PID/stat). Written once.
    pub start_time: AtomicU64,
    /// Driver account: `{changes: 18 bits, calls in progress: 10 bits, granules: 36 bits}`. The
    /// granules are those of live allocations, as the driver rounded them; see [`super::physical`].
    pub allocated: AtomicU64,
    /// Bytes of contexts, code and other overhead, as measured. Read for display.
    pub overhead: AtomicU64,
    /// Requests of this process that were refused. Read for display.
    pub refused: AtomicU64,
    /// Allocations that the driver made by a way that could not be checked before. Read for
    /// display.
    pub unchecked: AtomicU64,
    /// Command name, four words of eight bytes. Written once.
    pub name: [AtomicU64; 4],
    /// Instant since which a launch of this process waits at its gate, ns of CLOCK_MONOTONIC; 0 for
    /// none. Added later; files of older builds have a zero here.
    pub waiting_since: AtomicU64,
    /// Instant since which the driver makes a context for this process, ns of CLOCK_MONOTONIC; 0
    /// for none. Other processes of the tenant read it with Acquire. Added later.
    pub making_since: AtomicU64,
    /// `{ended: 48 bits, under way: 16 bits}`: requests whose bytes are reserved and not
    /// reconciled; see [`super::requests`]. Written by the owner, read by processes that are about
    /// to refuse. This word came later.
    pub requests: AtomicU64,
    /// [`description`] of the owner that wrote the words below. A build before version 3 takes a
    /// slot without clearing them: they belong to the owner only if this word is its own.
    /// Stored last, with Release. Version 3 appended it and the words below.
    pub described: AtomicU64,
    /// Layout version of the owner's build. Written once.
    pub layout_version: AtomicU64,
    /// Inode of the owner's PID namespace; 0 if not known. Written once.
    pub pid_namespace: AtomicU64,
    /// Number of the owner's cgroup; 0 if not known. Written once.
    pub cgroup: AtomicU64,
    /// Answer to a pause; 0 for none. Raised by the owner, see [`super::standstill`].
    pub stopped: AtomicU64,
}

/// Returns the word that connects a slot's appended words with its owner. Never 0.
pub fn description(pid: u32, start_time: u64) -> u64 {
    let mut hash = Fnv::new();
    hash.add(&pid.to_le_bytes());
    hash.add(&start_time.to_le_bytes());
    hash.finish() | 1
}

const _: () = {
    assert!(IDENTITY_BYTES == 56);
    #[cfg(not(loom))]
    assert!(size_of::<SlotWords>() <= SLOT_BYTES);
    #[cfg(not(loom))]
    assert!(size_of::<TenantWords>() <= HEADER_BYTES - 128);
};
/// Offset of [`TenantWords`], in bytes.
pub const TENANT_WORDS_AT: usize = 128;
