//! The state file, which all processes of one simulated machine share.
//!
//! It plays the part of the kernel driver: it has each process's memory on each device, and the
//! order of their work. Every word is an atomic, so a reader never needs the lock. Changes that
//! must agree with each other (claiming a slot, taking memory) are made under a lock of the file
//! itself. The kernel drops that lock when its holder dies.

use crate::spec::{MAX_DEVICES, Topology};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Processes that can use one machine at a time.
pub const MAX_PROCESSES: usize = 2048;
/// Contexts that can use one device at a time.
pub const MAX_LANES: usize = 128;

const MAGIC: u64 = 0x4643_5350_5349_4d31;
const VERSION: u32 = 2;

// The locks lie beyond any byte of the file, so that they never meet a lock taken on its contents.
const LOCK_BASE: i64 = 1 << 40;
const SLOT_LOCKS: i64 = LOCK_BASE + 1;

/// A process's use of one device. Written by its own process only, except when a dead process's
/// slot is cleared.
#[repr(C)]
#[derive(Debug)]
pub struct Usage {
    /// Bytes held and attributed to the process by the management API.
    pub bytes: AtomicU64,
    /// Bytes of managed memory resident on the device: counted on the device, attributed to nobody.
    pub managed: AtomicU64,
    /// Live contexts.
    pub contexts: AtomicU32,
    _pad: u32,
    /// Device time used, in nanoseconds.
    pub busy_ns: AtomicU64,
    /// Start of the current utilisation window, in nanoseconds of the shared clock.
    pub window: AtomicU64,
    /// Device time in the current window.
    pub window_ns: AtomicU64,
    /// Device time in the window before it.
    pub last_window_ns: AtomicU64,
    _reserved: [u64; 2],
}

/// One process.
#[repr(C)]
#[derive(Debug)]
pub struct ProcessSlot {
    /// Process id as the process itself sees it; 0 when the slot is free.
    pub pid: AtomicU32,
    _pad: u32,
    /// Counts the slot's owners, so that a stale reference is told from its successor.
    pub generation: AtomicU64,
    _reserved: [u64; 6],
    /// Use of each device.
    pub usage: [Usage; MAX_DEVICES],
}

/// One context's place in a device's rota.
#[repr(C)]
#[derive(Debug)]
pub struct LaneState {
    /// 0 free, else 1 + the slot of the owning process.
    pub owner: AtomicU32,
    /// One of the `engine` module's states.
    pub state: AtomicU32,
    /// Bumped to wake the lane's waiter; a futex.
    pub wake: AtomicU32,
    _pad: u32,
    /// Device time used by this context, in nanoseconds.
    pub busy_ns: AtomicU64,
    _reserved: [u64; 5],
}

/// One device's engine.
#[repr(C)]
#[derive(Debug)]
pub struct EngineState {
    /// 0 free, else 1 + the lane that has the engine.
    pub holder: AtomicU32,
    _pad: u32,
    /// End of the engine's work so far, on the shared clock.
    pub free_at: AtomicU64,
    /// Deadline of the holder's current quantum. A holder far beyond it may be passed over.
    pub lease: AtomicU64,
    /// Device time used by all, in nanoseconds, including processes that are gone.
    pub busy_ns: AtomicU64,
    /// Times the engine went from one context to another.
    pub switches: AtomicU64,
    /// Most bytes that live processes ever held on the device at once.
    pub peak: AtomicU64,
    _reserved: [u64; 2],
    /// The contexts.
    pub lanes: [LaneState; MAX_LANES],
}

#[repr(C)]
#[derive(Debug)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    devices: AtomicU32,
    spec: AtomicU64,
    size: AtomicU64,
    /// Slots ever used: readers need not look further.
    high: AtomicU32,
    _pad: u32,
    ids: AtomicU64,
    _reserved: [u64; 2],
}

#[repr(C)]
#[derive(Debug)]
struct Shared {
    header: Header,
    processes: [ProcessSlot; MAX_PROCESSES],
    engines: [EngineState; MAX_DEVICES],
}

/// A failure to use the state file.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// An operating system call failed.
    #[error("{path}: {source}")]
    Io {
        /// The state file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not a state file of this version and topology.
    #[error("{path}: {why}; remove it if no process uses it")]
    Mismatch {
        /// The state file.
        path: PathBuf,
        /// The difference.
        why: String,
    },
}

/// The mapped state file.
#[derive(Debug)]
pub struct Region {
    /// Open file that holds the locks. It is not the mapped open file. A mapping keeps its open
    /// file and its locks alive, even in a forked child that has closed every descriptor.
    file: File,
    id: (u64, u64),
    shared: *const Shared,
    /// Keeps this process's threads apart: the file's lock belongs to the process as a whole.
    threads: Mutex<()>,
    /// 1 + the slot that this open of the file holds; its own lock never conflicts with itself.
    own: AtomicU32,
    /// True in a forked child once it has closed the file.
    abandoned: AtomicBool,
}

// SAFETY: the mapping lives as long as the value and holds atomics only; the raw pointer is never
// given out.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Proof that the file's lock is held. Dropped, it releases the lock.
#[derive(Debug)]
pub struct Locked<'a> {
    region: &'a Region,
    _threads: MutexGuard<'a, ()>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.region
            .lock_op(libc::F_OFD_SETLK, libc::F_UNLCK, LOCK_BASE);
    }
}

/// Returns a name for the state file of such a machine. It differs from the names that other
/// versions of this library use.
pub fn file_name(topology: &Topology) -> String {
    format!("{:016x}-{VERSION}", topology.hash())
}

/// Returns the state file's path for an environment without `FCSP_SIM_STATE`.
pub fn default_path(topology: &Topology) -> PathBuf {
    // SAFETY: getuid takes nothing and cannot fail.
    let uid = unsafe { libc::getuid() };
    PathBuf::from(format!("/dev/shm/fcsp-sim-{uid}-{}", file_name(topology)))
}

/// Returns the state file's path for this process's environment.
pub fn path_from_env(topology: &Topology) -> PathBuf {
    std::env::var_os("FCSP_SIM_STATE")
        .filter(|p| !p.is_empty())
        .map_or_else(|| default_path(topology), PathBuf::from)
}

impl Region {
    /// Maps the state file, creating and initialising it if it is new.
    ///
    /// # Errors
    /// The file cannot be opened or mapped, or it belongs to another version or topology.
    pub fn open(path: &Path, topology: &Topology) -> Result<Self, RegionError> {
        let io = |source| RegionError::Io {
            path: path.into(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .map_err(io)?;
        let size = std::mem::size_of::<Shared>() as u64;
        // Two first processes must not both initialise; the lock makes one of them see the other's
        // work.
        if ofd(
            file.as_raw_fd(),
            libc::F_OFD_SETLKW,
            libc::F_WRLCK,
            LOCK_BASE,
        )
        .is_none()
        {
            return Err(io(std::io::Error::last_os_error()));
        }
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            // Blocks and all: a full file system is an error here and not a fault at the first
            // touch. SAFETY: no memory is passed; the descriptor is open.
            let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size as libc::off_t) };
            if code != 0 {
                let _ = file.set_len(0);
                return Err(io(std::io::Error::from_raw_os_error(code)));
            }
        } else if length != size {
            return Err(RegionError::Mismatch {
                path: path.into(),
                why: format!("{length} bytes where version {VERSION} has {size}"),
            });
        }
        // SAFETY: a fresh shared mapping of a file of exactly this size; the result is checked
        // before use.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io(std::io::Error::last_os_error()));
        }
        let locks = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(io)?;
        let id = identity(locks.as_raw_fd()).ok_or_else(|| io(std::io::Error::last_os_error()))?;
        let region = Self {
            file: locks,
            id,
            shared: map.cast(),
            threads: Mutex::new(()),
            own: AtomicU32::new(0),
            abandoned: AtomicBool::new(false),
        };
        let h = &region.shared().header;
        // Relaxed throughout: the file lock orders one initialiser before every later reader.
        if h.magic.load(Ordering::Relaxed) == 0 {
            h.version.store(VERSION, Ordering::Relaxed);
            h.devices
                .store(topology.devices.len() as u32, Ordering::Relaxed);
            h.spec.store(topology.hash(), Ordering::Relaxed);
            h.size.store(size, Ordering::Relaxed);
            // Last, so that an initialiser killed half way leaves a file that the next one
            // initialises again.
            h.magic.store(MAGIC, Ordering::Release);
        }
        let found = (
            h.magic.load(Ordering::Relaxed),
            h.version.load(Ordering::Relaxed),
            h.spec.load(Ordering::Relaxed),
        );
        ofd(
            file.as_raw_fd(),
            libc::F_OFD_SETLK,
            libc::F_UNLCK,
            LOCK_BASE,
        );
        let why = match found {
            (m, _, _) if m != MAGIC => "not a state file".to_string(),
            (_, v, _) if v != VERSION => format!("version {v}, this is version {VERSION}"),
            (_, _, s) if s != topology.hash() => "made for another FCSP_SIM".to_string(),
            _ => return Ok(region),
        };
        Err(RegionError::Mismatch {
            path: path.into(),
            why,
        })
    }

    fn shared(&self) -> &Shared {
        // SAFETY: mapped for the life of `self`, aligned to a page, all atomics (and padding nobody
        // reads).
        unsafe { &*self.shared }
    }

    /// Returns all process slots ever used.
    pub fn processes(&self) -> &[ProcessSlot] {
        // Acquire: pairs with the release in `raise_high`, so a slot that is counted is a slot that
        // was filled.
        let high = self.shared().header.high.load(Ordering::Acquire) as usize;
        &self.shared().processes[..high.min(MAX_PROCESSES)]
    }

    /// Returns the slot with this number.
    pub fn process(&self, slot: usize) -> &ProcessSlot {
        &self.shared().processes[slot]
    }

    /// Returns the engine of a device.
    pub fn engine(&self, device: usize) -> &EngineState {
        &self.shared().engines[device]
    }

    /// Counts a slot as used.
    pub fn raise_high(&self, slot: usize) {
        self.shared()
            .header
            .high
            .fetch_max(slot as u32 + 1, Ordering::AcqRel);
    }

    /// Returns a number that no other object of this machine has.
    pub fn fresh_id(&self) -> u64 {
        self.shared().header.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lock_op(&self, command: i32, kind: i32, at: i64) -> Option<i32> {
        ofd(self.file.as_raw_fd(), command, kind, at)
    }

    /// Takes the file's lock. The kernel releases it when its holder dies.
    pub fn lock(&self) -> Locked<'_> {
        let threads = self
            .threads
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Interrupted by a signal, the wait starts again. A program that has closed every
        // descriptor, ours with them, goes on without: nothing is promised to who closes a driver's
        // files, but it must not hang.
        while self
            .lock_op(libc::F_OFD_SETLKW, libc::F_WRLCK, LOCK_BASE)
            .is_none()
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
        Locked {
            region: self,
            _threads: threads,
        }
    }

    /// Takes a slot's liveness lock if nobody has it. It is held until the process ends.
    pub fn claim_liveness(&self, slot: usize) -> bool {
        let free = self.own.load(Ordering::Relaxed) != slot as u32 + 1
            && self
                .lock_op(libc::F_OFD_SETLK, libc::F_WRLCK, SLOT_LOCKS + slot as i64)
                .is_some();
        if free {
            self.own.store(slot as u32 + 1, Ordering::Relaxed);
        }
        free
    }

    /// Returns true if a process holds the slot's liveness lock.
    pub fn is_alive(&self, slot: usize) -> bool {
        // Relaxed: written once, before this open of the file has anything to lose.
        self.own.load(Ordering::Relaxed) == slot as u32 + 1
            || self
                .lock_op(libc::F_OFD_GETLK, libc::F_WRLCK, SLOT_LOCKS + slot as i64)
                .is_some_and(|kind| kind != libc::F_UNLCK)
    }

    /// Closes the file in a forked child, where it shares the parent's liveness lock. With the file
    /// open, the parent would seem alive as long as the child is. Only the first call has an
    /// effect.
    pub fn abandon_in_child(&self) {
        // Relaxed: closing twice is what must not happen, and one thread gets `false`.
        if self.abandoned.swap(true, Ordering::Relaxed) {
            return;
        }
        // The program may have closed it and been given its number again for a file of its own.
        if identity(self.file.as_raw_fd()) == Some(self.id) {
            // SAFETY: close is async-signal-safe; the descriptor is not used again in the child,
            // whose calls are all refused before they reach the region.
            unsafe { libc::close(self.file.as_raw_fd()) };
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: unmaps what `open` mapped; nothing borrows it any more.
        unsafe { libc::munmap(self.shared.cast_mut().cast(), std::mem::size_of::<Shared>()) };
    }
}

/// Returns the device and inode of a descriptor's file. Async-signal-safe.
fn identity(fd: i32) -> Option<(u64, u64)> {
    // SAFETY: stat is plain data for which all zeroes is valid.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for the duration of the call.
    let r = unsafe { libc::fstat(fd, &mut stat) };
    (r == 0).then_some((stat.st_dev, stat.st_ino))
}

/// Performs one operation on an open-file-description lock of one byte. Returns the lock's type
/// afterwards, or nothing on failure.
fn ofd(fd: i32, command: i32, kind: i32, at: i64) -> Option<i32> {
    // SAFETY: flock is plain data for which all zeroes is valid; l_pid must be 0 for these locks.
    let mut l: libc::flock = unsafe { std::mem::zeroed() };
    l.l_type = kind as libc::c_short;
    l.l_whence = libc::SEEK_SET as libc::c_short;
    l.l_start = at;
    l.l_len = 1;
    // SAFETY: `l` is a valid flock for the duration of the call.
    let r = unsafe { libc::fcntl(fd, command, &mut l) };
    (r == 0).then_some(i32::from(l.l_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("fcsp-sim-region-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_file_of_another_topology_or_kind_is_refused() {
        let path = scratch("mismatch");
        let tiny: Topology = "tiny".parse().unwrap();
        drop(Region::open(&path, &tiny).unwrap());
        let e = Region::open(&path, &"tiny,sm=8".parse().unwrap()).unwrap_err();
        assert!(e.to_string().contains("another FCSP_SIM"), "{e}");
        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(
            Region::open(&path, &tiny),
            Err(RegionError::Mismatch { .. })
        ));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn liveness_follows_the_open_file() {
        let path = scratch("liveness");
        let t: Topology = "tiny".parse().unwrap();
        let (a, b) = (
            Region::open(&path, &t).unwrap(),
            Region::open(&path, &t).unwrap(),
        );
        assert!(a.claim_liveness(7));
        assert!(b.is_alive(7) && !b.claim_liveness(7) && !b.is_alive(8));
        drop(a);
        assert!(!b.is_alive(7) && b.claim_liveness(7));
        std::fs::remove_file(&path).unwrap();
    }
}
