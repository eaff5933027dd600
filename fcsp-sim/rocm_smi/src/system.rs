//! Initialisation, versions, error texts.

use crate::abi::{INVALID_ARGS, Out, TEXTS, put_text};
use crate::api;
use std::ffi::c_char;

/// `rsmi_version_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    build: *const c_char,
}

api! {
    fn rsmi_init(_flags: u64) {
        crate::state::init()
    }
    fn rsmi_shut_down() {
        crate::state::shutdown()
    }
    fn rsmi_version_get(version: Out<Version>) {
        version.put(Version { major: 7, minor: 5, patch: 0, build: c"fcsp-sim".as_ptr() })
    }
    fn rsmi_version_str_get(_component: u32, text: Out<u8>, len: u32) {
        put_text(text, len as usize, "6.10.5-fcsp-sim")
    }
    fn rsmi_status_string(status: i32, text: Out<*const c_char>) {
        let (_, words) = TEXTS.iter().find(|(n, _)| *n == status).ok_or(INVALID_ARGS)?;
        text.put(words.as_ptr())
    }
}
