//! The quota's arithmetic: reserve, charge, release, and recompute after a death, without a lock.
//!
//! Two words take part. `used` is the tenant's sum on the device, with a version that every change raises. `held` is
//! one process's part of it. Every change is made to `used` first and to `held` second, with `inflight` raised
//! around the pair:
//!
//! | killed after | what is left | mended by |
//! |---|---|---|
//! | raising `inflight` | nothing moved | clearing the slot |
//! | changing `used` | `used` too high (reserve) or exact (release) | recompute |
//! | changing `held` | exact | clearing the slot, recompute |
//!
//! A dead process's slot is cleared under its kernel lock, and `used` is then recomputed as the sum of what the living
//! hold. The recompute reads `used`, sums `held` over slots with `inflight` 0, and replaces `used` only if its version
//! has not moved. Both orders are then right: a change that began before the sum was finished has already moved the
//! version (`used` comes first), so the replacement fails; one that begins after it sees the new `used` and adds to
//! it, and the sum did not hold its part yet because `held` comes second.
//!
//! So `used` may be too high for a moment, never too low: no interleaving lets two processes overcommit.

use super::layout::{SLOT_LIVE, SlotWords, TenantWords};
use crate::memory::{Denied, Usage};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of one unit of `used` and `held`. The finest grain a driver hands out.
pub const UNIT: u64 = 512;
const UNITS_BITS: u32 = 44;
const UNITS_MASK: u64 = (1 << UNITS_BITS) - 1;

/// Units that hold `bytes`, capped at what the word can count (8 PiB).
pub fn units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).min(UNITS_MASK)
}

fn units_of(word: u64) -> u64 {
    word & UNITS_MASK
}

/// The word after `old` with `units`, its version raised. The version wraps after a million changes, which would have
/// to fall into one recompute's few microseconds to go unnoticed.
fn next(old: u64, units: u64) -> u64 {
    ((old >> UNITS_BITS).wrapping_add(1) << UNITS_BITS) | units
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
    /// Holds `bytes` if the tenant then holds at most `limit` bytes; otherwise nothing changes. `limit` `u64::MAX`
    /// is no limit.
    pub fn reserve(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        let want = units(bytes);
        // A quota that is no multiple of the unit must not be exceeded by a part of one.
        let limit_units = if limit == u64::MAX {
            UNITS_MASK
        } else {
            (limit / UNIT).min(UNITS_MASK)
        };
        // Relaxed is enough before the exchange: a stale value makes the exchange fail and gives a fresh one. A
        // refusal on a stale value is a refusal that was right a moment ago.
        let mut old = self.tenant.used.load(Ordering::Relaxed);
        if units_of(old) + want > limit_units {
            return Err(Denied {
                wanted: bytes,
                used: units_of(old) * UNIT,
                limit,
            });
        }
        // Relaxed: ordered before the exchange below by that exchange's Release.
        self.slot.inflight.fetch_add(1, Ordering::Relaxed);
        loop {
            let sum = units_of(old) + want;
            if sum > limit_units {
                // Release: whoever sees the count fall must see the slot as it was.
                self.slot.inflight.fetch_sub(1, Ordering::Release);
                return Err(Denied {
                    wanted: bytes,
                    used: units_of(old) * UNIT,
                    limit,
                });
            }
            // Release publishes `inflight` to a recompute that reads this value; Acquire on success is not needed for
            // our own data, but pairs with a recompute's Release so that its cleared slots are seen.
            match self.tenant.used.compare_exchange_weak(
                old,
                next(old, sum),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        self.slot.held.fetch_add(want, Ordering::Relaxed);
        // Release: a recompute that reads the lower count (Acquire) also reads the new `held`.
        self.slot.inflight.fetch_sub(1, Ordering::Release);
        let sum = units_of(old) + want;
        if sum > self.tenant.peak.load(Ordering::Relaxed) {
            self.tenant.peak.fetch_max(sum, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Holds `bytes` whatever the quota says: overhead the driver has already taken.
    pub fn charge(&self, bytes: u64) {
        // No limit means the word's own range; past it the count saturates in `units` and the reserve cannot fail.
        let _ = self.reserve(bytes, u64::MAX);
    }

    /// Gives `bytes` back, which must have been reserved or charged before by this process with the same rounding.
    pub fn release(&self, bytes: u64) {
        let back = units(bytes);
        if back == 0 {
            return;
        }
        self.slot.inflight.fetch_add(1, Ordering::Relaxed);
        let mut old = self.tenant.used.load(Ordering::Relaxed);
        // Saturating: a region that was scribbled on must not wrap to petabytes.
        while let Err(now) = self.tenant.used.compare_exchange_weak(
            old,
            next(old, units_of(old).saturating_sub(back)),
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            old = now;
        }
        saturating_sub(&self.slot.held, back);
        self.slot.inflight.fetch_sub(1, Ordering::Release);
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

fn saturating_sub(word: &AtomicU64, amount: u64) {
    let mut old = word.load(Ordering::Relaxed);
    while let Err(now) = word.compare_exchange_weak(
        old,
        old.saturating_sub(amount),
        Ordering::Relaxed,
        Ordering::Relaxed,
    ) {
        old = now;
    }
}

/// Clears a dead process's slot. The caller holds the slot's kernel lock, so nobody else writes it.
pub fn clear_slot(tenant: &TenantWords, slot: &SlotWords) {
    use super::layout::SLOT_FREE;
    // Raised first: a reaper that dies right here leaves a mark that the sum may be stale.
    tenant.dirty.fetch_add(1, Ordering::Release);
    slot.held.store(0, Ordering::Relaxed);
    slot.inflight.store(0, Ordering::Relaxed);
    slot.allocated.store(0, Ordering::Relaxed);
    slot.overhead.store(0, Ordering::Relaxed);
    slot.allocations.store(0, Ordering::Relaxed);
    // Release: whoever sees the slot free sees it empty.
    slot.state.store(SLOT_FREE, Ordering::Release);
}

/// Sets `used` to the sum of what live slots hold, if slots have been cleared since the last time. Gives up after a few
/// rounds if the tenant's processes keep changing it: `used` is then too high, never too low, and a later call mends
/// it. Returns whether the sum is known to be fresh.
pub fn recompute<'a>(
    tenant: &TenantWords,
    slots: impl Fn() -> Box<dyn Iterator<Item = &'a SlotWords> + 'a>,
) -> bool {
    for _ in 0..64 {
        // Acquire: the clearing that raised `dirty` is visible before the sum is taken.
        let dirty = tenant.dirty.load(Ordering::Acquire);
        if dirty == 0 {
            return true;
        }
        let before = tenant.used.load(Ordering::Acquire);
        let mut sum = 0u64;
        let mut settled = true;
        for slot in slots() {
            if slot.state.load(Ordering::Acquire) != SLOT_LIVE {
                continue;
            }
            // Acquire, and before `held` is read: see the module's argument.
            if slot.inflight.load(Ordering::Acquire) != 0 {
                settled = false;
                break;
            }
            sum = sum.saturating_add(slot.held.load(Ordering::Relaxed));
        }
        if settled
            && tenant
                .used
                .compare_exchange(
                    before,
                    next(before, sum.min(UNITS_MASK)),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
        {
            // If another slot was cleared meanwhile the mark stays, and the next call sums again.
            let _ = tenant
                .dirty
                .compare_exchange(dirty, 0, Ordering::AcqRel, Ordering::Relaxed);
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
        ledger.release(1000);
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
                            ledger.release(mine.pop().unwrap());
                        }
                        assert!(used_bytes(&tenant) <= LIMIT);
                    }
                    for bytes in mine {
                        ledger.release(bytes);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(used_bytes(&tenant), 0);
        assert_eq!(slot.held.load(Ordering::Relaxed), 0);
        assert_eq!(slot.inflight.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Any sequence, any death point: after the dead slot is cleared the sum is what the living hold.
        #[test]
        fn recompute_restores_the_sum(
            steps in prop::collection::vec((0usize..4, 1u64..1 << 20, any::<bool>()), 1..60),
            cut in 0u64..1 << 20,
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
                    ledger.release(bytes);
                }
            }
            // Slot 0 dies in the middle of a reserve: `used` is raised, `held` is not yet.
            slots[0].inflight.fetch_add(1, Ordering::Relaxed);
            let old = tenant.used.load(Ordering::Relaxed);
            tenant.used.store(next(old, units_of(old) + units(cut)), Ordering::Relaxed);
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

    /// Two live processes change the sum while a third one's death is mended: nothing is lost, nothing is invented.
    #[test]
    fn loom_recompute_against_reserve_and_release() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let tenant = Arc::new(tenant_words(1 << 40));
            let slots = Arc::new([slot_words(), slot_words()]);
            // Slot 1 died holding two units, of which one was never entered in `held`.
            Ledger {
                tenant: &tenant,
                slot: &slots[1],
            }
            .reserve(UNIT, u64::MAX)
            .unwrap();
            let old = tenant.used.load(Ordering::Relaxed);
            tenant.used.store(next(old, units_of(old) + 1), Ordering::Relaxed);

            let worker = {
                let (tenant, slots) = (tenant.clone(), slots.clone());
                loom::thread::spawn(move || {
                    let ledger = Ledger {
                        tenant: &tenant,
                        slot: &slots[0],
                    };
                    ledger.reserve(3 * UNIT, u64::MAX).unwrap();
                    ledger.release(UNIT);
                    ledger.release(UNIT);
                })
            };
            clear_slot(&tenant, &slots[1]);
            let _ = recompute(&tenant, || Box::new(slots.iter()));
            worker.join().unwrap();
            // Whether or not that recompute could tell the sum, it never left it too low. (Two words read while the
            // worker changes them prove nothing, so this is asked once it is done.)
            assert!(used_bytes(&tenant) >= UNIT);
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
