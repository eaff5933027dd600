//! The shape of a launch's wrapper: three functions of one signature, each of which ends in a jump
//! to the next or to the driver.
//!
//! A wrapper that has everything in one body keeps all arguments in memory, for the closure that
//! its last branch makes of them, and pays for that on the first branch, where nothing is asked:
//! some forty instructions, for arguments that lie where the driver wants them already. Apart, the
//! usual way is a compare and a jump, and the arguments are not touched.

/// What a launch takes.
pub trait Argument: Sized {
    /// The same, known to the compiler as a value of its own. Arguments that lie on the stack are
    /// otherwise copied in pairs by loads of 16 bytes; the caller has just stored them by 8, and a
    /// processor waits for both stores to leave before it can read such a pair (Agner Fog, "The
    /// microarchitecture of Intel, AMD and VIA CPUs", store forwarding): a few nanoseconds a
    /// launch.
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
///     cuGraphLaunch(hGraph: CUgraphExec, hStream: CUstream) -> CUresult,   the signature that the driver's function has, too
///     real::cuGraphLaunch,                                               where that function is
///     straight straight::<Cuda>(),                                       whether there is nothing to ask
///     admitted admits_graph::<Cuda>(..),                                 whether it may go at once, charged
///     asking launch::graph::<Cuda>(.., || call_real!(..))                everything else
/// }
/// ```
///
/// A driver that calls its own public functions while it serves a launch, or whose layers are all
/// wrapped, has two more words: `within` says whether the call is such a one, and goes on at once;
/// `mark` makes what is held while the driver has an admitted one.
///
/// Stages may read arguments; none may change them. The last one must reach the driver by itself.
#[macro_export]
macro_rules! staged {
    (
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty,
        $real:path,
        straight $straight:expr,
        admitted $admitted:expr,
        asking $asking:expr
    ) => {
        $crate::staged! { @stages
            [$(#[$doc])*] $name($($arg: $ty),*) -> $result, $real, $straight,
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
        straight $straight:expr,
        within $within:expr,
        admitted $admitted:expr,
        mark $mark:expr,
        asking $asking:expr
    ) => {
        $crate::staged! { @stages
            [$(#[$doc])*] $name($($arg: $ty),*) -> $result, $real, $straight,
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
        [$(#[$doc:meta])*] $name:ident($($arg:ident: $ty:ty),*) -> $result:ty, $real:path, $straight:expr,
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
                Some(real) if $straight => real,
                _ => charged,
            };
            // SAFETY: as above.
            unsafe { next($($arg),*) }
        }
    };
}
