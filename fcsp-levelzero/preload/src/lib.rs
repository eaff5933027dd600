//! `libfcsp_levelzero.so`: the wrappers of `fcsp-levelzero` under their C names, the getters of
//! dispatch tables, and `dlsym`. Nothing else is exported, no vendor library is needed, and nothing
//! runs when the library is loaded.
//!
//! Preloaded, it stands between a program and the loader. Named in `ZE_ENABLE_ALT_DRIVERS`, it is a
//! driver to the loader, and stands between the loader and the real driver. See
//! `levelzero::loader`.

#![allow(non_snake_case)]

use levelzero::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
levelzero::for_each_hook!(export);
