//! The process that uses the driver, and whether this is a child that was forked from it.
//!
//! A driver does not work in a forked child. A handler of `pthread_atfork` does not see every fork:
//! `_Fork`, a raw `clone` and `syscall(SYS_fork)` run none. So the process number is compared at
//! each call.

use std::sync::atomic::{AtomicU32, Ordering};

/// The process that began to use this library; 0 before that.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Makes this process the owner if there is none. To be called before anything that a forked child
/// could find half done. Whether this process is the owner now.
pub fn claim() -> bool {
    let me = std::process::id();
    // Relaxed: a child has a copy of the word, and threads of one process agree on its value
    // whoever is first.
    match OWNER.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(owner) => owner == me,
    }
}

/// Undoes [`claim`], after an initialisation that failed: a child may try again.
pub fn disclaim() {
    OWNER.store(0, Ordering::Relaxed);
}

/// Returns true if another process, of which this is a copy, had begun to use the library.
pub fn is_child() -> bool {
    match OWNER.load(Ordering::Relaxed) {
        0 => false,
        owner => owner != std::process::id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_by_any_kind_of_fork_is_one() {
        assert!(claim() && claim() && !is_child());
        // SAFETY: the child makes one comparison and leaves without running anything of the
        // parent's.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } as i32;
        if child == 0 {
            let right = is_child() && !claim();
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = -1;
        // SAFETY: waits for a child of this test.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        disclaim();
        assert!(!is_child());
    }
}
