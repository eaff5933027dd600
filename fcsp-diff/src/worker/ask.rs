//! Questions to the device, the driver, a context and the quota: what a program sees must be what
//! it sees natively.

use super::objects::Form;
use super::{Done, Thread};
use crate::record::{Outcome, Value, checksum};

/// Device attributes: some of them, one that no driver has, and those attributes which concern
/// memory.
const ATTRIBUTES: [u64; 14] = [1, 10, 16, 31, 41, 75, 76, 83, 89, 102, 103, 115, 119, 9_999];

impl Thread<'_> {
    pub(super) fn mem_info(&mut self) -> Done {
        // What a pool kept beyond a reset goes with a query, too, which the library does not see:
        // it looks after a wait.
        if self.was_reset && self.captures.is_empty() {
            self.quiet();
        }
        let (mut free, mut total) = (0u64, 0u64);
        let got = self.call(
            "cuMemGetInfo_v2",
            &[&raw mut free as u64, &raw mut total as u64],
        );
        if got != 0 {
            return Some(Outcome::new(got));
        }
        let mut outcome = Outcome::new(got)
            .exact(free <= total)
            .exact(total == self.world.session.total);
        // A quota counts managed memory at once, the driver once the device touches it.
        let managed = self.world.objects.alive().into_iter().any(|id| {
            let object = self.world.objects.lock(id);
            object.form == Form::Managed
        });
        let mut used = 0;
        let comparable = self.captures.is_empty() && !managed && !self.gone_pool_holds();
        if self.world.threads == 0 && comparable {
            // A pool releases memory when the driver notices that work has ended. Pools are
            // therefore left out. So is the memory of graphs, which a trim takes only after they
            // have ended.
            let reserved = self.reserved_by_pools() + self.world.session.reserved_for_graphs();
            used = self.world.free_at_start as i64 - free as i64 - reserved as i64;
        }
        outcome = outcome.with(Value::Bytes(used));
        Some(outcome.with(Value::Shown(free)).with(Value::Shown(total)))
    }

    pub(super) fn device_ask(&mut self, choice: u64) -> Done {
        let device = self.device();
        let mut word = 0u64;
        let at = &raw mut word as u64;
        Some(match choice % 24 {
            0 => {
                let got = self.call("cuDeviceTotalMem_v2", &[at, device]);
                Outcome::new(got).exact(word == self.world.session.total)
            }
            1 => Outcome::new(self.call("cuDriverGetVersion", &[at])).exact(word),
            2 => Outcome::new(self.call("cuDeviceGetCount", &[at])).exact(word),
            3 => {
                let mut name = [0u8; 128];
                let got = self.call("cuDeviceGetName", &[name.as_mut_ptr() as u64, 128, device]);
                Outcome::new(got).exact(checksum(&name))
            }
            4 => Outcome::new(self.call("cuDeviceGetDefaultMemPool", &[at, device]))
                .exact(word == self.default_pool()),
            5 => Outcome::new(self.call("cuDeviceGetMemPool", &[at, device])).exact(word != 0),
            6 => {
                let mut uuid = [0u8; 16];
                let got = self.call("cuDeviceGetUuid_v2", &[uuid.as_mut_ptr() as u64, device]);
                Outcome::new(got).exact(checksum(&uuid))
            }
            7 => Outcome::new(self.call("cuInit", &[0])),
            8 => Outcome::new(self.call("cuDeviceGet", &[at, 0])).exact(word),
            9 => {
                let mut major = 0u64;
                let got = self.call(
                    "cuDeviceComputeCapability",
                    &[&raw mut major as u64, at, device],
                );
                Outcome::new(got).exact(major).exact(word)
            }
            choice => {
                let attribute = ATTRIBUTES[choice as usize - 10];
                Outcome::new(self.call("cuDeviceGetAttribute", &[at, attribute, device]))
                    .exact(word)
            }
        })
    }

    pub(super) fn ctx_ask(&mut self, choice: u64) -> Done {
        let (mut word, mut other) = (0u64, 0u64);
        let (at, next) = (&raw mut word as u64, &raw mut other as u64);
        Some(match choice % 7 {
            0 => Outcome::new(self.call("cuCtxGetDevice", &[at])).exact(word),
            1 => {
                let current = self.current().map_or(0, |id| self.context_handle(id));
                Outcome::new(self.call("cuCtxGetApiVersion", &[current, at])).exact(word)
            }
            // A stack limit that was ever set shows as CU_CTX_LMEM_RESIZE_TO_MAX, which programs
            // before this one may have done.
            2 => Outcome::new(self.call("cuCtxGetFlags", &[at])).exact(word & !16),
            3 => Outcome::new(self.call("cuCtxGetStreamPriorityRange", &[at, next]))
                .exact(word as u32)
                .exact(other as u32),
            4 => Outcome::new(self.call("cuCtxGetCacheConfig", &[at])).exact(word),
            5 => Outcome::new(self.call("cuCtxGetCurrent", &[at])).exact(word != 0),
            _ => Outcome::new(self.call("cuCtxGetSharedMemConfig", &[at])).exact(word),
        })
    }
}
