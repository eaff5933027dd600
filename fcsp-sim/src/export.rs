//! The export of a vendor's functions: faults on demand around the body, and a log.

use crate::faults::around;

/// Writes a line to stderr if `FCSP_SIM_LOG` is set.
pub fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

/// Runs the body of an exported function, with the requested faults before and after it. Success
/// is 0.
pub fn call(name: &'static str, body: impl FnOnce() -> Result<(), i32>) -> i32 {
    around(name, || body().err().unwrap_or(0))
}

/// Exports C functions, several names for one body where versions agree. The first two brackets
/// name the function that runs a body and the type that a body returns. Each body is a closure that
/// may use `?`.
#[macro_export]
macro_rules! exported_functions {
    ($call:tt $reply:tt $(
        $(#[$m:meta])* fn $($name:ident),+ ($($a:ident : $t:ty),* $(,)?) $body:block
    )*) => { $(
        $crate::exported_functions!(
            @one $call $reply [$($name),+] [$(#[$m])*] ($($a: $t),*) $body
        );
    )* };
    (@one $call:tt $reply:tt [$name:ident] $m:tt $args:tt $body:block) => {
        $crate::exported_functions!(@fn $call $reply $name $m $args $body);
    };
    (@one $call:tt $reply:tt [$name:ident, $($more:ident),+] $m:tt $args:tt $body:block) => {
        $crate::exported_functions!(@fn $call $reply $name $m $args $body);
        $crate::exported_functions!(@one $call $reply [$($more),+] $m $args $body);
    };
    (
        @fn [$($call:tt)*] [$($reply:tt)*] $name:ident [$($m:tt)*]
        ($($a:ident : $t:ty),*) $body:block
    ) => {
        $($m)*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            $($call)*(stringify!($name), || -> $($reply)* { $body })
        }
    };
}
