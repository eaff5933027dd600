//! Pages that say anything, beside one honest tenant that always has work: its guarantee less the
//! margin holds, and no launch waits beyond its deadline.
//!
//! The liars use no device time, so that all the tenant does not have it was talked out of. Each
//! word of a page follows a rule of the input: a value, or a distance from the present, written
//! anew before every look.

use std::sync::atomic::{AtomicU64, Ordering};

use fcsp_core::classify::Class;
use fcsp_core::share::authority::Authority;
use fcsp_core::share::token_bucket::{TokenRate, gpu_to_wall_ns};
use fcsp_core::share::gate::{
    Gate, MAX_WAIT_NS, Position, OVERDUE_NS, STUCK_NS, STUCK_PER_NEIGHBOUR_NS, BusyInterval, GateAdmission,
    progress,
};
use fcsp_core::share::margin;
use fcsp_core::share::claim_page::{MAGIC, ClaimPage, ClaimView};
use fcsp_core::share::params::{Mode, Params, Priority};

const WORDS: usize = size_of::<ClaimPage>() / 8;
/// Time for which the tenant is observed, ns.
const TIME_NS: u64 = 500_000_000;
/// Instant at which it begins: no value that a page uses for "never".
const BEGINS: u64 = 1 << 40;
const MOST_PAGES: usize = 4;
/// Places of words in a page.
const PROMISE: usize = 2;
const SEEN: usize = 14;
const CONSUMED: usize = 15;

/// Rule for the value of a word.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// This value.
    Value(u64),
    /// This far from the present.
    Near(i64),
    /// So much more with every look.
    Grows(u64),
}

#[repr(align(64))]
struct Raw([AtomicU64; WORDS]);

struct Liar {
    raw: Box<Raw>,
    rules: [Rule; WORDS],
    authority: Authority,
}

impl Liar {
    fn of(input: &mut crate::Input, authority: Authority) -> Self {
        let mut rules = [Rule::Value(0); WORDS];
        for rule in &mut rules[1..] {
            let sign = |kind: u8, ns: u64| {
                if kind & 8 == 0 {
                    ns as i64
                } else {
                    -(ns as i64)
                }
            };
            let kind = input.byte();
            *rule = match kind & 7 {
                0 => Rule::Value(0),
                1 => Rule::Value(input.number(8)),
                2 => Rule::Value(u64::MAX),
                3 => Rule::Near(0),
                4 => Rule::Near(sign(kind, input.number(2) * 1_000)),
                5 => Rule::Near(sign(kind, input.number(4))),
                6 => Rule::Grows(input.number(3)),
                _ => Rule::Value(input.number(4)),
            };
        }
        let how = input.byte();
        if how & 1 == 0 {
            // Most lies are plausible: a share, an unknown class, seen just now.
            let share = 1 + input.number(3) % 1_000_000;
            let (class, mode) = (u64::from(how >> 1) % 3, 1 + u64::from(how >> 3) % 3);
            rules[PROMISE] = Rule::Value(share | share << 20 | class << 40 | mode << 44);
            rules[SEEN] = Rule::Near(0);
        }
        if how & 0x40 == 0 {
            rules[CONSUMED] = Rule::Grows(input.number(3) % 200_000);
        }
        // A page of this build and boot, or nobody reads it.
        rules[0] = Rule::Value(MAGIC);
        rules[6] = Rule::Value(0);
        Self {
            raw: Box::new(Raw(std::array::from_fn(|_| AtomicU64::new(0)))),
            rules,
            authority,
        }
    }

    fn view(&self, now: u64) -> Option<ClaimView> {
        for (word, rule) in self.raw.0.iter().zip(&self.rules) {
            let value = match *rule {
                Rule::Value(value) => value,
                Rule::Near(distance) => now.saturating_add_signed(distance),
                Rule::Grows(step) => word.load(Ordering::Relaxed).wrapping_add(step),
            };
            word.store(value, Ordering::Relaxed);
        }
        // SAFETY: as many aligned bytes as a page has. They outlive the page, and only atomics
        // write them.
        let page = unsafe { ClaimPage::from_mapping((&raw const self.raw.0).cast(), WORDS * 8) };
        let mut view = page.expect("as large and aligned as a page").view()?;
        view.authority = self.authority;
        Some(view)
    }
}

/// Result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Questions to the gate.
    pub steps: u64,
    /// Device time that the tenant had, ns.
    pub had: u64,
}

/// Runs the tenant of the input next to its liars, who are other users.
pub fn run(data: &[u8]) {
    let nobody = Some(Priority::Normal);
    watch(
        data,
        Authority::Apart {
            theirs: nobody,
            ours: nobody,
        },
    );
}

/// Runs the same with the `authority` of the liars' words, and returns the result.
pub fn watch(data: &[u8], authority: Authority) -> Outcome {
    let mut input = crate::Input::new(data);
    let how = input.byte();
    let share = [50_000, 100_000, 250_000, 500_000, 750_000, 900_000][usize::from(how) % 6];
    let mode = [Mode::Strict, Mode::Balanced, Mode::Adaptive][usize::from(how >> 3) % 3];
    let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(how >> 5) % 3];
    let cost = [5_000, 20_000, 100_000, 1_000_000][usize::from(input.byte()) % 4];
    let class = [Class::Gemm, Class::Attention, Class::Other][usize::from(input.byte()) % 3];
    let liars: Vec<Liar> = (0..=usize::from(input.byte()) % MOST_PAGES)
        .map(|_| Liar::of(&mut input, authority))
        .collect();
    let params = Params::balanced(share)
        .with_mode(mode)
        .with_priority(priority);
    let page = ClaimPage::new();
    let gate = Gate::new(&page, params, BEGINS).expect("a new page");
    let rate = TokenRate {
        part: share,
        cap: params.cap_ns(),
    };
    let (mut now, mut free_at, mut had, mut steps) = (BEGINS, BEGINS, 0, 0);
    let mut queue: std::collections::VecDeque<(u64, u64, u64, Position)> =
        std::collections::VecDeque::new();
    let views = |now| -> Vec<ClaimView> { liars.iter().filter_map(|liar| liar.view(now)).collect() };
    let mut others = 0;
    let mut asked = None;
    while now < BEGINS + TIME_NS {
        steps += 1;
        while let Some(&(at, .., marker)) = queue.front()
            && at <= now
        {
            gate.retire(marker, now);
            queue.pop_front();
        }
        // What the device does is reconciled with what was charged, beside whatever the pages say.
        if let Some(&(_, from, before, _)) = queue.front()
            && from < now
        {
            gate.reconcile(BusyInterval { from, until: now }, before, &views(now), now);
        }
        let mut verdict = GateAdmission::Go { marker: false };
        if !gate.admit(cost) {
            let views = views(now);
            others = progress(&views);
            verdict = gate.acquire_as(class, cost, now, &views);
        }
        match verdict {
            GateAdmission::Go { .. } | GateAdmission::Forced => {
                asked = None;
                free_at = now.max(free_at) + cost;
                had += cost;
                queue.push_back((free_at, now, others, gate.mark()));
                // A driver's queue is not endless.
                now = (now + 3_000).max(free_at.saturating_sub(1_000 * cost));
            }
            GateAdmission::Drain { .. } => {
                now = queue
                    .front()
                    .map_or(now + 50_000, |&(at, ..)| at.max(now + 1))
            }
            GateAdmission::Wait { until, .. } => {
                let view = page.view().expect("its own page");
                let since = *asked.get_or_insert(now);
                let patience = STUCK_NS
                    + liars.len() as u64 * STUCK_PER_NEIGHBOUR_NS
                    + gpu_to_wall_ns(gate.in_flight(), share);
                let filled = rate.clamp(view.empty_at, since).max(since);
                let latest = filled.max(since + MAX_WAIT_NS) + OVERDUE_NS + patience;
                assert!(until > now, "a wait that ends before it begins");
                assert!(now <= latest, "{} ns after it was due", now - latest);
                now = until;
            }
        }
    }
    let entitled = u128::from(margin::less(share)) * u128::from(TIME_NS) / 1_000_000;
    // The tenant may have yielded with its whole bucket, and a kernel may be in flight.
    let slack = params.cap_ns() + 2 * cost + 2_000_000;
    assert!(
        u128::from(had + slack) >= entitled,
        "had {had} ns of {entitled} ns: {params:?}, kernels of {cost} ns"
    );
    Outcome { steps, had }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: Authority = Authority::Apart {
        theirs: Some(Priority::Normal),
        ours: Some(Priority::Normal),
    };

    /// Checks that the search finds a broken guarantee: that of a tenant below one whose priority
    /// counts.
    #[test]
    fn a_priority_that_counts_is_found() {
        let found = (0..200u64).any(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let data: Vec<u8> = (0..600)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 24) as u8
                })
                .collect();
            std::panic::catch_unwind(|| watch(&data, Authority::Said)).is_err()
        });
        assert!(found);
    }

    fn seeds() -> Vec<Vec<u8>> {
        (0..12u8)
            .map(|seed| {
                let mut data = vec![seed.wrapping_mul(37), seed, seed, seed];
                // Every word near the present, owed for ever and high.
                data.extend((0..40 * MOST_PAGES).map(|at| if at % 3 == 0 { 3 } else { 0 }));
                data
            })
            .collect()
    }

    #[test]
    fn liars() {
        let seeds = seeds();
        let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
        crate::tests::try_many(&seeds, 60, run);
    }

    /// Runs random pages of every kind, for 10^7 calls of the gate: `cargo test --release --
    /// --ignored`.
    #[test]
    #[ignore = "takes minutes"]
    fn ten_million_steps() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut steps, mut runs) = (0, 0u64);
        while steps < 10_000_000 {
            let data: Vec<u8> = (0..64 + random() % 700)
                .map(|_| (random() >> 24) as u8)
                .collect();
            steps += watch(&data, OTHERS).steps;
            runs += 1;
        }
        println!("{steps} steps in {runs} runs");
    }
}
