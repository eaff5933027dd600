//! What is known of function handles and executable graphs: their class, how often they were timed.
//! A fixed table of words, read and written without a lock.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fcsp_core::classify::{self, Class};

const SLOTS: usize = 16_384;
const PROBES: usize = 16;
/// Launches of a new function that are timed before it is timed only now and then.
const FIRST: u64 = 6;
/// Timed launches after which a function is known well.
const YOUNG: u64 = 32;
/// Launches between two timed ones, on average, of functions that are known well, and of others.
const EVERY: u32 = 1_024;
const EVERY_YOUNG: u32 = 16;

/// What a launch is told of its function, graph or copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What kind of work it is.
    pub class: Class,
    /// Whether this launch should be timed.
    pub sample: bool,
    /// Whether enough launches were timed for the cost to be taken as it is.
    pub settled: bool,
}

/// `{handle: 48 bits, class: 8 bits, times seen: 8 bits}`.
#[derive(Debug)]
pub struct Functions {
    words: Box<[AtomicU64]>,
    countdown_young: AtomicU32,
    random: AtomicU32,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            words: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            countdown_young: AtomicU32::new(EVERY_YOUNG),
            random: AtomicU32::new(0x9e37_79b9),
        }
    }
}

const HANDLE: u64 = !0 << 16;

fn class_from(code: u64) -> Class {
    [
        Class::Collective,
        Class::Attention,
        Class::Gemm,
        Class::MemoryBound,
        Class::Copy,
    ]
    .into_iter()
    .find(|&class| class as u64 == code)
    .unwrap_or(Class::Other)
}

impl Functions {
    fn slot(&self, handle: u64) -> Option<(&AtomicU64, u64)> {
        // User addresses have 47 bits; the sixteen lowest bits of the word are ours.
        let tag = handle << 16;
        let start = (handle >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        for probe in 0..PROBES {
            let word = &self.words[(start as usize + probe) & (SLOTS - 1)];
            let value = word.load(Ordering::Relaxed);
            if value & HANDLE == tag {
                return Some((word, value));
            }
            // Relaxed throughout: a word is complete in itself.
            if value == 0
                && word
                    .compare_exchange(0, tag | 0xff00, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                return Some((word, tag | 0xff00));
            }
        }
        None
    }

    /// What is known of a kernel. `countdown` is the launches until one that is known well is timed; `name` finds the
    /// kernel's name, and is asked once.
    #[inline]
    pub fn kernel(
        &self,
        function: usize,
        countdown: &AtomicU32,
        name: impl FnOnce(usize) -> Option<String>,
    ) -> Known {
        match self.slot(function as u64) {
            Some((word, value)) => {
                let (class, seen) = (class_from(value >> 8 & 0xff), value & 0xff);
                if seen >= YOUNG {
                    return self.settled(class, countdown);
                }
                let sample = seen < FIRST || self.turn_of_the_young();
                Known {
                    class: if sample {
                        self.first_launches(word, value, || name(function))
                    } else {
                        class
                    },
                    sample,
                    settled: false,
                }
            }
            None => Known {
                settled: false,
                ..self.settled(Class::Other, countdown)
            },
        }
    }

    /// What is known of a kind of copy. `key` must be odd, which no handle is.
    pub fn copy(&self, key: u64, countdown: &AtomicU32) -> Known {
        self.few_samples(key, Class::Copy, countdown)
    }

    /// What is known of an executable graph.
    pub fn graph(&self, executable: usize, countdown: &AtomicU32) -> Known {
        self.few_samples(executable as u64, Class::Other, countdown)
    }

    /// For what always does the same: a few samples tell. `class` unless one is known.
    fn few_samples(&self, handle: u64, class: Class, countdown: &AtomicU32) -> Known {
        let Some((word, value)) = self.slot(handle) else {
            return self.settled(class, countdown);
        };
        let class = match value >> 8 & 0xff {
            0xff => class,
            code => class_from(code),
        };
        if value & 0xff >= FIRST {
            return self.settled(class, countdown);
        }
        word.store(
            value & HANDLE | (class as u64) << 8 | ((value & 0xff) + 1),
            Ordering::Relaxed,
        );
        Known {
            class,
            sample: true,
            settled: false,
        }
    }

    /// The class of a kernel that is not launched now; `name` is asked if nobody has asked before.
    pub fn class_of(&self, function: usize, name: impl FnOnce(usize) -> Option<String>) -> Class {
        let by_name = || name(function).map_or(Class::Other, |name| classify::by_name(&name));
        match self.slot(function as u64) {
            Some((word, value)) if value >> 8 & 0xff == 0xff => {
                let class = by_name();
                word.store(value & HANDLE | (class as u64) << 8, Ordering::Relaxed);
                class
            }
            Some((_, value)) => class_from(value >> 8 & 0xff),
            None => by_name(),
        }
    }

    /// An executable graph was made that mostly does work of this class.
    pub fn graph_made(&self, executable: usize, class: Class) {
        if let Some((word, value)) = self.slot(executable as u64) {
            word.store(value & HANDLE | (class as u64) << 8, Ordering::Relaxed);
        }
    }

    fn settled(&self, class: Class, countdown: &AtomicU32) -> Known {
        Known {
            class,
            sample: self.turn(countdown),
            settled: true,
        }
    }

    #[cold]
    fn first_launches(&self, word: &AtomicU64, value: u64, name: impl FnOnce() -> Option<String>) -> Class {
        let class = match value >> 8 & 0xff {
            0xff => name().map_or(Class::Other, |name| classify::by_name(&name)),
            code => class_from(code),
        };
        let seen = (value & 0xff) + 1;
        word.store(value & HANDLE | (class as u64) << 8 | seen, Ordering::Relaxed);
        class
    }

    /// Whether it is some launch's turn to be timed: one in [`EVERY`] on average, at uneven distances so that a loop
    /// of launches does not always show the same one. Not counted exactly: threads may lose each other's steps.
    #[inline]
    fn turn(&self, countdown: &AtomicU32) -> bool {
        let left = countdown.load(Ordering::Relaxed);
        if left > 1 {
            countdown.store(left - 1, Ordering::Relaxed);
            return false;
        }
        let mut x = self.random.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.store(x, Ordering::Relaxed);
        countdown.store(EVERY / 2 + x % EVERY, Ordering::Relaxed);
        true
    }

    /// The same for functions that are not known well yet.
    #[inline]
    fn turn_of_the_young(&self) -> bool {
        let left = self.countdown_young.load(Ordering::Relaxed);
        let turn = left <= 1;
        // An odd distance, so that a loop of launches does not always show the same one.
        self.countdown_young
            .store(if turn { EVERY_YOUNG + 1 } else { left - 1 }, Ordering::Relaxed);
        turn
    }

    /// An executable graph was updated or destroyed: it must be timed anew. An update keeps the kernels.
    pub fn graph_changed(&self, executable: usize) {
        if let Some((word, value)) = self.slot(executable as u64) {
            word.store(value & (HANDLE | 0xff00), Ordering::Relaxed);
        }
    }

    /// Modules were unloaded: handles may be used again for other functions.
    pub fn forget(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_launch_in_so_many_is_timed() {
        let functions = Functions::default();
        let countdown = AtomicU32::new(EVERY);
        let timed = (0..1_000 * EVERY).filter(|_| functions.turn(&countdown)).count();
        assert!((800..1_250).contains(&timed), "{timed}");
    }

    #[test]
    fn graphs_are_timed_anew_after_an_update() {
        let functions = Functions::default();
        let graph = 0x7f00_1234_5600_usize;
        let countdown = AtomicU32::new(EVERY);
        let ask = || {
            let known = functions.graph(graph, &countdown);
            (known.sample, known.settled)
        };
        assert!((0..FIRST).all(|_| ask() == (true, false)));
        assert_eq!(ask(), (false, true));
        functions.graph_changed(graph);
        assert_eq!(ask(), (true, false));
    }

    #[test]
    fn a_graph_has_the_class_it_was_made_with_until_it_is_made_anew() {
        let functions = Functions::default();
        let (graph, countdown) = (0x7f00_1234_5600_usize, AtomicU32::new(EVERY));
        let class = || functions.graph(graph, &countdown).class;
        assert_eq!(class(), Class::Other);
        functions.graph_made(graph, Class::Gemm);
        assert!((0..2 * FIRST).all(|_| class() == Class::Gemm));
        functions.graph_changed(graph);
        assert_eq!(class(), Class::Gemm);
        functions.graph_made(graph, Class::Other);
        assert_eq!(class(), Class::Other);
    }

    #[test]
    fn a_kernels_name_is_asked_once_and_does_not_count_as_a_launch() {
        let functions = Functions::default();
        let (kernel, countdown) = (0x7f00_4321_0000_usize, AtomicU32::new(EVERY));
        let name = |_| Some("flash_fwd_kernel".to_owned());
        assert_eq!(functions.class_of(kernel, name), Class::Attention);
        assert_eq!(
            functions.class_of(kernel, |_| panic!("asked twice")),
            Class::Attention
        );
        let known = functions.kernel(kernel, &countdown, |_| panic!("asked twice"));
        assert_eq!((known.class, known.sample), (Class::Attention, true));
    }
}
