//! The driver's figures for a chip and for this process on it, from DCMI. DCMI names a chip by card
//! and number. A device's ordinal in this process is translated by the list in
//! `ASCEND_RT_VISIBLE_DEVICES`.

use core::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use fcsp_hook::device::Listed;

use crate::driver::real;
use crate::ffi::dcmi::*;

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

/// Returns true if this machine has the management library. It is looked for once, and started.
pub fn is_there() -> bool {
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
    if !is_there() {
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

/// Returns the processes that use a chip, with their bytes there. Returns `None` if DCMI cannot be
/// asked.
pub fn listed(ordinal: i32) -> Option<Vec<Listed>> {
    let (card, chip) = chip(ordinal)?;
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

/// Returns the bytes that the driver reports for this process. Returns `None` if DCMI cannot be
/// asked or does not show this process.
pub fn of_this_process(ordinal: i32) -> Option<u64> {
    let me = std::process::id();
    listed(ordinal)?
        .iter()
        .find(|entry| entry.number == me)
        .and_then(|entry| entry.bytes)
        // The driver forgets a process that has closed the device: then it holds nothing.
        .or_else(|| fcsp_hook::info::sees_own_numbers().then_some(0))
}
