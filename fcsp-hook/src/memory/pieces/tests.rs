use core::sync::atomic::{AtomicI32, AtomicPtr};

use super::slab::GRAINS;
use super::*;

fn slab() -> &'static Slab {
    let own = AtomicPtr::new(core::ptr::null_mut());
    make(&own).unwrap()
}

#[test]
fn a_slab_is_new_with_its_first_piece_and_gone_with_its_last() {
    let slab = slab();
    assert_eq!(slab.put(0, 1), 1);
    assert_eq!(slab.put(1, 4), 0);
    assert_eq!(slab.take(2), None);
    assert_eq!(slab.take(0), Some((1, false)));
    assert_eq!(slab.take(0), None, "freed once");
    assert_eq!(slab.take(1), Some((4, true)));
    assert_eq!(slab.put(7, GRAINS as u16), 1, "and it may be one again");
}

#[test]
fn what_is_not_sure_to_fit_is_not_said_to() {
    let slab = slab();
    assert!(!slab.surely_fits(1), "it is none yet");
    slab.put(0, 8);
    assert!(slab.surely_fits(8));
    assert!(
        !slab.surely_fits(4),
        "nobody knows that such pieces are cut from it"
    );
    // Holes of eight are left, none of which begins at a multiple of eight.
    slab.put(8, 4);
    for at in (12 + 8..GRAINS).step_by(16) {
        slab.put(at, 8);
    }
    assert!(
        !slab.surely_fits(8),
        "a piece may have to begin where the hole does not"
    );
    slab.take(20);
    assert!(slab.surely_fits(8));
}

#[test]
fn a_slab_that_another_thread_uses_is_emptied_as_often_as_it_was_opened() {
    let slab = slab();
    let opened = AtomicI32::new(0);
    let mut emptied = 0;
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            for round in 0..20_000 {
                opened.fetch_add(slab.put(round * 7 % GRAINS, 1), Ordering::Relaxed);
            }
        });
        while !done.is_finished() {
            emptied += slab.take_all().1;
        }
    });
    emptied += slab.take_all().1;
    assert_eq!(emptied, opened.into_inner());
    assert_eq!(slab.state.load(Ordering::Relaxed), 0);
}

#[test]
fn a_piece_freed_unseen_is_counted_once() {
    let slab = slab();
    assert_eq!(slab.put(8, 16), 1);
    assert_eq!(slab.put(8, 2), 0);
    assert_eq!(slab.take(8), Some((2, true)));
}

#[test]
fn threads_open_and_close_a_slab_as_often() {
    let slab = slab();
    let (opened, closed) = (AtomicI32::new(0), AtomicI32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (opened, closed) = (&opened, &closed);
            scope.spawn(move || {
                for _ in 0..50_000 {
                    opened.fetch_add(slab.put(thread, 3), Ordering::Relaxed);
                    let (grains, last) = slab.take(thread).unwrap();
                    assert_eq!(grains, 3);
                    closed.fetch_add(i32::from(last), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(opened.into_inner(), closed.into_inner());
    assert_eq!(slab.put(9, 1), 1);
}
