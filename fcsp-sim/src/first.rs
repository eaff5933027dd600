//! A value that its first reader computes, without a lock.
//!
//! A once-cell makes others wait while it is filled. A child that is forked meanwhile waits for a
//! thread that it does not have, for ever. Here two threads may compute the value at once. The
//! first thread's value stays.

use std::sync::atomic::{AtomicPtr, Ordering};

/// The value. It lives until the process ends.
#[derive(Debug)]
pub struct First<T: Send + Sync + 'static>(AtomicPtr<T>);

impl<T: Send + Sync + 'static> First<T> {
    /// Makes a value that is not computed yet.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Returns the value, if it is there.
    pub fn get(&self) -> Option<&'static T> {
        // Acquire: pairs with the release below; who sees the pointer sees what it points to.
        // SAFETY: null, or a leaked value that is never changed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Returns the value, and computes it if it is not there.
    pub fn get_or(&self, make: impl FnOnce() -> T) -> &'static T {
        if let Some(value) = self.get() {
            return value;
        }
        let mine = Box::into_raw(Box::new(make()));
        let null = std::ptr::null_mut();
        // Release: publishes the value. Acquire on failure: as in `get`.
        match self
            .0
            .compare_exchange(null, mine, Ordering::Release, Ordering::Acquire)
        {
            // SAFETY: leaked above, and never changed.
            Ok(_) => unsafe { &*mine },
            Err(first) => {
                // SAFETY: made above and given to nobody.
                drop(unsafe { Box::from_raw(mine) });
                // SAFETY: another thread's leaked value.
                unsafe { &*first }
            }
        }
    }
}

impl<T: Send + Sync + 'static> Default for First<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_have_the_same_value() {
        static VALUE: First<usize> = First::new();
        assert_eq!(VALUE.get(), None);
        let seen: Vec<usize> = std::thread::scope(|s| {
            let all: Vec<_> = (0..8)
                .map(|n| s.spawn(move || *VALUE.get_or(|| n)))
                .collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|v| Some(v) == VALUE.get()), "{seen:?}");
    }
}
