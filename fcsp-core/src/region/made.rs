//! The file of a region: creating it, and checking an existing one.

use std::fs::File;
use std::path::Path;

use super::attach::{RegionError, io_error};
use super::layout::{
    FIRST_SLOTS, HEADER_BYTES, Identity, LAYOUT, MAGIC, MAX_SLOTS, SLOT_BYTES, TENANT_WORDS_AT,
    TenantWords,
};
use crate::boot;
use crate::device::DeviceIdentity;
use crate::file::{self, Transient};

fn identity_of(device: &DeviceIdentity) -> Identity {
    let pci = device.pci;
    let mut identity = Identity {
        magic: MAGIC,
        minimum_reader: u32::from(LAYOUT.minimum_reader()),
        header_bytes: HEADER_BYTES as u32,
        slot_bytes: SLOT_BYTES as u32,
        has_pci: u32::from(pci.is_some()),
        uuid: device.uuid.0,
        pci_domain: pci.map_or(0, |p| p.domain),
        pci_bdf: pci.map_or([0; 4], |p| [p.bus, p.device, p.function, 0]),
        check: 0,
    };
    identity.check = identity.expected_check();
    identity
}

/// Returns the byte of the file that a slot's owner keeps locked.
pub(super) fn lock_offset(index: u32) -> u64 {
    HEADER_BYTES as u64 + u64::from(index) * SLOT_BYTES as u64
}

/// Returns the number of whole slots in a file of `len` bytes.
pub(super) fn slots_in(len: u64) -> u32 {
    let slots = len.saturating_sub(HEADER_BYTES as u64) / SLOT_BYTES as u64;
    u32::try_from(slots).unwrap_or(u32::MAX).min(MAX_SLOTS)
}

/// Returns true if a region was made in another boot. A region with a lock belongs to this boot,
/// whatever it says: its process may have been moved here from another machine.
pub(super) fn is_of_another_boot(file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut word = [0; 8];
    let at = TENANT_WORDS_AT + std::mem::offset_of!(TenantWords, boot);
    file.read_exact_at(&mut word, at as u64).is_ok()
        && boot::is_another(u64::from_le_bytes(word))
        && matches!(file::is_held(file, 0, 0), Ok(false))
}

/// Checks a header that came from a file of `len` bytes.
pub(super) fn check_identity(identity: &Identity, len: u64) -> Result<(), String> {
    if identity.magic != MAGIC {
        return Err("is not an FCSP region".into());
    }
    LAYOUT
        .check(identity.minimum_reader)
        .map_err(|misfit| misfit.to_string())?;
    if identity.check != identity.expected_check()
        || identity.header_bytes as usize != HEADER_BYTES
        || identity.slot_bytes as usize != SLOT_BYTES
    {
        return Err("has a damaged header".into());
    }
    if len < lock_offset(FIRST_SLOTS) {
        return Err(format!("is truncated to {len} bytes"));
    }
    Ok(())
}

/// Opens the region at `path`, and creates it if it is missing or of another boot. The new region
/// has no quota. The guard proves that no process attaches meanwhile.
///
/// # Errors
///
/// The system's reason; an existing file is not checked beyond its boot.
#[cfg(not(loom))]
pub(crate) fn provide(
    path: &Path,
    device: &DeviceIdentity,
    total: u64,
    _setup: &file::SetupLock,
) -> std::io::Result<Transient> {
    match file::open_rw(path, false) {
        Ok(file) if !is_of_another_boot(&file) => return Ok(file),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(path, device, total, u64::MAX).map_err(|error| match error {
        RegionError::Io { source, .. } => source,
        error => std::io::Error::other(error.to_string()),
    })
}

/// Creates a region. No process ever opens an incomplete one.
pub(super) fn create(
    path: &Path,
    device: &DeviceIdentity,
    total: u64,
    limit: u64,
) -> Result<Transient, RegionError> {
    use std::os::unix::fs::FileExt;
    file::make(path, |file| {
        file::allocate(file, lock_offset(FIRST_SLOTS))?;
        file.write_all_at(&identity_of(device).to_bytes(), 0)?;
        let at = |offset: usize| (TENANT_WORDS_AT + offset) as u64;
        file.write_all_at(
            &total.to_le_bytes(),
            at(std::mem::offset_of!(TenantWords, total)),
        )?;
        file.write_all_at(
            &limit.to_le_bytes(),
            at(std::mem::offset_of!(TenantWords, limit)),
        )?;
        file.write_all_at(
            &FIRST_SLOTS.to_le_bytes(),
            at(std::mem::offset_of!(TenantWords, capacity)),
        )?;
        file.write_all_at(
            &boot::id().to_le_bytes(),
            at(std::mem::offset_of!(TenantWords, boot)),
        )?;
        file.write_all_at(
            &u64::from(LAYOUT.version()).to_le_bytes(),
            at(std::mem::offset_of!(TenantWords, layout_version)),
        )
    })
    .map_err(io_error("create", path))
}
