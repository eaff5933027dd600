//! Reproducible random numbers: SplitMix64 (Steele, Lea, Flood 2014). A seed means the same program
//! for ever, so the generator belongs to the tester and not to a crate that may change.

/// A generator with 64 bits of state.
pub struct Random(u64);

impl Random {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x6a09_e667_f3bc_c908);
        random.draw();
        random
    }

    /// Draws 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number below `n`; 0 for `n == 0`.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// Draws true once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Draws an element; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    /// Checks that the numbers never change: kept seeds would lose their meaning.
    #[test]
    fn numbers_of_a_seed_never_change() {
        let mut random = Random::new(1);
        let first: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        let mut again = Random::new(1);
        assert_eq!(first, (0..3).map(|_| again.draw()).collect::<Vec<_>>());
        assert_ne!(Random::new(2).draw(), first[0]);
    }
}
