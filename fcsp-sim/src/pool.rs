//! Stream-ordered memory pools.
//!
//! A pool is one range of addresses in which memory is reserved from the device in steps of 32 MiB,
//! contiguous as long as nothing was released in between; measured. What is freed on a stream can
//! be had again at once by the same stream and by others when the stream has got there. Unused
//! steps above the release threshold go back to the device when a stream, event or context is
//! synchronised.

use crate::error::{Error, Result};
use crate::host::Mapping;
use crate::memory::{Kind, Memory, Range};
use crate::process::Account;
use crate::slab::UNIT;
use std::collections::BTreeMap;

/// Bytes that a pool reserves at a time.
pub const STEP: u64 = 32 << 20;

/// Sizes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolSizes {
    /// Reserved from the device.
    pub reserved: u64,
    /// Most ever reserved since it was last reset.
    pub reserved_high: u64,
    /// In allocations.
    pub used: u64,
    /// Most ever in allocations since it was last reset.
    pub used_high: u64,
}

#[derive(Debug)]
struct Pending {
    ticket: u64,
    stream: u64,
    offset: u64,
    size: u64,
}

/// One pool.
#[derive(Debug)]
pub struct Pool {
    /// The device it is on.
    pub device: usize,
    /// Bytes it keeps when idle.
    pub threshold: u64,
    /// Largest size; 0 for the device's.
    pub max: u64,
    /// The three reuse policies, by attribute number from 1. Kept for the application; reuse does
    /// not depend on them.
    pub reuse: [u32; 3],
    /// True if it is the device's default pool, which cannot be destroyed.
    pub default: bool,
    /// Destroyed by the application, alive until its last allocation is freed.
    pub dying: bool,
    /// Sizes.
    pub sizes: PoolSizes,
    space: Mapping,
    steps: Vec<bool>,
    free: BTreeMap<u64, u64>,
    live: BTreeMap<u64, u64>,
    pending: Vec<Pending>,
}

impl Pool {
    fn new(device: usize, capacity: u64, max: u64, default: bool) -> Result<Self> {
        let len = capacity.next_multiple_of(STEP);
        let space = Mapping::zeroed(len, STEP).map_err(|_| Error::OutOfMemory)?;
        Ok(Self {
            device,
            threshold: 0,
            max,
            reuse: [1; 3],
            default,
            dying: false,
            sizes: PoolSizes::default(),
            steps: vec![false; (len / STEP) as usize],
            free: BTreeMap::from([(0, len)]),
            live: BTreeMap::new(),
            pending: Vec::new(),
            space,
        })
    }

    fn missing(&self, offset: u64, size: u64) -> u64 {
        let (first, last) = (offset / STEP, (offset + size - 1) / STEP);
        (first..=last).filter(|i| !self.steps[*i as usize]).count() as u64
    }

    /// Finds a place for `size` bytes: first where nothing new is reserved, else at the lowest
    /// place that has room.
    fn place(&self, size: u64) -> Option<u64> {
        let mut fallback = None;
        for (&at, &len) in &self.free {
            if len < size {
                continue;
            }
            fallback = fallback.or(Some(at));
            let starts = std::iter::once(at)
                .chain((at.next_multiple_of(STEP)..=at + len - size).step_by(STEP as usize));
            // The tail is one gap of the whole device's size; its first places tell.
            if let Some(hit) = starts.take(256).find(|o| self.missing(*o, size) == 0) {
                return Some(hit);
            }
        }
        fallback
    }

    fn cut(&mut self, offset: u64, size: u64) {
        let (&at, &len) = self
            .free
            .range(..=offset)
            .next_back()
            .expect("the place was found in a gap");
        self.free.remove(&at);
        if offset > at {
            self.free.insert(at, offset - at);
        }
        if offset + size < at + len {
            self.free.insert(offset + size, at + len - offset - size);
        }
    }

    fn join(&mut self, offset: u64, size: u64) {
        let (mut at, mut len) = (offset, size);
        if let Some((&before, &n)) = self.free.range(..offset).next_back()
            && before + n == offset
        {
            self.free.remove(&before);
            (at, len) = (before, len + n);
        }
        if let Some(n) = self.free.remove(&(offset + size)) {
            len += n;
        }
        self.free.insert(at, len);
    }

    fn note_used(&mut self, size: u64) {
        self.sizes.used += size;
        self.sizes.used_high = self.sizes.used_high.max(self.sizes.used);
    }

    /// Takes an allocation back at once, for every stream.
    pub(crate) fn free_now(&mut self, address: u64) {
        let offset = address - self.space.base();
        if let Some(size) = self.live.remove(&offset) {
            self.sizes.used -= size;
            self.join(offset, size);
        }
    }

    /// Finds whole steps without an allocation, highest first, until `keep` bytes are left.
    fn releasable(&self, keep: u64) -> Vec<usize> {
        let spare = (self.sizes.reserved.saturating_sub(keep) / STEP) as usize;
        let idle = |i: &usize| {
            let at = *i as u64 * STEP;
            self.steps[*i]
                && self
                    .free
                    .range(..=at)
                    .next_back()
                    .is_some_and(|(o, n)| o + n >= at + STEP)
        };
        (0..self.steps.len())
            .rev()
            .filter(idle)
            .take(spare)
            .collect()
    }
}

impl Memory {
    /// Makes a pool; its number.
    pub fn pool_create(&self, device: usize, max: u64, default: bool) -> Result<u64> {
        let capacity = self.process.topology.devices[device].memory;
        let pool = Pool::new(device, capacity, max, default)?;
        let id = self.process.region.fresh_id();
        self.lock().pools.insert(id, pool);
        Ok(id)
    }

    /// Runs `f` on a pool.
    pub fn pool<T>(&self, id: u64, f: impl FnOnce(&mut Pool) -> T) -> Result<T> {
        self.lock()
            .pools
            .get_mut(&id)
            .map(f)
            .ok_or(Error::InvalidValue)
    }

    /// Destroys a pool once its last allocation is freed.
    pub fn pool_destroy(&self, id: u64) -> Result {
        let mut inner = self.lock();
        let p = inner
            .pools
            .get_mut(&id)
            .filter(|p| !p.default && !p.dying)
            .ok_or(Error::InvalidValue)?;
        p.dying = true;
        drop(inner);
        self.pool_bury(id);
        Ok(())
    }

    /// Ends all pools of a device with what was allocated from them; their numbers. Nothing may use
    /// the memory any more.
    pub fn pools_end(&self, device: usize) -> Vec<u64> {
        let mut inner = self.lock();
        let of_device = inner.pools.iter().filter(|(_, p)| p.device == device);
        let gone: Vec<u64> = of_device.map(|(id, _)| *id).collect();
        inner
            .ranges
            .retain(|_, r| !matches!(r.kind, Kind::Pool(id) if gone.contains(&id)));
        inner
            .leaving
            .retain(|_, r| !matches!(r.kind, Kind::Pool(id) if gone.contains(&id)));
        for id in &gone {
            if let Some(p) = inner.pools.remove(id) {
                self.process
                    .give(p.device, p.sizes.reserved, Account::Process);
            }
        }
        gone
    }

    fn pool_bury(&self, id: u64) {
        let mut inner = self.lock();
        if inner
            .pools
            .get(&id)
            .is_some_and(|p| p.dying && p.live.is_empty() && p.pending.is_empty())
            && let Some(p) = inner.pools.remove(&id)
        {
            self.process
                .give(p.device, p.sizes.reserved, Account::Process);
        }
    }

    /// Allocates from a pool for work on `stream`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device or the pool's own limit has no room; nothing has
    /// changed then.
    pub fn pool_alloc(&self, id: u64, size: u64, stream: u64) -> Result<u64> {
        if size == 0 {
            return Err(Error::InvalidValue);
        }
        let mut inner = self.lock();
        let p = inner
            .pools
            .get_mut(&id)
            .filter(|p| !p.dying)
            .ok_or(Error::InvalidValue)?;
        let need = size
            .checked_next_multiple_of(UNIT)
            .ok_or(Error::OutOfMemory)?;
        let offset = match p
            .pending
            .iter()
            .position(|q| q.stream == stream && q.size == need)
        {
            Some(i) => p.pending.swap_remove(i).offset,
            None => {
                let offset = p.place(need).ok_or(Error::OutOfMemory)?;
                let fresh = p.missing(offset, need) * STEP;
                if p.max != 0 && p.sizes.reserved + fresh > p.max.next_multiple_of(STEP) {
                    return Err(Error::OutOfMemory);
                }
                if fresh > 0 {
                    self.process.take(p.device, fresh, Account::Process)?;
                }
                for i in offset / STEP..=(offset + need - 1) / STEP {
                    p.steps[i as usize] = true;
                }
                p.sizes.reserved += fresh;
                p.sizes.reserved_high = p.sizes.reserved_high.max(p.sizes.reserved);
                p.cut(offset, need);
                p.note_used(need);
                offset
            }
        };
        p.live.insert(offset, need);
        let (at, device) = (p.space.base() + offset, p.device);
        self.add(&mut inner, at, size, Kind::Pool(id), device, 0);
        Ok(at)
    }

    /// Frees an allocation in the order of `stream`. The ticket is for [`Memory::pool_retire`].
    pub fn pool_free(&self, r: Range, stream: u64) -> Result<(u64, u64)> {
        let Kind::Pool(id) = r.kind else {
            return Err(Error::InvalidValue);
        };
        let ticket = self.process.region.fresh_id();
        let mut inner = self.lock();
        inner.ranges.remove(&r.base).ok_or(Error::InvalidValue)?;
        let p = inner.pools.get_mut(&id).ok_or(Error::InvalidValue)?;
        let offset = r.base - p.space.base();
        let size = p.live.remove(&offset).ok_or(Error::InvalidValue)?;
        p.pending.push(Pending {
            ticket,
            stream,
            offset,
            size,
        });
        inner.leaving.insert(ticket, r);
        Ok((id, ticket))
    }

    /// Notes that the stream has reached a free: unless the same stream took the memory again,
    /// everybody may have it now.
    pub fn pool_retire(&self, id: u64, ticket: u64) {
        let mut inner = self.lock();
        inner.leaving.remove(&ticket);
        let Some(p) = inner.pools.get_mut(&id) else {
            return;
        };
        if let Some(i) = p.pending.iter().position(|q| q.ticket == ticket) {
            let q = p.pending.swap_remove(i);
            p.sizes.used -= q.size;
            p.join(q.offset, q.size);
        }
        drop(inner);
        self.pool_bury(id);
    }

    /// Gives unused steps of a pool back to its device until `keep` bytes are reserved.
    pub(crate) fn trim(&self, p: &mut Pool, keep: u64) {
        let gone = p.releasable(keep);
        for i in &gone {
            p.steps[*i] = false;
            p.space.forget(*i as u64 * STEP, STEP);
        }
        let bytes = gone.len() as u64 * STEP;
        p.sizes.reserved -= bytes;
        if bytes > 0 {
            self.process.give(p.device, bytes, Account::Process);
        }
    }

    /// Gives unused steps back to the device until `keep` bytes are reserved.
    pub fn pool_trim(&self, id: u64, keep: u64) -> Result {
        let mut inner = self.lock();
        let p = inner.pools.get_mut(&id).ok_or(Error::InvalidValue)?;
        self.trim(p, keep);
        Ok(())
    }

    /// Trims the pools of a device, as a synchronisation does.
    pub fn pools_synchronised(&self, device: usize) {
        let over: Vec<(u64, u64)> = {
            let inner = self.lock();
            let over = inner
                .pools
                .iter()
                .filter(|(_, p)| p.device == device && p.sizes.reserved > p.threshold);
            over.map(|(id, p)| (*id, p.threshold)).collect()
        };
        for (id, keep) in over {
            let _ = self.pool_trim(id, keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::region::Region;
    use crate::spec::Topology;
    use std::sync::Arc;

    fn memory(name: &str, spec: &str) -> (Memory, std::path::PathBuf) {
        let path =
            std::env::temp_dir().join(format!("fcsp-sim-pool-{}-{name}", std::process::id()));
        let t: Topology = spec.parse().unwrap();
        let p = Process::join(t.clone(), Arc::new(Region::open(&path, &t).unwrap())).unwrap();
        (Memory::new(Arc::new(p)), path)
    }

    #[test]
    fn reserves_as_measured_and_releases_at_synchronisation() {
        let (m, path) = memory("measured", "h100");
        let id = m.pool_create(0, 0, true).unwrap();
        let reserved = |m: &Memory| m.pool(id, |p| p.sizes.reserved).unwrap();
        // The sizes asked for and the reservation after each, as an H100 showed them.
        let steps = [
            (1, 33_554_432),
            (1 << 20, 33_554_432),
            (33 << 20, 67_108_864),
            (100 << 20, 167_772_160),
            (5000, 167_772_160),
            (1 << 30, 1_241_513_984),
        ];
        let mut all = Vec::new();
        for (size, want) in steps {
            all.push(m.pool_alloc(id, size, 1).unwrap());
            assert_eq!(reserved(&m), want, "after {size}");
        }
        assert_eq!(
            m.process
                .usage(0)
                .bytes
                .load(std::sync::atomic::Ordering::Relaxed),
            1_241_513_984
        );
        for a in all {
            let (p, t) = m.pool_free(m.find(a).unwrap(), 1).unwrap();
            m.pool_retire(p, t);
        }
        assert_eq!(
            reserved(&m),
            1_241_513_984,
            "freeing alone releases nothing"
        );
        m.pool(id, |p| p.threshold = STEP).unwrap();
        m.pools_synchronised(0);
        assert_eq!(reserved(&m), STEP);
        m.pool_trim(id, 0).unwrap();
        assert_eq!(
            (reserved(&m), m.process.memory(0).0),
            (0, m.process.memory(0).1)
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_stream_gets_its_own_memory_back_before_others_do() {
        let (m, path) = memory("reuse", "tiny");
        let id = m.pool_create(0, 0, false).unwrap();
        let a = m.pool_alloc(id, 4096, 1).unwrap();
        let (_, ticket) = m.pool_free(m.find(a).unwrap(), 1).unwrap();
        assert_ne!(
            m.pool_alloc(id, 4096, 2).unwrap(),
            a,
            "stream 1 has not got there yet"
        );
        assert_eq!(m.pool_alloc(id, 4096, 1).unwrap(), a);
        m.pool_retire(id, ticket);
        assert!(
            m.find(a).is_some(),
            "the old free does not take the new allocation away"
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn work_before_a_free_still_finds_its_memory() {
        let (m, path) = memory("before", "tiny");
        let id = m.pool_create(0, 0, false).unwrap();
        let a = m.pool_alloc(id, 4096, 1).unwrap();
        let (_, first) = m.pool_free(m.find(a).unwrap(), 1).unwrap();
        assert!(m.find(a).is_none(), "no call may name it any more");
        assert!(m.covers(a, 4096), "the stream has not got there yet");
        assert!(!m.covers(a, 4097));
        // The stream's next allocation is smaller, at the same place.
        assert_eq!(m.pool_alloc(id, 4000, 1).unwrap(), a);
        assert!(m.covers(a, 4096), "work before the free may use all of it");
        m.pool_retire(id, first);
        assert!(m.covers(a, 4000) && !m.covers(a, 4096));
        let (_, second) = m.pool_free(m.find(a).unwrap(), 1).unwrap();
        m.pool_retire(id, second);
        assert!(!m.covers(a, 1), "the stream has got there");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn plain_memory_gets_what_a_pool_keeps() {
        let (m, path) = memory("keeps", "tiny,memory=256MiB");
        let id = m.pool_create(0, 0, false).unwrap();
        m.pool(id, |p| p.threshold = u64::MAX).unwrap();
        let kept = m.pool_alloc(id, 160 << 20, 1).unwrap();
        let used = m.pool_alloc(id, 1 << 20, 1).unwrap();
        let (p, t) = m.pool_free(m.find(kept).unwrap(), 1).unwrap();
        m.pool_retire(p, t);
        m.pools_synchronised(0);
        let reserved = |m: &Memory| m.pool(id, |p| p.sizes.reserved).unwrap();
        assert_eq!(reserved(&m), 192 << 20);
        // Natively the driver takes it back before it refuses; what is in use stays.
        let plain = m.alloc(0, 1, 128 << 20, Kind::Device).unwrap();
        assert_eq!(reserved(&m), 32 << 20);
        m.free(plain, false).unwrap();
        assert_eq!(
            m.alloc(0, 1, 226 << 20, Kind::Device),
            Err(Error::OutOfMemory)
        );
        assert!(m.find(used).is_some());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_refused_allocation_changes_nothing() {
        let (m, path) = memory("refused", "tiny,memory=64MiB");
        let id = m.pool_create(0, 0, false).unwrap();
        let a = m.pool_alloc(id, 40 << 20, 1).unwrap();
        let before = m.pool(id, |p| p.sizes).unwrap();
        assert_eq!(m.pool_alloc(id, 30 << 20, 1), Err(Error::OutOfMemory));
        assert_eq!(m.pool(id, |p| p.sizes).unwrap(), before);
        let (p, t) = m.pool_free(m.find(a).unwrap(), 1).unwrap();
        m.pool_destroy(id).unwrap();
        m.pool_retire(p, t);
        assert_eq!(
            m.process.memory(0).0,
            64 << 20,
            "a destroyed pool leaves with its last allocation"
        );
        std::fs::remove_file(path).unwrap();
    }
}
