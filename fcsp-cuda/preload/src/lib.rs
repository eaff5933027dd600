//! `libfcsp_cuda.so`: the wrappers of `fcsp-cuda` under their C names, and `dlsym`. Nothing else is exported, no vendor
//! library is needed, and nothing runs when the library is loaded.

#![allow(non_snake_case)]

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where `dlsym` jumps when the answer is not ours; 0 until the first call.
static REAL_DLSYM: AtomicUsize = AtomicUsize::new(0);

/// Finds the C library's `dlsym` and asks the backend. Returns the answer, or null for "jump to the real one".
unsafe extern "C" fn decide(handle: *mut c_void, name: *const c_char, caller: usize) -> *mut c_void {
    if REAL_DLSYM.load(Ordering::Relaxed) == 0 {
        match hooks::driver::real_dlsym() {
            Some(real) => REAL_DLSYM.store(real as usize, Ordering::Relaxed),
            // No C library that we know: answer "not found" rather than jump nowhere.
            None => REAL_DLSYM.store(nothing as *const () as usize, Ordering::Relaxed),
        }
    }
    // SAFETY: the arguments of dlsym, as its caller gave them.
    unsafe { hooks::loader::decide_dlsym(handle, name, caller) }
}

unsafe extern "C" fn nothing(_handle: *mut c_void, _name: *const c_char) -> *mut c_void {
    core::ptr::null_mut()
}

/// `dlsym`. What is not ours is answered by a jump, not a call: RTLD_NEXT and RTLD_DEFAULT depend on the caller's
/// address, which the real one reads from its frame.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    core::arch::naked_asm!(
        "mov rdx, [rsp]",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {decide}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "jnz 2f",
        "jmp qword ptr [rip + {real}]",
        "2:",
        "ret",
        decide = sym decide,
        real = sym REAL_DLSYM,
    )
}

/// `dlsym`, as on x86-64: the link register still holds the caller when the real one is jumped to.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    core::arch::naked_asm!(
        "stp x0, x1, [sp, #-32]!",
        "str x30, [sp, #16]",
        "mov x2, x30",
        "bl {decide}",
        "cbnz x0, 2f",
        "ldr x30, [sp, #16]",
        "ldp x0, x1, [sp], #32",
        "adrp x16, {real}",
        "ldr x16, [x16, :lo12:{real}]",
        "br x16",
        "2:",
        "ldr x30, [sp, #16]",
        "add sp, sp, #32",
        "ret",
        decide = sym decide,
        real = sym REAL_DLSYM,
    )
}

/// Gives each wrapper its C name: one jump, so that the wrapper itself stays private to this library and is never
/// found by accident in a program that links the backend.
macro_rules! export {
    ($($name:ident),* $(,)?) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("jmp {wrapper}", wrapper = sym hooks::hooks::$name);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("b {wrapper}", wrapper = sym hooks::hooks::$name);
        }
    )*};
}
hooks::for_each_cuda_hook!(export);
hooks::for_each_nvml_hook!(export);
