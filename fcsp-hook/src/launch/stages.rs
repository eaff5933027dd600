//! Structure of a launch's wrapper: three functions of one signature. Each ends in a jump to the
//! next, or to the driver.
//!
//! With everything in one body, a wrapper keeps all arguments in memory for the closure in its last
//! branch. It then pays for that on the first branch, which asks nothing. The price is some forty
//! instructions, although the arguments are already in place for the driver. With separate
//! functions the usual path is a compare and a jump, and leaves the arguments untouched.

/// An argument of a launch.
pub trait Argument: Sized {
    /// Returns the same value, which the compiler then treats as a new one.
    ///
    /// The compiler otherwise copies stack arguments in pairs, by loads of 16 bytes. The caller has
    /// just stored them by 8 bytes, and a processor waits for both stores before it can read the
    /// pair. That costs a few nanoseconds a launch (store forwarding: Agner Fog, "The
    /// microarchitecture of Intel, AMD and VIA CPUs").
    #[inline(always)]
    #[must_use]
    fn apart(self) -> Self {
        self
    }
}

macro_rules! apart {
    ($([$($of:tt)*] $ty:ty,)*) => {$(
        impl<$($of)*> Argument for $ty {
            #[cfg(not(miri))]
            #[inline(always)]
            #[allow(asm_sub_register, clippy::pointers_in_nomem_asm_block, reason = "it is only named, in a comment")]
            fn apart(mut self) -> Self {
                // SAFETY: no instruction, and nothing changes.
                unsafe {
                    core::arch::asm!("/* {0} */", inout(reg) self, options(pure, nomem, nostack, preserves_flags));
                }
                self
            }
        }
    )*};
}
apart! { [] u32, [] i32, [] u64, [] usize, [T] *const T, [T] *mut T, }

/// Defines the wrapper of a launch.
///
/// ```text
/// staged! {
///     /// Documentation.
///     cuGraphLaunch(hGraph: CUgraphExec, hStream: CUstream) -> CUresult,   signature, the same as the driver's function
///     real::cuGraphLaunch,                                               the driver's function
///     bypass is_unthrottled::<Cuda>(),                                       true if the launch needs no permission
///     admitted admits_graph::<Cuda>(..),                                 true if it is charged and admitted at once
///     asking launch::graph::<Cuda>(.., || call_real!(..))                all other cases
/// }
/// ```
///
/// Two more words serve a driver that calls its own public functions while it serves a launch, or
/// whose layers are all wrapped. `within` tells whether the call is an inner one, which proceeds at
/// once. `mark` makes the guard that is held while the driver serves an admitted call.
///
/// Stages may read arguments; none may change them. The last one must reach the driver by itself.
#[macro_export]
macro_rules! staged {
    (
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty,
        $real:path,
        bypass $bypass:expr,
        admitted $admitted:expr,
        asking $asking:expr
    ) => {
        $crate::staged! { @stages
            [$(#[$doc])*] $name($($arg: $ty),*) -> $result, $real, $bypass,
            |real, last| match real {
                Some(real) if $admitted => real,
                _ => last,
            },
            $asking
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty,
        $real:path,
        bypass $bypass:expr,
        within $within:expr,
        admitted $admitted:expr,
        mark $mark:expr,
        asking $asking:expr
    ) => {
        $crate::staged! { @stages
            [$(#[$doc])*] $name($($arg: $ty),*) -> $result, $real, $bypass,
            |real, last| {
                #[inline(never)]
                #[allow(clippy::too_many_arguments, reason = "as many as the driver's function has")]
                unsafe extern "C" fn marked($($arg: $ty),*) -> $result {
                    let _mark = $mark;
                    $(let $arg = $crate::launch::Argument::apart($arg);)*
                    match $real.found() {
                        // SAFETY: the caller of the wrapper vouches for the arguments, as it would
                        // to the driver.
                        Some(real) => unsafe { real($($arg),*) },
                        // SAFETY: as above.
                        None => unsafe { asked($($arg),*) },
                    }
                }

                match real {
                    Some(real) if $within => real,
                    Some(_) if $admitted => marked,
                    _ => last,
                }
            },
            $asking
        }
    };
    (@stages
        [$(#[$doc:meta])*] $name:ident($($arg:ident: $ty:ty),*) -> $result:ty, $real:path, $bypass:expr,
        |$found:ident, $last:ident| $next:expr, $asking:expr
    ) => {
        $(#[$doc])*
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> $result {
            #[inline(never)]
            #[allow(clippy::too_many_arguments, reason = "as many as the driver's function has")]
            unsafe extern "C" fn charged($($arg: $ty),*) -> $result {
                let ($found, $last) = ($real.found(), asked as unsafe extern "C" fn($($ty),*) -> $result);
                let next = $next;
                // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
                // driver.
                unsafe { next($($arg),*) }
            }

            #[inline(never)]
            #[allow(clippy::too_many_arguments, reason = "as many as the driver's function has")]
            unsafe extern "C" fn asked($($arg: $ty),*) -> $result {
                $asking
            }

            // One call in the end, and not one a branch: the compiler makes a jump of it.
            let next = match $real.found() {
                Some(real) if $bypass => real,
                _ => charged,
            };
            // SAFETY: as above.
            unsafe { next($($arg),*) }
        }
    };
}
