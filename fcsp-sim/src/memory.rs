//! Device memory of one process: who gets which addresses, and what each of them is.
//!
//! Sizes follow what was measured on an H100: requests below 2 MiB are cut from slabs of 2 MiB a
//! context in units of 512 bytes, larger ones take whole 2 MiB pages, and an empty slab goes back
//! at once. Devices with small pages of their own take those instead of slabs.

use crate::error::{Error, Result};
use crate::host::{Mapping, PAGE};
use crate::pool::Pool;
use crate::process::{Account, Process};
use crate::slab::{SMALL, Slab};
use crate::vmm::Vmm;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Largest request that takes small pages, on devices that have them.
const SMALL_PAGED: u64 = 1 << 20;

/// The memory at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Plain device memory.
    Device,
    /// Device memory that is part of an array, which only array calls may touch or free.
    Array,
    /// A module's variable.
    Module,
    /// From the pool with this number.
    Pool(u64),
    /// Managed memory.
    Managed,
    /// Pinned host memory that the driver allocated, with the caller's flags.
    Host(u32),
    /// Host memory that the application registered, with its flags.
    Registered(u32),
    /// A mapping of physical memory by the virtual memory calls.
    Mapped,
    /// Another process's memory.
    Imported,
    /// A graph's memory node.
    Graph,
}

/// One allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Its kind.
    pub kind: Kind,
    /// The device it is on or was made for.
    pub device: usize,
    /// The context it belongs to; 0 for none.
    pub context: u64,
    /// A number that no other allocation of this machine has.
    pub id: u64,
}

impl Range {
    /// Returns true if the device reads it as its own memory.
    pub fn on_device(&self) -> bool {
        !matches!(self.kind, Kind::Host(_) | Kind::Registered(_))
    }
}

/// A block of whole pages, with its charge.
#[derive(Debug)]
pub(crate) struct Block {
    pub mapping: Mapping,
    device: usize,
    bytes: u64,
    shared: Option<File>,
}

#[derive(Debug)]
struct Managed {
    _mapping: Mapping,
    device: usize,
    resident: Vec<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub ranges: BTreeMap<u64, Range>,
    /// Freed in the order of a stream that has not got there, by ticket: no call may name them,
    /// earlier work may use them.
    pub leaving: HashMap<u64, Range>,
    slabs: HashMap<u64, Vec<(usize, Slab, Option<File>)>>,
    /// Slabs of arrays and of modules' variables, by context and whether they are of modules. None
    /// is shared with plain memory; measured.
    apart: HashMap<(u64, bool), Vec<(usize, Slab)>>,
    pub blocks: HashMap<u64, Block>,
    managed: HashMap<u64, Managed>,
    host: HashMap<u64, Mapping>,
    pub pools: HashMap<u64, Pool>,
    pub vmm: Vmm,
    pub imports: HashMap<u64, (Mapping, u32, [u8; 64])>,
}

/// All device memory of one process.
#[derive(Debug)]
pub struct Memory {
    pub(crate) process: Arc<Process>,
    inner: Mutex<Inner>,
}

impl Inner {
    pub fn find(&self, address: u64) -> Option<Range> {
        let (_, r) = self.ranges.range(..=address).next_back()?;
        (address < r.base + r.size.max(1)).then_some(*r)
    }

    fn leaving(&self, address: u64) -> Option<Range> {
        let here = |r: &&Range| r.base <= address && address < r.base + r.size.max(1);
        self.leaving.values().find(here).copied()
    }
}

impl Memory {
    /// Makes an account without memory.
    pub fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            inner: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(
        &self,
        inner: &mut Inner,
        base: u64,
        size: u64,
        kind: Kind,
        device: usize,
        context: u64,
    ) {
        let id = self.process.region.fresh_id();
        inner.ranges.insert(
            base,
            Range {
                base,
                size,
                kind,
                device,
                context,
                id,
            },
        );
    }

    /// Returns the allocation that an address lies in.
    pub fn find(&self, address: u64) -> Option<Range> {
        self.lock().find(address)
    }

    /// Returns true if the device may touch these bytes, as its own memory or as host memory it can
    /// see.
    pub fn covers(&self, address: u64, len: u64) -> bool {
        let inner = self.lock();
        let mut at = address;
        let end = address.saturating_add(len);
        while at < end {
            match inner.find(at).or_else(|| inner.leaving(at)) {
                // Mapped memory is only reachable once access was granted, and neighbours may be
                // contiguous.
                Some(r) if r.kind != Kind::Mapped || inner.vmm.readable(r.base) => {
                    at = r.base + r.size.max(1)
                }
                _ => return false,
            }
        }
        true
    }

    /// Takes bytes of a device. Where it has no room the free memory that this process's pools keep
    /// goes back first; measured for plain and for physical memory.
    pub(crate) fn take(&self, inner: &mut Inner, device: usize, bytes: u64) -> Result {
        self.process
            .take(device, bytes, Account::Process)
            .or_else(|e| {
                for pool in inner.pools.values_mut().filter(|p| p.device == device) {
                    self.trim(pool, 0);
                }
                self.process
                    .take(device, bytes, Account::Process)
                    .map_err(|_| e)
            })
    }

    fn pages(&self, inner: &mut Inner, device: usize, bytes: u64) -> Result<Block> {
        self.take(inner, device, bytes)?;
        match Mapping::zeroed(bytes, PAGE) {
            Ok(mapping) => Ok(Block {
                mapping,
                device,
                bytes,
                shared: None,
            }),
            Err(_) => {
                self.process.give(device, bytes, Account::Process);
                Err(Error::OutOfMemory)
            }
        }
    }

    fn drop_block(&self, b: Block) {
        // The memory first, then the charge: nobody is told that there is room before there is.
        drop(b.mapping);
        self.process.give(b.device, b.bytes, Account::Process);
    }

    /// Allocates device memory for a context.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], with nothing changed; [`Error::InvalidValue`] for no bytes at all.
    pub fn alloc(&self, device: usize, context: u64, size: u64, kind: Kind) -> Result<u64> {
        if size == 0 {
            return Err(Error::InvalidValue);
        }
        let mut inner = self.lock();
        let small = self.process.topology.devices[device].small_page;
        // Arrays take whole pages however small they are; measured.
        if size <= SMALL && kind != Kind::Array && small == 0 {
            let slabs = inner.slabs.entry(context).or_default();
            let mut at = slabs.iter_mut().find_map(|(_, s, _)| s.alloc(size));
            if at.is_none() {
                let b = self.pages(&mut inner, device, PAGE)?;
                let mut slab = Slab::new(b.mapping);
                at = slab.alloc(size);
                inner
                    .slabs
                    .entry(context)
                    .or_default()
                    .push((device, slab, None));
            }
            let at = at.ok_or(Error::OutOfMemory)?;
            self.add(&mut inner, at, size, kind, device, context);
            return Ok(at);
        }
        let page = if size <= SMALL_PAGED && small != 0 {
            small
        } else {
            PAGE
        };
        let bytes = size
            .checked_next_multiple_of(page)
            .ok_or(Error::OutOfMemory)?;
        let block = self.pages(&mut inner, device, bytes)?;
        let at = block.mapping.base();
        inner.blocks.insert(at, block);
        self.add(&mut inner, at, size, kind, device, context);
        Ok(at)
    }

    /// Allocates memory of an array or a module, from slabs of its own if it is small. `size` is
    /// what the device takes.
    ///
    /// # Errors
    /// As [`Memory::alloc`].
    pub fn alloc_apart(&self, device: usize, context: u64, size: u64, kind: Kind) -> Result<u64> {
        if size == 0 || size > SMALL {
            return self.alloc(device, context, size, kind);
        }
        let key = (context, kind == Kind::Module);
        let mut inner = self.lock();
        let slabs = inner.apart.entry(key).or_default();
        let mut at = slabs.iter_mut().find_map(|(_, s)| s.alloc(size));
        if at.is_none() {
            let b = self.pages(&mut inner, device, PAGE)?;
            let mut slab = Slab::new(b.mapping);
            at = slab.alloc(size);
            inner.apart.entry(key).or_default().push((device, slab));
        }
        let at = at.ok_or(Error::OutOfMemory)?;
        self.add(&mut inner, at, size, kind, device, context);
        Ok(at)
    }

    /// Allocates device memory in pages of `page` bytes, without slabs.
    ///
    /// # Errors
    /// As [`Memory::alloc`].
    pub fn alloc_pages(
        &self,
        device: usize,
        context: u64,
        size: u64,
        page: u64,
        kind: Kind,
    ) -> Result<u64> {
        if size == 0 {
            return Err(Error::InvalidValue);
        }
        let bytes = size
            .checked_next_multiple_of(page)
            .ok_or(Error::OutOfMemory)?;
        let mut inner = self.lock();
        let block = self.pages(&mut inner, device, bytes)?;
        let at = block.mapping.base();
        inner.blocks.insert(at, block);
        self.add(&mut inner, at, size, kind, device, context);
        Ok(at)
    }

    /// Frees what [`Memory::alloc`], [`Memory::alloc_managed`] or a pool gave. The caller has made
    /// sure that no work in flight uses it.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if no such allocation starts there.
    pub fn free(&self, address: u64, array: bool) -> Result {
        let mut inner = self.lock();
        let r = *inner.ranges.get(&address).ok_or(Error::InvalidValue)?;
        match r.kind {
            Kind::Device if !array => {}
            Kind::Array if array => {}
            Kind::Module if array => {}
            Kind::Managed if !array => {
                inner.ranges.remove(&address);
                if let Some(m) = inner.managed.remove(&address) {
                    self.drop_managed(&m);
                }
                return Ok(());
            }
            Kind::Pool(id) if !array => {
                inner.ranges.remove(&address);
                if let Some(p) = inner.pools.get_mut(&id) {
                    p.free_now(address);
                }
                return Ok(());
            }
            _ => return Err(Error::InvalidValue),
        }
        inner.ranges.remove(&address);
        if let Some(b) = inner.blocks.remove(&address) {
            drop(inner);
            self.drop_block(b);
            return Ok(());
        }
        let key = (r.context, r.kind == Kind::Module);
        let slabs = inner.apart.entry(key).or_default();
        if let Some(i) = slabs.iter().position(|(_, s)| s.holds(address)) {
            if slabs[i].1.free(address, r.size) {
                let (device, slab) = slabs.swap_remove(i);
                drop(inner);
                drop(slab);
                self.process.give(device, PAGE, Account::Process);
            }
            return Ok(());
        }
        let slabs = inner.slabs.entry(r.context).or_default();
        if let Some(i) = slabs.iter().position(|(_, s, _)| s.holds(address))
            && slabs[i].1.free(address, r.size)
        {
            let (device, slab, _) = slabs.swap_remove(i);
            drop(inner);
            drop(slab);
            self.process.give(device, PAGE, Account::Process);
        }
        Ok(())
    }

    fn drop_managed(&self, m: &Managed) {
        let n = m.resident.iter().filter(|r| **r).count() as u64;
        if n > 0 {
            self.process.give(m.device, n * PAGE, Account::Managed);
        }
    }

    /// Allocates managed memory. It takes room on the device only where the device has touched it.
    pub fn alloc_managed(&self, device: usize, context: u64, size: u64) -> Result<u64> {
        if size == 0 {
            return Err(Error::InvalidValue);
        }
        let bytes = size
            .checked_next_multiple_of(PAGE)
            .ok_or(Error::OutOfMemory)?;
        let mapping = Mapping::zeroed(bytes, PAGE).map_err(|_| Error::OutOfMemory)?;
        let at = mapping.base();
        let mut inner = self.lock();
        let resident = vec![false; (bytes / PAGE) as usize];
        inner.managed.insert(
            at,
            Managed {
                _mapping: mapping,
                device,
                resident,
            },
        );
        self.add(&mut inner, at, size, Kind::Managed, device, context);
        Ok(at)
    }

    /// Touches these bytes from the device: managed pages among them become resident. Where the
    /// device has no room they stay on the host, as a real device would evict and go on.
    pub fn touch(&self, address: u64, len: u64) {
        let mut inner = self.lock();
        let Some(r) = inner.find(address).filter(|r| r.kind == Kind::Managed) else {
            return;
        };
        let Some(m) = inner.managed.get_mut(&r.base) else {
            return;
        };
        let first = ((address - r.base) / PAGE) as usize;
        let last = ((address - r.base + len.max(1) - 1) / PAGE) as usize;
        let last = last.min(m.resident.len() - 1);
        for page in &mut m.resident[first..=last] {
            if !*page && self.process.take(m.device, PAGE, Account::Managed).is_ok() {
                *page = true;
            }
        }
    }

    /// Moves managed pages to the host.
    pub fn evict(&self, address: u64, len: u64) {
        let mut inner = self.lock();
        let Some(r) = inner.find(address).filter(|r| r.kind == Kind::Managed) else {
            return;
        };
        let Some(m) = inner.managed.get_mut(&r.base) else {
            return;
        };
        let first = ((address - r.base) / PAGE) as usize;
        let last =
            (((address - r.base + len.max(1) - 1) / PAGE) as usize).min(m.resident.len() - 1);
        for page in &mut m.resident[first..=last] {
            if std::mem::take(page) {
                self.process.give(m.device, PAGE, Account::Managed);
            }
        }
    }

    /// Allocates pinned host memory.
    pub fn alloc_host(&self, device: usize, context: u64, size: u64, flags: u32) -> Result<u64> {
        if size == 0 {
            return Err(Error::InvalidValue);
        }
        let mapping = Mapping::zeroed(size, 4096).map_err(|_| Error::OutOfMemory)?;
        let at = mapping.base();
        let mut inner = self.lock();
        inner.host.insert(at, mapping);
        self.add(&mut inner, at, size, Kind::Host(flags), device, context);
        Ok(at)
    }

    /// Frees pinned host memory.
    pub fn free_host(&self, address: u64) -> Result {
        let mut inner = self.lock();
        inner.host.remove(&address).ok_or(Error::InvalidValue)?;
        inner.ranges.remove(&address);
        Ok(())
    }

    /// Registers the application's own memory; whether it was not registered before.
    pub fn register_host(
        &self,
        device: usize,
        context: u64,
        address: u64,
        size: u64,
        flags: u32,
    ) -> bool {
        let mut inner = self.lock();
        if inner.find(address).is_some() {
            return false;
        }
        self.add(
            &mut inner,
            address,
            size,
            Kind::Registered(flags),
            device,
            context,
        );
        true
    }

    /// Undoes [`Memory::register_host`]; whether there was anything to undo.
    pub fn unregister_host(&self, address: u64) -> bool {
        let mut inner = self.lock();
        let hit = inner
            .ranges
            .get(&address)
            .is_some_and(|r| matches!(r.kind, Kind::Registered(_)));
        hit && inner.ranges.remove(&address).is_some()
    }

    /// Frees everything that belongs to a context.
    pub fn release_context(&self, context: u64) {
        let mut inner = self.lock();
        let gone: Vec<Range> = inner
            .ranges
            .values()
            .filter(|r| r.context == context)
            .copied()
            .collect();
        let mut blocks = Vec::new();
        for r in &gone {
            // Pools and mappings belong to the device, not to a context, and outlive it.
            if matches!(r.kind, Kind::Pool(_) | Kind::Mapped | Kind::Graph) {
                continue;
            }
            inner.ranges.remove(&r.base);
            inner.host.remove(&r.base);
            inner.imports.remove(&r.base);
            if let Some(m) = inner.managed.remove(&r.base) {
                self.drop_managed(&m);
            }
            blocks.extend(inner.blocks.remove(&r.base));
        }
        let slabs = inner.slabs.remove(&context).unwrap_or_default();
        let apart = [false, true].map(|module| inner.apart.remove(&(context, module)));
        drop(inner);
        blocks.into_iter().for_each(|b| self.drop_block(b));
        let plain = slabs.into_iter().map(|(device, slab, _)| (device, slab));
        for (device, slab) in plain.chain(apart.into_iter().flatten().flatten()) {
            drop(slab);
            self.process.give(device, PAGE, Account::Process);
        }
    }

    /// Makes the memory around an address visible to other processes; the file, and the address's
    /// offset in it.
    pub(crate) fn share(&self, address: u64) -> Result<(i32, u64, Range)> {
        use std::os::fd::AsRawFd;
        let mut inner = self.lock();
        let r = inner.find(address).ok_or(Error::InvalidValue)?;
        if r.kind != Kind::Device {
            return Err(Error::InvalidValue);
        }
        let name = format!("fcsp-sim-ipc:{}:{}", r.device, r.id);
        let shared = |m: &Mapping, f: &mut Option<File>| -> Result<(i32, u64)> {
            if f.is_none() {
                *f = Some(m.share(&name)?);
            }
            Ok((f.as_ref().map_or(-1, |f| f.as_raw_fd()), r.base - m.base()))
        };
        let (fd, offset) = match inner.blocks.get_mut(&r.base) {
            Some(b) => shared(&b.mapping, &mut b.shared)?,
            None => {
                let slabs = inner.slabs.get_mut(&r.context).ok_or(Error::InvalidValue)?;
                let (_, slab, file) = slabs
                    .iter_mut()
                    .find(|(_, s, _)| s.holds(address))
                    .ok_or(Error::InvalidValue)?;
                shared(&slab.mapping, file)?
            }
        };
        Ok((fd, offset, r))
    }
}
