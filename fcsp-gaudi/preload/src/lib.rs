//! `libfcsp_gaudi.so`: the wrappers of `fcsp-gaudi` under their C names, and `dlsym`. Nothing else
//! is exported, no vendor library is needed, and nothing runs when the library is loaded.

#![allow(non_snake_case)]

use gaudi::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
gaudi::for_each_synapse_hook!(export);
gaudi::for_each_hlml_hook!(export);
