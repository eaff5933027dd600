//! The real functions.

use fcsp_hook::library::Library;

/// The driver.
pub static EMPTY: Library = Library::new(&[c"libempty.so.1"]);

/// The real functions under their own names.
#[allow(non_upper_case_globals)]
pub mod real {
    use super::EMPTY;
    use crate::ffi;

    macro_rules! reals { ($($name:ident),* $(,)?) => { fcsp_hook::reals!(ffi, EMPTY: $($name),*); }; }
    crate::for_each_empty_hook!(reals);
    // Asked by the wrappers, not wrapped themselves.
    reals!(emptyDeviceCount, emptyDeviceUuid, emptyGetDevice);
}

/// Calls a real function, or answers that the driver lacks it.
#[macro_export]
macro_rules! call_real {
    ($name:ident($($arg:expr),* $(,)?)) => {
        fcsp_hook::call!($crate::driver::real::$name, else $crate::ffi::EMPTY_NOT_FOUND; $($arg),*)
    };
}
