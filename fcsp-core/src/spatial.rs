//! Which of a device's compute units each tenant gets, where tenants are to run side by side on units of their own.
//!
//! A pure plan: from the device's layout and the tenants' parts of it to disjoint sets of units. Units come in groups that
//! share what a unit alone cannot run without (an instruction cache, a work-group processor), so groups are never split.
//! They are numbered as the device's own masks number them: neighbours in that order lie in different engines of the
//! device, so a run of them is spread over the engines evenly, and a tenant's set is one run.
//!
//! ```
//! use fcsp_core::spatial::{Layout, Part, plan};
//!
//! let device = Layout { units: 304, group: 2 };
//! let sets = plan(device, &[Part { weight: 25 }, Part { weight: 75 }]).unwrap();
//! assert_eq!((sets[0].len(), sets[1].len()), (76, 228));
//! assert_eq!(sets[0].words(304)[..3], [u32::MAX, u32::MAX, 0xfff]);
//! ```

use std::ops::Range;

/// A device's compute units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many there are.
    pub units: u32,
    /// How many belong together and are never split between tenants; 1 where each stands alone.
    pub group: u32,
}

/// A tenant's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its part of the sum of all weights; per cents where the parts are quotas. 0 gets nothing.
    pub weight: u32,
}

/// A tenant's units: a run in the order of the device's masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSet {
    run: Range<u32>,
}

impl UnitSet {
    /// How many units.
    pub fn len(&self) -> u32 {
        self.run.end - self.run.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// Whether a unit is in it.
    pub fn contains(&self, unit: u32) -> bool {
        self.run.contains(&unit)
    }

    /// First and last unit; `None` for none.
    pub fn bounds(&self) -> Option<(u32, u32)> {
        (!self.is_empty()).then(|| (self.run.start, self.run.end - 1))
    }

    /// The set as a mask over a device of `units`: bit 0 of the first word is unit 0.
    pub fn words(&self, units: u32) -> Vec<u32> {
        (0..units.div_ceil(32))
            .map(|word| {
                (0..32)
                    .filter(|bit| self.contains(word * 32 + bit))
                    .fold(0, |mask, bit| mask | 1 << bit)
            })
            .collect()
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpatialError {
    /// More tenants than groups of units.
    #[error("{tenants} tenants on {groups} groups of compute units: each needs one at least")]
    TooMany {
        /// Tenants with a weight.
        tenants: usize,
        /// Groups that the device has.
        groups: u32,
    },
    /// The layout makes no sense.
    #[error("a device of {units} compute units in groups of {group}")]
    Layout {
        /// As given.
        units: u32,
        /// As given.
        group: u32,
    },
}

/// Disjoint sets of units, one a part and in their order: in proportion to the weights as closely as whole groups allow
/// (the largest remainders are rounded up), but never less than one group. Units that do not fill a group are nobody's. The
/// same parts give the same plan whenever and wherever it is made.
///
/// # Errors
/// More parts with a weight than groups, or a layout without a whole group.
pub fn plan(layout: Layout, parts: &[Part]) -> Result<Vec<UnitSet>, SpatialError> {
    let Layout { units, group } = layout;
    if group == 0 || units < group {
        return Err(SpatialError::Layout { units, group });
    }
    let groups = units / group;
    let tenants = parts.iter().filter(|part| part.weight > 0).count();
    if tenants > groups as usize {
        return Err(SpatialError::TooMany { tenants, groups });
    }
    let sum: u64 = parts.iter().map(|part| u64::from(part.weight)).sum();
    // One group for each tenant first, so that the small are not starved by rounding; the rest in proportion to what
    // each is still short of.
    let mut counts: Vec<u32> = parts.iter().map(|part| u32::from(part.weight > 0)).collect();
    for _ in tenants..groups as usize * usize::from(tenants > 0) {
        // What is missing, as a fraction of the sum: weight x groups - count x sum. The first of equals has it.
        let short = |at: usize| {
            i128::from(parts[at].weight) * i128::from(groups) - i128::from(counts[at]) * i128::from(sum)
        };
        let neediest = (0..parts.len())
            .filter(|&at| parts[at].weight > 0)
            .max_by_key(|&at| (short(at), core::cmp::Reverse(at)));
        if let Some(at) = neediest {
            counts[at] += 1;
        }
    }
    let mut next = 0;
    Ok(counts
        .into_iter()
        .map(|count| {
            let run = next..next + count * group;
            next = run.end;
            UnitSet { run }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lengths(units: u32, group: u32, weights: &[u32]) -> Vec<u32> {
        let parts: Vec<Part> = weights.iter().map(|&weight| Part { weight }).collect();
        plan(Layout { units, group }, &parts)
            .unwrap()
            .iter()
            .map(UnitSet::len)
            .collect()
    }

    #[test]
    fn whole_groups_in_proportion() {
        assert_eq!(lengths(104, 1, &[25, 25, 50]), [26, 26, 52]);
        assert_eq!(lengths(304, 2, &[1, 1, 1]), [102, 102, 100]);
        // The last two units do not fill a group of four.
        assert_eq!(lengths(10, 4, &[1, 1]), [4, 4]);
        assert_eq!(lengths(4, 1, &[97, 1, 1, 1]), [1, 1, 1, 1]);
        assert_eq!(lengths(8, 1, &[0, 5, 0]), [0, 8, 0]);
        assert_eq!(lengths(8, 1, &[]), [0u32; 0]);
    }

    #[test]
    fn masks_are_the_runs() {
        let parts = [Part { weight: 1 }, Part { weight: 3 }];
        let sets = plan(Layout { units: 40, group: 2 }, &parts).unwrap();
        assert_eq!(sets[0].words(40), [0x3ff, 0]);
        assert_eq!(sets[1].words(40), [!0x3ff, 0xff]);
        assert_eq!(sets[1].bounds(), Some((10, 39)));
        assert_eq!(sets[0].bounds(), Some((0, 9)));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let three = [Part { weight: 1 }; 3];
        assert_eq!(
            plan(Layout { units: 4, group: 2 }, &three),
            Err(SpatialError::TooMany {
                tenants: 3,
                groups: 2
            })
        );
        let error = plan(Layout { units: 1, group: 2 }, &three).unwrap_err();
        assert_eq!(error.to_string(), "a device of 1 compute units in groups of 2");
        assert!(plan(Layout { units: 1, group: 0 }, &[]).is_err());
    }

    proptest! {
        #[test]
        fn plans_are_disjoint_whole_fair_and_nobody_goes_without(
            units in 1u32..600,
            group in 1u32..5,
            weights in proptest::collection::vec(0u32..1000, 0..40),
        ) {
            let parts: Vec<Part> = weights.iter().map(|&weight| Part { weight }).collect();
            let groups = units / group;
            let tenants = weights.iter().filter(|w| **w > 0).count();
            let result = plan(Layout { units, group }, &parts);
            if groups == 0 || tenants > groups as usize {
                prop_assert!(result.is_err());
                return Ok(());
            }
            let sets = result.unwrap();
            prop_assert_eq!(sets.len(), parts.len());
            // Disjoint, and together everything that fills a group.
            for unit in 0..units {
                let owners = sets.iter().filter(|set| set.contains(unit)).count();
                prop_assert_eq!(owners, usize::from(tenants > 0 && unit < groups * group), "unit {}", unit);
            }
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let raised = weights
                .iter()
                .filter(|w| **w > 0 && f64::from(**w) / sum * f64::from(groups) < 1.0)
                .count() as f64;
            for (set, weight) in sets.iter().zip(&weights) {
                prop_assert_eq!(set.len() % group, 0);
                prop_assert_eq!(set.is_empty(), *weight == 0);
                if *weight > 0 {
                    let fair = f64::from(*weight) / sum * f64::from(groups);
                    let got = f64::from(set.len() / group);
                    // Nobody is above its part by a group or more, but for those who are owed one at least; below it only
                    // by what those took.
                    prop_assert!(got < fair.max(1.0) + 1.0, "{got} of {fair}");
                    prop_assert!(got > fair - 1.0 - raised, "{got} of {fair}, {raised} raised");
                }
                // The mask says the same as the set.
                let words = set.words(units);
                prop_assert_eq!(words.iter().map(|w| w.count_ones()).sum::<u32>(), set.len());
            }
            // Bigger weights never get less.
            for (one, other) in (0..sets.len()).flat_map(|a| (0..sets.len()).map(move |b| (a, b))) {
                if weights[one] > weights[other] {
                    prop_assert!(sets[one].len() >= sets[other].len());
                }
            }
        }
    }
}
