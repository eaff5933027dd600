//! Compute units that the process is kept to: `HSA_CU_MASK`, which the layer below the real runtime
//! reads when it is started and puts on every queue. The runtime itself knows nothing of it and
//! tells nobody.

use crate::driver::{Driver, driver};
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// More numbers than a list can name.
const MOST: u32 = 4096;

/// `3` or `0-7`.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < MOST).then_some(first..=last)
}

/// Returns a list of numbers; one that is named twice is a mistake.
fn list(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        all.extend(range(part)?);
    }
    let named = all.len();
    all.sort_unstable();
    all.dedup();
    (named == all.len()).then_some(all)
}

/// Units as a list, or as a number in hexadecimal digits whose lowest bit is unit 0.
fn units(text: &str) -> Option<Vec<u32>> {
    let Some(digits) = text.strip_prefix("0X") else {
        return list(text);
    };
    let mut all = Vec::new();
    for (place, digit) in digits.chars().rev().enumerate() {
        let bits = digit.to_digit(16)?;
        all.extend(
            (0..4)
                .filter(|bit| bits >> bit & 1 == 1)
                .map(|bit| place as u32 * 4 + bit),
        );
    }
    (!all.is_empty()).then_some(all)
}

/// Returns the mask for a device by its place on the machine; `None` for all units. Reading ends at
/// the first mistake.
fn mask_for(text: &str, place: u32, count: u32) -> Option<Vec<u32>> {
    let text: String = text.split_whitespace().collect::<String>().to_uppercase();
    for set in text.split(';') {
        let (devices, named) = set.split_once(':')?;
        let (devices, named) = (list(devices)?, units(named)?);
        if devices.contains(&place) {
            let mut words = vec![0; count.div_ceil(32) as usize];
            for unit in named.into_iter().filter(|unit| *unit < count) {
                words[unit as usize / 32] |= 1 << (unit % 32);
            }
            return words.iter().any(|word| *word != 0).then_some(words);
        }
    }
    None
}

/// Counts the units of a mask.
pub fn count(words: &[u32]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

fn read(d: &Driver) -> Vec<Option<Vec<u32>>> {
    let text = std::env::var("HSA_CU_MASK").unwrap_or_default();
    d.visible
        .iter()
        .zip(&d.units)
        .map(|(place, units)| {
            let mask = mask_for(&text, *place as u32, d.process.topology.devices[*place].sm);
            // Relaxed: before the first work of the process.
            units.store(mask.as_ref().map_or(0, |mask| count(mask)), Relaxed);
            mask
        })
        .collect()
}

/// Returns the mask that the process is kept to on a device; `None` for all units. Read once.
pub fn of_process(ordinal: i32) -> Option<&'static [u32]> {
    static MASKS: OnceLock<Vec<Option<Vec<u32>>>> = OnceLock::new();
    let d = driver().ok()?;
    let all = MASKS.get_or_init(|| read(d));
    all.get(usize::try_from(ordinal).ok()?)?.as_deref()
}
