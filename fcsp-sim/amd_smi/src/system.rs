//! Initialisation, versions, error texts.

use crate::abi::{INVALID_ARGS, Out, TEXTS};
use crate::api;
use std::ffi::c_char;

/// `amdsmi_version_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Version {
    major: u32,
    minor: u32,
    release: u32,
    build: *const c_char,
}

api! {
    fn amdsmi_init(_flags: u64) {
        crate::state::init()
    }
    fn amdsmi_shut_down() {
        crate::state::shutdown()
    }
    fn amdsmi_get_lib_version(version: Out<Version>) {
        version.put(Version { major: 26, minor: 0, release: 2, build: c"fcsp-sim".as_ptr() })
    }
    fn amdsmi_status_code_to_string(status: i32, text: Out<*const c_char>) {
        let (_, words) = TEXTS.iter().find(|(n, _)| *n == status).ok_or(INVALID_ARGS)?;
        text.put(words.as_ptr())
    }
}
