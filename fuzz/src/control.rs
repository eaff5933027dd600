//! A control page with any bytes: an error, or limits that are consistent and can be written back
//! unchanged.

use fcsp_core::control::{Control, Limits, MAX_RULES, seal};
use fcsp_core::state::SetupGuard;

/// Runs one input. If the lowest bit of the first byte is set, the other bytes are the file.
/// Otherwise they overwrite a valid page, behind its magic word. The next bit says whether the
/// page's check value is made to match them.
pub fn run(data: &[u8]) {
    let mut input = crate::Input::new(data);
    let how = input.byte();
    let dir = crate::region::scratch();
    let path = dir.path().join("control");
    let setup = SetupGuard::acquire(dir.path()).expect("nobody else has the lock");
    if how & 1 == 1 {
        std::fs::write(&path, input.rest()).expect("a scratch file");
    } else {
        Control::create(&setup)
            .and_then(|page| page.write(&Limits::default()))
            .expect("a good page");
        let mut page = std::fs::read(&path).expect("the page just made");
        let bytes = input.rest();
        let room = bytes.len().min(page.len() - 8);
        page[8..8 + room].copy_from_slice(&bytes[..room]);
        if how & 2 == 2 {
            seal(&mut page);
        }
        std::fs::write(&path, page).expect("a scribble");
    }
    let Ok(Some(page)) = Control::open(dir.path()) else {
        return;
    };
    let generation = || page.generation().expect("the page is whole");
    let odd = generation() & 1 == 1;
    let bytes = std::fs::read(&path).expect("the page is there");
    let many =
        u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")) > MAX_RULES as u64;
    let Some((read, limits)) = page.read().expect("the page is whole") else {
        let mut sealed = bytes.clone();
        seal(&mut sealed);
        assert!(
            odd || many || bytes != sealed,
            "nobody writes, so only a half-written or damaged page says nothing"
        );
        return;
    };
    assert!(!odd && !many, "such a page says nothing");
    assert_eq!(read, generation());
    assert!(limits.memory.iter().count() + limits.compute.iter().count() <= MAX_RULES);
    // Written back, the page says the same, in another generation.
    let writer = Control::create(&setup).expect("the page is there");
    writer.write(&limits).expect("it came from a page");
    let (after, again) = page
        .read()
        .expect("the page is whole")
        .expect("nobody writes");
    assert_ne!(after, read);
    assert_eq!(again, limits);
}

#[cfg(test)]
#[test]
fn control() {
    let word = |value: u64| value.to_le_bytes();
    // Generation, rules, paused, four spare words; then a memory rule for device 1 and a compute
    // rule for all.
    let mut good: Vec<u8> = vec![2];
    for value in [2, 2, 0, 0, 0, 0, 0] {
        good.extend(word(value));
    }
    for value in [1, 1, 1, 0, 0, 1, 8 << 30, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        good.extend(word(value));
    }
    for value in [2u64, 0, 0, 0, 0] {
        good.extend(word(value));
    }
    for value in fcsp_core::share::params::Params::balanced(250_000).to_words() {
        good.extend(word(value));
    }
    good.extend([0; 24]);
    let mut many = good.clone();
    many[9..17].copy_from_slice(&word(u64::MAX));
    let mut odd = good.clone();
    odd[1] = 3;
    let mut unsealed = good.clone();
    unsealed[0] = 0;
    let seeds: [&[u8]; 7] = [
        &good,
        &unsealed,
        &many,
        &odd,
        b"\x01",
        b"\x01FCSPCTL\x02",
        &[0; 100],
    ];
    crate::tests::try_many(&seeds, 5_000, run);
}
