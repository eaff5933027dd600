//! The control page: a tenant's limits, written from outside and mapped read-only by the tenant's
//! processes, so that `fcsp limit` changes a running program.
//!
//! It is a seqlock (Lameter, 2005; Boehm, MSPC 2012). One writer at a time holds the tenant's setup
//! lock; readers need no lock. The generation is odd while the writer writes. A reader that finds
//! it odd keeps its present limits.
//!
//! Only the tenant's own processes map the page. All others read and write the file
//! ([`ControlFile`]): a tenant that truncates its file must not end one of root's commands by a
//! fault.

mod outside;
mod run_state;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::clock::nap;
use crate::config::{Quota, Rules};
use crate::device::{DeviceUuid, PciAddress, Selector, UuidStart};
use crate::file::{self, Mapping};
use crate::layout_version::{Layout, Misfit};
use crate::share::params::Params;
use crate::state::{MEMBER_LOCK, SetupGuard, layout};
use crate::sync::{AtomicU64, Ordering};

pub use outside::{ControlFile, ControlWriter};
pub use run_state::{Pauser, RunState, Stage};

/// First seven bytes of a page.
const NAME: [u8; 7] = *b"FCSPCTL";
/// Layout versions. Version 3 appended [`WORD_VERSION`].
const LAYOUT: Layout = Layout::new(2, 2, 3);
/// Words of one rule.
const ENTRY_WORDS: usize = 16;
/// First word of the first rule.
const FIRST_ENTRY: usize = 8;
/// Size of the file, in bytes.
const FILE_BYTES: usize = 16_384;
/// Most rules that a page has space for, memory and compute together.
pub const MAX_RULES: usize = (FILE_BYTES / 8 - FIRST_ENTRY) / ENTRY_WORDS;

/// Name and minimum reader ([`Layout::magic`]). Written once, before the file gets its name;
/// readers check it when they map the page.
const WORD_MAGIC: usize = 0;
/// Generation. Odd while a writer writes, and raised by two with every change. The writer writes it
/// before and after the other words, with full fences in between; readers load it with Acquire and
/// check it again.
const WORD_GENERATION: usize = 1;
/// Number of rules. Written between the two changes of the generation.
const WORD_RULES: usize = 2;
/// Run state ([`RunState`]); 0 while the tenant's work runs. Written likewise.
const WORD_RUN_STATE: usize = 3;
/// Check value over the rules and the run state ([`check`]). Written likewise.
const WORD_CHECK: usize = 4;
/// Layout version of the last writer; 0 if that build had none. Written likewise. Version 3
/// appended it. Writers before version 3 store zeros in words 5 to 7.
const WORD_VERSION: usize = 5;
/// Generation with which the present pause began; 0 while the tenant's work runs, and if a build
/// before version 3 wrote the page. Written likewise. Version 3 appended it.
const WORD_PAUSED_SINCE: usize = 6;

/// Rule for a memory quota, in the first word of an entry.
const KIND_MEMORY: u64 = 1;
/// Rule for a compute share.
const KIND_COMPUTE: u64 = 2;

/// Contents of a control page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory quotas.
    pub memory: Rules<Quota>,
    /// Compute shares.
    pub compute: Rules<Params>,
    /// State of the tenant's work: whether it runs, and who has paused it.
    pub run_state: RunState,
}

/// A control page, mapped by a process of the tenant.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    mapping: Mapping,
}

fn invalid(path: &Path, reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} {reason}", path.display()),
    )
}

fn check_magic(path: &Path, found: u64) -> io::Result<()> {
    LAYOUT
        .check_magic(NAME, found)
        .map_err(|misfit| match misfit {
            Misfit::Foreign => invalid(path, "is not a control page"),
            version => invalid(path, &version.to_string()),
        })
}

impl Control {
    /// Opens the page in a tenant's folder, for a process that is not, or not yet, one of the
    /// tenant's. Returns `None` if there is none.
    pub fn open(dir: &Path) -> io::Result<Option<ControlFile>> {
        ControlFile::open(dir)
    }

    /// Opens the page for writing, and creates it if needed. The guard proves that nobody else
    /// writes.
    pub fn create(setup: &SetupGuard) -> io::Result<ControlWriter<'_>> {
        ControlWriter::create(setup)
    }

    /// Maps the page for reading as one of the tenant's processes. A lock shows that the process
    /// lives for as long as the page is mapped. A forked child has the mapping too, and is a
    /// process of the tenant.
    pub fn open_as_member(dir: &Path) -> io::Result<Self> {
        let path = dir.join(layout::CONTROL);
        let file = file::open_ro(&path)?;
        if !file::try_lock_shared(&file, MEMBER_LOCK, 1)? {
            return Err(invalid(&path, "is held for writing by somebody"));
        }
        Self::map(path, &file)
    }

    fn map(path: PathBuf, file: &File) -> io::Result<Self> {
        if file.metadata()?.len() < FILE_BYTES as u64 {
            return Err(invalid(&path, "is truncated"));
        }
        let mapping = Mapping::new(file, FILE_BYTES, false)?;
        let this = Self { path, mapping };
        check_magic(&this.path, this.word(WORD_MAGIC).load(Ordering::Relaxed))?;
        Ok(this)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < FILE_BYTES / 8);
        let base: NonNull<AtomicU64> = self.mapping.base().cast();
        // SAFETY: the index is inside the mapping, whose file was checked to be as long. Atomics
        // may be written by other processes at any time. The mapping lives as long as `self`.
        unsafe { base.add(index).as_ref() }
    }

    /// Returns the generation, which changes whenever the limits change. It costs one load of a
    /// cache line that is otherwise only read.
    #[inline]
    pub fn generation(&self) -> u64 {
        // Acquire: pairs with the writer's Release, so that the entries read next belong to this
        // generation.
        self.word(WORD_GENERATION).load(Ordering::Acquire)
    }

    /// Returns the generation word itself, for a hot path that keeps its address.
    pub fn generation_word(&self) -> &AtomicU64 {
        self.word(WORD_GENERATION)
    }

    /// Returns the limits with their generation. Returns `None` while they are being written, and
    /// if they are damaged: damage must not pass for an absence of limits.
    pub fn read(&self) -> Option<(u64, Limits)> {
        let before = self.generation();
        if before & 1 == 1 {
            return None;
        }
        let run_state = self.word(WORD_RUN_STATE).load(Ordering::Relaxed);
        let rules = usize::try_from(self.word(WORD_RULES).load(Ordering::Relaxed)).ok()?;
        if rules > MAX_RULES {
            return None;
        }
        let mut entries = vec![[0u64; ENTRY_WORDS]; rules];
        for (i, entry) in entries.iter_mut().enumerate() {
            for (j, value) in entry.iter_mut().enumerate() {
                *value = self
                    .word(FIRST_ENTRY + i * ENTRY_WORDS + j)
                    .load(Ordering::Relaxed);
            }
        }
        let sum = self.word(WORD_CHECK).load(Ordering::Relaxed);
        // Acquire fence: the entries are read before the generation is checked again.
        std::sync::atomic::fence(Ordering::Acquire);
        if self.word(WORD_GENERATION).load(Ordering::Relaxed) != before
            || sum != check(run_state, &entries)
        {
            return None;
        }
        Some((before, limits_of(run_state, &entries)))
    }

    /// Returns the limits when no writer writes them. Waits for a delayed writer as long as for any
    /// setup. The caller does not hold the tenant's setup lock.
    pub fn read_when_settled(&self) -> io::Result<(u64, Limits)> {
        if let Some(read) = self.read() {
            return Ok(read);
        }
        // Only the holder of the lock writes.
        let lock = self.path.parent().map(SetupGuard::acquire);
        match lock {
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            // A folder that cannot be seen, because of another root folder, leaves only the page
            // itself.
            _ => self.read_settled(),
        }
    }

    /// Returns the limits, and tries again while they are being written, for at least ten
    /// milliseconds.
    pub fn read_settled(&self) -> io::Result<(u64, Limits)> {
        settled(&self.path, || Ok(self.read()))
    }
}

/// Calls `read` until it returns a value, for at least ten milliseconds.
fn settled<T>(path: &Path, mut read: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..100 {
        if let Some(read) = read()? {
            return Ok(read);
        }
        nap(100_000);
    }
    Err(invalid(
        path,
        "is half-written or damaged; write the limits again with `fcsp limit`",
    ))
}

fn entries_of(limits: &Limits) -> Vec<[u64; ENTRY_WORDS]> {
    let mut entries: Vec<[u64; ENTRY_WORDS]> = Vec::new();
    for (selector, quota) in limits.memory.iter() {
        let mut entry = [0; ENTRY_WORDS];
        entry[0] = KIND_MEMORY;
        put_selector(&mut entry, selector);
        (entry[5], entry[6]) = match quota {
            Quota::Unlimited => (0, 0),
            Quota::Bytes(bytes) => (1, bytes),
            Quota::Share(ppm) => (2, u64::from(ppm)),
        };
        entries.push(entry);
    }
    for (selector, params) in limits.compute.iter() {
        let mut entry = [0; ENTRY_WORDS];
        entry[0] = KIND_COMPUTE;
        put_selector(&mut entry, selector);
        entry[5..13].copy_from_slice(&params.to_words());
        entries.push(entry);
    }
    entries
}

fn limits_of(run_state: u64, entries: &[[u64; ENTRY_WORDS]]) -> Limits {
    let mut limits = Limits {
        run_state: RunState::from_word(run_state),
        ..Limits::default()
    };
    for entry in entries {
        let Some(selector) = get_selector(entry) else {
            continue;
        };
        match entry[0] {
            KIND_MEMORY => {
                let quota = match (entry[5], entry[6]) {
                    (0, _) => Quota::Unlimited,
                    (1, bytes) => Quota::Bytes(bytes),
                    (_, ppm) => Quota::Share(ppm as u32),
                };
                limits.memory.set(selector, quota);
            }
            KIND_COMPUTE => {
                let mut words = [0u64; 8];
                words.copy_from_slice(&entry[5..13]);
                if let Some(params) = Params::from_words(&words) {
                    limits.compute.set(selector, params);
                }
            }
            _ => {}
        }
    }
    limits
}

/// Writes the correct check value into a page's bytes, for tests that must pass the check.
#[doc(hidden)]
pub fn seal(page: &mut [u8]) {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&page[at * 8..at * 8 + 8]);
        u64::from_le_bytes(bytes)
    };
    let rules = word(WORD_RULES).min(MAX_RULES as u64) as usize;
    let entries: Vec<[u64; ENTRY_WORDS]> = (0..rules)
        .map(|i| std::array::from_fn(|j| word(FIRST_ENTRY + i * ENTRY_WORDS + j)))
        .collect();
    let sum = check(word(WORD_RUN_STATE), &entries);
    page[WORD_CHECK * 8..WORD_CHECK * 8 + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Computes FNV-1a over a page's contents, word by word. It finds errors but no forgery, since a
/// forger could compute it too.
fn check(run_state: u64, entries: &[[u64; ENTRY_WORDS]]) -> u64 {
    std::iter::once(run_state)
        .chain(std::iter::once(entries.len() as u64))
        .chain(entries.iter().flatten().copied())
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn put_selector(entry: &mut [u64; ENTRY_WORDS], selector: Selector) {
    match selector {
        Selector::All => entry[1] = 0,
        Selector::Index(index) => (entry[1], entry[2]) = (1, u64::from(index)),
        Selector::Uuid(uuid) => (entry[1], [entry[2], entry[3]]) = (2, uuid_words(&uuid.0)),
        Selector::UuidStart(start) => {
            let (bytes, digits) = start.parts();
            (entry[1], [entry[2], entry[3]]) = (4, uuid_words(&bytes));
            entry[4] = u64::from(digits);
        }
        Selector::Pci(pci) => {
            (entry[1], entry[2]) = (3, u64::from(pci.domain));
            entry[3] = u64::from(u32::from_be_bytes([0, pci.bus, pci.device, pci.function]));
        }
    }
}

fn uuid_words(bytes: &[u8; 16]) -> [u64; 2] {
    [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or([0; 8])))
}

fn uuid_bytes(entry: &[u64; ENTRY_WORDS]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&entry[2].to_le_bytes());
    bytes[8..].copy_from_slice(&entry[3].to_le_bytes());
    bytes
}

fn get_selector(entry: &[u64; ENTRY_WORDS]) -> Option<Selector> {
    Some(match entry[1] {
        0 => Selector::All,
        1 => Selector::Index(entry[2] as u32),
        2 => Selector::Uuid(DeviceUuid(uuid_bytes(entry))),
        4 => Selector::UuidStart(UuidStart::new(
            uuid_bytes(entry),
            u8::try_from(entry[4]).ok()?,
        )?),
        3 => {
            let [_, bus, device, function] = (entry[3] as u32).to_be_bytes();
            Selector::Pci(PciAddress {
                domain: entry[2] as u32,
                bus,
                device,
                function,
            })
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks that a process that was killed while it created the page leaves nothing permanently.
    #[test]
    fn a_page_that_was_begun_and_not_ended_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".control.4711.0", ".control.4711.1", ".region.4711.0"] {
            std::fs::write(dir.path().join(name), b"half").unwrap();
        }
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        Control::create(&setup).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".region.4711.0", "control", "setup.lock"]);
    }

    fn selector() -> impl Strategy<Value = Selector> {
        prop_oneof![
            Just(Selector::All),
            any::<u32>().prop_map(Selector::Index),
            any::<[u8; 16]>().prop_map(|b| Selector::Uuid(DeviceUuid(b))),
            (any::<[u8; 16]>(), 4u8..32)
                .prop_filter_map("a number of digits", |(b, n)| UuidStart::new(b, n)
                    .map(Selector::UuidStart)),
            any::<(u32, u8, u8, u8)>().prop_map(|(domain, bus, device, function)| Selector::Pci(
                PciAddress {
                    domain,
                    bus,
                    device,
                    function
                }
            )),
        ]
    }

    fn quota() -> impl Strategy<Value = Quota> {
        prop_oneof![
            Just(Quota::Unlimited),
            any::<u64>().prop_map(Quota::Bytes),
            (1u32..=1_000_000).prop_map(Quota::Share)
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rules in prop::collection::vec((selector(), quota()), 0..20), paused: bool) {
            let dir = tempfile::tempdir().unwrap();
            let run_state = RunState::user(paused);
            let mut limits = Limits { run_state, ..Limits::default() };
            for (selector, quota) in rules {
                limits.memory.set(selector, quota);
            }
            let setup = SetupGuard::acquire(dir.path()).unwrap();
            let writer = Control::create(&setup).unwrap();
            let reader = Control::open(dir.path()).unwrap().unwrap();
            let member = Control::open_as_member(dir.path()).unwrap();
            let before = reader.generation().unwrap();
            writer.write(&limits).unwrap();
            prop_assert_ne!(reader.generation().unwrap(), before);
            prop_assert_eq!(reader.generation().unwrap(), member.generation());
            prop_assert_eq!(&member.read().unwrap().1, &limits);
            prop_assert_eq!(reader.read_settled().unwrap().1, limits);
        }
    }

    fn set_generation(dir: &Path, generation: u64) {
        use std::os::unix::fs::FileExt;
        let file = file::open_rw(&dir.join(layout::CONTROL), false).unwrap();
        file.write_all_at(&generation.to_le_bytes(), WORD_GENERATION as u64 * 8)
            .unwrap();
    }

    /// Checks that a tenant that truncates its page while a command of root's has it open causes an
    /// error, and no fault.
    #[test]
    fn a_page_that_is_cut_short_is_an_error_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        let page = Control::create(&setup).unwrap();
        page.write(&Limits::default()).unwrap();
        let file = file::open_rw(&dir.path().join("control"), false).unwrap();
        for bytes in [0, 8, 4096] {
            file.set_len(bytes).unwrap();
            let error = page.read_settled().unwrap_err();
            assert!(error.to_string().contains("is truncated"), "{error}");
        }
        file.set_len(0).unwrap();
        assert!(page.write(&Limits::default()).is_err());
        assert!(Control::open(dir.path()).is_err());
    }

    #[test]
    fn a_damaged_page_says_nothing() {
        use std::os::unix::fs::FileExt;
        let dir = tempfile::tempdir().unwrap();
        let mut limits = Limits::default();
        limits.memory.set(Selector::All, Quota::Bytes(1 << 30));
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        let writer = Control::create(&setup).unwrap();
        let reader = Control::open_as_member(dir.path()).unwrap();
        let file = file::open_rw(&dir.path().join("control"), false).unwrap();
        // The number of rules, one rule's kind, its amount.
        for at in [WORD_RULES, FIRST_ENTRY, FIRST_ENTRY + 6] {
            writer.write(&limits).unwrap();
            assert_eq!(reader.read().unwrap().1, limits);
            file.write_all_at(&[0; 8], at as u64 * 8).unwrap();
            assert_eq!(reader.read(), None, "word {at}");
        }
        writer.write(&limits).unwrap();
        assert_eq!(reader.read().unwrap().1, limits);
    }

    #[test]
    fn a_writer_killed_half_way_is_noticed_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        let writer = Control::create(&setup).unwrap();
        writer.write(&Limits::default()).unwrap();
        set_generation(dir.path(), 3);
        assert!(writer.read().unwrap().is_none());
        assert!(
            writer
                .read_settled()
                .unwrap_err()
                .to_string()
                .contains("half-written")
        );
        writer.write(&Limits::default()).unwrap();
        assert!(writer.read().unwrap().is_some());
    }

    /// Checks that a reader waits for a writer that was stopped between two of its stores and holds
    /// the setup lock.
    #[test]
    fn a_writer_that_is_slow_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let setup = SetupGuard::acquire(dir.path()).unwrap();
        let page = Control::create(&setup).unwrap();
        page.write(&Limits::default()).unwrap();
        let generation = page.generation().unwrap();
        set_generation(dir.path(), generation | 1);
        let reader = Control::open_as_member(dir.path()).unwrap();
        assert!(reader.read_settled().is_err(), "longer than a busy moment");
        let waits = std::thread::spawn(move || reader.read_when_settled());
        nap(30_000_000);
        set_generation(dir.path(), generation + 2);
        drop(setup);
        assert_eq!(
            waits.join().unwrap().unwrap(),
            (generation + 2, Limits::default())
        );
        // A writer that died there has released the lock, and the page is invalid.
        set_generation(dir.path(), generation | 1);
        let reader = Control::open_as_member(dir.path()).unwrap();
        assert!(
            reader
                .read_when_settled()
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }

    #[test]
    fn a_foreign_or_short_page_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Control::open(dir.path()).unwrap().is_none());
        std::fs::write(dir.path().join("control"), b"short").unwrap();
        assert!(
            Control::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("truncated")
        );
        std::fs::write(dir.path().join("control"), vec![7; FILE_BYTES]).unwrap();
        assert!(
            Control::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("not a control page")
        );
    }
}
