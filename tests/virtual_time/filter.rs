//! The filter that has system calls reported, and the way of its listener to the supervisor.

use std::io::{Error, Result};
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{c_long, seccomp_data, sock_filter, sock_fprog};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REPORT: u32 = libc::SECCOMP_RET_USER_NOTIF;

const fn load(offset: usize) -> sock_filter {
    let code = (BPF_LD | BPF_W | BPF_ABS) as u16;
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k: offset as u32,
    }
}

/// Skips `then` instructions if the loaded word is `value`, or else `otherwise`.
const fn equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
    sock_filter {
        code,
        jt: then,
        jf: otherwise,
        k: value,
    }
}

const fn and(mask: u32) -> sock_filter {
    let code = (BPF_ALU | BPF_AND | BPF_K) as u16;
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k: mask,
    }
}

const fn answer(action: u32) -> sock_filter {
    let code = (BPF_RET | BPF_K) as u16;
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k: action,
    }
}

/// Returns the offset of the lower half of an argument.
const fn argument(index: usize) -> usize {
    offset_of!(seccomp_data, args) + 8 * index
}

/// Calls that are always reported.
const REPORTED: &[c_long] = &[
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    // The first call of every program, before it can look at the clock.
    libc::SYS_set_tid_address,
    // Calls that may start a process.
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
];

/// Returns the filter's instructions.
fn program() -> Vec<sock_filter> {
    let mut all = vec![
        load(offset_of!(seccomp_data, arch)),
        equal(ARCHITECTURE, 1, 0),
        answer(ALLOW),
        load(offset_of!(seccomp_data, nr)),
    ];
    for &call in REPORTED {
        all.extend([equal(call as u32, 0, 1), answer(REPORT)]);
    }
    // Clocks that go on while nothing runs; not the date, and no time of a processor.
    let clocks = [
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_MONOTONIC_COARSE,
        libc::CLOCK_BOOTTIME,
    ];
    all.extend([
        equal(libc::SYS_clock_gettime as u32, 0, 7),
        load(argument(0)),
        equal(clocks[0] as u32, 3, 0),
        equal(clocks[1] as u32, 2, 0),
        equal(clocks[2] as u32, 1, 0),
        equal(clocks[3] as u32, 0, 1),
        answer(REPORT),
        answer(ALLOW),
    ]);
    // Timed waits, and every wake-up: it may be for one of them. The kernel keeps waits without a
    // deadline, since the end of a thread wakes some of them without a call.
    all.extend([
        equal(libc::SYS_futex as u32, 1, 0),
        answer(ALLOW),
        load(argument(1)),
        and(0x7f),
        equal(libc::FUTEX_WAKE as u32, 7, 0),
        equal(libc::FUTEX_WAKE_BITSET as u32, 6, 0),
        equal(libc::FUTEX_WAIT as u32, 1, 0),
        equal(libc::FUTEX_WAIT_BITSET as u32, 0, 3),
        load(argument(3)),
        equal(0, 0, 2),
        answer(ALLOW),
        answer(ALLOW),
        answer(REPORT),
    ]);
    all
}

/// Makes the way by which listeners come to the supervisor: the outer end, and the inner one.
pub fn door() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors into the array.
    let code = unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        )
    };
    if code < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: both are open and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Fails if this kernel or sandbox reports no system calls.
pub fn is_supported() -> Result<()> {
    let mut action = REPORT;
    // SAFETY: asks about one action, which the kernel reads.
    let code = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw mut action,
        )
    };
    if code < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Room for one descriptor in a message, aligned as its header has to be.
#[repr(C, align(8))]
struct Enclosed([u8; 32]);

/// Installs the filter on this thread and sends its listener, with the process's number, through
/// the door. Runs in a forked child before its program starts: only system calls after the filter
/// is built.
pub fn enter(door: RawFd) -> Result<()> {
    let mut instructions = program();
    let filter = sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_mut_ptr(),
    };
    prompt();
    // SAFETY: the program outlives the calls, which copy it.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if listener < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: a plain system call.
    let mut number = unsafe { libc::getpid() };
    let mut part = libc::iovec {
        iov_base: (&raw mut number).cast(),
        iov_len: size_of::<i32>(),
    };
    let mut enclosed = Enclosed([0; 32]);
    let mut message = message(&mut part, &mut enclosed);
    // SAFETY: the message's parts are alive, and its buffer has room for a header and a descriptor.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header)
            .cast::<RawFd>()
            .write_unaligned(listener as RawFd);
        libc::sendmsg(door, &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

fn message(part: &mut libc::iovec, enclosed: &mut Enclosed) -> libc::msghdr {
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = enclosed.0.as_mut_ptr().cast();
    message.msg_controllen = enclosed.0.len() as _;
    message
}

/// Asks the scheduler to run this thread, and what it starts, soon after each wake-up: they run for
/// microseconds at a time and wait for each other. A kernel that knows no slices ignores it.
pub fn prompt() {
    /// The first version of the kernel's `sched_attr`.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        /// Length of a slice, ns.
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: 100_000,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads the structure, whose size it is told.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Wakes the supervisor, so that it looks at its control.
pub fn nudge(door: &OwnedFd) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: sends one byte of a static. If the door is full, the supervisor is awake.
    unsafe { libc::send(door.as_raw_fd(), [0u8].as_ptr().cast(), 1, flags) };
}

/// Takes a listener that has come through the door, with the number of its process.
pub fn receive(inside: &OwnedFd) -> Option<(OwnedFd, u32)> {
    let mut number = 0i32;
    let mut part = libc::iovec {
        iov_base: (&raw mut number).cast(),
        iov_len: size_of::<i32>(),
    };
    let mut enclosed = Enclosed([0; 32]);
    let mut message = message(&mut part, &mut enclosed);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message's parts are alive.
    let length = unsafe { libc::recvmsg(inside.as_raw_fd(), &raw mut message, flags) };
    if length <= 0 {
        return None;
    }
    // SAFETY: the kernel filled the buffer in; a descriptor in it is open and nobody else's.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() {
            return None;
        }
        let listener = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        Some((OwnedFd::from_raw_fd(listener), number as u32))
    }
}
