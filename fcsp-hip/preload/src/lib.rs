//! `libfcsp_hip.so`: the wrappers of `fcsp-hip` under their C names, `dlsym` and `dlvsym`. Nothing
//! else is exported, no vendor library is needed, and nothing runs when the library is loaded.
//!
//! The names have no symbol versions, so each of them stands for every version that a program asks
//! for. The loader binds `hipMalloc@hip_4.2` to a library before the runtime's that defines
//! `hipMalloc` without a version. Look-ups by `dlvsym` do not follow that rule, so this library
//! answers them as well.

#![allow(non_snake_case)]

use hip::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
hook::export_dlvsym!(hooks::HOOKS);
hip::for_each_hip_hook!(export);
hip::for_each_hip_cpp_hook!(export);
hip::for_each_rocm_smi_hook!(export);
hip::for_each_amd_smi_hook!(export);
