//! The builds before layout versions, as far as they read and write shared files: control page and
//! region of version 2, claim page of version 1.
//!
//! The files `*.hex` are what the command and the preload library of commit b56c4bc wrote for a
//! paused tenant on the simulator. Each line is an offset and 16 bytes; lines of zeros are left
//! out. The functions here do what the code of that commit did, with its constants.

/// Bytes of a control page.
pub const CONTROL_BYTES: usize = 16_384;
/// Bytes of the region that the fixture has.
pub const REGION_BYTES: usize = 12_288;
/// Bytes of a claim page.
pub const CLAIM_BYTES: usize = 4096;

const CONTROL: &str = include_str!("control-2.hex");
const REGION: &str = include_str!("region-2.hex");
const CLAIMS: &str = include_str!("claims-1.hex");

fn bytes(hex: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for line in hex.lines() {
        let (at, digits) = line.split_once(": ").expect("an offset and bytes");
        let at = usize::from_str_radix(at, 16).expect("an offset");
        for (i, byte) in bytes[at..at + 16].iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("a byte");
        }
    }
    bytes
}

/// Returns the control page that the old command wrote.
pub fn control() -> Vec<u8> {
    bytes(CONTROL, CONTROL_BYTES)
}

/// Returns the region that the old library wrote.
pub fn region() -> Vec<u8> {
    bytes(REGION, REGION_BYTES)
}

/// Returns the claim page that the old library wrote.
pub fn claims() -> Vec<u8> {
    bytes(CLAIMS, CLAIM_BYTES)
}

/// Returns the word at this offset in bytes.
pub fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Replaces the word at this offset in bytes.
pub fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// A control page as the old reader understood it.
#[derive(Debug, PartialEq, Eq)]
pub struct Control {
    /// True if the tenant is paused.
    pub paused: bool,
    /// Words of the rules.
    pub rules: Vec<[u64; 16]>,
}

fn sum(paused: u64, rules: &[[u64; 16]]) -> u64 {
    std::iter::once(paused)
        .chain(std::iter::once(rules.len() as u64))
        .chain(rules.iter().flatten().copied())
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Reads a control page. Returns `None` where the old reader refused it.
pub fn read_control(page: &[u8]) -> Option<Control> {
    if page[..8] != *b"FCSPCTL\x02" || word(page, 8) & 1 == 1 {
        return None;
    }
    let (count, paused) = (word(page, 16) as usize, word(page, 24));
    let rules: Vec<[u64; 16]> = (0..count)
        .map(|i| std::array::from_fn(|j| word(page, 64 + i * 128 + j * 8)))
        .collect();
    (word(page, 32) == sum(paused, &rules)).then_some(Control {
        paused: paused != 0,
        rules,
    })
}

/// Writes a control page.
pub fn write_control(page: &mut [u8], contents: &Control) {
    let paused = u64::from(contents.paused);
    let generation = (word(page, 8) | 1) + 1;
    put(page, 16, contents.rules.len() as u64);
    put(page, 24, paused);
    put(page, 32, sum(paused, &contents.rules));
    page[40..64].fill(0);
    for (at, value) in (64..).step_by(8).zip(contents.rules.iter().flatten()) {
        put(page, at, *value);
    }
    put(page, 8, generation);
}

/// Returns true if the old library could use the region.
pub fn accepts_region(region: &[u8]) -> bool {
    let hash = region[..48]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    region[..8] == *b"FCSPREG\x01"
        && region[8..12] == 2u32.to_le_bytes()
        && region[12..16] == 4096u32.to_le_bytes()
        && region[16..20] == 256u32.to_le_bytes()
        && word(region, 48) == hash
        && region.len() >= 4096 + 32 * 256
}

/// Takes slot 0 of a region, as the old library did for a process of its own.
pub fn adopt(region: &mut [u8], pid: u32, start_time: u64) {
    for zeroed in [8, 48, 56, 96, 104, 112] {
        put(region, 4096 + zeroed, 0);
    }
    put(region, 4096 + 16, u64::from(pid));
    put(region, 4096 + 24, start_time);
    put(region, 4096, 1 | 4 << 32);
}

/// Returns true if the old library could use the claim page.
pub fn accepts_claims(page: &[u8]) -> bool {
    page[..8] == *b"FCSPSHR\x01"
}
