//! The ledger: reserve, charge and release memory, and recompute the sum after a death. It takes no
//! lock and makes two atomic changes for each call.
//!
//! Two words take part. `used` is the tenant's sum on the device; `held` is one process's part of
//! it. A change reads `used`, changes `held`, then changes `used` by an exchange. A process may die
//! in between:
//!
//! | killed after | state | repaired by |
//! |---|---|---|
//! | reading `used` | nothing changed | clearing the slot |
//! | changing `held` | `used` exact (reserve) or too high (release) | clearing the slot, recompute |
//! | changing `used` | exact | clearing the slot, recompute |
//!
//! A dead process's slot is cleared under its kernel lock. `used` is then recomputed as the sum of
//! `held` over all live slots. The recompute reads `used`, takes the sum, and replaces `used` if it
//! has not changed; every change raises the version in the word. The replacement raises the epoch
//! in the word. A change and a recompute meet in one of these ways:
//!
//! - The change's exchange came before the recompute read `used`. The sum then has the new `held`,
//!   which came earlier.
//! - It came between that read and the replacement: the replacement fails.
//! - It came after the replacement, and the change had also read `used` after the replacement. Then
//!   `held` changed after the sum was taken, and the exchange adds to a sum without it: exact.
//! - It came after the replacement, but the change had read `used` before. It is unknown whether
//!   the sum has the new `held`. The exchange sees the other epoch and does not happen. A release
//!   leaves `used` as it is, which is exact or too high. A reserve subtracts its `held` and starts
//!   again. Both mark the sum as stale.
//!
//! So `used` may be too high for a moment, but never too low: no interleaving lets two processes
//! overcommit.

use super::layout::{SLOT_LIVE, SlotWords, TenantWords};
use crate::memory::{Denied, Usage};
use crate::sync::Ordering;

/// Granule: bytes of one count in `used` and `held`. No driver allocates in smaller steps.
pub const UNIT: u64 = 512;
const UNITS_BITS: u32 = 36;
const UNITS_MASK: u64 = (1 << UNITS_BITS) - 1;
const EPOCH_BITS: u32 = 10;
const EPOCH_MASK: u64 = ((1 << EPOCH_BITS) - 1) << UNITS_BITS;
const EPOCH_ONE: u64 = 1 << UNITS_BITS;
const VERSION_ONE: u64 = 1 << (UNITS_BITS + EPOCH_BITS);

/// Returns the granules that contain `bytes`, capped at what the word can count (32 TiB).
pub fn units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).min(UNITS_MASK)
}

fn units_of(word: u64) -> u64 {
    word & UNITS_MASK
}

fn same_epoch(a: u64, b: u64) -> bool {
    (a ^ b) & EPOCH_MASK == 0
}

/// Returns the word after `old` with `units`, and raises its version. The version wraps after 262
/// 144 changes. To go unnoticed, these would have to happen during one recompute, within
/// microseconds, and end at the same sum.
fn next(old: u64, units: u64) -> u64 {
    (old & !UNITS_MASK).wrapping_add(VERSION_ONE) | units
}

/// Returns the same word with its epoch raised, too. The epoch wraps after 1 024 recomputes, each
/// of which follows a death.
fn next_epoch(old: u64, units: u64) -> u64 {
    let epoch = old.wrapping_add(EPOCH_ONE) & EPOCH_MASK;
    (next(old, units) & !EPOCH_MASK) | epoch
}

/// One process's access to one tenant's words for one device.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a> {
    /// The tenant's words.
    pub tenant: &'a TenantWords,
    /// This process's slot.
    pub slot: &'a SlotWords,
}

impl Ledger<'_> {
    /// Reserves `bytes` if the tenant then has reserved at most `limit` bytes; otherwise nothing
    /// changes. `u64::MAX` is no limit.
    pub fn reserve(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        let want = units(bytes);
        // A quota that is no multiple of a granule must not be exceeded by a part of one.
        let limit_units = if limit == u64::MAX {
            UNITS_MASK
        } else {
            (limit / UNIT).min(UNITS_MASK)
        };
        // Acquire: if this read sees a replacement, its sum cannot contain the change of `held`
        // below.
        let mut seen = self.tenant.used.load(Ordering::Acquire);
        loop {
            // A refusal on a stale value was right a moment ago.
            if units_of(seen) + want > limit_units {
                return Err(Denied {
                    wanted: bytes,
                    used: units_of(seen) * UNIT,
                    limit,
                });
            }
            // Relaxed: the Release of the exchange below orders it.
            self.slot.held.fetch_add(want, Ordering::Relaxed);
            let mut now = seen;
            while same_epoch(now, seen) && units_of(now) + want <= limit_units {
                let sum = units_of(now) + want;
                // Release publishes `held` to a recompute that reads this value; Acquire as for the
                // first read.
                match self.tenant.used.compare_exchange_weak(
                    now,
                    next(now, sum),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => {
                        if sum > self.tenant.peak.load(Ordering::Relaxed) {
                            self.tenant.peak.fetch_max(sum, Ordering::Relaxed);
                        }
                        return Ok(());
                    }
                    Err(other) => now = other,
                }
            }
            // Another process took the space, or a recompute may have counted the change of `held`.
            self.slot.held.fetch_sub(want, Ordering::Relaxed);
            // Release: a recompute that sees the mark sees the present `held`.
            self.tenant.dirty.fetch_add(MARK, Ordering::Release);
            seen = now;
        }
    }

    /// Charges `bytes` whatever the quota says: overhead that the driver has already taken. The sum
    /// stops at the range of its word, 32 TiB; every request is denied there.
    pub fn charge(&self, bytes: u64) {
        let mut rest = units(bytes);
        // Ends: each denial leaves less to charge, and 0 is never denied.
        while let Err(denied) = self.reserve(rest * UNIT, u64::MAX) {
            rest = rest.min(UNITS_MASK.saturating_sub(denied.used / UNIT));
        }
    }

    /// Releases `bytes`, which this process must have reserved or charged before with the same
    /// rounding. Returns true if `used` is known to be exact. Otherwise it may be too high, and the
    /// caller must [`recompute`].
    #[must_use = "false asks for a recompute"]
    pub fn release(&self, bytes: u64) -> bool {
        let mut back = units(bytes);
        if back == 0 {
            return true;
        }
        // Acquire: as in `reserve`.
        let seen = self.tenant.used.load(Ordering::Acquire);
        // Relaxed: the Release of the exchange below orders it.
        let before = self.slot.held.fetch_sub(back, Ordering::Relaxed);
        if before < back {
            // Damaged words must not wrap around to petabytes.
            self.slot.held.fetch_add(back - before, Ordering::Relaxed);
            back = before;
        }
        let mut now = seen;
        while same_epoch(now, seen) {
            // Saturating: as above.
            match self.tenant.used.compare_exchange_weak(
                now,
                next(now, units_of(now).saturating_sub(back)),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        // Release: as in `reserve`.
        self.tenant.dirty.fetch_add(MARK, Ordering::Release);
        false
    }

    /// Returns the tenant's use and its limit.
    pub fn usage(&self, limit: u64) -> Usage {
        Usage {
            used: used_bytes(self.tenant),
            limit,
            // Relaxed: written once before the region is shared.
            total: self.tenant.total.load(Ordering::Relaxed),
        }
    }
}

/// Returns the bytes in use by the tenant.
pub fn used_bytes(tenant: &TenantWords) -> u64 {
    units_of(tenant.used.load(Ordering::Relaxed)) * UNIT
}

/// One mark in `dirty`. The high half counts the marks set, and the low half the marks that a
/// recompute has answered. A count that also decreased could be mistaken for an earlier one.
const MARK: u64 = 1 << 32;

fn marks(dirty: u64) -> (u32, u32) {
    ((dirty >> 32) as u32, dirty as u32)
}

/// Returns true if `used` may differ from the sum over all live slots.
pub fn is_stale(tenant: &TenantWords) -> bool {
    let (set, answered) = marks(tenant.dirty.load(Ordering::Relaxed));
    set != answered
}

/// Clears a dead process's slot. The caller holds the slot's kernel lock, so no other process
/// writes it.
pub fn clear_slot(tenant: &TenantWords, slot: &SlotWords) {
    use super::layout::SLOT_FREE;
    slot.held.store(0, Ordering::Relaxed);
    slot.allocated.store(0, Ordering::Relaxed);
    slot.overhead.store(0, Ordering::Relaxed);
    // Release: a recompute that sees the mark sees the slot empty. If the mark were set earlier, a
    // recompute that does not see that yet could answer it. A process that dies here leaves a slot
    // that is not vacant, and the next one clears it again.
    tenant.dirty.fetch_add(MARK, Ordering::Release);
    // Release: a process that sees the slot vacant sees it empty.
    slot.state.store(SLOT_FREE, Ordering::Release);
}

/// Sets `used` to the sum over all live slots, if slots have been cleared since the last time.
/// Gives up after some rounds if the tenant's processes keep changing it. `used` is then too high,
/// never too low, and a later call repairs it. Returns true if the sum is known to be exact.
pub fn recompute<'a>(
    tenant: &TenantWords,
    slots: impl Fn() -> Box<dyn Iterator<Item = &'a SlotWords> + 'a>,
) -> bool {
    for _ in 0..64 {
        // Acquire: changes made before a mark was set are visible before the sum is taken.
        let (set, answered) = marks(tenant.dirty.load(Ordering::Acquire));
        if set == answered {
            return true;
        }
        // Acquire: a process that changed `used` to this value had changed `held` before.
        let before = tenant.used.load(Ordering::Acquire);
        let mut sum = 0u64;
        for slot in slots() {
            if slot.state.load(Ordering::Acquire) == SLOT_LIVE {
                // Relaxed: the read of `used` makes earlier changes visible; for later ones see the
                // module's argument.
                sum = sum.saturating_add(slot.held.load(Ordering::Relaxed));
            }
        }
        if tenant
            .used
            .compare_exchange(
                before,
                next_epoch(before, sum.min(UNITS_MASK)),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
        {
            // Marks set meanwhile stay, and the next call computes the sum again.
            let _ = tenant
                .dirty
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| {
                    let (all, answered) = marks(now);
                    // Another recompute may have answered more.
                    (set.wrapping_sub(answered).cast_signed() > 0)
                        .then(|| u64::from(all) << 32 | u64::from(set))
                });
            return true;
        }
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(not(loom))]
        std::hint::spin_loop();
    }
    false
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::heap::{slot_words, tenant_words};
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn a_quota_is_exact_to_the_unit() {
        let (tenant, slot) = (tenant_words(1 << 40), slot_words());
        let ledger = Ledger {
            tenant: &tenant,
            slot: &slot,
        };
        ledger.reserve(1000, 1024).unwrap();
        let denied = ledger.reserve(1, 1024).unwrap_err();
        assert_eq!(
            denied,
            Denied {
                wanted: 1,
                used: 1024,
                limit: 1024
            }
        );
        assert!(ledger.release(1000));
        ledger.reserve(1024, 1535).unwrap();
        ledger.reserve(1, 1535).unwrap_err();
        assert_eq!(used_bytes(&tenant), 1024);
    }

    #[test]
    fn threads_racing_to_the_limit_never_pass_it() {
        const LIMIT: u64 = 1 << 20;
        let (tenant, slot) = (Arc::new(tenant_words(1 << 40)), Arc::new(slot_words()));
        let threads: Vec<_> = (0..8u64)
            .map(|seed| {
                let (tenant, slot) = (tenant.clone(), slot.clone());
                std::thread::spawn(move || {
                    let ledger = Ledger {
                        tenant: &tenant,
                        slot: &slot,
                    };
                    let (mut mine, mut state) = (Vec::new(), seed + 1);
                    for _ in 0..20_000 {
                        state = state
                            .wrapping_mul(6364136223846793005)
                            .wrapping_add(1442695040888963407);
                        let bytes = (state >> 33) % 65_536 + 1;
                        if state & 1 == 0 || mine.is_empty() {
                            if ledger.reserve(bytes, LIMIT).is_ok() {
                                mine.push(bytes);
                            }
                        } else {
                            assert!(ledger.release(mine.pop().unwrap()));
                        }
                        assert!(used_bytes(&tenant) <= LIMIT);
                    }
                    for bytes in mine {
                        assert!(ledger.release(bytes));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(used_bytes(&tenant), 0);
        assert_eq!(slot.held.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Checks that after any sequence and any death, clearing the slot makes the sum that of
        /// live processes.
        #[test]
        fn recompute_restores_the_sum(
            steps in prop::collection::vec((0usize..4, 1u64..1 << 20, any::<bool>()), 1..60),
            cut in 0u64..1 << 20,
            releasing in any::<bool>(),
        ) {
            let tenant = tenant_words(1 << 40);
            let slots: Vec<SlotWords> = (0..4).map(|_| slot_words()).collect();
            let mut held = [const { Vec::new() }; 4];
            for (who, bytes, take) in steps {
                let ledger = Ledger { tenant: &tenant, slot: &slots[who] };
                if take {
                    ledger.reserve(bytes, u64::MAX).unwrap();
                    held[who].push(bytes);
                } else if let Some(bytes) = held[who].pop() {
                    prop_assert!(ledger.release(bytes));
                }
            }
            // Slot 0 dies in the middle of a change: `held` has changed, `used` has not.
            let held_now = slots[0].held.load(Ordering::Relaxed);
            let moved = if releasing { held_now.saturating_sub(units(cut)) } else { held_now + units(cut) };
            slots[0].held.store(moved, Ordering::Relaxed);
            clear_slot(&tenant, &slots[0]);
            prop_assert!(recompute(&tenant, || Box::new(slots.iter())));
            let expected: u64 = held[1..].iter().flatten().map(|&b| units(b) * UNIT).sum();
            prop_assert_eq!(used_bytes(&tenant), expected);
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::region::heap::{slot_words, tenant_words};
    use loom::sync::Arc;

    /// Checks that a change during the repair after another process's death is neither lost nor
    /// counted twice.
    fn change_against_recompute(dead_held: u64, dead_used: u64) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let tenant = Arc::new(tenant_words(1 << 40));
            let slots = Arc::new([slot_words(), slot_words()]);
            // Slot 1 died in the middle of a change.
            slots[1].held.store(dead_held, Ordering::Relaxed);
            tenant.used.store(next(0, dead_used), Ordering::Relaxed);

            let worker = {
                let (tenant, slots) = (tenant.clone(), slots.clone());
                loom::thread::spawn(move || {
                    let ledger = Ledger {
                        tenant: &tenant,
                        slot: &slots[0],
                    };
                    ledger.reserve(3 * UNIT, u64::MAX).unwrap();
                    assert!(used_bytes(&tenant) >= 3 * UNIT, "what is held is counted");
                    if !ledger.release(2 * UNIT) {
                        recompute(&tenant, || Box::new(slots.iter()));
                    }
                    assert!(used_bytes(&tenant) >= UNIT, "what is still held is counted");
                })
            };
            clear_slot(&tenant, &slots[1]);
            let _ = recompute(&tenant, || Box::new(slots.iter()));
            worker.join().unwrap();
            assert!(recompute(&tenant, || Box::new(slots.iter())));
            assert_eq!(used_bytes(&tenant), UNIT);
        });
    }

    #[test]
    fn loom_change_against_the_mending_of_a_reserve() {
        change_against_recompute(2, 1);
    }

    #[test]
    fn loom_change_against_the_mending_of_a_release() {
        change_against_recompute(1, 2);
    }

    /// Checks that two processes can repair after two deaths while a third releases.
    #[test]
    fn loom_two_recomputes_and_a_release() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let tenant = Arc::new(tenant_words(1 << 40));
            let slots = Arc::new([slot_words(), slot_words(), slot_words()]);
            for slot in slots.iter() {
                Ledger {
                    tenant: &tenant,
                    slot,
                }
                .reserve(2 * UNIT, u64::MAX)
                .unwrap();
            }
            let mender = {
                let (tenant, slots) = (tenant.clone(), slots.clone());
                loom::thread::spawn(move || {
                    clear_slot(&tenant, &slots[1]);
                    recompute(&tenant, || Box::new(slots.iter()));
                })
            };
            let worker = {
                let (tenant, slots) = (tenant.clone(), slots.clone());
                loom::thread::spawn(move || {
                    let ledger = Ledger {
                        tenant: &tenant,
                        slot: &slots[0],
                    };
                    if !ledger.release(UNIT) {
                        recompute(&tenant, || Box::new(slots.iter()));
                    }
                    assert!(used_bytes(&tenant) >= UNIT);
                })
            };
            clear_slot(&tenant, &slots[2]);
            recompute(&tenant, || Box::new(slots.iter()));
            mender.join().unwrap();
            worker.join().unwrap();
            assert!(recompute(&tenant, || Box::new(slots.iter())));
            assert_eq!(used_bytes(&tenant), UNIT);
        });
    }

    /// Checks that of two processes that reserve against a limit for one, one is refused.
    #[test]
    fn loom_no_overcommit() {
        loom::model(|| {
            let tenant = Arc::new(tenant_words(1 << 40));
            let slots = Arc::new([slot_words(), slot_words()]);
            let other = {
                let (tenant, slots) = (tenant.clone(), slots.clone());
                loom::thread::spawn(move || {
                    Ledger {
                        tenant: &tenant,
                        slot: &slots[1],
                    }
                    .reserve(2 * UNIT, 3 * UNIT)
                    .is_ok()
                })
            };
            let mine = Ledger {
                tenant: &tenant,
                slot: &slots[0],
            }
            .reserve(2 * UNIT, 3 * UNIT)
            .is_ok();
            let theirs = other.join().unwrap();
            assert!(mine ^ theirs);
            assert_eq!(used_bytes(&tenant), 2 * UNIT);
        });
    }
}
