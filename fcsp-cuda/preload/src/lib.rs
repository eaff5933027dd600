//! `libfcsp_cuda.so`: the wrappers of `fcsp-cuda` under their C names, and `dlsym`. Nothing else is
//! exported, no vendor library is needed, and nothing runs when the library is loaded.

#![allow(non_snake_case)]

use cuda::hooks;

macro_rules! export { ($($name:ident),* $(,)?) => { hook::export!(hooks: $($name),*); }; }

hook::export_dlsym!(hooks::HOOKS);
cuda::for_each_cuda_hook!(export);
cuda::for_each_nvml_hook!(export);
