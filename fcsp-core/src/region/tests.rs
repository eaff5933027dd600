//! Tests of regions of another boot, regions with damaged words, sizes of contexts, and parts.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::attach::Attachment;
use super::contexts::ContextKind::{First, Further};
use super::layout::{HEADER_BYTES, SLOT_BYTES, SLOT_LIVE, SlotWords, TENANT_WORDS_AT, TenantWords};
use super::ledger::{UNIT, used_bytes};
use crate::boot;
use crate::clock::now_ns;
use crate::device::{DeviceIdentity, DeviceUuid};
use crate::file::SetupLock;
use crate::sync::Ordering;

const LIMIT: u64 = 1 << 20;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("t.region")
    }

    fn attach(&self) -> Attachment {
        let device = DeviceIdentity {
            index: Some(0),
            uuid: DeviceUuid([9; 16]),
            pci: None,
        };
        let setup = SetupLock::acquire(&self.0.path().join("setup.lock")).unwrap();
        Attachment::open(&self.path(), &device, 1 << 30, LIMIT, &setup).unwrap()
    }
}

fn put(path: &Path, offset: usize, value: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&value.to_le_bytes(), offset as u64)
        .unwrap();
}

fn put_word(path: &Path, offset: usize, value: u64) {
    put(path, TENANT_WORDS_AT + offset, value);
}

/// Creates a region in which `dead` processes have reserved all of the quota and died. The last
/// search was just now, by a clock that is `ahead` of this one.
fn left_behind(folder: &Folder, dead: u32, boot: u64, ahead: u64) {
    let places: Vec<Attachment> = (0..dead).map(|_| folder.attach()).collect();
    drop(places);
    let path = folder.path();
    for index in 0..dead as usize {
        let slot = HEADER_BYTES + index * SLOT_BYTES;
        put(
            &path,
            slot + std::mem::offset_of!(SlotWords, state),
            u64::from(SLOT_LIVE),
        );
        put(
            &path,
            slot + std::mem::offset_of!(SlotWords, held),
            LIMIT / UNIT / u64::from(dead),
        );
    }
    put_word(&path, std::mem::offset_of!(TenantWords, used), LIMIT / UNIT);
    put_word(&path, std::mem::offset_of!(TenantWords, boot), boot);
    put_word(
        &path,
        std::mem::offset_of!(TenantWords, reaped_ns),
        now_ns() + ahead,
    );
}

#[test]
fn the_dead_of_another_boot_hold_nothing() {
    const MONTH_NS: u64 = 30 * 86_400_000_000_000;
    // Few and many, by the boot's number and, in regions of older builds, by the time alone.
    for (dead, boot) in [
        (40, boot::id() ^ 4),
        (200, boot::id() ^ 4),
        (40, 0),
        (200, 0),
    ] {
        let folder = Folder::new();
        left_behind(&folder, dead, boot, MONTH_NS);
        let next = folder.attach();
        next.reserve(LIMIT, LIMIT)
            .unwrap_or_else(|denied| panic!("{dead} dead of boot {boot}: {denied}"));
        assert_eq!(used_bytes(next.tenant()), LIMIT);
        assert_eq!(next.tenant().boot.load(Ordering::Relaxed), boot::id());
    }
}

/// Checks that memory of a process that dies after many others have gone is available at once.
#[test]
fn a_crowd_that_is_gone_keeps_nobody_waiting() {
    let folder = Folder::new();
    let crowd: Vec<Attachment> = (0..200).map(|_| folder.attach()).collect();
    drop(crowd);
    let path = folder.path();
    let slot = HEADER_BYTES + 5 * SLOT_BYTES;
    let held = slot + std::mem::offset_of!(SlotWords, held);
    put(&path, held, LIMIT / UNIT);
    let state = slot + std::mem::offset_of!(SlotWords, state);
    put(&path, state, u64::from(SLOT_LIVE));
    put_word(&path, std::mem::offset_of!(TenantWords, used), LIMIT / UNIT);
    put_word(
        &path,
        std::mem::offset_of!(TenantWords, reaped_ns),
        now_ns(),
    );
    let next = folder.attach();
    assert_eq!(next.high(), 200);
    next.reserve(LIMIT, LIMIT).unwrap();
    assert_eq!(used_bytes(next.tenant()), LIMIT);
}

#[test]
fn the_living_are_never_of_another_boot() {
    let folder = Folder::new();
    let first = folder.attach();
    first.reserve(LIMIT / 2, LIMIT).unwrap();
    // As a checkpoint restored on another machine would have it.
    put_word(
        &folder.path(),
        std::mem::offset_of!(TenantWords, boot),
        boot::id() ^ 4,
    );
    let second = folder.attach();
    assert_eq!(used_bytes(second.tenant()), LIMIT / 2);
    assert!(second.reserve(LIMIT, LIMIT).is_err());
}

/// Checks that words that claim more slots than the file has cause no SIGBUS.
#[test]
fn words_written_over_fault_nobody() {
    let folder = Folder::new();
    let first = folder.attach();
    let second = folder.attach();
    for value in [1_000u32, 60_000, u32::MAX] {
        for place in [&first, &second] {
            place.tenant().capacity.store(value, Ordering::Relaxed);
            place.tenant().high.store(value, Ordering::Relaxed);
            place.reap();
            place.reserve(LIMIT, LIMIT).unwrap();
            assert!(place.reserve(UNIT, LIMIT).is_err());
            place.release(LIMIT);
        }
    }
    assert_eq!(used_bytes(first.tenant()), 0);
}

/// Checks that a file that other processes have grown is scanned to its end.
#[test]
fn slots_that_come_later_are_seen() {
    let folder = Folder::new();
    let first = folder.attach();
    let others: Vec<Attachment> = (0..100).map(|_| folder.attach()).collect();
    for place in &others {
        place.reserve(UNIT, u64::MAX).unwrap();
    }
    first.reap();
    assert_eq!(used_bytes(first.tenant()), 100 * UNIT);
    drop(others);
    first.reserve(LIMIT, LIMIT).unwrap();
}

#[test]
fn the_smallest_context_seen_is_known_to_all() {
    let folder = Folder::new();
    let (a, b) = (folder.attach(), folder.attach());
    assert_eq!(
        (a.context_bytes(First), a.context_bytes(Further)),
        (None, None)
    );
    for bytes in [900, 0, 500, 700] {
        a.saw_context(First, bytes);
    }
    b.saw_context(Further, 600);
    // No more than a first context, whatever else was in the figure.
    assert_eq!(
        (b.context_bytes(First), b.context_bytes(Further)),
        (Some(500), Some(500))
    );
    b.saw_context(Further, 300);
    assert_eq!(a.context_bytes(Further), Some(300));
}

#[test]
fn who_makes_a_context_is_seen_by_the_others_until_it_is_made_or_takes_too_long() {
    let folder = Folder::new();
    let (a, b) = (folder.attach(), folder.attach());
    a.begins_context();
    assert!(b.others_make_contexts() && !a.others_make_contexts());
    a.ends_context();
    assert!(!b.others_make_contexts());
    a.begins_context();
    let since = a.slot().making_since.load(Ordering::Relaxed);
    a.slot().making_since.store(
        since.saturating_sub(10_000_000_000).max(1),
        Ordering::Relaxed,
    );
    assert!(!b.others_make_contexts());
    a.begins_context();
    drop(a);
    assert!(!b.others_make_contexts());
}

/// Checks that a part's memory counts in both regions, and that a refusal by either leaves both
/// unchanged.
#[test]
fn a_part_reserves_in_both_or_in_neither() {
    let (inner, outer) = (Folder::new(), Folder::new());
    let (own, around) = (inner.attach(), outer.attach());
    let mut part = inner.attach();
    part.set_outer(outer.attach(), 6 * UNIT);
    let used = || (used_bytes(own.tenant()), used_bytes(around.tenant()));
    let small = 4 * UNIT;
    part.reserve(3 * UNIT, small).unwrap();
    assert_eq!(used(), (3 * UNIT, 3 * UNIT));
    assert_eq!(part.room(small), UNIT);
    part.reserve(2 * UNIT, small).unwrap_err();
    around.reserve(3 * UNIT, u64::MAX).unwrap();
    assert_eq!((part.room(small), part.over(small)), (0, 0));
    let denied = part.reserve(UNIT, small).unwrap_err();
    assert_eq!((denied.used, denied.limit), (6 * UNIT, 6 * UNIT));
    assert_eq!(used(), (3 * UNIT, 6 * UNIT));
    assert_eq!(part.usage(small).used, small);
    part.set_outer_limits(&[5 * UNIT]);
    assert_eq!(part.over(small), UNIT);
    part.charge(UNIT);
    assert_eq!(used(), (small, 7 * UNIT));
    part.release(2 * UNIT);
    assert_eq!(used(), (2 * UNIT, 5 * UNIT));
    assert_eq!(part.outermost().path(), outer.path());
    drop(part);
    assert_eq!(used(), (0, 3 * UNIT));
}

#[test]
fn more_than_the_whole_quota_is_refused_in_the_same_words() {
    let folder = Folder::new();
    let place = folder.attach();
    place.reserve(4096, LIMIT).unwrap();
    let words = place.reserve(LIMIT + 1, LIMIT).unwrap_err();
    assert_eq!(place.deny(LIMIT + 1, LIMIT), words);
    assert_eq!(place.slot().refused.load(Ordering::Relaxed), 2);
    assert_eq!(used_bytes(place.tenant()), 4096);
}
