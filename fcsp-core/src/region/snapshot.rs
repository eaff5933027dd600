//! Snapshots: reading a region from outside, by `read` and not by mapping. A tenant that truncates
//! or damages its own file can at worst show wrong figures about itself.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;

use super::layout::{
    HEADER_BYTES, IDENTITY_BYTES, Identity, MAX_SLOTS, SLOT_BYTES, SLOT_LIVE, SlotWords,
    TENANT_WORDS_AT, TenantWords, description,
};
use super::ledger::UNIT;
use super::made::{check_identity, lock_offset};
use super::physical;
use crate::device::{DeviceUuid, PciAddress};
use crate::file;

/// One process of a tenant on one device.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct ProcessSnapshot {
    /// Number in the process's own PID namespace.
    pub pid: u32,
    /// Number under which the management library lists it, if it differs; 0 if not known.
    #[serde(skip)]
    pub listed: u32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
    /// Command name.
    pub name: String,
    /// True if the kernel shows that the slot's owner lives.
    pub alive: bool,
    /// Bytes reserved or charged against the quota.
    pub reserved_bytes: u64,
    /// Part of these for live allocations, as the driver rounded them.
    pub allocated_bytes: u64,
    /// Part of these for contexts, code and other overhead.
    pub overhead_bytes: u64,
    /// Requests refused.
    pub refused: u64,
    /// Instant since which a launch of it waits at its gate, ns of CLOCK_MONOTONIC; 0 for none.
    #[serde(skip)]
    pub waiting_since: u64,
    /// Layout version of the process's build; 0 for a build before version 3, which writes none of
    /// the fields below.
    #[serde(skip)]
    pub layout_version: u64,
    /// Inode of the process's PID namespace, by its own claim; 0 if not known.
    pub pid_namespace: u64,
    /// Number of the process's cgroup, by its own claim; 0 if not known.
    pub cgroup: u64,
    /// Its answer to a pause ([`super::standstill::Answer::from_word`]).
    #[serde(skip)]
    pub stopped: u64,
}

/// One tenant's use of one device.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct RegionSnapshot {
    /// The device's UUID.
    pub uuid: String,
    /// The device's PCI address.
    pub pci: Option<String>,
    /// Bytes of the device.
    pub total_bytes: u64,
    /// Quota of the tenant in bytes; `None` without a limit.
    pub limit_bytes: Option<u64>,
    /// Bytes reserved by live processes.
    pub used_bytes: u64,
    /// Most bytes ever in use.
    pub peak_bytes: u64,
    /// Requests refused since the region was made.
    pub refused: u64,
    /// Dead processes whose memory was released.
    pub reaped: u64,
    /// The processes, including dead ones that are not cleared yet.
    pub processes: Vec<ProcessSnapshot>,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// Returns true if a character is printed as one and does not affect its neighbours: neither a
/// control character nor one that reverses or joins text.
fn is_printable(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !is_format
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl RegionSnapshot {
    /// Reads the region at `path`.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = file::open_ro(path)?;
        Self::read_file(&file)
    }

    /// Reads an open region.
    pub fn read_file(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut header = vec![0u8; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)
            .map_err(|_| invalid(format!("is truncated to {len} bytes")))?;
        let mut identity = [0; IDENTITY_BYTES];
        identity.copy_from_slice(&header[..IDENTITY_BYTES]);
        let identity = Identity::from_bytes(&identity);
        check_identity(&identity, len).map_err(invalid)?;
        let tenant = |offset: usize| TENANT_WORDS_AT + offset;
        let high = half(&header, tenant(offset_of!(TenantWords, high))).min(MAX_SLOTS);
        let mut slots = vec![0u8; high as usize * SLOT_BYTES];
        let fits = ((len.saturating_sub(HEADER_BYTES as u64)) as usize).min(slots.len());
        slots.truncate(fits - fits % SLOT_BYTES);
        file.read_exact_at(&mut slots, HEADER_BYTES as u64)?;

        let count = (slots.len() / SLOT_BYTES) as u32;
        let locked = file::locked_ranges(file, lock_offset(0)..lock_offset(count))?;
        let is_locked = |index| {
            let at = lock_offset(index);
            let after = locked.partition_point(|range| range.end <= at);
            locked.get(after).is_some_and(|range| range.contains(&at))
        };
        let mut processes = Vec::new();
        for (index, slot) in slots.chunks_exact(SLOT_BYTES).enumerate() {
            if half(slot, offset_of!(SlotWords, state)) != SLOT_LIVE {
                continue;
            }
            let name_at = offset_of!(SlotWords, name);
            let name_len = half(slot, offset_of!(SlotWords, name_len)).min(32) as usize;
            let pid = half(slot, offset_of!(SlotWords, pid));
            let start_time = word(slot, offset_of!(SlotWords, start_time));
            let is_described =
                word(slot, offset_of!(SlotWords, described)) == description(pid, start_time);
            let described = |at| if is_described { word(slot, at) } else { 0 };
            processes.push(ProcessSnapshot {
                pid,
                listed: half(slot, offset_of!(SlotWords, listed)),
                start_time,
                name: String::from_utf8_lossy(&slot[name_at..name_at + name_len])
                    .chars()
                    .filter(|&c| is_printable(c))
                    .collect(),
                alive: is_locked(index as u32),
                reserved_bytes: word(slot, offset_of!(SlotWords, held)).saturating_mul(UNIT),
                allocated_bytes: physical::bytes(word(slot, offset_of!(SlotWords, allocated))),
                overhead_bytes: word(slot, offset_of!(SlotWords, overhead)),
                refused: word(slot, offset_of!(SlotWords, refused)),
                waiting_since: word(slot, offset_of!(SlotWords, waiting_since)),
                layout_version: described(offset_of!(SlotWords, layout_version)),
                pid_namespace: described(offset_of!(SlotWords, pid_namespace)),
                cgroup: described(offset_of!(SlotWords, cgroup)),
                stopped: described(offset_of!(SlotWords, stopped)),
            });
        }
        let limit = word(&header, tenant(offset_of!(TenantWords, limit)));
        let pci = PciAddress {
            domain: identity.pci_domain,
            bus: identity.pci_bdf[0],
            device: identity.pci_bdf[1],
            function: identity.pci_bdf[2],
        };
        Ok(Self {
            uuid: DeviceUuid(identity.uuid).to_string(),
            pci: (identity.has_pci != 0).then(|| pci.to_string()),
            total_bytes: word(&header, tenant(offset_of!(TenantWords, total))),
            limit_bytes: (limit != u64::MAX).then_some(limit),
            // The sum over live processes: correct even if no process has attached since the last
            // death.
            used_bytes: processes
                .iter()
                .filter(|p| p.alive)
                .map(|p| p.reserved_bytes)
                .fold(0, u64::saturating_add),
            peak_bytes: word(&header, tenant(offset_of!(TenantWords, peak))).saturating_mul(UNIT),
            refused: word(&header, tenant(offset_of!(TenantWords, refused))),
            reaped: word(&header, tenant(offset_of!(TenantWords, reaped))),
            processes,
        })
    }

    /// Returns true if any process of the tenant lives on this device.
    pub fn any_alive(&self) -> bool {
        self.processes.iter().any(|p| p.alive)
    }
}
