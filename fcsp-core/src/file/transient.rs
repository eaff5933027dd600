//! Files that are open for a moment, and how a child that is forked at that moment closes them.
//!
//! A forked child has a copy of each descriptor, and with it a part in the locks of the open file.
//! A descriptor's number is unknown before the kernel returns it. Therefore the path is recorded
//! before, and the file's identity after. The child searches its descriptors for those files.

use std::ffi::{CStr, CString, c_char};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::{FileId, Folder};

/// First descriptor that programs seldom use. A daemon that closes or replaces the first few
/// hundred numbers while one of these files is open then misses it.
const HIGH: RawFd = 500;
/// Attempts to open a file that is replaced at the same moment, each time.
const ATTEMPTS: u32 = 8;

/// State of a vacant record.
const FREE: u32 = 0;
/// State while the file at `path` is being opened.
const OPENING: u32 = 1;
/// State while the file with this identity is open.
const OPEN: u32 = 2;

/// Record of one open file. The thread that opens the file writes it; a forked child reads it.
#[derive(Debug)]
struct Place {
    /// [`FREE`], [`OPENING`] or [`OPEN`]. Written after the fields that it describes.
    state: AtomicU32,
    /// Path while it is being opened. It is on the opener's heap, of which a child has a copy.
    path: AtomicPtr<c_char>,
    /// Device of the open file.
    device: AtomicU64,
    /// Inode of the open file.
    inode: AtomicU64,
}

/// More records than a process has threads in slow paths. A file without a record is opened all the
/// same.
static PLACES: [Place; 128] = [const {
    Place {
        state: AtomicU32::new(FREE),
        path: AtomicPtr::new(null_mut()),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
    }
}; 128];

/// Record of an open file, vacated on drop.
#[derive(Debug)]
pub(super) struct Noted(Option<&'static Place>);

impl Noted {
    pub(super) fn path(path: &CStr) -> Self {
        Self(PLACES.iter().find(|place| {
            let taken = place
                .state
                .compare_exchange(FREE, OPENING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
            if taken {
                place
                    .path
                    .store(path.as_ptr().cast_mut(), Ordering::Release);
            }
            taken
        }))
    }

    pub(super) fn is(&self, file: FileId) {
        if let Some(place) = self.0 {
            place.device.store(file.device, Ordering::Relaxed);
            place.inode.store(file.inode, Ordering::Relaxed);
            // Release: the identity is written before the state.
            place.state.store(OPEN, Ordering::Release);
            place.path.store(null_mut(), Ordering::Relaxed);
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.path.store(null_mut(), Ordering::Relaxed);
            place.state.store(FREE, Ordering::Release);
        }
    }
}

/// Open file that is closed soon, and that a forked child closes at once.
#[derive(Debug)]
pub struct Transient {
    // The order matters: closed first, then forgotten.
    file: File,
    _noted: Noted,
}

impl Deref for Transient {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Transient {
    /// Opens `path`, for reading only or for writing as well.
    pub(super) fn open(path: &Path, flags: libc::c_int) -> io::Result<Self> {
        Self::opened(path, |folder, name| folder.open_at(name, flags, 0))
    }

    /// Opens `path` for writing, and creates a missing file with mode 0600.
    pub(super) fn open_or_make(path: &Path) -> io::Result<Self> {
        // Not by O_CREAT alone: the kernel may refuse that for another user's file in a folder that
        // every user may write (fs.protected_regular).
        Self::opened(path, |folder, name| {
            match folder.open_at(name, libc::O_RDWR, 0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    folder.make_at(name, 0o600)
                }
                file => file,
            }
        })
    }

    fn opened(path: &Path, open: impl Fn(&Folder, &CStr) -> io::Result<File>) -> io::Result<Self> {
        let whole = CString::new(path.as_os_str().as_bytes())?;
        for _ in 0..ATTEMPTS {
            let (folder, name) = Folder::of(path).map_err(|error| explained(error, path))?;
            let noted = Noted::path(&whole);
            let file = match open(&folder, &name) {
                // Another process made it at this moment.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file
                    .map_err(irregular)
                    .map_err(|error| explained(error, path))?,
            };
            let meta = file.metadata()?;
            folder.check(&meta)?;
            let id = FileId::of(&file)?;
            noted.is(id);
            let file = raised(file);
            // A program that closes all numbers may have taken this number for a file of its own,
            // which must not be locked, grown or given another mode.
            if FileId::of(&file).ok() == Some(id) && FileId::at(path)? == Some(id) {
                return Ok(Self {
                    file,
                    _noted: noted,
                });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is being replaced over and over", path.display()),
        ))
    }
}

/// Changes the system's error for a link, a socket or a folder in place of a file into that for a
/// pipe.
fn irregular(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENXIO | libc::EISDIR) => {
            io::Error::new(io::ErrorKind::InvalidData, "is not a regular file")
        }
        _ => error,
    }
}

/// Adds advice to errors whose text has none.
fn explained(error: io::Error, path: &Path) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EMFILE) => io::Error::other(format!(
            "no descriptor is left to open {}; raise the limit (`ulimit -n`) or close some",
            path.display()
        )),
        Some(libc::ENFILE) => io::Error::other(format!(
            "the machine has no descriptor left to open {} (sysctl fs.file-max)",
            path.display()
        )),
        _ => error,
    }
}

/// Returns the same file under a high number, if one is available.
pub(super) fn raised(file: File) -> File {
    if file.as_raw_fd() >= HIGH {
        return file;
    }
    // SAFETY: no memory is passed.
    let number = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH) };
    if number < 0 {
        return file;
    }
    // SAFETY: just made, and used nowhere else.
    let high = unsafe { File::from_raw_fd(number) };
    // The program may have opened another file under the low number meanwhile; that one stays open.
    if FileId::of(&file).ok() != FileId::of(&high).ok() {
        let _ = file.into_raw_fd();
    }
    high
}

/// Closes, in a forked child, every descriptor of the files that its parent had open.
/// Async-signal-safe: system calls and plain stores.
///
/// A child may have a small stack. The identities therefore stay in the records.
pub(super) fn close_in_child() {
    if PLACES.iter().filter(|place| place.identify()).count() == 0 {
        return;
    }
    close_all(|file| PLACES.iter().any(|place| place.is_of(file)));
    for place in &PLACES {
        place.state.store(FREE, Ordering::Relaxed);
    }
}

impl Place {
    /// Finds, in a forked child, the identity of the file that the parent was opening. Returns
    /// false, and vacates the record, if there is no file.
    fn identify(&self) -> bool {
        let file = match self.state.load(Ordering::Acquire) {
            OPEN => return true,
            OPENING => {
                let path = self.path.swap(null_mut(), Ordering::Acquire);
                if path.is_null() {
                    None
                } else {
                    // SAFETY: a C string whose memory the child has a copy of; the record outlives
                    // the call.
                    identity(|about| unsafe { libc::lstat(path, about) })
                }
            }
            _ => return false,
        };
        let Some(file) = file else {
            self.state.store(FREE, Ordering::Relaxed);
            return false;
        };
        // Relaxed: the child has one thread.
        self.device.store(file.device, Ordering::Relaxed);
        self.inode.store(file.inode, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Relaxed);
        true
    }

    /// Returns true if this record is that of the open file `file`.
    fn is_of(&self, file: FileId) -> bool {
        self.state.load(Ordering::Relaxed) == OPEN
            && self.device.load(Ordering::Relaxed) == file.device
            && self.inode.load(Ordering::Relaxed) == file.inode
    }
}

fn identity(ask: impl FnOnce(*mut libc::stat) -> libc::c_int) -> Option<FileId> {
    let mut about = std::mem::MaybeUninit::<libc::stat>::zeroed();
    if ask(about.as_mut_ptr()) != 0 {
        return None;
    }
    // SAFETY: the system has filled the record, for which zeroes would do as well.
    let about = unsafe { about.assume_init() };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    Some(FileId {
        device: about.st_dev as u64,
        inode: about.st_ino as u64,
    })
}

/// Closes every descriptor of the files that `is_ours` names.
#[cold]
#[inline(never)]
fn close_all(is_ours: impl Fn(FileId) -> bool) {
    let close = |number: RawFd| {
        // SAFETY: the record outlives the call. A number that is not open is an error and nothing
        // else.
        let is = identity(|about| unsafe { libc::fstat(number, about) });
        if is.is_some_and(&is_ours) {
            // SAFETY: a file of this module, which no code in this child knows.
            unsafe { libc::close(number) };
        }
    };
    if !each_descriptor(close) {
        (0..4096).for_each(close);
    }
}

/// Calls `work` with the number of each open descriptor; false if they cannot be listed.
fn each_descriptor(work: impl Fn(RawFd)) -> bool {
    /// `struct linux_dirent64` of getdents64(2), whose name follows.
    const RECORD_LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a C string and flags.
    let folder = unsafe { libc::open(c"/proc/self/fd".as_ptr(), flags) };
    if folder < 0 {
        return false;
    }
    // Some twenty records at a time: see `close_in_child` about the stack.
    let mut buffer = [0u8; 512];
    loop {
        // SAFETY: the kernel writes no more than the buffer's length.
        let read = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        let Ok(read) = usize::try_from(read) else {
            break;
        };
        if read == 0 {
            break;
        }
        let mut at = 0;
        while at + NAME_AT < read {
            let length = usize::from(u16::from_ne_bytes([
                buffer[at + RECORD_LENGTH_AT],
                buffer[at + RECORD_LENGTH_AT + 1],
            ]));
            let digits = buffer[at + NAME_AT..read]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .fold(None, |number: Option<RawFd>, byte| {
                    Some(number.unwrap_or(0) * 10 + RawFd::from(byte - b'0'))
                });
            if let Some(number) = digits.filter(|&number| number != folder) {
                work(number);
            }
            if length == 0 {
                break;
            }
            at += length;
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(folder) };
    true
}

#[cfg(test)]
mod tests {
    use super::super::{open_ro, open_rw};
    use super::*;

    #[test]
    fn numbers_are_high_and_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = open_rw(&path, true).unwrap();
        assert!(file.as_raw_fd() >= HIGH);
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(open_rw(&dir.path().join("link"), true).is_err());
        assert_eq!(
            open_ro(&dir.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn descriptors_are_found_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let ours = std::fs::File::create(dir.path().join("ours")).unwrap();
        let other = std::fs::File::create(dir.path().join("other")).unwrap();
        let again = ours.try_clone().unwrap();
        let id = FileId::of(&ours).unwrap();
        close_all(|file| file == id);
        for gone in [ours, again] {
            // Another test may use the number by now.
            assert_ne!(FileId::of(&gone).ok(), Some(id));
            let _ = gone.into_raw_fd();
        }
        assert!(other.metadata().is_ok());
    }

    /// Stack of the signal handler below, bytes.
    const STACK: usize = 64 << 10;
    /// Content of a byte of that stack that nothing has written.
    const UNUSED: u8 = 0xa5;

    extern "C" fn do_nothing(_: libc::c_int) {}

    extern "C" fn close(_: libc::c_int) {
        close_in_child();
    }

    /// Runs `handler` on `stack` and returns the bytes of the stack that it wrote, and the kernel.
    /// Makes system calls only.
    fn used(stack: *mut u8, handler: extern "C" fn(libc::c_int)) -> usize {
        // SAFETY: `stack` is a mapping of STACK bytes that nothing else uses; zeroes are valid for
        // the record of an action; the signal is handled before `raise` returns.
        unsafe {
            std::ptr::write_bytes(stack, UNUSED, STACK);
            let place = libc::stack_t {
                ss_sp: stack.cast(),
                ss_flags: 0,
                ss_size: STACK,
            };
            assert_eq!(libc::sigaltstack(&place, null_mut()), 0);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGURG, &action, null_mut()), 0);
            libc::raise(libc::SIGURG);
            let untouched = (0..STACK).take_while(|&at| stack.add(at).read() == UNUSED);
            STACK - untouched.count()
        }
    }

    #[test]
    fn a_child_closes_its_parents_files_on_a_small_stack() {
        let dir = tempfile::tempdir().unwrap();
        let file = open_rw(&dir.path().join("f"), true).unwrap();
        // SAFETY: a fresh mapping. The child makes system calls, and ends.
        unsafe {
            let stack = libc::mmap(
                null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(stack, libc::MAP_FAILED);
            let child = libc::fork();
            if child == 0 {
                let bytes =
                    used(stack.cast(), close).saturating_sub(used(stack.cast(), do_nothing));
                let is_open = libc::fcntl(file.as_raw_fd(), libc::F_GETFD) >= 0;
                libc::_exit(if is_open {
                    255
                } else {
                    bytes.div_ceil(16).min(254) as i32
                });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            libc::munmap(stack, STACK);
            assert!(libc::WIFEXITED(status));
            let units = libc::WEXITSTATUS(status);
            assert_ne!(units, 255, "the child still has the file");
            assert!(units * 16 < 2048, "{} bytes of stack", units * 16);
        }
    }
}
