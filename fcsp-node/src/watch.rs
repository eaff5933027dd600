//! Changes of a folder, by inotify.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Every change that may alter what files of a folder say, and the end of the folder itself.
const CHANGES: u32 = libc::IN_CLOSE_WRITE
    | libc::IN_MOVED_TO
    | libc::IN_MOVED_FROM
    | libc::IN_DELETE
    | libc::IN_ATTRIB
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF;

/// A watch on a folder, which may not exist yet.
#[derive(Debug)]
pub struct Watch {
    notify: OwnedFd,
}

impl Watch {
    /// Makes a watch that watches nothing.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes an integer.
        let notify = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if notify < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        let notify = unsafe { OwnedFd::from_raw_fd(notify) };
        Ok(Self { notify })
    }

    /// Watches a folder from now on. Call it again after each wait: a folder of this name may be
    /// another one. Returns false if there is none.
    pub fn follow(&self, folder: &Path) -> bool {
        let Ok(path) = std::ffi::CString::new(folder.as_os_str().as_bytes()) else {
            return false;
        };
        // SAFETY: the path ends in zero and lives during the call.
        let watch = unsafe {
            libc::inotify_add_watch(
                self.notify.as_raw_fd(),
                path.as_ptr(),
                CHANGES | libc::IN_ONLYDIR,
            )
        };
        watch >= 0
    }

    /// Waits for a change, at most for this time. Returns whether there was one. All changes until
    /// now count as one.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub fn wait(&self, most: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.notify.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let most = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `poll` is one valid entry.
        match unsafe { libc::poll(&mut poll, 1, most) } {
            0 => return Ok(false),
            -1 => {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::Interrupted => Ok(false),
                    _ => Err(error),
                };
            }
            _ => {}
        }
        let mut events = [0u8; 4096];
        // SAFETY: `events` has room for the bytes that the call is told, and the descriptor does
        // not wait.
        while unsafe {
            libc::read(
                self.notify.as_raw_fd(),
                events.as_mut_ptr().cast(),
                events.len(),
            )
        } > 0
        {}
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn every_change_of_a_file_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::new().unwrap();
        assert!(watch.follow(folder.path()));
        assert!(!watch.wait(Duration::ZERO).unwrap());
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let changes: [&dyn Fn(); 4] = [
            &|| std::fs::write(&a, "x").unwrap(),
            &|| std::fs::rename(&a, &b).unwrap(),
            &|| std::fs::remove_file(&b).unwrap(),
            &|| std::fs::remove_dir(folder.path()).unwrap(),
        ];
        for change in changes {
            change();
            assert!(watch.wait(SOON).unwrap());
            assert!(!watch.wait(Duration::ZERO).unwrap());
        }
        assert!(!watch.follow(folder.path()));
        std::fs::create_dir(folder.path()).unwrap();
        assert!(watch.follow(folder.path()));
        std::fs::write(&a, "x").unwrap();
        assert!(watch.wait(SOON).unwrap());
    }
}
