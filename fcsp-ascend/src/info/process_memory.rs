//! The driver's figures for a chip and for this process on it, from DCMI. DCMI names a chip by card
//! and number. A device's ordinal in this process is translated by the list in
//! `ASCEND_RT_VISIBLE_DEVICES`.

use core::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use fcsp_core::device::DeviceIdentity;
use fcsp_hook::backend::MemoryReport;
use fcsp_hook::device::Listed;

use crate::call_real;
use crate::driver::real;
use crate::ffi::acl::{ACL_HBM_MEM, ACL_SUCCESS};
use crate::ffi::dcmi::*;
use crate::vendor::{Ascend, AscendDevice};

/// Calls a real function of DCMI, or answers that the library lacks it.
#[macro_export]
macro_rules! call_dcmi {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!(
            $crate::driver::real::$name,
            else $crate::ffi::dcmi::DCMI_ERR_CODE_NOT_SUPPORT;
            $($arg),*
        )
    };
}

/// The variable that tells which chips a program sees.
pub const VISIBLE: &str = "ASCEND_RT_VISIBLE_DEVICES";
const MEBIBYTE: u64 = 1 << 20;
/// The most cards of a machine, by the library's own reference, and the most processes it lists.
const CARDS: usize = 64;
const PROCESSES: usize = 64;

/// Returns the machine's number of a device of this process.
fn logic(ordinal: i32) -> Option<i32> {
    match std::env::var(VISIBLE) {
        Ok(list) if !list.trim().is_empty() => list
            .split(',')
            .nth(usize::try_from(ordinal).ok()?)
            .and_then(|n| n.trim().parse().ok()),
        _ => Some(ordinal),
    }
}

/// Card and chip by the machine's number, as found so far.
static CHIPS: Mutex<Vec<(i32, (i32, i32))>> = Mutex::new(Vec::new());

/// Returns card and chip of a device of this process.
fn chip(ordinal: i32) -> Option<(i32, i32)> {
    if !Ascend::has_management() {
        return None;
    }
    let wanted = logic(ordinal)?;
    // A thread that held this at a fork does not exist in the child: do not wait for it, ask
    // another time.
    let mut known = match CHIPS.try_lock() {
        Ok(known) => known,
        Err(TryLockError::Poisoned(poison)) => PoisonError::into_inner(poison),
        Err(TryLockError::WouldBlock) => return None,
    };
    if known.is_empty() {
        let (mut count, mut cards) = (0, [0; CARDS]);
        if call_dcmi!(dcmi_get_card_list(
            &mut count,
            cards.as_mut_ptr(),
            CARDS as i32
        )) != DCMI_OK
        {
            return None;
        }
        for &card in cards.iter().take(usize::try_from(count).unwrap_or(0)) {
            let mut chips = 0;
            call_dcmi!(dcmi_get_device_num_in_card(card, &mut chips));
            for chip in 0..chips {
                let mut number = -1;
                if call_dcmi!(dcmi_get_device_logic_id(&mut number, card, chip)) == DCMI_OK {
                    known.push((number, (card, chip)));
                }
            }
        }
    }
    known
        .iter()
        .find(|&&(number, _)| number == wanted)
        .map(|&(_, chip)| chip)
}

/// Returns sixteen bytes that no other chip has: its virtual die's number, folded.
pub fn die(ordinal: i32) -> Option<[u8; 16]> {
    let (card, chip) = chip(ordinal)?;
    let mut die = dcmi_die_id::zeroed();
    if call_dcmi!(dcmi_get_device_die_v2(card, chip, VDIE, &mut die)) != DCMI_OK {
        return None;
    }
    let [a, b, c, d, e] = die.soc_die;
    let mut bytes = [0; 16];
    for (place, word) in bytes.chunks_exact_mut(4).zip([a ^ e, b, c, d]) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    Some(bytes)
}

/// Returns the bytes of a chip, all and used.
pub fn of_chip(ordinal: i32) -> Option<(u64, u64)> {
    let (card, chip) = chip(ordinal)?;
    let mut memory = dcmi_hbm_info::zeroed();
    (call_dcmi!(dcmi_get_device_hbm_info(card, chip, &mut memory)) == DCMI_OK).then_some((
        memory.memory_size * MEBIBYTE,
        memory.memory_usage * MEBIBYTE,
    ))
}

/// Returns the number in this process of a device that it has identified.
fn ordinal(device: &DeviceIdentity) -> Option<i32> {
    device.index.and_then(|index| i32::try_from(index).ok())
}

impl MemoryReport for Ascend {
    const LISTS: bool = true;

    /// `None` if DCMI cannot be asked or does not show this process.
    fn held_by_this_process(device: &DeviceIdentity) -> Option<u64> {
        let me = std::process::id();
        Self::listed(device)?
            .iter()
            .find(|entry| entry.number == me)
            .and_then(|entry| entry.bytes)
            // The driver forgets a process that has closed the device: then it holds nothing.
            .or_else(|| fcsp_hook::info::sees_own_numbers().then_some(0))
    }

    fn listed(device: &DeviceIdentity) -> Option<Vec<Listed>> {
        let (card, chip) = chip(ordinal(device)?)?;
        let mut list = [dcmi_proc_mem_info::zeroed(); PROCESSES];
        let mut count = 0;
        if call_dcmi!(dcmi_get_device_resource_info(
            card,
            chip,
            list.as_mut_ptr(),
            &mut count
        )) != DCMI_OK
        {
            return None;
        }
        let entry = |entry: &dcmi_proc_mem_info| {
            Some(Listed {
                number: u32::try_from(entry.proc_id).ok()?,
                bytes: Some(entry.proc_mem_usage),
            })
        };
        let count = usize::try_from(count).unwrap_or(0);
        Some(list.iter().take(count).filter_map(entry).collect())
    }

    /// Looks for the library once, and starts it.
    fn has_management() -> bool {
        static THERE: AtomicU8 = AtomicU8::new(UNKNOWN);
        const UNKNOWN: u8 = 0;
        const NO: u8 = 1;
        const YES: u8 = 2;
        // Relaxed: the answer is the same whichever thread finds it.
        match THERE.load(Ordering::Relaxed) {
            UNKNOWN => {
                let found = real::dcmi_init.get().is_some() && call_dcmi!(dcmi_init()) == DCMI_OK;
                THERE.store(if found { YES } else { NO }, Ordering::Relaxed);
                found
            }
            known => known == YES,
        }
    }

    fn free_by_driver(_device: &AscendDevice) -> Option<u64> {
        let (mut free, mut total) = (0usize, 0usize);
        (call_real!(aclrtGetMemInfo(ACL_HBM_MEM, &mut free, &mut total)) == ACL_SUCCESS)
            .then_some(free as u64)
    }

    fn free(device: &DeviceIdentity) -> Option<u64> {
        let (total, used) = of_chip(ordinal(device)?)?;
        Some(total.saturating_sub(used))
    }
}
