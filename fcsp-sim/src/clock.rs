//! The clock that all processes of a machine share, and waiting on it.

/// Nanoseconds of CLOCK_MONOTONIC: one clock for every process on the host, which the shared
/// timeline needs.
pub fn now() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is a valid place for the result; the call cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Below this a sleep costs more than it waits, so the rest is spun.
const SPIN_NS: u64 = 50_000;

/// Waits until `deadline` on [`now`]: sleeps while far from it, spins for the last `SPIN_NS` ns.
pub fn wait_until(deadline: u64) {
    loop {
        let t = now();
        if t >= deadline {
            return;
        }
        if deadline - t > SPIN_NS {
            let wake = deadline - SPIN_NS / 2;
            let at = libc::timespec {
                tv_sec: (wake / 1_000_000_000) as libc::time_t,
                tv_nsec: (wake % 1_000_000_000) as libc::c_long,
            };
            // SAFETY: `at` is a valid timespec; an early return by a signal is handled by the loop.
            unsafe {
                libc::clock_nanosleep(
                    libc::CLOCK_MONOTONIC,
                    libc::TIMER_ABSTIME,
                    &at,
                    std::ptr::null_mut(),
                )
            };
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Asks the kernel not to round this thread's sleeps; the default slack of 50 us would lengthen
/// every kernel.
pub fn exact_sleeps() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}
