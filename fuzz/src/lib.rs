//! Bodies of the fuzz targets: one module for each target, each a function of bytes that panics if
//! a promise is broken.
//!
//! The bodies are in a library so that they also run as ordinary tests, on fixed seeds, with a
//! stable toolchain.

pub mod cgroups;
pub mod configuration;
pub mod control;
pub mod ledger;
pub mod liars;
pub mod region;

/// Reader of small values from the front of the fuzzer's bytes; zeroes after their end.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Reads from `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Returns true if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// Returns the next `width` bytes (at most 8) as a number.
    pub fn number(&mut self, width: usize) -> u64 {
        (0..width.min(8)).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Returns all bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    /// Runs `body` on `seeds`, on random changes of them and on random bytes: the same ones every
    /// time.
    pub fn try_many(seeds: &[&[u8]], rounds: u64, body: impl Fn(&[u8])) {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for seed in seeds {
            body(seed);
        }
        for round in 0..rounds {
            let mut data: Vec<u8> = match seeds.get(round as usize % (seeds.len() + 1)) {
                Some(seed) => seed.to_vec(),
                None => (0..random() % 200).map(|_| random() as u8).collect(),
            };
            for _ in 0..random() % 8 {
                if data.is_empty() {
                    break;
                }
                let at = random() as usize % data.len();
                match random() % 4 {
                    0 => data[at] = random() as u8,
                    1 => drop(data.remove(at)),
                    2 => data.insert(at, random() as u8),
                    _ => data[at] ^= 1 << (random() % 8),
                }
            }
            body(&data);
        }
    }
}
