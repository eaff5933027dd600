//! The control page as a file, for commands and for a process that is about to join.

use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{
    ENTRY_WORDS, FILE_BYTES, FIRST_ENTRY, LAYOUT, Limits, MAX_RULES, NAME, WORD_CHECK,
    WORD_GENERATION, WORD_MAGIC, WORD_PAUSED_SINCE, WORD_RULES, WORD_RUN_STATE, WORD_VERSION,
    check, check_magic, entries_of, invalid, limits_of, settled,
};
use crate::file::{self, Mapping, Transient};
use crate::state::{SetupGuard, layout};

/// A control page, read and written by system calls.
#[derive(Debug)]
pub struct ControlFile {
    path: PathBuf,
    file: Transient,
}

fn word_of(bytes: &[u8], index: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
    u64::from_le_bytes(word)
}

/// Most entries of a tenant's folder that are looked at: its processes can fill it.
const MOST_ENTRIES: usize = 4096;

/// Removes temporary files of processes that were killed while they created the page. The caller
/// holds the setup lock, so no living process has one.
fn forget_unfinished(dir: &Path) {
    let prefix = format!(".{}.", layout::CONTROL);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.take(MOST_ENTRIES) {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            // What cannot be removed disturbs nobody: its name is used once.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl ControlFile {
    pub(super) fn open(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(layout::CONTROL);
        match file::open_ro(&path) {
            Ok(file) => Self::checked(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(layout::CONTROL);
        let file = match file::open_rw(&path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                forget_unfinished(dir);
                file::make(&path, |file| {
                    file::allocate(file, FILE_BYTES as u64)?;
                    file::write_at(file, &LAYOUT.magic(NAME).to_le_bytes(), 0)
                })
            }
            file => file,
        }?;
        Self::checked(path, file)
    }

    fn checked(path: PathBuf, file: Transient) -> io::Result<Self> {
        let this = Self { path, file };
        if this.file.metadata()?.len() < FILE_BYTES as u64 {
            return Err(invalid(&this.path, "is truncated"));
        }
        check_magic(&this.path, this.word(WORD_MAGIC)?)?;
        Ok(this)
    }

    fn bytes(&self, words: usize, first: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; words * 8];
        match self.file.read_exact_at(&mut bytes, first as u64 * 8) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(invalid(&self.path, "is truncated"))
            }
            done => done.map(|()| bytes),
        }
    }

    fn word(&self, index: usize) -> io::Result<u64> {
        Ok(word_of(&self.bytes(1, index)?, 0))
    }

    /// Returns the generation, which changes whenever the limits change and is odd while they are
    /// being written.
    ///
    /// # Errors
    ///
    /// The file was truncated, or any error of the file operations.
    pub fn generation(&self) -> io::Result<u64> {
        self.word(WORD_GENERATION)
    }

    /// Returns the layout version of the build that last wrote the page; 0 for a build before
    /// version 3.
    ///
    /// # Errors
    ///
    /// As for [`ControlFile::generation`].
    pub fn layout_version(&self) -> io::Result<u64> {
        self.word(WORD_VERSION)
    }

    /// Returns the generation with which the present pause began. Returns `None` while the tenant's
    /// work runs, and while the page is being written. A page that a build before version 3 wrote
    /// counts as written at its present generation.
    ///
    /// # Errors
    ///
    /// As for [`ControlFile::generation`].
    pub fn paused_since(&self) -> io::Result<Option<u64>> {
        let before = self.generation()?;
        // As in `read`.
        fence(Ordering::Acquire);
        let bytes = self.bytes(FIRST_ENTRY, 0)?;
        fence(Ordering::Acquire);
        if before & 1 == 1 || self.generation()? != before || word_of(&bytes, WORD_RUN_STATE) == 0 {
            return Ok(None);
        }
        let since = word_of(&bytes, WORD_PAUSED_SINCE);
        Ok(Some(if since == 0 { before } else { since }))
    }

    /// Returns the limits with their generation. Returns `None` while they are being written, and
    /// if they are damaged.
    ///
    /// # Errors
    ///
    /// As for [`ControlFile::generation`].
    pub fn read(&self) -> io::Result<Option<(u64, Limits)>> {
        let before = self.generation()?;
        if before & 1 == 1 {
            return Ok(None);
        }
        // The generation is read before the contents, and again after them.
        fence(Ordering::Acquire);
        let bytes = self.bytes(FILE_BYTES / 8, 0)?;
        fence(Ordering::Acquire);
        let (rules, run_state) = (word_of(&bytes, WORD_RULES), word_of(&bytes, WORD_RUN_STATE));
        let Some(rules) = usize::try_from(rules)
            .ok()
            .filter(|&rules| rules <= MAX_RULES)
        else {
            return Ok(None);
        };
        let entries: Vec<[u64; ENTRY_WORDS]> = (0..rules)
            .map(|i| std::array::from_fn(|j| word_of(&bytes, FIRST_ENTRY + i * ENTRY_WORDS + j)))
            .collect();
        let is_whole = self.generation()? == before
            && word_of(&bytes, WORD_CHECK) == check(run_state, &entries);
        Ok(is_whole.then(|| (before, limits_of(run_state, &entries))))
    }

    /// Returns the limits, and tries again while they are being written, for at least ten
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// As for [`ControlFile::generation`]; `InvalidData` if the page is half-written or damaged.
    pub fn read_settled(&self) -> io::Result<(u64, Limits)> {
        settled(&self.path, || self.read())
    }

    fn write(&self, limits: &Limits) -> io::Result<()> {
        let entries = entries_of(limits);
        if entries.len() > MAX_RULES {
            return Err(invalid(&self.path, "has no room for so many rules"));
        }
        let since = self.paused_since()?;
        let before = self.generation()? | 1;
        self.put(&[before], WORD_GENERATION)?;
        // A reader that sees a new word also sees the odd generation. A reader that sees the even
        // one sees all new words.
        fence(Ordering::SeqCst);
        let run_state = limits.run_state.to_word();
        let mut words = vec![0; FIRST_ENTRY - WORD_RULES];
        words[0] = entries.len() as u64;
        words[WORD_RUN_STATE - WORD_RULES] = run_state;
        if limits.run_state.is_paused() {
            words[WORD_PAUSED_SINCE - WORD_RULES] = since.unwrap_or(before.wrapping_add(1));
        }
        words[WORD_CHECK - WORD_RULES] = check(run_state, &entries);
        words[WORD_VERSION - WORD_RULES] = u64::from(LAYOUT.version());
        words.extend(entries.iter().flatten());
        self.put(&words, WORD_RULES)?;
        fence(Ordering::SeqCst);
        self.put(&[before.wrapping_add(1)], WORD_GENERATION)
    }

    fn put(&self, words: &[u64], first: usize) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().copied().flat_map(u64::to_le_bytes).collect();
        match file::write_at(&self.file, &bytes, first as u64 * 8) {
            Err(error) if error.raw_os_error() == Some(libc::EFBIG) => {
                self.put_by_mapping(words, first)
            }
            done => done,
        }
    }

    /// Writes through a mapping, for a process that may not write to files (`RLIMIT_FSIZE`).
    fn put_by_mapping(&self, words: &[u64], first: usize) -> io::Result<()> {
        let mapping = Mapping::new(&self.file, FILE_BYTES, true)?;
        for (index, &word) in (first..FILE_BYTES / 8).zip(words) {
            // SAFETY: the index is inside the mapping, whose file was checked to be as long; others
            // read the words as atomics, too.
            let at = unsafe { mapping.base().cast::<AtomicU64>().add(index).as_ref() };
            at.store(word, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A control page that its holder may write: it borrows the setup lock.
#[derive(Debug)]
pub struct ControlWriter<'guard> {
    page: ControlFile,
    setup: &'guard SetupGuard,
}

impl<'guard> ControlWriter<'guard> {
    pub(super) fn create(setup: &'guard SetupGuard) -> io::Result<Self> {
        let page = ControlFile::create(setup.dir())?;
        Ok(Self { page, setup })
    }

    /// Returns the guard that proves the right to write.
    pub fn guard(&self) -> &'guard SetupGuard {
        self.setup
    }

    /// Replaces the limits.
    ///
    /// # Errors
    ///
    /// There is no room for so many rules, or the system's reason.
    pub fn write(&self, limits: &Limits) -> io::Result<()> {
        self.page.write(limits)
    }
}

impl Deref for ControlWriter<'_> {
    type Target = ControlFile;

    fn deref(&self) -> &ControlFile {
        &self.page
    }
}
