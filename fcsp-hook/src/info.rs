//! Basis of a management library's answers.
//!
//! A program that only looks never initialises the driver, so nothing is attached for it: the
//! tenant's region file is read from outside.

use fcsp_core::binding::OpenProcesses;
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::process::ProcessManager;
use fcsp_core::region::RegionSnapshot;
use fcsp_core::state::StateDir;
use fcsp_core::tenant::Tenant;

use crate::backend::Backend;
use crate::embedding;

/// Memory of a device as its tenant may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Bytes it may hold; less than the device has.
    pub limit: u64,
    /// Bytes it holds, at most `limit`.
    pub used: u64,
}

impl View {
    /// Returns the tenant's view of `device`, which has `total` bytes; `None` without a tenant or a
    /// limit below `total`.
    pub fn of(device: &DeviceIdentity, total: u64) -> Option<Self> {
        let tenant = tenant()?;
        let view = Self::of_one(&tenant, device, total)?;
        // What it cannot have for the sake of a tenant that it is a part of counts as held.
        let (mut limit, mut room) = (view.limit, view.limit - view.used);
        for outer in tenant.outers() {
            let around = Self::of_one(outer, device, total)?;
            limit = limit.min(around.limit);
            room = room.min(around.limit - around.used);
        }
        let used = limit - room.min(limit);
        (limit < total).then_some(Self { limit, used })
    }

    /// Returns one tenant's own limit, and the bytes that count against it.
    fn of_one(tenant: &Tenant, device: &DeviceIdentity, total: u64) -> Option<Self> {
        let (_, limits) = tenant.limits().ok()?;
        let path = tenant
            .dir()
            .join(fcsp_core::state::layout::region(&device.uuid));
        let region = RegionSnapshot::read(&path).ok();
        // A region knows the limit that its users resolved; without one, the rules say.
        let limit = match &region {
            Some(region) if region.any_alive() => region.limit_bytes.unwrap_or(u64::MAX),
            _ => Tenant::memory_limit(&limits, device, total),
        };
        let used = region.map_or(0, |region| region.used_bytes);
        Some(Self {
            limit,
            used: used.min(limit),
        })
    }

    /// Returns the bytes to show as free when the device itself has `physical` left.
    pub fn free(&self, physical: u64) -> u64 {
        (self.limit - self.used).min(physical)
    }
}

/// Joins the tenant of this process without becoming one of its device users.
fn tenant() -> Option<Tenant> {
    let config = embedding::in_force().ok()?;
    if config.memory.is_empty() && config.tenant.is_none() {
        return None;
    }
    Tenant::join(&StateDir::provide(), &config).ok()
}

/// Returns a device's place among the devices that `variable` makes visible; that is the number by
/// which programs know it.
///
/// `index` is the management library's number of the device, and the result where the variable is
/// not set. `is_it` tells whether a word that is no number names the device. By the vendors' rules
/// some words end the list: devices after them are not visible.
pub fn visible_index(variable: &str, index: u32, is_it: impl Fn(&str) -> bool) -> Option<u32> {
    match std::env::var(variable) {
        Ok(list) => place_in(&list, index, is_it),
        Err(_) => Some(index),
    }
}

fn place_in(list: &str, index: u32, is_it: impl Fn(&str) -> bool) -> Option<u32> {
    let mut words = list.split(',').map(str::trim).enumerate();
    words.find_map(|(place, word)| match word.parse::<i64>() {
        Ok(number) if number < 0 => Some(None),
        Ok(number) => (number == i64::from(index)).then_some(Some(place as u32)),
        Err(_) if word.is_empty() => Some(None),
        Err(_) => is_it(word).then_some(Some(place as u32)),
    })?
}

/// Returns whether `word` names the device with this UUID, by all of it or by its beginning, as the
/// vendors allow. A bare prefix such as `GPU-` or `MIG-` names none.
pub fn names(word: &str, uuid: DeviceUuid) -> bool {
    let digits = |text: &str| text.to_ascii_lowercase().replace('-', "");
    let known = digits(&uuid.to_string()[4..]);
    match word.split_once('-') {
        Some((kind, rest)) if matches!(kind, "GPU" | "MIG") && !rest.is_empty() => {
            known.starts_with(&digits(rest))
        }
        _ => false,
    }
}

/// The processes of a tenant, by their numbers here and by those under which a management library
/// lists them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Numbers in this namespace.
    here: Vec<u32>,
    /// The library's number and the one here, of processes for which they differ.
    listed: Vec<(u32, u32)>,
}

impl Own {
    /// Returns the number here of the process that the library lists under `number`; `None` if it
    /// is not the tenant's.
    pub fn here(&self, number: u32) -> Option<u32> {
        if let Some(&(_, here)) = self.listed.iter().find(|&&(listed, _)| listed == number) {
            return Some(here);
        }
        // A number of one of ours that is listed under another is somebody else's.
        let is_ours =
            self.here.contains(&number) && self.listed.iter().all(|&(_, here)| here != number);
        is_ours.then_some(number)
    }

    /// Returns the number under which the library lists the process with this number here; `None`
    /// if it is not the tenant's.
    pub fn listed(&self, here: u32) -> Option<u32> {
        match self.listed.iter().find(|&&(_, known)| known == here) {
            Some(&(listed, _)) => Some(listed),
            None => self.here.contains(&here).then_some(here),
        }
    }

    /// Returns whether the process of a list entry is the tenant's, and sets `number` to its number
    /// here.
    pub fn keeps(&self, number: &mut u32) -> bool {
        let here = self.here(*number);
        *number = here.unwrap_or(*number);
        here.is_some()
    }
}

/// Returns the tenant's processes; `None` if this process is in no tenant.
pub fn own_processes<B: Backend>() -> Option<Own> {
    let tenant = tenant()?;
    let mut own = Own {
        here: vec![std::process::id()],
        listed: Vec::new(),
    };
    if let Ok(alive) = B::Processes::open(&tenant).alive() {
        own.here
            .extend(alive.into_iter().map(|process| process.pid));
    }
    let regions = tenant.state().regions(tenant.name()).unwrap_or_default();
    for region in regions.into_iter().filter_map(|(_, region)| region.ok()) {
        let processes = region.processes.iter();
        let listed = processes.filter(|process| process.alive && process.listed != 0);
        own.listed
            .extend(listed.map(|process| (process.listed, process.pid)));
    }
    Some(own)
}

/// Keeps the entries of a list that `keep` says yes to, in order, as it leaves them; returns how
/// many.
///
/// # Safety
/// `list` points to `count` initialised entries.
pub unsafe fn retain<T: Copy>(list: *mut T, count: u32, keep: impl Fn(&mut T) -> bool) -> u32 {
    // SAFETY: by this function's contract.
    let entries = unsafe { std::slice::from_raw_parts_mut(list, count as usize) };
    let mut kept = 0;
    for index in 0..entries.len() {
        if keep(&mut entries[index]) {
            entries[kept] = entries[index];
            kept += 1;
        }
    }
    kept as u32
}

/// Returns whether process numbers here equal the numbers that a driver reports.
///
/// That is so in the first PID namespace, whose inode number the kernel fixes (PROC_PID_INIT_INO,
/// include/linux/proc_ns.h).
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
        let kept = unsafe { retain(list.as_mut_ptr(), 5, |n| *n % 2 == 1) };
        assert_eq!((kept, &list[..3]), (3, &[1, 3, 5][..]));
    }

    #[test]
    fn free_is_never_more_than_the_device_has() {
        let view = View { limit: 10, used: 4 };
        assert_eq!((view.free(100), view.free(5)), (6, 5));
    }

    #[test]
    fn a_device_has_its_place_in_the_variable() {
        let uuid: DeviceUuid = "GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778".parse().unwrap();
        let place = |list: &str| place_in(list, 1, |word| names(word, uuid));
        assert_eq!(place("0,1"), Some(1));
        assert_eq!(place("2, 1"), Some(1));
        assert_eq!(place("0"), None);
        assert_eq!(place("GPU-a04154c4"), Some(0));
        assert_eq!(place("GPU-12345678,GPU-A04154C4-0b"), Some(1));
        assert_eq!(place("0,GPU-12345678"), None);
        assert_eq!(place("0,-1,1"), None, "a negative number ends the list");
        assert_eq!(place(""), None);
        assert_eq!(place("MIG-a04154c4-0b88-4afd-81e5-c47e2fe78778"), Some(0));
    }

    #[test]
    fn processes_are_known_by_either_number() {
        let own = Own {
            here: vec![1, 7],
            listed: vec![(4001, 1)],
        };
        assert_eq!(own.here(4001), Some(1));
        assert_eq!(own.here(1), None, "somebody else has that number there");
        assert_eq!(own.here(7), Some(7));
        assert_eq!(own.here(8), None);
    }
}
