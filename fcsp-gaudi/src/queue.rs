//! The queue for a card: by priority, then in order of arrival.
//!
//! There is one file for each card, in the device's folder of the state folder. A waiting process
//! holds a lock on one byte of it, whose number is its place. Processes before it hold locks on
//! lesser ones. The kernel releases the locks of dead processes. An unusable file (another user's)
//! leaves no order, only the driver's own "busy".

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};

use fcsp_core::clock::Countdown;
use fcsp_core::device::DeviceUuid;
use fcsp_core::file::{self, Transient};
use fcsp_core::share::files::folder;
use fcsp_core::share::params::Priority;
use fcsp_core::state::StateDir;

/// Places of one priority.
const CLASS: u64 = 1 << 40;
/// The byte that is locked while a number is drawn.
const DRAWING: u64 = 1 << 60;

/// The longest wait for somebody else's drawing, which takes microseconds unless its process is
/// stopped.
const PATIENCE_NS: u64 = 5_000_000_000;
/// The sleep between two looks, ns.
const NAP_NS: u64 = 1_000_000;
/// Places that are tried in turn: more than any card has processes that wait.
const MOST_TRIED: u64 = 4096;

/// A card's queue.
#[derive(Debug)]
pub struct Queue {
    /// A child forked meanwhile does not stand in the queue.
    file: Transient,
    /// The first place of this process's priority.
    base: u64,
    /// The place held, if any.
    place: Option<u64>,
}

impl Queue {
    /// Opens the queue of a card for a process of this priority.
    pub fn open(state: &StateDir, device: &DeviceUuid, priority: Priority) -> io::Result<Self> {
        let folder = folder(state, device);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)?;
        let rank = u64::from(Priority::High.code() - priority.code());
        Ok(Self {
            file: file::open_rw(&folder.join("queue"), true)?,
            // Place 0 is nobody's: a range of length 0 would be the whole file.
            base: 1 + rank * CLASS,
            place: None,
        })
    }

    /// Returns true if a process before this one waits. Without a place, this process is the last
    /// of its priority.
    pub fn is_anybody_before(&self) -> bool {
        let end = self.place.unwrap_or(self.base + CLASS);
        file::is_held(&self.file, 0, end).unwrap_or(false)
    }

    /// Takes a place, behind everybody of the same priority.
    pub fn join(&mut self) -> io::Result<()> {
        let mut left = Countdown::of(PATIENCE_NS);
        while !file::try_lock(&self.file, DRAWING, 1)? {
            if !left.nap(NAP_NS) {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "a process that is stopped draws a number in the card's queue",
                ));
            }
        }
        let drawn = self.draw();
        file::unlock(&self.file, DRAWING, 1);
        self.place = Some(drawn?);
        Ok(())
    }

    fn draw(&self) -> io::Result<u64> {
        let at = self.base / CLASS * 8;
        let mut word = [0; 8];
        // A new file is empty: nobody has waited yet.
        let number = match self.file.read_exact_at(&mut word, at) {
            Ok(()) => u64::from_le_bytes(word),
            Err(_) => 0,
        };
        // Numbers that were written over lead to places that somebody has.
        for tried in 0..MOST_TRIED {
            let number = number.wrapping_add(tried);
            let place = self.base + number % (CLASS - 1);
            if file::try_lock(&self.file, place, 1)? {
                self.file
                    .write_all_at(&number.wrapping_add(1).to_le_bytes(), at)?;
                return Ok(place);
            }
        }
        Err(io::Error::other(
            "somebody holds the places that were drawn",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_priority_then_the_earlier_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let open = |priority| Queue::open(&state, &DeviceUuid([7; 16]), priority).unwrap();
        let mut low = open(Priority::Low);
        let mut first = open(Priority::Normal);
        let mut second = open(Priority::Normal);
        assert!(!low.is_anybody_before());
        low.join().unwrap();
        assert!(!low.is_anybody_before());
        assert!(
            !first.is_anybody_before(),
            "a higher priority does not wait for a lower one"
        );
        first.join().unwrap();
        assert!(low.is_anybody_before());
        assert!(second.is_anybody_before(), "a newcomer comes last");
        second.join().unwrap();
        assert!(!first.is_anybody_before() && second.is_anybody_before());
        let high = open(Priority::High);
        assert!(!high.is_anybody_before());
        drop(first);
        assert!(!second.is_anybody_before() && low.is_anybody_before());
        drop(second);
        assert!(!low.is_anybody_before());
    }

    /// Checks damaged numbers, and a process that was stopped while it took one.
    #[test]
    fn a_scribbled_or_locked_queue_is_waited_for_so_long_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let uuid = DeviceUuid([7; 16]);
        let open = || Queue::open(&state, &uuid, Priority::Normal).unwrap();
        let mut places = Vec::new();
        for number in [u64::MAX, u64::MAX - 1, 0, CLASS - 1, CLASS, CLASS - 2] {
            let mut queue = open();
            let at = queue.base / CLASS * 8;
            queue.file.write_all_at(&number.to_le_bytes(), at).unwrap();
            queue.join().unwrap();
            let place = queue.place.unwrap();
            assert!((queue.base..queue.base + CLASS).contains(&place));
            assert!(
                places
                    .iter()
                    .all(|other: &Queue| other.place != Some(place))
            );
            places.push(queue);
        }
        let stopped = file::open_rw(&folder(&state, &uuid).join("queue"), false).unwrap();
        assert!(file::try_lock(&stopped, DRAWING, 1).unwrap());
        let error = open().join().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(stopped);
        open().join().unwrap();
    }

    #[test]
    fn a_pipe_in_the_queues_place_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let folder = folder(&state, &DeviceUuid([7; 16]));
        std::fs::create_dir_all(&folder).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.join("queue"))
            .status()
            .unwrap();
        assert!(made.success());
        assert!(Queue::open(&state, &DeviceUuid([7; 16]), Priority::Normal).is_err());
    }
}
