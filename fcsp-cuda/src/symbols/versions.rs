//! Symbols by the versions of `cuGetProcAddress`. This is the only part of the table in every
//! managed process, cut out at compile time. The whole table would be a twentieth of the preload
//! library.

/// `name`, NUL, length of the base name, then the version in three bytes; for each symbol that is
/// more than passed through and whose version is known.
static ENTRIES: [u8; LENGTH] = {
    let mut entries = [0; LENGTH];
    cut(TABLE, Some(&mut entries));
    entries
};
const LENGTH: usize = cut(TABLE, None);
const TABLE: &[u8] = include_bytes!("cuda.tsv");

/// Returns the end of a column, and the begin of the next one.
const fn column(table: &[u8], start: usize) -> (usize, usize) {
    let mut end = start;
    while end < table.len() && table[end] != b'\t' && table[end] != b'\n' {
        end += 1;
    }
    (end, end + 1)
}

const fn is(table: &[u8], start: usize, end: usize, word: &[u8]) -> bool {
    if end - start != word.len() {
        return false;
    }
    let mut at = 0;
    while at < word.len() {
        if table[start + at] != word[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn number(table: &[u8], start: usize, end: usize) -> u32 {
    let mut value = 0;
    let mut at = start;
    while at < end {
        value = value * 10 + (table[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// Writes the entries, or only counts their bytes.
const fn cut(table: &[u8], mut into: Option<&mut [u8]>) -> usize {
    let (mut at, mut written) = (0, 0);
    while at < table.len() {
        let start = at;
        while at < table.len() && table[at] != b'\n' {
            at += 1;
        }
        at += 1;
        if at == start + 1 || table[start] == b'#' {
            continue;
        }
        let (name_end, role) = column(table, start);
        let (role_end, base) = column(table, role);
        let (base_end, since) = column(table, base);
        let (since_end, _) = column(table, since);
        let version = number(table, since, since_end);
        if version == 0 || is(table, role, role_end, b"passes") {
            continue;
        }
        let length = name_end - start;
        if let Some(into) = &mut into {
            let mut byte = 0;
            while byte < length {
                into[written + byte] = table[start + byte];
                byte += 1;
            }
            into[written + length + 1] = (base_end - base) as u8;
            let [low, middle, high, _] = version.to_le_bytes();
            into[written + length + 2] = low;
            into[written + length + 3] = middle;
            into[written + length + 4] = high;
        }
        written += length + 5;
    }
    written
}

/// Returns every entry: name, base name, version.
fn entries() -> impl Iterator<Item = (&'static [u8], &'static [u8], u32)> {
    let mut rest = &ENTRIES[..];
    core::iter::from_fn(move || {
        let length = rest.iter().position(|&byte| byte == 0)?;
        let (name, tail) = rest.split_at(length);
        let &[_, base, low, middle, high, ref next @ ..] = tail else {
            return None;
        };
        rest = next;
        let since = u32::from_le_bytes([low, middle, high, 0]);
        Some((name, name.get(..usize::from(base))?, since))
    })
}

/// Returns the newest symbol of `base` that `version` has. It is the one for default streams of the
/// thread, if there is one and `per_thread` is set.
pub fn newest(base: &[u8], version: u32, per_thread: bool) -> Option<&'static [u8]> {
    let of_thread = |name: &[u8]| name.ends_with(b"_ptsz") || name.ends_with(b"_ptds");
    entries()
        .filter(|&(name, of, since)| {
            of == base && since <= version && (per_thread || !of_thread(name))
        })
        .max_by_key(|&(name, _, since)| (since, of_thread(name)))
        .map(|(name, _, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::{Role, cuda};

    #[test]
    fn the_cut_holds_what_the_table_says() {
        let expected: Vec<_> = cuda()
            .iter()
            .filter(|symbol| symbol.since != 0 && symbol.role != Role::Passes)
            .map(|symbol| (symbol.name.as_bytes(), symbol.base.as_bytes(), symbol.since))
            .collect();
        assert_eq!(entries().collect::<Vec<_>>(), expected);
        assert!(expected.len() > 300);
    }

    #[test]
    fn the_newest_that_a_version_has_is_found() {
        let newest = |base: &str, version, per_thread| {
            newest(base.as_bytes(), version, per_thread)
                .map(|name| core::str::from_utf8(name).unwrap())
        };
        assert_eq!(newest("cuMemAlloc", 13_000, false), Some("cuMemAlloc_v2"));
        assert_eq!(newest("cuMemAlloc", 3_000, true), Some("cuMemAlloc"));
        assert_eq!(newest("cuMemAlloc", 1_000, false), None);
        assert_eq!(
            newest("cuMemAllocAsync", 13_000, true),
            Some("cuMemAllocAsync_ptsz")
        );
        assert_eq!(
            newest("cuMemAllocAsync", 13_000, false),
            Some("cuMemAllocAsync")
        );
        assert_eq!(newest("cuMemAllocAsync", 11_010, true), None);
        assert_eq!(newest("cuMem", 13_000, true), None);
    }
}
