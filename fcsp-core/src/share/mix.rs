//! The mix: a tenant's GPU time divided by class of work, and the sensitivity that follows from it.
//!
//! Credit is taken in slices of GPU time. The launches that find the credit used up are therefore a
//! fair sample of GPU time, and not of launches. A class that takes a third of the time asks for a
//! third of the slices. The mix counts only these launches.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::classify::Class;

/// GPU time that the mix remembers, ns.
const WINDOW_NS: u64 = 50_000_000;
/// GPU time below which the mix means nothing, ns.
const LEAST_NS: u64 = WINDOW_NS / 10;
/// Mean kernel length below which a program may be sensitive to latency, ns.
pub const SHORT_NS: u64 = 50_000;
/// Mean kernel length above which a program may be sensitive to throughput, ns.
pub const LONG_NS: u64 = 100_000;

/// Sensitivity of a tenant's work, which adaptive mode uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sensitivity {
    /// Neither is clear.
    #[default]
    None,
    /// Latency: each step is waited for. Attention over short kernels, or memory-bound work.
    Latency,
    /// Throughput: the amount of work done counts. Long matrix products and copies.
    Throughput,
}

impl Sensitivity {
    /// Returns its number in claim pages.
    pub const fn code(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Latency => 1,
            Self::Throughput => 2,
        }
    }

    /// Returns the sensitivity with this number, and `None` for an unknown number.
    pub const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::Latency,
            2 => Self::Throughput,
            _ => Self::None,
        }
    }

    /// Returns its word for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latency => "latency",
            Self::Throughput => "throughput",
        }
    }
}

/// Classes of one process's recent GPU time on a device. Relaxed throughout: the words are
/// quantities that guard no memory. Two threads that lose each other's records make the sample
/// slightly smaller.
#[derive(Debug, Default)]
pub struct Mix {
    /// GPU time by class, ns, fading over [`WINDOW_NS`].
    recent: [AtomicU64; Class::ALL.len()],
}

impl Mix {
    /// Records `ns` of GPU time of `class`.
    pub fn note(&self, class: Class, ns: u64) {
        let ns = ns.min(WINDOW_NS);
        for (index, part) in self.recent.iter().enumerate() {
            let old = part.load(Ordering::Relaxed);
            // Both factors are at most the window: the product fits.
            let faded = old - old * ns / WINDOW_NS;
            let more = if index == usize::from(class.code()) {
                ns
            } else {
                0
            };
            part.store(faded + more, Ordering::Relaxed);
        }
    }

    /// Returns the sensitivity of the recent GPU time, with kernels of `kernel` ns on average.
    pub fn sensitivity(&self, kernel: u64) -> Sensitivity {
        let parts: [u64; Class::ALL.len()] =
            std::array::from_fn(|index| self.recent[index].load(Ordering::Relaxed));
        let all: u64 = parts.iter().sum();
        if all < LEAST_NS {
            return Sensitivity::None;
        }
        let of = |class: Class| parts[usize::from(class.code())];
        let (attention, gemm) = (of(Class::Attention), of(Class::Gemm));
        if (kernel < SHORT_NS && attention * 20 >= all)
            || (kernel < LONG_NS && (attention + of(Class::MemoryBound)) * 2 >= all)
        {
            Sensitivity::Latency
        } else if kernel >= LONG_NS && (gemm + of(Class::Copy)) * 2 >= all {
            Sensitivity::Throughput
        } else {
            Sensitivity::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(parts: &[(Class, u64)]) -> Mix {
        let mix = Mix::default();
        for _ in 0..200 {
            for &(class, part) in parts {
                mix.note(class, part * 100_000);
            }
        }
        mix
    }

    #[test]
    fn serving_leans_to_latency_and_training_to_throughput() {
        // Roughly the mix of a transformer that decodes token by token, and of one in training.
        let decode = mixed(&[
            (Class::Gemm, 62),
            (Class::Attention, 20),
            (Class::MemoryBound, 18),
        ]);
        assert_eq!(decode.sensitivity(12_000), Sensitivity::Latency);
        let train = mixed(&[
            (Class::Gemm, 65),
            (Class::Attention, 13),
            (Class::MemoryBound, 22),
        ]);
        assert_eq!(train.sensitivity(220_000), Sensitivity::Throughput);
        assert_eq!(
            mixed(&[(Class::Copy, 1)]).sensitivity(200_000),
            Sensitivity::Throughput
        );
        assert_eq!(
            mixed(&[(Class::Other, 1)]).sensitivity(5_000),
            Sensitivity::None
        );
        assert_eq!(
            mixed(&[(Class::Gemm, 1)]).sensitivity(70_000),
            Sensitivity::None
        );
        assert_eq!(Mix::default().sensitivity(1), Sensitivity::None);
    }

    #[test]
    fn the_mix_forgets() {
        let mix = mixed(&[(Class::Gemm, 1)]);
        for _ in 0..500 {
            mix.note(Class::Attention, 500_000);
        }
        assert_eq!(mix.sensitivity(20_000), Sensitivity::Latency);
        let all: u64 = mix
            .recent
            .iter()
            .map(|part| part.load(Ordering::Relaxed))
            .sum();
        assert!(all <= WINDOW_NS && all > WINDOW_NS / 2, "{all}");
        mix.note(Class::Copy, u64::MAX);
        assert_eq!(mix.sensitivity(200_000), Sensitivity::Throughput);
    }

    #[test]
    fn codes_are_their_own() {
        for sensitivity in [
            Sensitivity::None,
            Sensitivity::Latency,
            Sensitivity::Throughput,
        ] {
            assert_eq!(Sensitivity::from_code(sensitivity.code()), sensitivity);
        }
        assert_eq!(Sensitivity::from_code(77), Sensitivity::None);
    }
}
