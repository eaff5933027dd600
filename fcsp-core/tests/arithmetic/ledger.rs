//! The ledger of `region::ledger`: one tenant's sum and the parts of its processes.

use std::sync::atomic::Ordering::Relaxed;

use fcsp_core::memory::Denied;
use fcsp_core::region::heap::{slot_words, tenant_words};
use fcsp_core::region::layout::{SlotWords, TenantWords};
use fcsp_core::region::ledger::{Ledger, UNIT, clear_slot, is_stale, recompute, units, used_bytes};

/// The most units that the tenant's word counts.
const MOST_UNITS: u64 = (1 << 36) - 1;

/// One process's next call.
#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve(u64),
    Charge(u64),
    /// Releases the last bytes that were reserved or charged.
    Release,
}

const STEPS: [Step; 6] = [
    Step::Reserve(1),
    Step::Reserve(UNIT),
    Step::Reserve(UNIT + 1),
    Step::Reserve(3 * UNIT),
    Step::Charge(2 * UNIT),
    Step::Release,
];

/// A tenant of two processes, and the bytes that each has by its own account.
struct Tenant {
    words: TenantWords,
    slots: [SlotWords; 2],
    own: [Vec<u64>; 2],
}

impl Tenant {
    fn new() -> Self {
        Self {
            words: tenant_words(1 << 40),
            slots: [slot_words(), slot_words()],
            own: [const { Vec::new() }; 2],
        }
    }

    fn ledger(&self, process: usize) -> Ledger<'_> {
        Ledger {
            tenant: &self.words,
            slot: &self.slots[process],
        }
    }

    fn own_bytes(&self, process: usize) -> u64 {
        self.own[process]
            .iter()
            .map(|&bytes| units(bytes) * UNIT)
            .sum()
    }

    fn bytes(&self) -> u64 {
        self.own_bytes(0) + self.own_bytes(1)
    }

    /// Makes a call and compares its answer with the sum by our own account.
    fn take(&mut self, process: usize, step: Step, limit: u64) {
        let used = self.bytes();
        match step {
            Step::Reserve(bytes) => {
                let fits = used + units(bytes) * UNIT <= limit;
                let denied = Denied {
                    wanted: bytes,
                    used,
                    limit,
                };
                let answer = self.ledger(process).reserve(bytes, limit);
                assert_eq!(answer, if fits { Ok(()) } else { Err(denied) });
                if fits {
                    self.own[process].push(bytes);
                }
            }
            Step::Charge(bytes) => {
                self.ledger(process).charge(bytes);
                self.own[process].push(bytes);
            }
            Step::Release => {
                if let Some(bytes) = self.own[process].pop() {
                    assert!(self.ledger(process).release(bytes), "nobody recomputes");
                }
            }
        }
    }

    fn check(&self) {
        assert_eq!(used_bytes(&self.words), self.bytes());
        for process in 0..2 {
            assert_eq!(
                self.slots[process].held.load(Relaxed) * UNIT,
                self.own_bytes(process)
            );
        }
        assert!(self.words.peak.load(Relaxed) * UNIT >= self.bytes());
    }
}

/// Goes through every sequence of `depth` calls of two processes.
fn every_sequence(depth: u32, mut each: impl FnMut(&[(usize, Step)])) {
    let calls: Vec<(usize, Step)> = (0..2)
        .flat_map(|process| STEPS.map(move |step| (process, step)))
        .collect();
    let count = calls.len();
    for mut number in 0..count.pow(depth) {
        let sequence: Vec<(usize, Step)> = (0..depth)
            .map(|_| {
                let call = calls[number % count];
                number /= count;
                call
            })
            .collect();
        each(&sequence);
    }
}

#[test]
fn every_short_sequence_keeps_the_sum_and_the_quota() {
    for limit in [0, UNIT - 1, UNIT, 3 * UNIT, 5 * UNIT + 7, u64::MAX] {
        every_sequence(4, |sequence| {
            let mut tenant = Tenant::new();
            for &(process, step) in sequence {
                tenant.take(process, step, limit);
                tenant.check();
            }
        });
    }
}

#[test]
fn a_death_between_any_two_changes_is_repaired() {
    every_sequence(3, |sequence| {
        // The first process dies after it has changed its part, and before it changes the sum.
        for change in [0, 1, 3, -1, -2] {
            let mut tenant = Tenant::new();
            for &(process, step) in sequence {
                tenant.take(process, step, u64::MAX);
            }
            let held = tenant.slots[0].held.load(Relaxed);
            tenant.slots[0]
                .held
                .store(held.saturating_add_signed(change), Relaxed);
            let before = used_bytes(&tenant.words);
            clear_slot(&tenant.words, &tenant.slots[0]);
            assert!(is_stale(&tenant.words));
            assert!(
                used_bytes(&tenant.words) >= tenant.own_bytes(1),
                "never too low"
            );
            assert!(recompute(&tenant.words, || Box::new(tenant.slots.iter())));
            assert!(!is_stale(&tenant.words));
            tenant.own[0].clear();
            tenant.check();
            assert!(used_bytes(&tenant.words) <= before);
        }
    });
}

#[test]
fn bytes_are_rounded_up_to_units() {
    for bytes in 0..10_000 {
        assert_eq!(units(bytes), bytes / UNIT + u64::from(bytes % UNIT > 0));
    }
    for bytes in [MOST_UNITS * UNIT, MOST_UNITS * UNIT + 1, u64::MAX] {
        assert_eq!(units(bytes), MOST_UNITS);
    }
}

#[test]
fn the_version_wraps_without_a_trace_in_the_sum() {
    let mut tenant = Tenant::new();
    tenant.take(1, Step::Reserve(7 * UNIT), u64::MAX);
    // The version has 18 bits; each turn raises it by two.
    for _ in 0..(1 << 17) + 3 {
        tenant.take(0, Step::Reserve(UNIT), u64::MAX);
        tenant.take(0, Step::Release, u64::MAX);
    }
    tenant.check();
    assert_eq!(used_bytes(&tenant.words), 7 * UNIT);
}

#[test]
fn the_epoch_wraps_without_a_trace_in_the_sum() {
    let mut tenant = Tenant::new();
    tenant.take(1, Step::Reserve(7 * UNIT), u64::MAX);
    let dead = slot_words();
    // The epoch has 10 bits; each recompute raises it by one.
    for _ in 0..(1 << 10) + 3 {
        clear_slot(&tenant.words, &dead);
        assert!(recompute(&tenant.words, || Box::new(tenant.slots.iter())));
        tenant.check();
    }
    tenant.take(0, Step::Reserve(UNIT), 8 * UNIT);
    tenant.take(1, Step::Release, 8 * UNIT);
    tenant.check();
}

#[test]
fn a_full_word_refuses_and_does_not_wrap() {
    let tenant = Tenant::new();
    let ledger = tenant.ledger(0);
    ledger.reserve(u64::MAX, u64::MAX).unwrap();
    assert_eq!(used_bytes(&tenant.words), MOST_UNITS * UNIT);
    ledger.reserve(1, u64::MAX).unwrap_err();
    ledger.charge(u64::MAX);
    assert_eq!(used_bytes(&tenant.words), MOST_UNITS * UNIT);
    assert!(ledger.release(u64::MAX));
    assert_eq!(
        (
            used_bytes(&tenant.words),
            tenant.slots[0].held.load(Relaxed)
        ),
        (0, 0)
    );
}

/// Checks that a charge which passes the range of the word counts up to that range. A lost charge
/// would leave room for a request.
#[test]
fn a_charge_past_the_range_of_the_word_fills_it() {
    const TIB: u64 = 1 << 40;
    let tenant = Tenant::new();
    let ledger = tenant.ledger(0);
    ledger.reserve(31 * TIB, u64::MAX).unwrap();
    ledger.charge(2 * TIB);
    assert_eq!(used_bytes(&tenant.words), MOST_UNITS * UNIT);
    ledger.reserve(1, u64::MAX).unwrap_err();
}

#[test]
fn more_is_never_released_than_is_held() {
    let mut tenant = Tenant::new();
    tenant.take(0, Step::Reserve(2 * UNIT), u64::MAX);
    tenant.take(1, Step::Reserve(3 * UNIT), u64::MAX);
    assert!(tenant.ledger(0).release(9 * UNIT));
    tenant.own[0].clear();
    tenant.check();
}
