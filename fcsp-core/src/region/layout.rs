//! The bytes of a region file: what every process of one tenant shares about one device.
//!
//! ```text
//! 0      header: identity, written once before the file gets its name
//! 128    the tenant's words: used, limit, total, peak, refusals     (own cache lines)
//! 4096   slot 0: one process                                        (256 bytes each)
//! 4352   slot 1 ...
//! ```
//! All numbers are little-endian machine words at fixed offsets. Words are only appended, and zero
//! means absent; a word that moves or changes its meaning raises [`VERSION`].

use crate::sync::{AtomicU32, AtomicU64};

/// "FCSPREG" and a byte that makes byte order visible.
pub const MAGIC: u64 = u64::from_le_bytes(*b"FCSPREG\x01");
/// Raised whenever a field moves or changes meaning.
pub const VERSION: u32 = 2;
/// Bytes before the first slot: a page, so that slots may be mapped on their own.
pub const HEADER_BYTES: usize = 4096;
/// Bytes a slot takes.
pub const SLOT_BYTES: usize = 256;
/// Slots in a new file; the file doubles when they are taken.
pub const FIRST_SLOTS: u32 = 32;
/// Slots that fit in the window each process maps (16 MiB of address space, not of memory).
pub const MAX_SLOTS: u32 = 65_536;
/// Bytes of the window each process maps.
pub const WINDOW_BYTES: usize = HEADER_BYTES + MAX_SLOTS as usize * SLOT_BYTES;

/// Written once, before the file gets its name; checked on every attach.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
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
    /// FNV-1a over the fields above: a scribbled header is noticed.
    pub check: u64,
}

/// Bytes of an [`Identity`] in a file.
pub const IDENTITY_BYTES: usize = size_of::<Identity>();

impl Identity {
    /// The identity as it lies in a file.
    pub fn to_bytes(self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.magic.to_le_bytes());
        put(&self.version.to_le_bytes());
        put(&self.header_bytes.to_le_bytes());
        put(&self.slot_bytes.to_le_bytes());
        put(&self.has_pci.to_le_bytes());
        put(&self.uuid);
        put(&self.pci_domain.to_le_bytes());
        put(&self.pci_bdf);
        put(&self.check.to_le_bytes());
        bytes
    }

    /// The identity that lies in a file so.
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
            version: u32::from_le_bytes(take(bytes, at)),
            header_bytes: u32::from_le_bytes(take(bytes, at)),
            slot_bytes: u32::from_le_bytes(take(bytes, at)),
            has_pci: u32::from_le_bytes(take(bytes, at)),
            uuid: take(bytes, at),
            pci_domain: u32::from_le_bytes(take(bytes, at)),
            pci_bdf: take(bytes, at),
            check: u64::from_le_bytes(take(bytes, at)),
        }
    }

    /// The check value that belongs to the other fields.
    pub fn expected_check(&self) -> u64 {
        let mut hash = Fnv::new();
        hash.add(&self.magic.to_le_bytes());
        hash.add(&self.version.to_le_bytes());
        hash.add(&self.header_bytes.to_le_bytes());
        hash.add(&self.slot_bytes.to_le_bytes());
        hash.add(&self.has_pci.to_le_bytes());
        hash.add(&self.uuid);
        hash.add(&self.pci_domain.to_le_bytes());
        hash.add(&self.pci_bdf);
        hash.finish()
    }
}

/// FNV-1a, 64 bits: enough to notice damage, no defence against forgery.
#[derive(Debug)]
pub struct Fnv(u64);

impl Fnv {
    /// An empty hash.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The hash so far.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

/// The tenant's words for one device. See [`super::ledger`] for who writes which when.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct TenantWords {
    /// `{version: 18 bits, epoch: 10 bits, units: 36 bits}`: units of 512 bytes held by all live
    /// slots.
    pub used: AtomicU64,
    /// `{marks set: 32 bits, marks answered: 32 bits}`: set when a dead slot has been cleared and
    /// when a change met a recompute, answered by the recomputes that follow.
    pub dirty: AtomicU64,
    /// Bytes of the device, as the first process to attach found it.
    pub total: AtomicU64,
    /// Bytes the tenant may hold here, for display; each process enforces the quota it was
    /// configured with.
    pub limit: AtomicU64,
    /// Slots the file has room for.
    pub capacity: AtomicU32,
    /// One more than the highest slot ever taken: where scans stop.
    pub high: AtomicU32,
    /// CLOCK_MONOTONIC nanoseconds of the last look for dead processes.
    pub reaped_ns: AtomicU64,
    /// Most units ever in use.
    pub peak: AtomicU64,
    /// Requests refused since the region was made.
    pub refused: AtomicU64,
    /// Bytes asked for by the last refused request.
    pub refused_bytes: AtomicU64,
    /// Dead processes whose memory was given back.
    pub reaped: AtomicU64,
    /// The boot of the machine that the region is of ([`crate::boot::id`]); 0 in regions of builds
    /// that did not write it.
    pub boot: AtomicU64,
    /// Bytes of the smallest context that one of the tenant's processes began with; 0 while none is
    /// known. See [`super::contexts`].
    pub first_context: AtomicU64,
    /// Bytes of the smallest context that a process made beside another; 0 while none is known.
    pub further_context: AtomicU64,
}

/// Nobody owns the slot.
pub const SLOT_FREE: u32 = 0;
/// A process owns the slot, or owned it when it died.
pub const SLOT_LIVE: u32 = 1;

/// What one process holds on the device. Only that process writes here, but for clearing after its
/// death.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct SlotWords {
    /// [`SLOT_FREE`] or [`SLOT_LIVE`].
    pub state: AtomicU32,
    /// Bytes of the name that are used.
    pub name_len: AtomicU32,
    /// Units of 512 bytes this process holds in `used`, reservations included.
    pub held: AtomicU64,
    /// Process number in the process's own namespace.
    pub pid: AtomicU32,
    /// Number under which the management library lists the process, where that differs from its
    /// own; 0 if not known.
    pub listed: AtomicU32,
    /// Start time in clock ticks since boot (field 22 of /proc/PID/stat).
    pub start_time: AtomicU64,
    /// `{changes: 18 bits, under way: 10 bits, units: 36 bits}`: units of 512 bytes of live
    /// allocations, as the driver rounded them; see [`super::physical`].
    pub allocated: AtomicU64,
    /// Bytes of contexts, code and other overhead, as measured.
    pub overhead: AtomicU64,
    /// Requests of this process that were refused.
    pub refused: AtomicU64,
    /// Allocations that went to the driver through a route that could not be checked beforehand.
    pub unchecked: AtomicU64,
    /// Command name, four words of eight bytes.
    pub name: [AtomicU64; 4],
    /// Since when a launch of this process has stood at its gate, ns of CLOCK_MONOTONIC; 0 while
    /// none does. This word came later; files of before have a zero here.
    pub waiting_since: AtomicU64,
    /// Since when this process has the driver make a context, ns of CLOCK_MONOTONIC; 0 while it
    /// does not. This word came later.
    pub making_since: AtomicU64,
}

const _: () = {
    assert!(IDENTITY_BYTES == 56);
    #[cfg(not(loom))]
    assert!(size_of::<SlotWords>() <= SLOT_BYTES);
    #[cfg(not(loom))]
    assert!(size_of::<TenantWords>() <= HEADER_BYTES - 128);
};
/// Where [`TenantWords`] start.
pub const TENANT_WORDS_AT: usize = 128;
