//! Device memory handed to another process by a 64-byte ticket.

use crate::error::{Error, Result};
use crate::host::Mapping;
use crate::memory::{Kind, Memory};
use std::fs::OpenOptions;

const MAGIC: u64 = 0x4643_5350_4950_4331;

fn word(ticket: &[u8; 64], i: usize) -> u64 {
    let mut b = [0; 8];
    b.copy_from_slice(&ticket[i * 8..i * 8 + 8]);
    u64::from_le_bytes(b)
}

impl Memory {
    /// Returns a ticket for the allocation that starts at or contains an address. The memory is
    /// copied into a shared file in place the first time, so the caller has made sure that no work
    /// in flight writes to it.
    pub fn ipc_export(&self, address: u64) -> Result<[u8; 64]> {
        let (fd, offset, r) = self.share(address)?;
        let mut ticket = [0; 64];
        let words = [
            MAGIC,
            u64::from(std::process::id()),
            fd as u64,
            offset,
            r.size,
            r.device as u64,
            r.id,
        ];
        for (i, w) in words.into_iter().enumerate() {
            ticket[i * 8..i * 8 + 8].copy_from_slice(&w.to_le_bytes());
        }
        Ok(ticket)
    }

    /// Opens another process's ticket; the address here. Opening it again gives the same address.
    ///
    /// # Errors
    /// [`Error::InvalidContext`] for a ticket of this very process, [`Error::InvalidValue`] for
    /// none of ours, or one whose process is gone.
    pub fn ipc_open(&self, ticket: &[u8; 64], context: u64) -> Result<u64> {
        if word(ticket, 0) != MAGIC {
            return Err(Error::InvalidValue);
        }
        let (pid, fd, offset, size, device) = (
            word(ticket, 1),
            word(ticket, 2),
            word(ticket, 3),
            word(ticket, 4),
            word(ticket, 5),
        );
        if pid == u64::from(std::process::id()) {
            return Err(Error::InvalidContext);
        }
        let mut inner = self.lock();
        if let Some((at, (_, n, _))) = inner.imports.iter_mut().find(|(_, (_, _, t))| t == ticket) {
            *n += 1;
            return Ok(*at);
        }
        let path = format!("/proc/{pid}/fd/{fd}");
        let link = std::fs::read_link(&path).map_err(|_| Error::InvalidValue)?;
        if !link
            .to_str()
            .is_some_and(|l| l.starts_with("/memfd:fcsp-sim-ipc:"))
        {
            return Err(Error::InvalidValue);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|_| Error::InvalidValue)?;
        let len = file.metadata().map_err(|_| Error::OperatingSystem)?.len();
        if offset.checked_add(size).is_none_or(|end| end > len)
            || device as usize >= self.process.topology.devices.len()
        {
            return Err(Error::InvalidValue);
        }
        let m = Mapping::reserved(len, crate::host::PAGE, 0)?;
        m.place(0, len, &file, 0, libc::PROT_READ | libc::PROT_WRITE)?;
        let at = m.base() + offset;
        inner.imports.insert(at, (m, 1, *ticket));
        self.add(
            &mut inner,
            at,
            size,
            Kind::Imported,
            device as usize,
            context,
        );
        Ok(at)
    }

    /// Closes what [`Memory::ipc_open`] opened.
    pub fn ipc_close(&self, address: u64) -> Result {
        let mut inner = self.lock();
        let (_, n, _) = inner.imports.get_mut(&address).ok_or(Error::InvalidValue)?;
        *n -= 1;
        if *n == 0 {
            inner.imports.remove(&address);
            inner.ranges.remove(&address);
        }
        Ok(())
    }
}
