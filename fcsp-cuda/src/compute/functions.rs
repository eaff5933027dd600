//! What is known of function handles and executable graphs: their class, how often they were timed, a graph's revision.
//! A fixed table of words, read and written without a lock.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fcsp_core::classify::{self, Class};

use crate::driver::real;
use crate::ffi::cuda::*;

const SLOTS: usize = 16_384;
const PROBES: usize = 16;
/// Launches of a new function that are timed before it is timed only now and then.
const FIRST: u64 = 6;
/// Timed launches after which a function is known well.
const YOUNG: u64 = 32;
/// Launches between two timed ones, on average, of functions that are known well, and of others.
const EVERY: u32 = 1_024;
const EVERY_YOUNG: u32 = 16;

/// `{handle: 48 bits, class: 8 bits, times seen or revision: 8 bits}`.
#[derive(Debug)]
pub struct Functions {
    words: Box<[AtomicU64]>,
    countdown: AtomicU32,
    countdown_young: AtomicU32,
    random: AtomicU32,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            words: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            countdown: AtomicU32::new(EVERY),
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

    /// The class of a kernel, and whether this launch should be timed.
    #[inline]
    pub fn kernel(&self, function: CUfunction) -> (Class, bool) {
        match self.slot(function as u64) {
            Some((word, value)) => {
                let (class, seen) = (value >> 8 & 0xff, value & 0xff);
                if seen >= YOUNG {
                    return (class_from(class), self.turn());
                }
                if seen >= FIRST && !self.turn_of_the_young() {
                    return (class_from(class), false);
                }
                self.first_launches(function, word, value)
            }
            None => (Class::Other, self.turn()),
        }
    }

    /// Whether this copy, known by `key`, should be timed. `key` must be odd, which no handle is.
    pub fn copy(&self, key: u64) -> bool {
        match self.slot(key) {
            Some((word, value)) if value & 0xff < FIRST => {
                word.store(
                    value & HANDLE | (Class::Copy as u64) << 8 | ((value & 0xff) + 1),
                    Ordering::Relaxed,
                );
                true
            }
            _ => self.turn(),
        }
    }

    #[cold]
    fn first_launches(&self, function: CUfunction, word: &AtomicU64, value: u64) -> (Class, bool) {
        let class = match value >> 8 & 0xff {
            0xff => name_of(function).map_or(Class::Other, |name| classify::by_name(&name)),
            code => class_from(code),
        };
        let seen = (value & 0xff) + 1;
        word.store(value & HANDLE | (class as u64) << 8 | seen, Ordering::Relaxed);
        (class, true)
    }

    /// Whether it is some launch's turn to be timed: one in [`EVERY`] on average, at uneven distances so that a loop
    /// of launches does not always show the same one. Not counted exactly: threads may lose each other's steps.
    #[inline]
    fn turn(&self) -> bool {
        let left = self.countdown.load(Ordering::Relaxed);
        if left > 1 {
            self.countdown.store(left - 1, Ordering::Relaxed);
            return false;
        }
        let mut x = self.random.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.store(x, Ordering::Relaxed);
        self.countdown.store(EVERY / 2 + x % EVERY, Ordering::Relaxed);
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

    /// A graph's revision, and whether this launch should be timed.
    pub fn graph(&self, executable: CUgraphExec) -> (u64, bool) {
        match self.slot(executable as u64) {
            Some((word, value)) if value >> 8 & 0xff == 0xff => {
                word.store(value & HANDLE, Ordering::Relaxed);
                (0, true)
            }
            // The class byte counts launches until the first few have been timed, the low byte is the revision.
            Some((word, value)) => {
                let seen = value >> 8 & 0xff;
                if seen < FIRST {
                    word.store(value & HANDLE | (seen + 1) << 8 | value & 0xff, Ordering::Relaxed);
                    return (value & 0xff, true);
                }
                (value & 0xff, self.turn())
            }
            None => (0, self.turn()),
        }
    }

    /// An executable graph was updated or destroyed: its cost must be learned anew.
    pub fn graph_changed(&self, executable: CUgraphExec) {
        if let Some((word, value)) = self.slot(executable as u64) {
            word.store(value & HANDLE | (value + 1) & 0xff, Ordering::Relaxed);
        }
    }

    /// Modules were unloaded: handles may be used again for other functions.
    pub fn forget(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// The name of a function or kernel handle, where the driver can say it (from 12.3).
fn name_of(function: CUfunction) -> Option<String> {
    let mut name: *const c_char = core::ptr::null();
    // SAFETY: writes one pointer that outlives the call. A handle may be a kernel's (a launch accepts both), for which
    // the second question is the right one; the driver refuses the wrong one.
    let result = unsafe {
        match real::cuFuncGetName.get()?(&mut name, function) {
            CUDA_SUCCESS => CUDA_SUCCESS,
            _ => real::cuKernelGetName.get()?(&mut name, function),
        }
    };
    if result != CUDA_SUCCESS || name.is_null() {
        return None;
    }
    // SAFETY: the driver gave a C string that lives as long as the function.
    Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_launch_in_so_many_is_timed() {
        let functions = Functions::default();
        let timed = (0..1_000 * EVERY).filter(|_| functions.turn()).count();
        assert!((800..1_250).contains(&timed), "{timed}");
    }

    #[test]
    fn graphs_are_timed_anew_after_an_update() {
        let functions = Functions::default();
        let graph = 0x7f00_1234_5600 as CUgraphExec;
        let first: Vec<(u64, bool)> = (0..6).map(|_| functions.graph(graph)).collect();
        assert_eq!(first, [(0, true); 6]);
        functions.graph_changed(graph);
        assert_eq!(functions.graph(graph), (1, true));
    }
}
