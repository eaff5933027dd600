//! Who is next for a card: by priority, then in order of arrival.
//!
//! One file a card, in the device's folder of the state folder. Whoever waits holds a lock on one byte of it, whose number is
//! its place; who comes before holds a lock on a lesser one. The kernel drops the locks of the dead. A file that cannot be
//! used (another user's) leaves no order, only the driver's own "busy".

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};

use fcsp_core::clock::nap;
use fcsp_core::device::DeviceUuid;
use fcsp_core::file::{self, Transient};
use fcsp_core::share::files::folder;
use fcsp_core::share::params::Priority;
use fcsp_core::state::StateDir;

/// Places of one priority.
const CLASS: u64 = 1 << 40;
/// The byte that is locked while a number is drawn.
const DRAWING: u64 = 1 << 60;

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
    /// The queue of a card, for a process of this priority.
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

    /// Whether somebody waits who comes before this process, which comes last of its priority if it has no place.
    pub fn is_anybody_before(&self) -> bool {
        let end = self.place.unwrap_or(self.base + CLASS);
        file::is_held(&self.file, 0, end).unwrap_or(false)
    }

    /// Takes a place, behind everybody of the same priority.
    pub fn join(&mut self) -> io::Result<()> {
        while !file::try_lock(&self.file, DRAWING, 1)? {
            nap(1_000_000);
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
        self.file.write_all_at(&(number + 1).to_le_bytes(), at)?;
        let place = self.base + number % (CLASS - 1);
        match file::try_lock(&self.file, place, 1)? {
            true => Ok(place),
            false => Err(io::Error::other("somebody holds the place that was drawn")),
        }
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
}
