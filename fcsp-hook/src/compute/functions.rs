//! Table of function handles and executable graphs: their classes, and how often they were timed.
//! It is a fixed table of words, read and written without a lock.
//!
//! A handle may belong to another function after its code was unloaded. Its record is then in
//! doubt. At its next launch the kernel's name is queried again, and only a kernel of the same name
//! keeps the learned cost.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fcsp_core::classifier::{Class, Launch, StreamClassifier};

const SLOTS: usize = 16_384;
const PROBES: usize = 16;
/// Launches of a new function that are timed before it is timed only at intervals.
const FIRST: u64 = 6;
/// Timed launches after which a cost has converged.
const YOUNG: u64 = 32;
/// Launches between two timed ones, on average, of functions whose cost has converged.
const EVERY: u32 = 1_024;
/// The same for other functions, which are warming up.
const EVERY_YOUNG: u32 = 16;

/// Properties of a launch's function, graph or copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchInfo {
    /// Class of the work.
    pub class: Class,
    /// True if this launch should be timed.
    pub sample: bool,
    /// True if enough launches were timed for the cost to have converged.
    pub settled: bool,
    /// True if the learned cost under this handle belongs to another function.
    pub stranger: bool,
    /// Hash of the kernel's name or of the graph's contents; 0 if unknown or not queried.
    pub content: u32,
}

/// Table of the handles of one device in one process. All methods may be called from any thread.
#[derive(Debug)]
pub struct Functions<C: StreamClassifier> {
    /// Finds the class of a kernel by its name.
    classifier: C,
    /// `{handle: 48 bits, class: 8 bits, graph: 1 bit, times seen: 7 bits}`; 0 is a vacant slot.
    words: Box<[AtomicU64]>,
    /// Hash of the kernel's name when its class was found, or of the graph's contents, by slot; 0
    /// for none.
    names: Box<[AtomicU32]>,
    countdown_young: AtomicU32,
    random: AtomicU32,
}

impl<C: StreamClassifier + Default> Default for Functions<C> {
    fn default() -> Self {
        Self {
            classifier: C::default(),
            words: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            names: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            countdown_young: AtomicU32::new(EVERY_YOUNG),
            random: AtomicU32::new(0x9e37_79b9),
        }
    }
}

const HANDLE: u64 = !0 << 16;
/// Value of the class bits for an unknown class.
const NO_CLASS: u64 = 0xff << 8;
const CLASS: u64 = 0xff << 8;
/// An executable graph, a recorded list or a kind of copy. It is not code, so it stays when code is
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

/// Computes the hash of a name, never 0.
fn hash(name: &str) -> u32 {
    // FNV-1a, 32 bits.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

impl<C: StreamClassifier> Functions<C> {
    /// Returns the class of a kernel of this name.
    fn class_by(&self, name: Option<&str>) -> Class {
        self.classifier
            .classify(&Launch::of(name.unwrap_or_default()))
    }

    fn probes(handle: u64) -> impl Iterator<Item = usize> {
        let start = (handle >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        (0..PROBES).map(move |probe| (start as usize + probe) & (SLOTS - 1))
    }

    /// Finds the slot of a handle: its index and word.
    fn find(&self, handle: u64) -> Option<(usize, u64)> {
        // User addresses have 47 bits; the sixteen lowest bits of the word are used here.
        let tag = handle << 16;
        Self::probes(handle).find_map(|at| {
            let value = self.words[at].load(Ordering::Relaxed);
            (value != 0 && value & HANDLE == tag).then_some((at, value))
        })
    }

    /// Finds the slot of a handle, or claims a vacant one.
    #[inline]
    fn slot(&self, handle: u64) -> Option<(usize, u64)> {
        self.find(handle).or_else(|| self.claim(handle))
    }

    #[cold]
    fn claim(&self, handle: u64) -> Option<(usize, u64)> {
        let fresh = handle << 16 | NO_CLASS;
        // Relaxed throughout: a word is complete in itself. If two threads each claim a slot for
        // one handle, the first in the order of probes is used.
        let at = Self::probes(handle).find(|&at| {
            self.words[at]
                .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })?;
        self.names[at].store(0, Ordering::Relaxed);
        Some((at, fresh))
    }

    /// Returns the properties of a kernel. `countdown` is the launches until a converged one is
    /// timed. `name` finds the kernel's name, and is called once.
    #[inline]
    pub fn kernel(
        &self,
        function: usize,
        countdown: &AtomicU32,
        name: impl FnOnce(usize) -> Option<String>,
    ) -> LaunchInfo {
        match self.slot(function as u64) {
            Some((at, value)) => {
                let (class, seen) = (class_from(value >> 8 & 0xff), value & SEEN);
                if seen >= YOUNG {
                    return self.settled(class, countdown);
                }
                let sample = seen < FIRST || self.turn_of_the_young();
                let mut known = LaunchInfo {
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
            None => LaunchInfo {
                settled: false,
                ..self.settled(Class::Other, countdown)
            },
        }
    }

    /// Returns the properties of a kind of copy. `key` must be odd, which no handle is.
    pub fn copy(&self, key: u64, countdown: &AtomicU32) -> LaunchInfo {
        self.few_samples(key, Class::Copy, countdown)
    }

    /// Returns the properties of an executable graph.
    pub fn graph(&self, executable: usize, countdown: &AtomicU32) -> LaunchInfo {
        self.few_samples(executable as u64, Class::Other, countdown)
    }

    /// Returns the properties of work that always does the same, for which a few samples suffice.
    /// It has `class` unless another is known.
    fn few_samples(&self, handle: u64, class: Class, countdown: &AtomicU32) -> LaunchInfo {
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
        LaunchInfo {
            class,
            sample: true,
            settled: false,
            stranger: false,
            content: self.names[at].load(Ordering::Relaxed),
        }
    }

    /// Returns the class of a kernel that is not launched now. Returns true as well if the function
    /// differs from the known one of this handle. `name` is called if it was not called before.
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
            None => (self.class_by(name().as_deref()), false),
        }
    }

    /// Finds the class by the kernel's name. Returns true as well if the name differs from the
    /// previous one.
    fn find_class(&self, at: usize, name: impl FnOnce() -> Option<String>) -> (Class, bool) {
        let name = name();
        let hash = name.as_deref().map_or(0, hash);
        // Relaxed: two threads that query at once find the same name.
        let before = self.names[at].swap(hash, Ordering::Relaxed);
        let class = self.class_by(name.as_deref());
        (class, hash == 0 || hash != before)
    }

    /// Returns a word that only the same kernel has: a handle with a hash of its name. It must have
    /// been launched before.
    pub fn identity(&self, function: usize) -> u64 {
        let name = self.find(function as u64).map_or(0, |(at, _)| {
            // Relaxed: written by the previous launch, or before that by another thread's.
            self.names[at].load(Ordering::Relaxed)
        });
        function as u64 ^ u64::from(name).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Returns a word for the kernel: by its name, which [`Functions::class_of`] has queried, or
    /// else by its handle.
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

    /// Records an executable graph that mostly does work of this class. `content` is the same for
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

    fn settled(&self, class: Class, countdown: &AtomicU32) -> LaunchInfo {
        LaunchInfo {
            class,
            sample: self.turn(countdown),
            settled: true,
            stranger: false,
            content: 0,
        }
    }

    /// Counts a launch. Returns the class, and true if the function differs from the known one of
    /// this handle.
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

    /// Returns true if a launch must be timed: one in [`EVERY`] on average, at uneven distances, so
    /// that a loop of launches does not always show the same one. The count is not exact: threads
    /// may lose each other's steps.
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

    /// Returns true if a launch of a function that is warming up must be timed.
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

    /// Records an update of an executable graph: it must be timed again. An update keeps the
    /// kernels, and so the class.
    pub fn graph_changed(&self, executable: usize) {
        if let Some((at, value)) = self.find(executable as u64) {
            self.words[at].store(value & !SEEN, Ordering::Relaxed);
            self.names[at].store(0, Ordering::Relaxed);
        }
    }

    /// Vacates the slot of an executable graph that ends.
    pub fn graph_ends(&self, executable: usize) {
        if let Some((at, _)) = self.find(executable as u64) {
            self.words[at].store(0, Ordering::Relaxed);
        }
    }

    /// Marks a function in doubt, since its code is unloaded: its handle may be used for another
    /// function.
    pub fn doubt(&self, function: usize) {
        if let Some((at, value)) = self.find(function as u64) {
            self.words[at].store(value & HANDLE | NO_CLASS, Ordering::Relaxed);
        }
    }

    /// Marks all functions in doubt, since code of some is unloaded. Slots of functions that were
    /// not launched since the last time are vacated.
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
    use fcsp_core::classifier::ByName;

    use super::*;

    #[test]
    fn about_one_launch_in_so_many_is_timed() {
        let functions = Functions::<ByName>::default();
        let countdown = AtomicU32::new(EVERY);
        let timed = (0..1_000 * EVERY)
            .filter(|_| functions.turn(&countdown))
            .count();
        assert!((800..1_250).contains(&timed), "{timed}");
    }

    #[test]
    fn graphs_are_timed_anew_after_an_update() {
        let functions = Functions::<ByName>::default();
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
        let functions = Functions::<ByName>::default();
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
        let functions = Functions::<ByName>::default();
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
        let functions = Functions::<ByName>::default();
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
        let functions = Functions::<ByName>::default();
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
