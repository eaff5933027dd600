//! `libfcsp_ascend.so`: the wrappers of `fcsp-ascend` under their C names, and `dlsym`. Nothing
//! else is exported, no vendor library is needed, and nothing runs when the library is loaded.

#![allow(non_snake_case)]

use ascend::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
ascend::for_each_acl_hook!(export);
ascend::for_each_rt_hook!(export);
ascend::for_each_hccl_hook!(export);
ascend::for_each_dcmi_hook!(export);
