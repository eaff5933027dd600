//! Kernels: their arguments, and a launch made of them.

use crate::abi::{In, Out};
use crate::codes::{
    INVALID_ARGUMENT_INDEX, INVALID_ARGUMENT_SIZE, INVALID_ENUMERATION, INVALID_GROUP_SIZE, Reply,
};
use crate::driver::driver;
use crate::export::api;
use crate::in_use::Threads;
use crate::module::Module;
use crate::properties::GROUP_SIZE;
use crate::structs::{GroupCount, KernelDesc, KernelProperties};
use fcsp_sim::launch::Launch;
use fcsp_sim::program::Kernel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Default)]
struct Settings {
    group: [u32; 3],
    arguments: Vec<Vec<u8>>,
    indirect: u32,
}

/// One kernel of a module.
#[derive(Debug)]
pub struct KernelObject {
    tag: u64,
    kernel: Arc<Kernel>,
    /// Its module.
    pub module: Arc<Module>,
    /// The thread that is in a call on it.
    pub threads: Threads,
    settings: Mutex<Settings>,
}

/// Most arguments a kernel has.
const ARGUMENTS: u32 = 256;

impl KernelObject {
    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a launch with the arguments and group size of this moment, as appending one takes
    /// them.
    pub fn launch(&self, groups: GroupCount) -> Reply<Launch> {
        let s = self.lock();
        let mut params = Vec::new();
        match &self.kernel.params {
            Some(layout) => {
                for (i, (offset, size)) in layout.iter().enumerate() {
                    params.resize(*offset, 0);
                    let mut value = s.arguments.get(i).cloned().unwrap_or_default();
                    value.resize(*size, 0);
                    params.extend(value);
                }
            }
            None => s.arguments.iter().for_each(|a| params.extend(a)),
        }
        Ok(Launch {
            tag: self.tag,
            kernel: self.kernel.clone(),
            grid: [
                groups.group_count_x,
                groups.group_count_y,
                groups.group_count_z,
            ],
            block: s.group,
            shared: 0,
            params,
        })
    }
}

fn text_out(size: Out<u64>, place: Out<u8>, text: &str) -> Reply {
    if !place.is_null() {
        let n = (size.get()? as usize).min(text.len() + 1);
        text.bytes()
            .chain([0])
            .take(n)
            .enumerate()
            .for_each(|(i, b)| place.set_at(i, b));
    }
    size.put(text.len() as u64 + 1)
}

api! {
    fn zeKernelCreate(module: u64, desc: In<KernelDesc>, place: Out<u64>) {
        let d = driver()?;
        let m = d.modules.get(module)?;
        place.need()?;
        let desc = desc.get()?;
        if desc.flags & !0b11 != 0 {
            return Err(INVALID_ENUMERATION);
        }
        let name = crate::abi::Text::from_raw(desc.kernel_name as *const _).get()?;
        let kernel = Arc::new(m.kernel(&name)?);
        let make = |tag| KernelObject {
            tag,
            kernel,
            module: m,
            threads: Threads::default(),
            settings: Mutex::new(Settings { group: [1, 1, 1], ..Settings::default() }),
        };
        place.put(d.kernels.add_with(make).0)
    }
    fn zeKernelDestroy(handle: u64) {
        driver()?.kernels.remove(handle)?;
        Ok(())
    }
    fn zeKernelSetGroupSize(handle: u64, x: u32, y: u32, z: u32) {
        let k = driver()?.kernels.get(handle)?;
        let _stay = k.threads.enter("kernel", handle);
        let all = u64::from(x) * u64::from(y) * u64::from(z);
        if all == 0 || all > u64::from(GROUP_SIZE) {
            return Err(INVALID_GROUP_SIZE);
        }
        k.lock().group = [x, y, z];
        Ok(())
    }
    fn zeKernelSuggestGroupSize(handle: u64, x: u32, y: u32, z: u32, gx: Out<u32>, gy: Out<u32>, gz: Out<u32>) {
        driver()?.kernels.get(handle)?;
        if x == 0 || y == 0 || z == 0 {
            return Err(crate::codes::Code(0x7800_0014));
        }
        // The largest power of two up to 256 that divides the global size.
        gx.put(1 << x.trailing_zeros().min(8))?;
        gy.put(1)?;
        gz.put(1)
    }
    fn zeKernelSuggestMaxCooperativeGroupCount(handle: u64, count: Out<u32>) {
        let d = driver()?;
        let k = d.kernels.get(handle)?;
        let threads: u32 = k.lock().group.iter().product();
        let s = d.spec(k.module.device);
        count.put(s.sm * (s.threads_sm / threads.max(1)).clamp(1, 32))
    }
    fn zeKernelSetArgumentValue(handle: u64, index: u32, size: u64, value: In<u8>) {
        let k = driver()?.kernels.get(handle)?;
        let _stay = k.threads.enter("kernel", handle);
        if index >= ARGUMENTS || k.kernel.params.as_ref().is_some_and(|p| index as usize >= p.len()) {
            return Err(INVALID_ARGUMENT_INDEX);
        }
        let declared = k.kernel.params.as_ref().map(|p| p[index as usize].1 as u64);
        if size == 0 || size > 4096 || declared.is_some_and(|n| size != n) {
            return Err(INVALID_ARGUMENT_SIZE);
        }
        // No value: local memory of that size, or a null pointer.
        let bytes = if value.is_null() { vec![0; size as usize] } else { value.list(size as usize)? };
        let mut s = k.lock();
        let n = s.arguments.len().max(index as usize + 1);
        s.arguments.resize(n, Vec::new());
        s.arguments[index as usize] = bytes;
        Ok(())
    }
    fn zeKernelSetIndirectAccess(handle: u64, flags: u32) {
        let k = driver()?.kernels.get(handle)?;
        let _stay = k.threads.enter("kernel", handle);
        if flags & !0b111 != 0 {
            return Err(INVALID_ENUMERATION);
        }
        k.lock().indirect |= flags;
        Ok(())
    }
    fn zeKernelGetIndirectAccess(handle: u64, flags: Out<u32>) {
        let k = driver()?.kernels.get(handle)?;
        let now = k.lock().indirect;
        flags.put(now)
    }
    fn zeKernelSetCacheConfig(handle: u64, flags: u32) {
        driver()?.kernels.get(handle)?;
        if flags & !0b11 == 0 { Ok(()) } else { Err(INVALID_ENUMERATION) }
    }
    fn zeKernelSetGlobalOffsetExp(handle: u64, _x: u32, _y: u32, _z: u32) {
        driver()?.kernels.get(handle)?;
        Ok(())
    }
    fn zeKernelSchedulingHintExp(handle: u64, _hint: In<u64>) {
        driver()?.kernels.get(handle)?;
        Ok(())
    }
    fn zeKernelGetProperties(handle: u64, place: Out<KernelProperties>) {
        let k = driver()?.kernels.get(handle)?;
        let mut p = place.get()?;
        p.num_kernel_args = k.kernel.params.as_ref().map_or(0, |l| l.len() as u32);
        (p.required_group_size_x, p.required_group_size_y, p.required_group_size_z) = (0, 0, 0);
        (p.required_num_sub_groups, p.required_subgroup_size) = (0, 0);
        (p.max_subgroup_size, p.max_num_subgroups) = (32, GROUP_SIZE / 32);
        p.local_mem_size = k.kernel.shared as u32;
        p.private_mem_size = k.kernel.local as u32;
        p.spill_mem_size = 0;
        place.put(p)
    }
    fn zeKernelGetName(handle: u64, size: Out<u64>, place: Out<u8>) {
        let k = driver()?.kernels.get(handle)?;
        text_out(size, place, &k.kernel.name)
    }
}
