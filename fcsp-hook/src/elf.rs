//! Symbol tables of a loaded library, read without the loader's look-up functions. A preload
//! library that exports such a function itself cannot use it by that name.

use core::ffi::{CStr, c_int, c_void};

/// Addresses in a loaded library's own tables.
#[derive(Default)]
struct Tables {
    base: usize,
    symbols: usize,
    strings: usize,
    hashes: usize,
}

const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_GNU_HASH: i64 = 0x6fff_fef5;

/// One entry of a dynamic section.
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: usize,
}

/// Search for a function, and its result.
struct Search<'a> {
    libraries: &'a [&'a [u8]],
    name: &'a CStr,
    found: usize,
}

/// Returns the address of an exported function in a file of the C library that this process has
/// loaded, by the beginning of the file's name. Returns 0 if there is none. Of a name with several
/// versions it returns the default.
pub fn exported(libraries: &[&[u8]], name: &CStr) -> usize {
    let mut search = Search {
        libraries,
        name,
        found: 0,
    };
    // SAFETY: the callback is called before this returns, with the search it was given.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: what `exported` handed over, and what the loader describes.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: a C string of the loader's.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    if !search.libraries.iter().any(|name| file.starts_with(name)) {
        return 0;
    }
    // SAFETY: the loader's list of the library's segments.
    let segments =
        unsafe { core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let Some(dynamic) = segments
        .iter()
        .find(|segment| segment.p_type == libc::PT_DYNAMIC)
    else {
        return 0;
    };
    let base = info.dlpi_addr as usize;
    // SAFETY: the dynamic section of a loaded library.
    let tables = unsafe { tables(base, (base + dynamic.p_vaddr as usize) as *const Dynamic) };
    // SAFETY: tables of a loaded library, which stays loaded: it is the C library.
    search.found = unsafe { find(&tables, search.name) };
    c_int::from(search.found != 0)
}

/// # Safety
/// `entry` is the dynamic section of a library loaded at `base`.
unsafe fn tables(base: usize, mut entry: *const Dynamic) -> Tables {
    let mut tables = Tables {
        base,
        ..Tables::default()
    };
    // SAFETY: by this function's contract; the section ends with a zero tag.
    unsafe {
        while (*entry).tag != 0 {
            // The loader has added the base to the places of a library that it has relocated.
            let at = (*entry).value;
            let at = if at < base { at + base } else { at };
            match (*entry).tag {
                DT_STRTAB => tables.strings = at,
                DT_SYMTAB => tables.symbols = at,
                DT_GNU_HASH => tables.hashes = at,
                _ => {}
            }
            entry = entry.add(1);
        }
    }
    tables
}

/// Computes the hash of the GNU tables.
fn hash(name: &CStr) -> u32 {
    name.to_bytes().iter().fold(5381u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

/// # Safety
/// Tables of a library that is loaded and stays so.
unsafe fn find(tables: &Tables, name: &CStr) -> usize {
    if tables.symbols == 0 || tables.strings == 0 || tables.hashes == 0 {
        return 0;
    }
    let words = tables.hashes as *const u32;
    let symbols = tables.symbols as *const libc::Elf64_Sym;
    let wanted = hash(name);
    // SAFETY: the layout of a GNU hash table: four words, a filter of machine words, buckets, and a
    // chain a bucket whose last entry has its lowest bit set.
    unsafe {
        let (buckets, first, filter) = (*words, *words.add(1), *words.add(2));
        if buckets == 0 {
            return 0;
        }
        let bucket = words.add(4 + 2 * filter as usize);
        let chain = bucket.add(buckets as usize);
        let mut at = *bucket.add((wanted % buckets) as usize);
        if at < first {
            return 0;
        }
        loop {
            let known = *chain.add((at - first) as usize);
            let symbol = &*symbols.add(at as usize);
            let text = CStr::from_ptr((tables.strings + symbol.st_name as usize) as *const _);
            if known | 1 == wanted | 1
                && text == name
                && symbol.st_shndx != 0
                && symbol.st_value != 0
            {
                return tables.base + symbol.st_value as usize;
            }
            if known & 1 == 1 {
                return 0;
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_loader_finds() {
        for name in [c"dlvsym", c"malloc", c"getpid"] {
            // SAFETY: a C string.
            let theirs = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
            assert_eq!(
                exported(&[b"libc.so", b"libdl.so"], name),
                theirs,
                "{name:?}"
            );
        }
        assert_eq!(exported(&[b"libc.so"], c"no_such_function_anywhere"), 0);
        assert_eq!(exported(&[b"libabsent"], c"malloc"), 0);
    }
}
