//! The thread's last error. A refusal of ours never reaches the runtime, so the runtime does not
//! know of it; programs that ask for the last error afterwards are to find the refusal there.

use core::cell::Cell;

use crate::call_real;
use crate::ffi::hip::*;
use crate::vendor::catch_panic;

thread_local! {
    /// The last refusal that nobody has asked for yet.
    static REFUSED: Cell<hipError_t> = const { Cell::new(hipSuccess) };
}

/// Notes a refusal of this thread's, and gives it as the answer.
#[cold]
pub fn refuse() -> hipError_t {
    let _ = REFUSED.try_with(|last| last.set(hipErrorOutOfMemory));
    hipErrorOutOfMemory
}

/// Notes a refusal of the neutral part in a wrapper's answer. If the runtime itself refused, it has
/// noted the same.
#[inline]
pub fn answered(result: hipError_t) -> hipError_t {
    if result == hipErrorOutOfMemory {
        return refuse();
    }
    result
}

/// Asks the runtime something on our own behalf: the thread's last error is afterwards what it was.
pub fn unnoticed(ask: impl FnOnce() -> hipError_t) -> hipError_t {
    let before = call_real!(hipPeekAtLastError());
    let code = ask();
    if code != hipSuccess {
        call_real!(hipGetLastError());
        if before != hipSuccess {
            let _ = REFUSED.try_with(|last| last.set(before));
        }
    }
    code
}

fn last(forget: bool) -> hipError_t {
    let noted = |last: &Cell<hipError_t>| {
        if forget {
            last.replace(hipSuccess)
        } else {
            last.get()
        }
    };
    REFUSED.try_with(noted).unwrap_or(hipSuccess)
}

macro_rules! last_error {
    ($($name:ident: $forget:literal;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe extern "C" fn $name() -> hipError_t {
            catch_panic(hipErrorUnknown, || {
                let result = call_real!($name());
                let refused = last($forget);
                if result == hipSuccess { refused } else { result }
            })
        }
    )*};
}
last_error! {
    hipGetLastError: true;
    hipExtGetLastError: true;
    hipPeekAtLastError: false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_kept_until_it_is_taken() {
        assert_eq!(last(false), hipSuccess);
        assert_eq!(answered(hipErrorInvalidValue), hipErrorInvalidValue);
        assert_eq!(last(false), hipSuccess);
        assert_eq!(answered(hipErrorOutOfMemory), hipErrorOutOfMemory);
        assert_eq!(last(false), hipErrorOutOfMemory);
        assert_eq!(last(true), hipErrorOutOfMemory);
        assert_eq!(last(true), hipSuccess);
    }
}
