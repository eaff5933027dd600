//! A vendor's libraries and the real functions in them: found once, kept as plain addresses.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// `dlsym` as the C library has it.
pub type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

/// `dlvsym` as the C library has it.
pub type Dlvsym = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;

static REAL_DLSYM: AtomicUsize = AtomicUsize::new(0);

/// Returns the C library's own `dlsym`. The wrapper has the same name, so it is found by version,
/// of which there are two on x86-64 (it moved into libc in 2.34) and two on aarch64.
pub fn real_dlsym() -> Option<Dlsym> {
    let known = REAL_DLSYM.load(Ordering::Relaxed);
    if known != 0 {
        // SAFETY: only ever set below, to the address of the C library's dlsym.
        return Some(unsafe { core::mem::transmute::<usize, Dlsym>(known) });
    }
    for version in [c"GLIBC_2.34", c"GLIBC_2.2.5", c"GLIBC_2.17"] {
        // SAFETY: plain C strings; RTLD_NEXT looks past this library, so never finds our own.
        let found = unsafe { libc::dlvsym(libc::RTLD_NEXT, c"dlsym".as_ptr(), version.as_ptr()) };
        if !found.is_null() {
            // Relaxed: one word, the same whichever thread finds it first.
            REAL_DLSYM.store(found as usize, Ordering::Relaxed);
            // SAFETY: dlvsym found a function of this signature.
            return Some(unsafe { core::mem::transmute::<*mut c_void, Dlsym>(found) });
        }
    }
    None
}

/// Returns the C library's own `dlvsym`, for preload libraries that export one. It cannot be asked
/// for by name there, so it is found in the C library's own tables. Before glibc 2.34 it is in a
/// file of its own.
pub fn real_dlvsym() -> Option<Dlvsym> {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: one word, the same whichever thread finds it.
    let mut known = REAL.load(Ordering::Relaxed);
    if known == 0 {
        known = crate::elf::exported(&[b"libc.so", b"libdl.so", b"libc-2", b"libdl-2"], c"dlvsym");
        REAL.store(known, Ordering::Relaxed);
    }
    if known == 0 {
        return None;
    }
    // SAFETY: an exported function of this name in the C library has this signature.
    Some(unsafe { core::mem::transmute::<usize, Dlvsym>(known) })
}

/// A library that is opened once and never closed.
#[derive(Debug)]
pub struct Library {
    names: &'static [&'static CStr],
    handle: AtomicPtr<c_void>,
    /// Bounds in memory, once known; the end is written last.
    start: AtomicUsize,
    end: AtomicUsize,
}

impl Library {
    /// Creates a library with one of these sonames. A library that the program has loaded already
    /// is preferred, in their order; otherwise the first that can be opened is used.
    pub const fn new(names: &'static [&'static CStr]) -> Self {
        Self {
            names,
            handle: AtomicPtr::new(core::ptr::null_mut()),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }

    #[cold]
    fn open(&self, flags: c_int) -> *mut c_void {
        for name in self.names {
            // SAFETY: a C string and plain flags. The loader finds by soname what the program has
            // loaded already.
            let handle =
                unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL | flags) };
            if !handle.is_null() {
                // Release: the loader's work on the library is done when its handle shows.
                self.handle.store(handle, Ordering::Release);
                return handle;
            }
        }
        core::ptr::null_mut()
    }

    /// Takes `handle`, an open library's, for this one from now on, whatever its names say. To be
    /// done before anything is asked of it.
    pub fn adopt(&self, handle: *mut c_void) {
        // Release: as in `open`.
        self.handle.store(handle, Ordering::Release);
    }

    /// Returns the handle if the program has loaded the library; null otherwise.
    pub fn loaded(&self) -> *mut c_void {
        let known = self.handle.load(Ordering::Acquire);
        if known.is_null() {
            self.open(libc::RTLD_NOLOAD)
        } else {
            known
        }
    }

    /// Returns an exported function's address; null if there is no such library or function. Opens
    /// the library if it is not open.
    pub fn symbol(&self, name: &CStr) -> *mut c_void {
        let mut handle = self.loaded();
        if handle.is_null() {
            handle = self.open(0);
        }
        match real_dlsym() {
            // SAFETY: an open handle and a C string.
            Some(dlsym) if !handle.is_null() => unsafe { dlsym(handle, name.as_ptr()) },
            _ => core::ptr::null_mut(),
        }
    }

    /// Returns true if `address` is inside the library: the library itself makes the call.
    pub fn contains(&self, address: usize) -> bool {
        // Acquire: pairs with the Release below.
        let mut end = self.end.load(Ordering::Acquire);
        if end == 0 {
            let handle = self.loaded();
            if handle.is_null() {
                return false;
            }
            // An object that cannot be found contains nothing.
            let (start, found) = dynamic_section(handle)
                .and_then(mapped_range)
                .unwrap_or((1, 1));
            self.start.store(start, Ordering::Relaxed);
            // Release: the start is there before the end says so.
            self.end.store(found, Ordering::Release);
            end = found;
        }
        (self.start.load(Ordering::Relaxed)..end).contains(&address)
    }
}

/// Returns an address inside the loaded object of `handle`: that of its dynamic section.
fn dynamic_section(handle: *mut c_void) -> Option<usize> {
    /// `struct link_map` of `link.h`, as far as it is public.
    #[repr(C)]
    struct LinkMap {
        base: usize,
        name: *const c_char,
        dynamic: usize,
    }
    let mut map: *const LinkMap = core::ptr::null();
    // SAFETY: an open handle; the answer is one pointer, which outlives the call.
    let result = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    // SAFETY: the loader's own record of a library that is never closed.
    (result == 0).then(|| unsafe { map.as_ref() }.map(|map| map.dynamic))?
}

/// Returns the first and last address of the loaded object that contains `address`.
fn mapped_range(address: usize) -> Option<(usize, usize)> {
    struct Search {
        address: usize,
        found: Option<(usize, usize)>,
    }
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> i32 {
        // SAFETY: the loader passes a valid record, and `data` is the Search below, which outlives
        // the walk.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
        let base = info.dlpi_addr as usize;
        let (mut start, mut end) = (usize::MAX, 0);
        for index in 0..usize::from(info.dlpi_phnum) {
            // SAFETY: the record holds `dlpi_phnum` headers.
            let header = unsafe { &*info.dlpi_phdr.add(index) };
            if header.p_type == libc::PT_LOAD {
                start = start.min(base + header.p_vaddr as usize);
                end = end.max(base + (header.p_vaddr + header.p_memsz) as usize);
            }
        }
        if (start..end).contains(&search.address) {
            search.found = Some((start, end));
            return 1;
        }
        0
    }
    let mut search = Search {
        address,
        found: None,
    };
    // SAFETY: the callback matches its type, and `search` outlives the walk.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// One real function of type `F`, a function pointer.
#[derive(Debug)]
pub struct Real<F> {
    name: &'static CStr,
    library: &'static Library,
    address: AtomicPtr<c_void>,
    kind: PhantomData<F>,
}

/// Value for a function that was looked for and does not exist.
const ABSENT: *mut c_void = usize::MAX as *mut c_void;

impl<F: Copy> Real<F> {
    /// Creates the function that `library` exports as `name`.
    ///
    /// # Safety
    /// `F` is a function pointer type, and the library's function of that name has its signature.
    pub const unsafe fn new(name: &'static CStr, library: &'static Library) -> Self {
        Self {
            name,
            library,
            address: AtomicPtr::new(core::ptr::null_mut()),
            kind: PhantomData,
        }
    }

    /// Returns the function, or `None` if this driver has none of that name.
    #[inline]
    pub fn get(&self) -> Option<F> {
        // Acquire: the loader's writes came before the address was published.
        let mut address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            address = self.find();
        }
        if address == ABSENT {
            return None;
        }
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: `F` is a function pointer type of the function's signature, by the contract of
        // `new`.
        Some(unsafe { core::mem::transmute_copy::<*mut c_void, F>(&address) })
    }

    /// Returns the function if it was found before. Nothing is called, so a wrapper that asks this
    /// before it jumps there needs no stack of its own.
    #[inline(always)]
    pub fn found(&self) -> Option<F> {
        // Acquire: as in `get`.
        let address = self.address.load(Ordering::Acquire);
        // Neither null nor `ABSENT`, in one comparison.
        if (address as usize).wrapping_sub(1) >= ABSENT as usize - 1 {
            return None;
        }
        // SAFETY: as in `get`, which has asserted the size.
        Some(unsafe { core::mem::transmute_copy::<*mut c_void, F>(&address) })
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        find(&self.address, self.name, self.library)
    }

    /// Returns the exported name.
    pub fn name(&self) -> &'static CStr {
        self.name
    }
}

/// Finds the function. Separate from [`Real`], so that all signatures share it.
fn find(address: &AtomicPtr<c_void>, name: &CStr, library: &Library) -> *mut c_void {
    let found = library.symbol(name);
    let known = if found.is_null() { ABSENT } else { found };
    // A library that does not exist yet may come later; a function missing from an existing one
    // will not.
    if known != ABSENT || !library.loaded().is_null() {
        address.store(known, Ordering::Release);
    }
    known
}

/// Declares the real functions of a library under their own names: `reals!(types, LIBRARY: name,
/// ...)`. The module `types` has a function pointer type for each name. The backend's header test
/// compares these with the vendor's headers.
#[macro_export]
macro_rules! reals {
    ($types:ident, $library:ident: $($name:ident),* $(,)?) => {
        $(
            #[doc = concat!("The driver's `", stringify!($name), "`.")]
            // SAFETY: the alias of the same name is the function's type, which the header test
            // checks.
            pub static $name: $crate::library::Real<$types::$name> = unsafe {
                $crate::library::Real::new(const { $crate::table::c_name(concat!(stringify!($name), "\0")) }, &$library)
            };
        )*
    };
}

/// Calls a real function, or answers that the driver lacks it: `call!(path::to::real, else MISSING;
/// argument, ...)`.
///
/// Backends wrap it in a macro of their own, which knows the path and the vendor's status for a
/// missing function. The caller of a wrapper vouches for the arguments, as it would to the driver.
#[macro_export]
macro_rules! call {
    ($real:path, else $missing:expr; $($arg:expr),* $(,)?) => {
        match $real.get() {
            // The arguments may themselves be computed; nothing in them needs the block's
            // permission.
            #[allow(clippy::macro_metavars_in_unsafe)]
            // SAFETY: the caller of the wrapper vouches for the arguments, as it would to the
            // driver.
            Some(real) => unsafe { real($($arg),*) },
            None => $missing,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    static LIBC: Library = Library::new(&[c"libabsent-from-everywhere.so.9", c"libc.so.6"]);
    static NOBODYS: Library = Library::new(&[c"libabsent-from-everywhere.so.9"]);

    mod types {
        #![allow(non_camel_case_types)]
        pub type getpid = unsafe extern "C" fn() -> i32;
        pub type no_such_function_anywhere = unsafe extern "C" fn() -> i32;
    }

    #[allow(non_upper_case_globals)]
    mod real {
        use super::{LIBC, types};
        crate::reals!(types, LIBC: getpid, no_such_function_anywhere);
    }

    #[test]
    fn functions_are_found_or_known_to_be_missing() {
        assert_eq!(
            call!(real::getpid, else -1;),
            std::process::id().cast_signed()
        );
        assert_eq!(call!(real::no_such_function_anywhere, else -1;), -1);
        assert_eq!(real::getpid.name(), c"getpid");
        assert!(
            real::getpid.found().is_some() && real::no_such_function_anywhere.found().is_none()
        );
    }

    #[test]
    fn a_library_knows_its_own_code() {
        let inside = LIBC.symbol(c"getpid") as usize;
        assert!(LIBC.contains(inside));
        assert!(!LIBC.contains(a_library_knows_its_own_code as *const () as usize));
        assert!(NOBODYS.loaded().is_null() && NOBODYS.symbol(c"getpid").is_null());
        assert!(!NOBODYS.contains(inside));
    }
}
