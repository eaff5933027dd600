//! Stack frames: whether a function that stored something about itself for this thread is still
//! running.
//!
//! A program can leave driver calls by a jump: a handler for Ctrl-C that calls `siglongjmp` (R,
//! Julia, Sage, PostgreSQL). The wrappers' frames are then gone without having run to their end. An
//! address alone does not show it: a later call may come from deeper on the same stack, and a
//! coroutine has a stack of its own. The unwinder shows it, in a few microseconds.

use core::ffi::{c_int, c_void};
use core::ops::ControlFlow;

// The unwinder's interface, "Itanium C++ ABI: Exception Handling", level I, and libgcc's additions
// to it. Rust's own panics go through the same library.
unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
    fn _Unwind_GetRegionStart(context: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(code: *mut c_void) -> *mut c_void;
}

/// Answers of a visitor: continue, or stop (any other value).
const GO_ON: c_int = 0;
const STOP: c_int = 4;

/// Returns the stack pointer of the function into which this is inlined.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let at: usize;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let here = 0u8;
        at = (&raw const here).addr();
    }
    at
}

/// Returns an address in the code of the function into which this is inlined.
#[inline(always)]
pub fn code_address() -> usize {
    let at: usize;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("lea {}, [rip]", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("adr {}, .", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        at = 0;
    }
    at
}

/// Returns true if the calling function runs beneath the function whose stack pointer was `stack`
/// when it executed `code`.
///
/// Returns false also if the walk ends before it gets there: on another stack, or at code without
/// tables for unwinding.
#[cold]
#[inline(never)]
pub fn runs_beneath(stack: usize, code: usize) -> bool {
    // SAFETY: any address may be asked about.
    let function =
        unsafe { _Unwind_FindEnclosingFunction(core::ptr::with_exposed_provenance_mut(code)) };
    if function.is_null() {
        return false;
    }
    let mut beneath = false;
    // The frame before the present one: its begin, and its function.
    let mut before = None;
    walk(|begins, region| {
        if let Some((at, function_of)) = before.replace((begins, region))
            && stack < begins
        {
            beneath = at <= stack && function_of == function.addr();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    beneath
}

/// Visits the frames of the calling thread from the innermost one: its stack pointer, and where its
/// function begins.
fn walk<V: FnMut(usize, usize) -> ControlFlow<()>>(mut visitor: V) {
    unsafe extern "C" fn visit<V: FnMut(usize, usize) -> ControlFlow<()>>(
        context: *mut c_void,
        visitor: *mut c_void,
    ) -> c_int {
        // SAFETY: the unwinder passes its own context, and what `walk` gave it, which outlives the
        // walk.
        let (stack, region, visitor) = unsafe {
            (
                _Unwind_GetCFA(context),
                _Unwind_GetRegionStart(context),
                &mut *visitor.cast::<V>(),
            )
        };
        match visitor(stack, region) {
            ControlFlow::Continue(()) => GO_ON,
            ControlFlow::Break(()) => STOP,
        }
    }
    // SAFETY: the visitor matches its argument, and outlives the walk. It does not unwind.
    unsafe { _Unwind_Backtrace(visit::<V>, (&raw mut visitor).cast()) };
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[inline(never)]
    fn beneath(stack: usize, code: usize) -> bool {
        core::hint::black_box(runs_beneath(stack, code))
    }

    #[inline(never)]
    fn gone() -> (usize, usize) {
        core::hint::black_box((stack_pointer(), code_address()))
    }

    /// Uses so much stack, then asks.
    #[inline(never)]
    fn deeper<const BYTES: usize>(stack: usize, code: usize) -> bool {
        let space = core::hint::black_box([0u8; BYTES]);
        let answer = beneath(stack, code);
        core::hint::black_box(space);
        answer
    }

    #[test]
    fn a_function_that_runs_is_told_from_one_that_is_gone() {
        let (stack, code) = (stack_pointer(), code_address());
        assert!(beneath(stack, code) && deeper::<4096>(stack, code));
        let (stack, code) = gone();
        // Wherever its frame would be among the frames of later calls.
        assert!(!beneath(stack, code));
        assert!(
            !deeper::<64>(stack, code)
                && !deeper::<256>(stack, code)
                && !deeper::<8192>(stack, code)
        );
    }

    #[test]
    fn another_stack_is_another_thing() {
        let (stack, code) = (stack_pointer(), code_address());
        assert!(
            !std::thread::spawn(move || beneath(stack, code))
                .join()
                .unwrap()
        );
        assert!(!beneath(8, code) && !beneath(usize::MAX, code) && !beneath(stack, 8));
    }
}
