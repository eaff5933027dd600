//! Versions of the shared files: which builds may read a file that another build made.
//!
//! Every shared file names two numbers. The *minimum reader* is the oldest layout version whose
//! builds can use the file. The *version* is the layout version of the build that made the file.
//! Two rules keep both small:
//!
//! 1. Words are only appended, into bytes that were zero, and zero means absent. This raises the
//!    version alone: an older build ignores the word, a newer build finds it absent.
//! 2. A word that moves or changes its meaning raises the minimum reader. Older builds then refuse
//!    the file.
//!
//! Builds before these numbers compared one number for equality. That number is the minimum reader
//! now, at the same offset, so that those builds still refuse exactly what they cannot read.

/// Numbers of one kind of shared file, as this build knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Oldest minimum reader whose files this build understands.
    oldest: u8,
    /// Minimum reader of the files that this build makes.
    minimum_reader: u8,
    /// Layout version of this build.
    version: u8,
}

/// Reason for which this build cannot use a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The file is of another kind.
    #[error("is not a file of this kind")]
    Foreign,
    /// The file needs a newer build, or is older than any that this build knows.
    #[error("needs layout version {needed}, this build reads {oldest} to {version}")]
    Version {
        /// Minimum reader of the file.
        needed: u32,
        /// Oldest minimum reader that this build understands.
        oldest: u8,
        /// Layout version of this build.
        version: u8,
    },
}

impl Layout {
    /// Creates the numbers of a kind of file: the oldest minimum reader that this build
    /// understands, the minimum reader of its own files, and its version.
    pub const fn new(oldest: u8, minimum_reader: u8, version: u8) -> Self {
        assert!(oldest <= minimum_reader && minimum_reader <= version);
        Self {
            oldest,
            minimum_reader,
            version,
        }
    }

    /// Returns the minimum reader of the files that this build makes.
    pub const fn minimum_reader(&self) -> u8 {
        self.minimum_reader
    }

    /// Returns this build's version.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Returns the first word of a file of this build: seven letters, then the minimum reader.
    pub const fn magic(&self, name: [u8; 7]) -> u64 {
        let [a, b, c, d, e, f, g] = name;
        u64::from_le_bytes([a, b, c, d, e, f, g, self.minimum_reader])
    }

    /// Checks the minimum reader of a file.
    ///
    /// # Errors
    ///
    /// This build cannot use the file.
    pub fn check(&self, needed: u32) -> Result<(), Misfit> {
        if (u32::from(self.oldest)..=u32::from(self.version)).contains(&needed) {
            return Ok(());
        }
        Err(Misfit::Version {
            needed,
            oldest: self.oldest,
            version: self.version,
        })
    }

    /// Checks the first word of a file.
    ///
    /// # Errors
    ///
    /// The file is of another kind, or this build cannot use it.
    pub fn check_magic(&self, name: [u8; 7], found: u64) -> Result<(), Misfit> {
        let bytes = found.to_le_bytes();
        if bytes[..7] != name {
            return Err(Misfit::Foreign);
        }
        self.check(u32::from(bytes[7]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: [u8; 7] = *b"FCSPXYZ";

    #[test]
    fn an_exact_number_of_older_builds_is_the_minimum_reader() {
        // Version 1 compared the whole word for equality.
        let before = u64::from_le_bytes(*b"FCSPXYZ\x01");
        let appended = Layout::new(1, 1, 2);
        assert_eq!(appended.magic(NAME), before);
        assert_eq!(appended.check_magic(NAME, before), Ok(()));
        let moved = Layout::new(1, 3, 3);
        assert_ne!(moved.magic(NAME), before);
        assert_eq!(moved.check_magic(NAME, before), Ok(()));
        assert!(appended.check_magic(NAME, moved.magic(NAME)).is_err());
    }

    proptest! {
        /// Checks that two builds read each other's files exactly where the numbers allow it.
        #[test]
        fn builds_read_what_their_numbers_allow(mut own: [u8; 3], mut other: [u8; 3]) {
            own.sort_unstable();
            other.sort_unstable();
            let own = Layout::new(own[0], own[1], own[2]);
            let other = Layout::new(other[0], other[1], other[2]);
            let reads = own.check_magic(NAME, other.magic(NAME)).is_ok();
            let allowed = own.oldest <= other.minimum_reader && other.minimum_reader <= own.version;
            prop_assert_eq!(reads, allowed);
            prop_assert!(own.check_magic(NAME, own.magic(NAME)).is_ok());
            prop_assert_eq!(
                own.check_magic(*b"FCSPABC", other.magic(NAME)),
                Err(Misfit::Foreign)
            );
        }
    }
}
