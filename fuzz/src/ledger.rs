//! Sequences of reserve, charge, release, death and recompute on one tenant's words, against a
//! model that keeps lists.

use std::sync::atomic::Ordering;

use fcsp_core::region::heap::{slot_words, tenant_words};
use fcsp_core::region::layout::{SLOT_LIVE, SlotWords, TenantWords};
use fcsp_core::region::ledger::{Ledger, UNIT, clear_slot, recompute, units, used_bytes};

const SLOTS: usize = 4;
const LIMIT: u64 = 1 << 30;

struct World {
    tenant: TenantWords,
    slots: Vec<SlotWords>,
    /// Reservations of each process, in bytes as they were requested.
    held: [Vec<u64>; SLOTS],
}

impl World {
    fn new() -> Self {
        Self {
            tenant: tenant_words(80 << 30),
            slots: (0..SLOTS).map(|_| slot_words()).collect(),
            held: Default::default(),
        }
    }

    fn ledger(&self, who: usize) -> Ledger<'_> {
        Ledger {
            tenant: &self.tenant,
            slot: &self.slots[who],
        }
    }

    fn expected(&self) -> u64 {
        self.held
            .iter()
            .flatten()
            .map(|&bytes| units(bytes) * UNIT)
            .sum()
    }

    fn recompute(&self) -> bool {
        recompute(&self.tenant, || Box::new(self.slots.iter()))
    }

    /// Kills a process between two steps of a change by `bytes`, and clears up after it.
    fn die(&mut self, who: usize, at: u8, bytes: u64) {
        let (tenant, slot) = (&self.tenant, &self.slots[who]);
        let held = slot.held.load(Ordering::Relaxed);
        match at % 4 {
            0 => {}
            // A reserve that has raised `held`, and not yet `used`.
            1 => slot.held.store(held + units(bytes), Ordering::Relaxed),
            // A release that has lowered `held`, and not yet `used`.
            2 => slot
                .held
                .store(held - units(bytes).min(held), Ordering::Relaxed),
            // One that is done, in a book that does not know of it.
            _ => drop(Ledger { tenant, slot }.release(bytes.min(held * UNIT))),
        }
        clear_slot(tenant, slot);
        self.held[who].clear();
        assert!(self.recompute(), "nobody is in the middle of anything");
        slot_again(&self.slots[who]);
    }
}

/// Gives the slot to a new process.
fn slot_again(slot: &SlotWords) {
    slot.state.store(SLOT_LIVE, Ordering::Release);
}

/// Runs one input. Each step takes six bytes: the process, the operation, and the number of bytes.
pub fn run(data: &[u8]) {
    let mut input = crate::Input::new(data);
    let mut world = World::new();
    let mut peak = 0;
    while !input.is_empty() {
        let (who, what, bytes) = (input.byte() as usize % SLOTS, input.byte(), input.number(4));
        let before = used_bytes(&world.tenant);
        match what % 8 {
            0..=2 => {
                let fits = before + units(bytes) * UNIT <= LIMIT;
                let answer = world.ledger(who).reserve(bytes, LIMIT);
                assert_eq!(answer.is_ok(), fits, "{bytes} on top of {before}");
                match answer {
                    Ok(()) => world.held[who].push(bytes),
                    Err(denied) => {
                        assert_eq!(
                            (denied.wanted, denied.used, denied.limit),
                            (bytes, before, LIMIT)
                        );
                        assert_eq!(
                            used_bytes(&world.tenant),
                            before,
                            "a refusal changes nothing"
                        );
                    }
                }
            }
            3 => {
                world.ledger(who).charge(bytes);
                world.held[who].push(bytes);
            }
            4 | 5 => {
                if let Some(bytes) = world.held[who].pop() {
                    assert!(world.ledger(who).release(bytes));
                }
            }
            6 => assert!(world.recompute()),
            _ => world.die(who, (bytes >> 24) as u8, bytes & 0xff_ffff),
        }
        assert_eq!(used_bytes(&world.tenant), world.expected());
        for (slot, held) in world.slots.iter().zip(&world.held) {
            assert_eq!(
                slot.held.load(Ordering::Relaxed),
                held.iter().map(|&bytes| units(bytes)).sum::<u64>()
            );
        }
        peak = peak.max(used_bytes(&world.tenant));
        assert_eq!(world.tenant.peak.load(Ordering::Relaxed) * UNIT, peak);
    }
}

#[cfg(test)]
#[test]
fn ledger() {
    let seeds: [&[u8]; 3] = [
        b"\x00\x00\x00\x10\x00\x00\x01\x00\x3f\xff\xff\xff\x00\x04\x00\x00\x00\x00",
        b"\x00\x00\x00\x10\x00\x00\x01\x00\x00\x20\x00\x01\x01\x07\x02\x00\x10\x00\x02\x03\xff\xff\xff\xff",
        b"\x03\x02\x00\x00\x02\x00\x03\x07\x03\x00\x01\x00\x03\x00\x40\x00\x00\x00\x03\x00\x00\x00\x00\x01",
    ];
    crate::tests::try_many(&seeds, 20_000, run);
}
