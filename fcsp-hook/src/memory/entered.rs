//! The allocation table. An ordinary allocation that begins at a span of the address space is one
//! word in the radix tree; others are records in a map.

use core::sync::atomic::{AtomicUsize, Ordering};

use fcsp_core::region::ledger::UNIT;

use super::{Freed, Origin, Record, forget};
use crate::addresses::PAGE;
use crate::backend::Backend;
use crate::device::Device;

/// Records an allocation under its address or handle.
#[inline]
pub fn enter<B: Backend>(address: u64, record: Record<B>) {
    // The usual case: a span with a table, and without an allocation.
    if let Some(word) = pack(address, &record)
        && let Some(entry) = B::process().addresses().find(address)
        && entry.whole.load(Ordering::Relaxed) == 0
    {
        // The driver gives an address to one thread at a time, so no other thread records one here
        // meanwhile. Release: a thread that frees it, told of the address by this thread, finds it.
        entry.whole.store(word, Ordering::Release);
        return;
    }
    enter_elsewhere(address, record);
}

#[cold]
fn enter_elsewhere<B: Backend>(address: u64, record: Record<B>) {
    let process = B::process();
    let stale = match pack(address, &record).and_then(|word| {
        process
            .addresses()
            .entry(address)
            .map(|entry| (word, entry))
    }) {
        Some((word, entry)) => unpack(entry.whole.swap(word, Ordering::AcqRel)),
        None => process.live().insert(address, record),
    };
    if let Some(stale) = stale {
        // The address was freed in a way that was not seen.
        forget(&stale);
    }
}

/// Takes the word of an allocation that begins at a span; 0 for none.
#[inline]
pub(super) fn take_word<B: Backend>(address: u64) -> u64 {
    if address.is_multiple_of(PAGE)
        && let Some(entry) = B::process().addresses().find(address)
        && entry.whole.load(Ordering::Relaxed) != 0
    {
        // Of two frees of one address, one gets it.
        return entry.whole.swap(0, Ordering::AcqRel);
    }
    0
}

/// Removes an allocation from the table.
pub(super) fn take_out<B: Backend>(address: u64) -> Option<Record<B>> {
    match take_word::<B>(address) {
        0 => B::process().live().remove(address),
        word => unpack(word),
    }
}

/// Numbers for the contexts of this process, so that a record of one fits in a word.
#[derive(Debug)]
pub(crate) struct Contexts([AtomicUsize; CONTEXTS]);

const CONTEXTS: usize = 127;

impl Contexts {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; CONTEXTS])
    }

    /// Returns the number of `context`: 0 for none, `None` if there are too many.
    #[inline]
    fn number(&self, context: usize) -> Option<u64> {
        if context == 0 {
            return Some(0);
        }
        for (index, place) in self.0.iter().enumerate() {
            let known = place.load(Ordering::Relaxed);
            // Relaxed: a number only says which handle is in its place, and that stays until the
            // context is dead.
            let is_it = known == context
                || known == 0
                    && match place.compare_exchange(
                        0,
                        context,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => true,
                        Err(other) => other == context,
                    };
            if is_it {
                return Some(index as u64 + 1);
            }
        }
        None
    }

    fn handle(&self, number: u64) -> usize {
        match number.checked_sub(1) {
            Some(index) => self.0[index as usize % CONTEXTS].load(Ordering::Relaxed),
            None => 0,
        }
    }

    /// Returns the numbers of `context`, of which there may be several after it was renamed for a
    /// while.
    fn known(&self, context: usize) -> impl Iterator<Item = (u64, &AtomicUsize)> {
        let numbered = (1..).zip(&self.0);
        numbered.filter(move |(_, place)| place.load(Ordering::Relaxed) == context)
    }

    /// Makes the numbers of `from` mean `to`.
    pub(super) fn rename(&self, from: usize, to: usize) {
        for (_, place) in self.known(from) {
            place.store(to, Ordering::Relaxed);
        }
    }
}

const UNITS_BITS: u32 = 36;
const CONTEXT_AT: u32 = UNITS_BITS;
const DEVICE_AT: u32 = CONTEXT_AT + 7;
const COUNTED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;

/// Packs an ordinary allocation that begins at a span: `{present: 1 bit, counted: 1 bit, device: 19
/// bits, context: 7 bits, granules of 512 bytes: 36 bits}`.
#[inline]
fn pack<B: Backend>(address: u64, record: &Record<B>) -> Option<u64> {
    let counted = match record.origin {
        Origin::Heap => COUNTED,
        Origin::Uncounted => 0,
        Origin::Own(_) => return None,
    };
    let units = record.bytes / UNIT;
    let device = u64::try_from(record.device.ordinal).ok()?;
    if !address.is_multiple_of(PAGE)
        || !record.bytes.is_multiple_of(UNIT)
        || units >> UNITS_BITS != 0
        || device >> 19 != 0
    {
        return None;
    }
    let context = B::process().contexts().number(record.context)?;
    Some(PRESENT | counted | device << DEVICE_AT | context << CONTEXT_AT | units)
}

/// Returns the device of a word, and what the driver frees with its allocation.
#[inline]
pub(super) fn of_word<B: Backend>(word: u64) -> Option<(&'static Device<B>, Freed)> {
    let ordinal = (word >> DEVICE_AT & ((1 << 19) - 1)) as i32;
    let given = Freed {
        bytes: (word & ((1 << UNITS_BITS) - 1)) * UNIT,
        counted: word & COUNTED != 0,
    };
    Some((B::process().device(ordinal)?, given))
}

fn unpack<B: Backend>(word: u64) -> Option<Record<B>> {
    if word == 0 {
        return None;
    }
    let (device, given) = of_word::<B>(word)?;
    Some(Record {
        device,
        context: B::process().contexts().handle(word >> CONTEXT_AT & 0x7f),
        bytes: given.bytes,
        origin: if given.counted {
            Origin::Heap
        } else {
            Origin::Uncounted
        },
    })
}

/// Records the allocation of `word` again: the driver has not freed it after all.
#[cold]
pub(super) fn put_back<B: Backend>(address: u64, word: u64) {
    if let Some(record) = unpack::<B>(word) {
        enter(address, record);
    }
}

/// Removes the allocations of a context that is gone from the tree, and its number.
pub(super) fn drop_context<B: Backend>(context: usize) {
    for (number, place) in B::process().contexts().known(context) {
        drop_number::<B>(number);
        place.store(0, Ordering::Relaxed);
    }
}

fn drop_number<B: Backend>(number: u64) {
    B::process().addresses().for_each(|_, entry| {
        let word = entry.whole.load(Ordering::Relaxed);
        if word != 0
            && word >> CONTEXT_AT & 0x7f == number
            && entry
                .whole
                .compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && let Some(record) = unpack::<B>(word)
        {
            forget(&record);
        }
    });
}
