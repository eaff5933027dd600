//! The list of wrapped functions, and what a preload library makes of it.
//!
//! A backend lists names once, in macros that hand them to another macro (`for_each_..._hook!`).
//! From that list come the real functions ([`crate::reals!`]), the table for lookups
//! ([`crate::hooks!`]) and the exports ([`crate::export!`]), so none can be forgotten in one of
//! them.

use core::ffi::{CStr, c_void};

/// One wrapped function.
#[derive(Debug)]
pub struct Hook {
    /// The exported name.
    pub name: &'static CStr,
    /// The wrapper.
    pub address: *mut c_void,
}

// SAFETY: a name and the address of a function, neither of which ever changes.
unsafe impl Sync for Hook {}

/// Returns a name that ends with its only zero byte, as a C string. For macros; evaluated at
/// compile time.
///
/// # Panics
///
/// If the name does not end so, which is then an error of compilation.
pub const fn c_name(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name with its one zero byte at the end"),
    }
}

/// `hooks` if sorted by name, each name once.
///
/// # Panics
///
/// If not, which is then an error of compilation.
pub const fn sorted(hooks: &'static [Hook]) -> &'static [Hook] {
    let mut at = 1;
    while at < hooks.len() {
        assert!(
            before(hooks[at - 1].name.to_bytes(), hooks[at].name.to_bytes()),
            "the names of hooks must be sorted, each once"
        );
        at += 1;
    }
    hooks
}

const fn before(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

/// Brings wrappers under one roof: `gather!(rooms: name, ...)` re-exports each from the module
/// `rooms`.
#[macro_export]
macro_rules! gather {
    ($rooms:ident: $($name:ident),* $(,)?) => { $( #[doc(inline)] pub use $rooms::$name; )* };
}

/// The table of wrapped functions, a `&'static [Hook]`: `hooks!(types: name, ...)`, with each
/// wrapper in scope under its name. A wrapper that has not exactly the type `types::name`, and
/// names that are not sorted, do not compile.
#[macro_export]
macro_rules! hooks {
    ($types:ident: $($name:ident),* $(,)?) => {
        $crate::table::sorted(&[$(
            $crate::table::Hook {
                name: $crate::table::c_name(concat!(stringify!($name), "\0")),
                address: {
                    // The wrapper has exactly the driver's signature, or this does not compile.
                    const WRAPPER: $types::$name = $name;
                    WRAPPER as *mut core::ffi::c_void
                },
            },
        )*])
    };
}

/// Gives each wrapper its C name, in a preload library: `export!(hooks: name, ...)`, where the
/// module `hooks` has the wrappers. One jump each, so that the wrapper itself stays private to the
/// library and is never found by accident in a program that links the backend.
#[macro_export]
macro_rules! export {
    ($hooks:ident: $($name:ident),* $(,)?) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("jmp {wrapper}", wrapper = sym $hooks::$name);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("b {wrapper}", wrapper = sym $hooks::$name);
        }
    )*};
}

/// Exports `dlsym` from a preload library: `export_dlsym!(path::to::LOOKUP)`, a static
/// [`crate::lookup::Lookup`].
///
/// What is not ours is answered by a jump, not a call: RTLD_NEXT and RTLD_DEFAULT depend on the
/// caller's address, which the real one reads from its frame.
#[macro_export]
macro_rules! export_dlsym {
    ($lookup:path) => {
        /// Target of `dlsym` for other names; 0 until the first call.
        static REAL_DLSYM: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

        /// Finds the next `dlsym` and asks the backend. Returns the answer, or null for "jump to
        /// the next one".
        unsafe extern "C" fn decide(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
            caller: usize,
        ) -> *mut core::ffi::c_void {
            // Relaxed: one word, the same whichever thread finds it.
            if REAL_DLSYM.load(core::sync::atomic::Ordering::Relaxed) == 0 {
                let real = $crate::lookup::next_dlsym();
                REAL_DLSYM.store(real as usize, core::sync::atomic::Ordering::Relaxed);
            }
            // SAFETY: the arguments of dlsym, as its caller gave them.
            unsafe { $lookup.decide(handle, name, caller) }
        }

        /// `dlsym`: what is not ours is answered by a jump to the real one, which reads its caller
        /// from the frame.
        #[cfg(target_arch = "x86_64")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn dlsym(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
        ) -> *mut core::ffi::c_void {
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

        /// `dlsym`, as on x86-64: the link register still holds the caller when the real one is
        /// jumped to.
        #[cfg(target_arch = "aarch64")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn dlsym(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
        ) -> *mut core::ffi::c_void {
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
    };
}

/// Exports `dlvsym` from a preload library whose driver's functions have symbol versions:
/// `export_dlvsym!(path::to::LOOKUP)`. As [`crate::export_dlsym!`]; the library itself is answered
/// like anybody else.
#[macro_export]
macro_rules! export_dlvsym {
    ($lookup:path) => {
        /// Target of `dlvsym` for other names; 0 until the first call.
        static REAL_DLVSYM: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

        /// Finds the C library's `dlvsym` and asks the backend. Returns the answer, or null for
        /// "jump to the real one".
        unsafe extern "C" fn decide_versioned(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
            version: *const core::ffi::c_char,
            caller: usize,
        ) -> *mut core::ffi::c_void {
            // Relaxed: one word, the same whichever thread finds it.
            if REAL_DLVSYM.load(core::sync::atomic::Ordering::Relaxed) == 0 {
                let real = $crate::lookup::dlvsym_or_nothing();
                REAL_DLVSYM.store(real as usize, core::sync::atomic::Ordering::Relaxed);
            }
            // SAFETY: the arguments of dlvsym, as its caller gave them.
            unsafe { $lookup.decide_versioned(handle, name, version, caller) }
        }

        /// `dlvsym`: what is not ours is answered by a jump to the real one, which reads its caller
        /// from the frame.
        #[cfg(target_arch = "x86_64")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn dlvsym(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
            version: *const core::ffi::c_char,
        ) -> *mut core::ffi::c_void {
            core::arch::naked_asm!(
                "mov rcx, [rsp]",
                "push rdi",
                "push rsi",
                "push rdx",
                "call {decide}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "test rax, rax",
                "jnz 2f",
                "jmp qword ptr [rip + {real}]",
                "2:",
                "ret",
                decide = sym decide_versioned,
                real = sym REAL_DLVSYM,
            )
        }

        /// `dlvsym`, as on x86-64: the link register still holds the caller when the real one is
        /// jumped to.
        #[cfg(target_arch = "aarch64")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn dlvsym(
            handle: *mut core::ffi::c_void,
            name: *const core::ffi::c_char,
            version: *const core::ffi::c_char,
        ) -> *mut core::ffi::c_void {
            core::arch::naked_asm!(
                "stp x0, x1, [sp, #-32]!",
                "stp x2, x30, [sp, #16]",
                "mov x3, x30",
                "bl {decide}",
                "cbnz x0, 2f",
                "ldp x2, x30, [sp, #16]",
                "ldp x0, x1, [sp], #32",
                "adrp x16, {real}",
                "ldr x16, [x16, :lo12:{real}]",
                "br x16",
                "2:",
                "ldr x30, [sp, #24]",
                "add sp, sp, #32",
                "ret",
                decide = sym decide_versioned,
                real = sym REAL_DLVSYM,
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_c_strings_are() {
        assert!(before(b"a", b"ab") && before(b"aB", b"ab") && before(b"ab", b"b"));
        assert!(!before(b"ab", b"ab") && !before(b"ab", b"a"));
        assert_eq!(c_name("name\0"), c"name");
    }

    #[test]
    #[should_panic(expected = "sorted")]
    fn a_name_out_of_order_is_noticed() {
        const fn hook(name: &'static CStr) -> Hook {
            Hook {
                name,
                address: core::ptr::null_mut(),
            }
        }
        static HOOKS: [Hook; 2] = [hook(c"b"), hook(c"a")];
        sorted(&HOOKS);
    }
}
