//! The quota's arithmetic: reserve, charge, release, and recompute after a death, without a lock
//! and with two atomic changes a call.
//!
//! Two words take part. `used` is the tenant's sum on the device; `held` is one process's part of
//! it. A change reads `used`, changes `held`, then changes `used` by an exchange. A process may die
//! in between:
//!
//! | killed after | what is left | mended by |
//! |---|---|---|
//! | reading `used` | nothing moved | clearing the slot |
//! | changing `held` | `used` exact (reserve) or too high (release) | clearing the slot, recompute |
//! | changing `used` | exact | clearing the slot, recompute |
//!
//! A dead process's slot is cleared under its kernel lock, and `used` is then recomputed as the sum
//! of what the living hold: it reads `used`, sums `held` over live slots, and replaces `used` if
//! that has not moved (every change raises the version in the word), raising the epoch in the word.
//! A change and a recompute meet in one of these ways:
//!
//! - The change's exchange came before the recompute read `used`. The sum then has the new `held`,
//!   which came earlier.
//! - It came between that read and the replacement: the replacement fails.
//! - It came after the replacement, and the change had read `used` after the replacement, too. Then
//!   `held` changed after the sum was taken, and the exchange adds to a sum without it: exact.
//! - It came after the replacement, but the change had read `used` before. Whether the sum has the
//!   new `held` cannot be told. The exchange sees the other epoch and does not happen: a release
//!   leaves `used` as it is, which is exact or too high; a reserve takes its `held` back and starts
//!   again. Both mark the sum as not fresh.
//!
//! So `used` may be too high for a moment, never too low: no interleaving lets two processes
//! overcommit.

use super::layout::{SLOT_LIVE, SlotWords, TenantWords};
use crate::memory::{Denied, Usage};
use crate::sync::Ordering;

/// Bytes of one unit of `used` and `held`. The finest grain a driver hands out.
pub const UNIT: u64 = 512;
const UNITS_BITS: u32 = 36;
const UNITS_MASK: u64 = (1 << UNITS_BITS) - 1;
const EPOCH_BITS: u32 = 10;
const EPOCH_MASK: u64 = ((1 << EPOCH_BITS) - 1) << UNITS_BITS;
const EPOCH_ONE: u64 = 1 << UNITS_BITS;
const VERSION_ONE: u64 = 1 << (UNITS_BITS + EPOCH_BITS);

/// Units that hold `bytes`, capped at what the word can count (32 TiB).
pub fn units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).min(UNITS_MASK)
}

fn units_of(word: u64) -> u64 {
    word & UNITS_MASK
}

fn same_epoch(a: u64, b: u64) -> bool {
    (a ^ b) & EPOCH_MASK == 0
}

/// The word after `old` with `units`, its version raised. The version wraps after 262 144 changes,
/// which would have to fall into one recompute's few microseconds, and to end at the same sum, to
/// go unnoticed.
fn next(old: u64, units: u64) -> u64 {
    (old & !UNITS_MASK).wrapping_add(VERSION_ONE) | units
}

/// The same with the epoch raised, too. The epoch wraps after 1 024 recomputes, each of which
/// follows a death.
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
    /// Holds `bytes` if the tenant then holds at most `limit` bytes; otherwise nothing changes.
    /// `limit` `u64::MAX` is no limit.
    pub fn reserve(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        let want = units(bytes);
        // A quota that is no multiple of the unit must not be exceeded by a part of one.
        let limit_units = if limit == u64::MAX {
            UNITS_MASK
        } else {
            (limit / UNIT).min(UNITS_MASK)
        };
        // Acquire: a replacement that we see was made from a sum that cannot hold the change of
        // `held` below.
        let mut seen = self.tenant.used.load(Ordering::Acquire);
        loop {
            // A refusal on a stale value is a refusal that was right a moment ago.
            if units_of(seen) + want > limit_units {
                return Err(Denied {
                    wanted: bytes,
                    used: units_of(seen) * UNIT,
                    limit,
                });
            }
            // Relaxed: ordered before the exchange below by that exchange's Release.
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
            // Somebody else took the room, or a recompute may have counted what was entered in
            // `held`.
            self.slot.held.fetch_sub(want, Ordering::Relaxed);
            // Release: a recompute that sees the mark sees `held` as it is now.
            self.tenant.dirty.fetch_add(MARK, Ordering::Release);
            seen = now;
        }
    }

    /// Holds `bytes` whatever the quota says: overhead the driver has already taken.
    pub fn charge(&self, bytes: u64) {
        // No limit means the word's own range; past it the count saturates in `units` and the
        // reserve cannot fail.
        let _ = self.reserve(bytes, u64::MAX);
    }

    /// Gives `bytes` back, which must have been reserved or charged before by this process with the
    /// same rounding. Returns whether `used` is known to be exact: if not it may be too high, and
    /// the caller sees to a [`recompute`].
    #[must_use = "false asks for a recompute"]
    pub fn release(&self, bytes: u64) -> bool {
        let mut back = units(bytes);
        if back == 0 {
            return true;
        }
        // Acquire: as in `reserve`.
        let seen = self.tenant.used.load(Ordering::Acquire);
        // Relaxed: ordered before the exchange below by that exchange's Release.
        let before = self.slot.held.fetch_sub(back, Ordering::Relaxed);
        if before < back {
            // A region that was scribbled on must not wrap to petabytes.
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

    /// What the tenant holds and may hold.
    pub fn usage(&self, limit: u64) -> Usage {
        Usage {
            used: used_bytes(self.tenant),
            limit,
            // Relaxed: written once before the region is shared.
            total: self.tenant.total.load(Ordering::Relaxed),
        }
    }
}

/// Bytes in use by the tenant.
pub fn used_bytes(tenant: &TenantWords) -> u64 {
    units_of(tenant.used.load(Ordering::Relaxed)) * UNIT
}

/// One mark in `dirty`: marks set are counted in its high half, and how many of them a recompute
/// has answered in the low one. A count that went down again could be mistaken for an earlier one.
const MARK: u64 = 1 << 32;

fn marks(dirty: u64) -> (u32, u32) {
    ((dirty >> 32) as u32, dirty as u32)
}

/// Whether `used` may be another figure than the sum of what the living hold.
pub fn is_stale(tenant: &TenantWords) -> bool {
    let (set, answered) = marks(tenant.dirty.load(Ordering::Relaxed));
    set != answered
}

/// Clears a dead process's slot. The caller holds the slot's kernel lock, so nobody else writes it.
pub fn clear_slot(tenant: &TenantWords, slot: &SlotWords) {
    use super::layout::SLOT_FREE;
    slot.held.store(0, Ordering::Relaxed);
    slot.allocated.store(0, Ordering::Relaxed);
    slot.overhead.store(0, Ordering::Relaxed);
    // Release: a recompute that sees the mark sees the slot empty; raised earlier, one that does
    // not see that yet could take the mark away. A reaper that dies here leaves a slot that is not
    // free, which the next one clears again.
    tenant.dirty.fetch_add(MARK, Ordering::Release);
    // Release: whoever sees the slot free sees it empty.
    slot.state.store(SLOT_FREE, Ordering::Release);
}

/// Sets `used` to the sum of what live slots hold, if slots have been cleared since the last time.
/// Gives up after a few rounds if the tenant's processes keep changing it: `used` is then too high,
/// never too low, and a later call mends it. Returns whether the sum is known to be fresh.
pub fn recompute<'a>(
    tenant: &TenantWords,
    slots: impl Fn() -> Box<dyn Iterator<Item = &'a SlotWords> + 'a>,
) -> bool {
    for _ in 0..64 {
        // Acquire: what was changed before a mark was set is visible before the sum is taken.
        let (set, answered) = marks(tenant.dirty.load(Ordering::Acquire));
        if set == answered {
            return true;
        }
        // Acquire: whoever changed `used` to this had changed `held` before.
        let before = tenant.used.load(Ordering::Acquire);
        let mut sum = 0u64;
        for slot in slots() {
            if slot.state.load(Ordering::Acquire) == SLOT_LIVE {
                // Relaxed: changes that ended before `used` was read are visible by that read; see
                // the module's argument for the others.
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
            // Marks set meanwhile stay, and the next call sums again.
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
        /// Any sequence, any death point: after the dead slot is cleared the sum is what the living
        /// hold.
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
            // Slot 0 dies in the middle of a change: `held` has moved, `used` has not.
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

    /// A live process changes the sum while another's death is mended: nothing is lost, nothing is
    /// invented.
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

    /// Two deaths are mended by two processes at once while a third releases.
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

    /// Two processes reserve against a limit that fits one of them.
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
