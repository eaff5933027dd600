//! The simulated accelerator as `libascendcl.so`: ACL as its headers declare it, over
//! `libruntime.so`.
//!
//! As in the published sources of CANN a call of this library is one call or a few of the runtime
//! under it, by the dynamic linker and so open to whoever interposes there. There is no state here
//! but ACL's own: data sets, models, attributes.
//!
//! Every function of the headers is exported. What is modelled is in the modules below, one for
//! each part of the API; the rest answers "API not supported" from functions that the build script
//! writes. The modules: [`rt`] the calls of the runtime; then the API, part by part.

mod copy;
mod data;
mod device;
mod init;
mod memory;
mod model;
mod module;
mod operator;
mod recorded;
mod rt;
mod stream;

/// `ACL_ERROR_INVALID_PARAM`.
const INVALID_PARAM: i32 = 100_000;
/// `ACL_ERROR_API_NOT_SUPPORT`.
const API_NOT_SUPPORT: i32 = 200_001;

/// What an exported function that is not modelled does.
fn unmodelled(name: &str) -> i32 {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {name} is not modelled");
    }
    API_NOT_SUPPORT
}

/// Code that the build script made from the list of names.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}

/// Exports functions that hand their arguments to a function of the runtime.
macro_rules! forward {
    ($(fn $name:ident($($a:ident : $t:ty),* $(,)?) = $rt:ident($($e:expr),* $(,)?);)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            // SAFETY: the runtime checks its arguments, which are this function's caller's.
            unsafe { crate::rt::$rt($($e),*) }
        }
    )*};
}
use forward;
