//! Detection of ranks: whether this process is one of several that wait for each other's kernels.
//!
//! A kernel's name is only a hint. A kernel goes first if its name is that of a collective, the
//! process has loaded a collective library, and there are signs of more than one rank. Such signs
//! are launchers' variables with the number of ranks, and several devices in one process. Without
//! them, collectives are delayed like other work, for a bounded time.

use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fcsp_core::share::wait::now_ns;

/// Beginnings of the file names of libraries that make ranks wait for each other. PyTorch's may
/// have NCCL or RCCL in them.
const LIBRARIES: &[&str] = &[
    "libnccl",
    "librccl",
    "libccl.",
    "liboneccl",
    "libhccl",
    "libhcl",
    "libSynapseHcl",
    "libnvshmem",
    "librocshmem",
    "libishmem",
    "libmscclpp",
    "libtorch_cuda",
    "libtorch_hip",
    "libucc.",
];

/// Variables in which launchers give the number of ranks.
const COUNTS: &[&str] = &[
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_NTASKS",
    "RANK_SIZE",
    "HCCL_RANK_SIZE",
];

/// Interval of checks while there is no sign of ranks, ns.
const LOOK_NS: u64 = 200_000_000;

static SEVERAL: AtomicBool = AtomicBool::new(false);
static LOOKED_NS: AtomicU64 = AtomicU64::new(0);
static DEVICES: AtomicU32 = AtomicU32::new(0);

/// Records that a device is used with a share from now on.
pub fn device_opened() {
    // Relaxed, here and below: independent signs.
    DEVICES.fetch_add(1, Ordering::Relaxed);
}

/// Returns true if other ranks may wait for this process's collectives. It is called for launches
/// without credit.
pub fn are_several() -> bool {
    if SEVERAL.load(Ordering::Relaxed) {
        return true;
    }
    let now = now_ns();
    if now.saturating_sub(LOOKED_NS.load(Ordering::Relaxed)) < LOOK_NS {
        return false;
    }
    LOOKED_NS.store(now, Ordering::Relaxed);
    let several = has_signs() && is_library_loaded();
    SEVERAL.store(several, Ordering::Relaxed);
    several
}

fn has_signs() -> bool {
    DEVICES.load(Ordering::Relaxed) > 1
        || COUNTS.iter().any(|name| {
            std::env::var_os(name).is_some_and(|text| is_more_than_one(&text.to_string_lossy()))
        })
}

fn is_more_than_one(text: &str) -> bool {
    text.trim().parse::<u32>().is_ok_and(|ranks| ranks > 1)
}

fn is_collective_library(path: &[u8]) -> bool {
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    LIBRARIES
        .iter()
        .any(|name| file.starts_with(name.as_bytes()))
}

fn is_library_loaded() -> bool {
    unsafe extern "C" fn look(
        info: *mut libc::dl_phdr_info,
        _: usize,
        found: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader hands a valid description whose name is a string or null.
        let name = unsafe { (*info).dlpi_name };
        if name.is_null() {
            return 0;
        }
        // SAFETY: as above.
        let path = unsafe { CStr::from_ptr(name) }.to_bytes();
        if !is_collective_library(path) {
            return 0;
        }
        // SAFETY: the caller below passes a bool that outlives the call.
        unsafe { *found.cast::<bool>() = true };
        1
    }
    let mut found = false;
    // SAFETY: the function has the type asked for and keeps nothing.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_files() {
        for path in [
            "/usr/lib/libnccl.so.2",
            "/opt/rocm/lib/librccl.so.1",
            "libhccl.so",
            "/x/nvidia/nccl/lib/libnccl.so.2.21.5",
        ] {
            assert!(is_collective_library(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "/usr/lib/libcuda.so.1",
            "/nccl/libm.so.6",
            "/usr/lib/libcclimate.so",
        ] {
            assert!(!is_collective_library(path.as_bytes()), "{path}");
        }
        assert!(!is_library_loaded(), "this program has none");
    }

    #[test]
    fn one_rank_is_not_several() {
        for (text, expected) in [
            ("2", true),
            (" 8 ", true),
            ("1", false),
            ("0", false),
            ("", false),
            ("x", false),
        ] {
            assert_eq!(is_more_than_one(text), expected, "{text:?}");
        }
        assert!(!are_several());
    }
}
