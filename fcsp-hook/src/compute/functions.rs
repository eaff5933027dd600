//! What is known of function handles and executable graphs: their class, how often they were timed.
//! A fixed table of words, read and written without a lock.
//!
//! A handle may be another function's after its code was unloaded. What was known of it is then in
//! doubt: at its next launch the kernel's name is asked for again, and only a kernel of the same
//! name keeps the price that was learned.

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
    /// Whether what was learned under this handle is another function's.
    pub stranger: bool,
    /// A hash of the kernel's name or of what is in the graph; 0 if that is not known or not asked
    /// for.
    pub content: u32,
}

/// What is known of the handles of one device in one process. All methods may be called from any
/// thread.
#[derive(Debug)]
pub struct Functions {
    /// `{handle: 48 bits, class: 8 bits, graph: 1 bit, times seen: 7 bits}`; 0 is a free slot.
    words: Box<[AtomicU64]>,
    /// A hash of the kernel's name when its class was found, or of what is in the graph, by slot; 0
    /// if it had none.
    names: Box<[AtomicU32]>,
    countdown_young: AtomicU32,
    random: AtomicU32,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            words: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            names: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            countdown_young: AtomicU32::new(EVERY_YOUNG),
            random: AtomicU32::new(0x9e37_79b9),
        }
    }
}

const HANDLE: u64 = !0 << 16;
/// In the bits of the class: not known.
const NO_CLASS: u64 = 0xff << 8;
const CLASS: u64 = 0xff << 8;
/// An executable graph, a recorded list or a kind of copy: not code, so it stays when code is
/// unloaded.
const GRAPH: u64 = 0x80;
const SEEN: u64 = 0x7f;

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

/// A hash of a name, never 0.
fn hash(name: &str) -> u32 {
    // FNV-1a, 32 bits.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

impl Functions {
    fn probes(handle: u64) -> impl Iterator<Item = usize> {
        let start = (handle >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        (0..PROBES).map(move |probe| (start as usize + probe) & (SLOTS - 1))
    }

    /// The slot of a handle, its index and word.
    fn find(&self, handle: u64) -> Option<(usize, u64)> {
        // User addresses have 47 bits; the sixteen lowest bits of the word are ours.
        let tag = handle << 16;
        Self::probes(handle).find_map(|at| {
            let value = self.words[at].load(Ordering::Relaxed);
            (value != 0 && value & HANDLE == tag).then_some((at, value))
        })
    }

    /// The same, or a free one taken.
    #[inline]
    fn slot(&self, handle: u64) -> Option<(usize, u64)> {
        self.find(handle).or_else(|| self.claim(handle))
    }

    #[cold]
    fn claim(&self, handle: u64) -> Option<(usize, u64)> {
        let fresh = handle << 16 | NO_CLASS;
        // Relaxed throughout: a word is complete in itself. Two threads may each take a slot for
        // one handle: the first in the order of probes is then the one that is used.
        let at = Self::probes(handle).find(|&at| {
            self.words[at]
                .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })?;
        self.names[at].store(0, Ordering::Relaxed);
        Some((at, fresh))
    }

    /// What is known of a kernel. `countdown` is the launches until one that is known well is
    /// timed; `name` finds the kernel's name, and is asked once.
    #[inline]
    pub fn kernel(
        &self,
        function: usize,
        countdown: &AtomicU32,
        name: impl FnOnce(usize) -> Option<String>,
    ) -> Known {
        match self.slot(function as u64) {
            Some((at, value)) => {
                let (class, seen) = (class_from(value >> 8 & 0xff), value & SEEN);
                if seen >= YOUNG {
                    return self.settled(class, countdown);
                }
                let sample = seen < FIRST || self.turn_of_the_young();
                let mut known = Known {
                    class,
                    sample,
                    settled: false,
                    stranger: false,
                    content: 0,
                };
                if sample || value & CLASS == NO_CLASS {
                    (known.class, known.stranger) =
                        self.first_launches(at, value, || name(function));
                }
                known.content = self.names[at].load(Ordering::Relaxed);
                known
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
        let Some((at, value)) = self.slot(handle) else {
            return self.settled(class, countdown);
        };
        let class = match value >> 8 & 0xff {
            0xff => class,
            code => class_from(code),
        };
        if value & SEEN >= FIRST {
            return self.settled(class, countdown);
        }
        self.words[at].store(
            value & HANDLE | (class as u64) << 8 | GRAPH | ((value & SEEN) + 1),
            Ordering::Relaxed,
        );
        Known {
            class,
            sample: true,
            settled: false,
            stranger: false,
            content: self.names[at].load(Ordering::Relaxed),
        }
    }

    /// The class of a kernel that is not launched now, and whether the function is another than the
    /// one that was known by this handle; `name` is asked if nobody has asked before.
    pub fn class_of(
        &self,
        function: usize,
        name: impl FnOnce(usize) -> Option<String>,
    ) -> (Class, bool) {
        let name = || name(function);
        match self.slot(function as u64) {
            Some((at, value)) if value & CLASS == NO_CLASS => {
                let (class, stranger) = self.find_class(at, name);
                self.words[at].store(value & !CLASS | (class as u64) << 8, Ordering::Relaxed);
                (class, stranger)
            }
            Some((_, value)) => (class_from(value >> 8 & 0xff), false),
            None => (
                name().map_or(Class::Other, |name| classify::by_name(&name)),
                false,
            ),
        }
    }

    /// The class by the kernel's name, and whether that is another name than the one before.
    fn find_class(&self, at: usize, name: impl FnOnce() -> Option<String>) -> (Class, bool) {
        let name = name();
        let hash = name.as_deref().map_or(0, hash);
        // Relaxed: two threads that ask at once find the same name.
        let before = self.names[at].swap(hash, Ordering::Relaxed);
        let class = name.map_or(Class::Other, |name| classify::by_name(&name));
        (class, hash == 0 || hash != before)
    }

    /// A word that is the same for the same kernel only: a handle with the name behind it. Launched
    /// before.
    pub fn identity(&self, function: usize) -> u64 {
        let name = self.find(function as u64).map_or(0, |(at, _)| {
            // Relaxed: written by the launch before, or before that by another thread's.
            self.names[at].load(Ordering::Relaxed)
        });
        function as u64 ^ u64::from(name).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// A word for the kernel: by its name, which [`Functions::class_of`] has asked for, or else by
    /// its handle.
    pub fn name_or_handle(&self, function: usize) -> u64 {
        let name = self.find(function as u64).map_or(0, |(at, _)| {
            // Relaxed: written by this thread just now, or by another's launch.
            self.names[at].load(Ordering::Relaxed)
        });
        match name {
            0 => function as u64,
            name => u64::from(name) << 17,
        }
    }

    /// An executable graph was made that mostly does work of this class. `content` is the same for
    /// graphs of the same kernels.
    pub fn graph_made(&self, executable: usize, class: Class, content: u32) {
        if let Some((at, value)) = self.slot(executable as u64) {
            self.names[at].store(content, Ordering::Relaxed);
            self.words[at].store(
                value & HANDLE | (class as u64) << 8 | GRAPH | value & SEEN,
                Ordering::Relaxed,
            );
        }
    }

    fn settled(&self, class: Class, countdown: &AtomicU32) -> Known {
        Known {
            class,
            sample: self.turn(countdown),
            settled: true,
            stranger: false,
            content: 0,
        }
    }

    /// Counts a launch; the class, and whether the function is another than the one that was known
    /// by this handle.
    #[cold]
    fn first_launches(
        &self,
        at: usize,
        value: u64,
        name: impl FnOnce() -> Option<String>,
    ) -> (Class, bool) {
        let (class, stranger) = match value >> 8 & 0xff {
            0xff => self.find_class(at, name),
            code => (class_from(code), false),
        };
        let seen = (value & SEEN) + 1;
        self.words[at].store(
            value & HANDLE | (class as u64) << 8 | seen,
            Ordering::Relaxed,
        );
        (class, stranger)
    }

    /// Whether it is some launch's turn to be timed: one in [`EVERY`] on average, at uneven
    /// distances so that a loop of launches does not always show the same one. Not counted exactly:
    /// threads may lose each other's steps.
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
        self.countdown_young.store(
            if turn { EVERY_YOUNG + 1 } else { left - 1 },
            Ordering::Relaxed,
        );
        turn
    }

    /// An executable graph was updated: it must be timed anew. An update keeps the kernels, and so
    /// the class.
    pub fn graph_changed(&self, executable: usize) {
        if let Some((at, value)) = self.find(executable as u64) {
            self.words[at].store(value & !SEEN, Ordering::Relaxed);
            self.names[at].store(0, Ordering::Relaxed);
        }
    }

    /// An executable graph ends: its slot is free.
    pub fn graph_ends(&self, executable: usize) {
        if let Some((at, _)) = self.find(executable as u64) {
            self.words[at].store(0, Ordering::Relaxed);
        }
    }

    /// A function's code is unloaded: its handle may be used again for another function.
    pub fn doubt(&self, function: usize) {
        if let Some((at, value)) = self.find(function as u64) {
            self.words[at].store(value & HANDLE | NO_CLASS, Ordering::Relaxed);
        }
    }

    /// The same for all functions, some of whose code is unloaded. Slots of functions that were not
    /// launched since the last time are freed.
    pub fn doubt_all(&self) {
        for word in &self.words {
            let value = word.load(Ordering::Relaxed);
            if value == 0 || value & GRAPH != 0 {
                continue;
            }
            let fresh = value & HANDLE | NO_CLASS;
            word.store(if value == fresh { 0 } else { fresh }, Ordering::Relaxed);
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
        let timed = (0..1_000 * EVERY)
            .filter(|_| functions.turn(&countdown))
            .count();
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
        functions.graph_made(graph, Class::Gemm, 7);
        assert!((0..2 * FIRST).all(|_| class() == Class::Gemm));
        functions.graph_changed(graph);
        assert_eq!(class(), Class::Gemm);
        functions.graph_made(graph, Class::Other, 7);
        assert_eq!(class(), Class::Other);
    }

    #[test]
    fn a_kernels_name_is_asked_once_and_does_not_count_as_a_launch() {
        let functions = Functions::default();
        let (kernel, countdown) = (0x7f00_4321_0000_usize, AtomicU32::new(EVERY));
        let name = |_| Some("flash_fwd_kernel".to_owned());
        assert_eq!(functions.class_of(kernel, name), (Class::Attention, true));
        let again = functions.class_of(kernel, |_| panic!("asked twice"));
        assert_eq!(again, (Class::Attention, false));
        let known = functions.kernel(kernel, &countdown, |_| panic!("asked twice"));
        assert_eq!(
            (known.class, known.sample, known.stranger),
            (Class::Attention, true, false)
        );
    }

    #[test]
    fn after_an_unload_only_a_kernel_of_the_same_name_is_the_same() {
        let functions = Functions::default();
        let countdown = AtomicU32::new(EVERY);
        let launch = |handle, name: Option<&str>| {
            let known = functions.kernel(handle, &countdown, |_| name.map(str::to_owned));
            (known.class, known.stranger)
        };
        let (one, other, unnamed) = (0x7f00_4321_0000, 0x7f00_4321_1000, 0x7f00_4321_2000);
        for _ in 0..2 * YOUNG {
            launch(one, Some("ncclDevKernel_AllReduce"));
            launch(other, Some("ncclDevKernel_AllReduce"));
            launch(unnamed, None);
        }
        let graph = 0x7f00_4321_3000;
        functions.graph_made(graph, Class::Gemm, 7);
        functions.doubt_all();
        assert_eq!(
            launch(one, Some("ncclDevKernel_AllReduce")),
            (Class::Collective, false)
        );
        assert_eq!(launch(other, Some("my_kernel")), (Class::Other, true));
        assert_eq!(launch(unnamed, None), (Class::Other, true));
        assert_eq!(functions.graph(graph, &countdown).class, Class::Gemm);
        functions.doubt(one);
        assert_eq!(launch(one, Some("flash_fwd")), (Class::Attention, true));
    }

    #[test]
    fn handles_that_come_and_go_do_not_fill_the_table() {
        let functions = Functions::default();
        let countdown = AtomicU32::new(EVERY);
        for graph in 1..200_000_usize {
            let known = functions.graph(graph << 6, &countdown);
            assert!(known.sample, "{graph}: no slot was free");
            functions.graph_ends(graph << 6);
        }
        for function in 1..200_000_usize {
            let known = functions.kernel(function << 6, &countdown, |_| None);
            assert!(
                known.sample && known.stranger,
                "{function}: no slot was free"
            );
            if function.is_multiple_of(1_000) {
                functions.doubt_all();
            }
        }
    }
}
