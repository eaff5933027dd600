//! What the answers of a management library are made from: a program that only looks never initialises the driver, so
//! nothing is attached for it; the tenant's region file is read from outside.

use fcsp_core::device::DeviceIdentity;
use fcsp_core::process::ProcessManager;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::state::StateDir;
use fcsp_core::tenant::Tenant;

use crate::embedding;

/// What the tenant may know of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Bytes it may hold; less than the device has.
    pub limit: u64,
    /// Bytes it holds, at most `limit`.
    pub used: u64,
}

impl View {
    /// The tenant's view of `device`, which has `total` bytes; `None` where there is no tenant or no limit below that.
    pub fn of(device: &DeviceIdentity, total: u64) -> Option<Self> {
        let tenant = tenant()?;
        let (_, limits) = tenant.limits().ok()?;
        let path = tenant.dir().join(format!("{}.region", device.uuid));
        let region = RegionSnapshot::read(&path).ok();
        // A region knows the limit that its users resolved; without one, the rules say.
        let limit = match &region {
            Some(region) if region.any_alive() => region.limit_bytes.unwrap_or(u64::MAX),
            _ => Tenant::memory_limit(&limits, device, total),
        };
        let used = region.map_or(0, |region| region.used_bytes);
        (limit < total).then_some(Self {
            limit,
            used: used.min(limit),
        })
    }

    /// Bytes to show as free, when the device itself has `physical` left.
    pub fn free(&self, physical: u64) -> u64 {
        (self.limit - self.used).min(physical)
    }
}

/// The tenant this process belongs to, without becoming one of its device users.
fn tenant() -> Option<Tenant> {
    let config = embedding::in_force().ok()?;
    if config.memory.is_empty() && config.tenant.is_none() {
        return None;
    }
    Tenant::join(&StateDir::provide(), &config).ok()
}

/// The place of a device with the management library's number `index` among those that a variable of this environment
/// makes visible to programs by number, which is what programs call it; the number itself without such a variable, or
/// with one that names devices otherwise.
pub fn visible_index(variable: &str, index: u32) -> Option<u32> {
    match std::env::var(variable) {
        Ok(list) if list.split(',').all(|n| n.trim().parse::<u32>().is_ok()) => list
            .split(',')
            .position(|n| n.trim().parse() == Ok(index))
            .map(|place| place as u32),
        _ => Some(index),
    }
}

/// Process numbers of the tenant; `None` if this process is in no tenant.
pub fn own_processes() -> Option<Vec<u32>> {
    let tenant = tenant()?;
    let mut pids = vec![std::process::id()];
    if let Ok(alive) = (tenant.state().clone(), tenant.name().to_owned()).alive() {
        pids.extend(alive.into_iter().map(|process| process.pid));
    }
    Some(pids)
}

/// Keeps the first entries of a list that `keep` says yes to; returns how many.
///
/// # Safety
/// `list` points to `count` initialised entries.
pub unsafe fn retain<T: Copy>(list: *mut T, count: u32, keep: impl Fn(&T) -> bool) -> u32 {
    // SAFETY: by this function's contract.
    let entries = unsafe { std::slice::from_raw_parts_mut(list, count as usize) };
    let mut kept = 0;
    for index in 0..entries.len() {
        if keep(&entries[index]) {
            entries[kept] = entries[index];
            kept += 1;
        }
    }
    kept as u32
}

/// Whether process numbers here are those that a driver reports: in the first PID namespace, whose inode number the kernel
/// fixes (PROC_PID_INIT_INO, include/linux/proc_ns.h).
pub fn sees_own_numbers() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_in_place() {
        let mut list = [1, 2, 3, 4, 5];
        // SAFETY: the list has five entries.
        let kept = unsafe { retain(list.as_mut_ptr(), 5, |n| n % 2 == 1) };
        assert_eq!((kept, &list[..3]), (3, &[1, 3, 5][..]));
    }

    #[test]
    fn free_is_never_more_than_the_device_has() {
        let view = View { limit: 10, used: 4 };
        assert_eq!((view.free(100), view.free(5)), (6, 5));
    }
}
