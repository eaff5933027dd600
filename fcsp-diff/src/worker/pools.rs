//! Operations on memory pools.

use super::objects::{NOWHERE, Object, PROCESS};
use super::{Done, Thread};
use crate::program::{DEFAULT_POOL, FIRST_ID};
use crate::record::{Outcome, Value};
use fcsp_cuda::ffi::cuda::{CUmemAccessDesc, CUmemLocation, CUmemPoolProps};

impl Thread<'_> {
    /// Returns the device's default pool.
    pub(super) fn default_pool(&self) -> u64 {
        self.world.session.default_pool()
    }

    /// Returns a pool's handle.
    pub(super) fn pool(&self, id: u64) -> Option<u64> {
        if id < u64::from(FIRST_ID) {
            return Some(self.default_pool());
        }
        self.usable(id, 'p').map(|object| object.handle)
    }

    /// Returns the bytes that the default pool and the program's own pools have reserved.
    pub(super) fn reserved_by_pools(&self) -> u64 {
        let own = self.world.objects.alive().into_iter().filter_map(|id| {
            let object = self.world.objects.lock(id);
            (object.kind == 'p').then_some(object.handle)
        });
        own.chain([self.default_pool()])
            .map(|pool| self.world.session.reserved(pool))
            .sum()
    }

    /// Returns true if a destroyed pool may still hold memory: a part of it was freed behind work
    /// that may not have ended.
    pub(super) fn gone_pool_holds(&self) -> bool {
        let (mut gone, mut holds) = (Vec::new(), false);
        self.world.objects.each(|id, object| {
            if object.kind == 'p' && !object.live {
                gone.push(id);
            }
        });
        self.world.objects.each(|_, object| {
            let waits = object.kind == 'm' && !object.live && object.pending != NOWHERE;
            holds |= waits && object.parts.iter().any(|part| gone.contains(part));
        });
        holds
    }

    fn location(&self) -> CUmemLocation {
        CUmemLocation {
            type_: 1,
            id: self.device() as i32,
        }
    }

    pub(super) fn pool_create(&mut self, id: u64, choice: u64) -> Done {
        let properties = CUmemPoolProps {
            allocType: [1, 1, 1, 1, 0][choice as usize % 5],
            handleTypes: [0, 0, 1, 0, 0][choice as usize % 5],
            location: self.location(),
            win32SecurityAttributes: std::ptr::null_mut(),
            maxSize: [0, 0, 0, 64 << 20, 0][choice as usize % 5],
            usage: 0,
            gpuDirectRDMACapable: 0,
            reserved: [0; 53],
        };
        let mut handle = 0u64;
        let made = self.call(
            "cuMemPoolCreate",
            &[&raw mut handle as u64, &raw const properties as u64],
        );
        let object = Object {
            kind: 'p',
            handle,
            context: PROCESS,
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    pub(super) fn pool_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'p')?;
        let drawn_on = self.world.objects.alive().into_iter().any(|other| {
            let other = self.world.objects.lock(other);
            other.kind == 'm' && other.parts.contains(&(id as u32))
        });
        if drawn_on || !self.captures.is_empty() {
            return None;
        }
        let ended = self.call("cuMemPoolDestroy", &[object.handle]);
        if ended == 0 && self.current_pool == id as u32 {
            self.current_pool = DEFAULT_POOL;
        }
        self.end(id, ended)
    }

    pub(super) fn pool_trim(&mut self, id: u64, bytes: u64) -> Done {
        let pool = self.pool(id)?;
        Some(Outcome::new(self.call("cuMemPoolTrimTo", &[pool, bytes])))
    }

    pub(super) fn pool_set(&mut self, id: u64, choice: u64, bytes: u64) -> Done {
        // The default pool is every program's: its settings stay.
        let object = self.usable(id, 'p')?;
        let (attribute, value) = match choice % 6 {
            attribute @ 0..=2 => (attribute + 1, bytes % 2),
            3 => (4, bytes),
            4 => (8, 0),
            _ => (77, 0),
        };
        let mut value = value;
        let set = self.call(
            "cuMemPoolSetAttribute",
            &[object.handle, attribute, &raw mut value as u64],
        );
        Some(Outcome::new(set))
    }

    pub(super) fn pool_get(&mut self, id: u64, choice: u64) -> Done {
        let pool = self.pool(id)?;
        let attribute = [1, 2, 3, 4, 5, 6, 7, 8, 77][choice as usize % 9];
        let mut value = 0u64;
        let got = self.call(
            "cuMemPoolGetAttribute",
            &[pool, attribute, &raw mut value as u64],
        );
        let own = id >= u64::from(FIRST_ID) && self.world.threads == 0;
        let outcome = Outcome::new(got);
        // How much a pool keeps depends on when the driver noticed that work had ended.
        Some(if own && attribute < 5 {
            outcome.exact(value)
        } else {
            outcome.with(Value::Shown(value))
        })
    }

    pub(super) fn pool_access(&mut self, id: u64, choice: u64) -> Done {
        let object = self.usable(id, 'p')?;
        let description = CUmemAccessDesc {
            location: self.location(),
            flags: [3, 3, 0, 7][choice as usize % 4],
        };
        let set = self.call(
            "cuMemPoolSetAccess",
            &[
                object.handle,
                &raw const description as u64,
                [1, 1, 1, 1, 0][choice as usize % 5],
            ],
        );
        let (mut flags, location) = (0u32, self.location());
        let got = self.call(
            "cuMemPoolGetAccess",
            &[
                &raw mut flags as u64,
                object.handle,
                &raw const location as u64,
            ],
        );
        Some(Outcome::new(set).and(got).exact(flags))
    }

    pub(super) fn pool_current(&mut self, id: u64) -> Done {
        // What the other threads' `cuMemAllocAsync` draws on must not depend on this one.
        if self.world.threads > 0 {
            return None;
        }
        let pool = self.pool(id)?;
        let set = self.call("cuDeviceSetMemPool", &[self.device(), pool]);
        if set == 0 {
            self.current_pool = id as u32;
        }
        let mut now = 0u64;
        let got = self.call("cuDeviceGetMemPool", &[&raw mut now as u64, self.device()]);
        Some(Outcome::new(set).and(got).exact(now == pool))
    }
}
