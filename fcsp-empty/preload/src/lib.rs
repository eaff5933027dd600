//! `libfcsp_empty.so`: the wrappers of `fcsp-empty` under their C names, and `dlsym`.

#![allow(non_snake_case)]

use empty::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
empty::for_each_empty_hook!(export);
