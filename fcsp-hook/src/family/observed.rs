//! Wrappers of functions that FCSP observes without a change to their result.

/// Defines wrappers under the vendor's names.
///
/// ```text
/// observed! {
///     Cuda, call_real;                                        the vendor's type; the macro that calls a real function
///     cuGraphDestroy(hGraph: CUgraph)                         signature, the same as the driver's function
///         before GRAPHS.graph_gone(hGraph as usize);
/// }
/// ```
///
/// `before` runs ahead of the call. `after` runs if the call succeeded, `always` whatever its
/// result. `around` is a function that is passed the call and makes it. A wrapper has one of them.
/// Pointers that the driver accepted may be read in `after`, in a block of its own with the reason.
#[macro_export]
macro_rules! observed {
    ($vendor:ty, $call:ident; $(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $type:ty),* $(,)?) $when:ident $work:expr;
    )*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        $(#[$doc])*
        pub unsafe extern "C" fn $name($($arg: $type),*) -> <$vendor as $crate::backend::Driver>::Status {
            $crate::setup::catch_panic(<$vendor as $crate::backend::Driver>::UNKNOWN, || {
                $crate::observed!(@ $when $vendor, $call!($name($($arg),*)), $work)
            })
        }
    )*};
    (@ before $vendor:ty, $call:expr, $work:expr) => {{
        $work;
        $call
    }};
    (@ after $vendor:ty, $call:expr, $work:expr) => {{
        let result = $call;
        if result == <$vendor as $crate::backend::Driver>::SUCCESS {
            $work;
        }
        result
    }};
    (@ always $vendor:ty, $call:expr, $work:expr) => {{
        let result = $call;
        $work;
        result
    }};
    (@ around $vendor:ty, $call:expr, $work:expr) => {
        ($work)(&|| $call)
    };
}
