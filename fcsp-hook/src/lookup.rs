//! `dlsym` and `dlvsym`: asks the real one first, with the caller's own handle, and replaces the
//! address if that function is wrapped. A vendor's own resolvers are wrapped by its backend, which
//! finds wrappers here by name or by the driver's address.

use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::library::{Dlsym, Dlvsym, Library, real_dlsym, real_dlvsym};
use crate::setup::{SetupOnce, catch_panic};
use crate::table::Hook;

/// The wrapped functions of one library.
#[derive(Debug)]
pub struct Group {
    library: &'static Library,
    hooks: &'static [Hook],
    /// Common beginning of all their names.
    prefix: &'static [u8],
}

impl Group {
    /// `hooks` are the wrapped functions of `library`, sorted by name, as [`crate::hooks!`] makes
    /// them.
    pub const fn new(library: &'static Library, hooks: &'static [Hook]) -> Self {
        Self {
            library,
            hooks,
            prefix: common_prefix(hooks),
        }
    }

    fn find(&self, name: &CStr) -> Option<&'static Hook> {
        let at = self
            .hooks
            .binary_search_by(|hook| hook.name.cmp(name))
            .ok()?;
        Some(&self.hooks[at])
    }
}

/// Returns the common beginning of all names: of sorted names, that of the first and the last.
const fn common_prefix(hooks: &'static [Hook]) -> &'static [u8] {
    if hooks.is_empty() {
        return b"";
    }
    let first = hooks[0].name.to_bytes();
    let last = hooks[hooks.len() - 1].name.to_bytes();
    let mut length = 0;
    while length < first.len() && length < last.len() && first[length] == last[length] {
        length += 1;
    }
    first.split_at(length).0
}

/// Wrapped functions by the driver's address, sorted.
type Addresses = Vec<(usize, &'static Hook)>;

/// A backend's wrapped functions, by library. One static in each backend.
#[derive(Debug)]
pub struct Lookup {
    groups: &'static [Group],
    addresses: AtomicPtr<Addresses>,
}

/// A vendor whose wrapped functions are in one list. The vendor's own resolvers find the list by
/// this trait: the list holds their wrappers, too, so neither module imports the other.
pub trait Hooked {
    /// Returns the list of wrapped functions: a static of the backend.
    fn hooks() -> &'static Lookup;
}

impl Lookup {
    /// Creates the list of the wrapped functions of a backend's libraries. No name may be in two
    /// groups.
    pub const fn new(groups: &'static [Group]) -> Self {
        Self {
            groups,
            addresses: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Returns every wrapped function.
    pub fn hooks(&self) -> impl Iterator<Item = &'static Hook> + use<> {
        self.groups.iter().flat_map(|group| group.hooks)
    }

    /// Returns the wrapper of an exported name.
    pub fn by_name(&self, name: &CStr) -> Option<&'static Hook> {
        self.groups.iter().find_map(|group| group.find(name))
    }

    /// Returns the wrapper of the function that the driver has at `address`, in the first group's
    /// library.
    pub fn by_address(&self, address: usize) -> Option<&'static Hook> {
        let known = self.addresses();
        let at = known.binary_search_by_key(&address, |&(at, _)| at).ok()?;
        Some(known[at].1)
    }

    fn addresses(&self) -> &Addresses {
        // Acquire: the list was fully made before its address was published.
        let known = self.addresses.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: leaked by `publish`, never freed.
            return unsafe { &*known };
        }
        SetupOnce::publish(&self.addresses, || {
            let mut found: Addresses = self
                .groups
                .iter()
                .take(1)
                .flat_map(|group| {
                    group
                        .hooks
                        .iter()
                        .map(|hook| (group.library.symbol(hook.name), hook))
                })
                .map(|(address, hook)| (address as usize, hook))
                .filter(|&(address, _)| address != 0)
                .collect();
            found.sort_by_key(|&(address, _)| address);
            // Of two names for one address, either wrapper would do for the driver, but not here.
            // Prefer the newer ABI, which versions of the name point at.
            found.dedup_by(|later, earlier| {
                if later.0 == earlier.0 && later.1.name.count_bytes() > earlier.1.name.count_bytes()
                {
                    earlier.1 = later.1;
                }
                later.0 == earlier.0
            });
            found
        })
    }

    /// Returns true if a call comes from inside one of the backend's own libraries.
    fn is_driver(&self, caller: usize) -> bool {
        self.groups
            .iter()
            .any(|group| group.library.contains(caller))
    }

    /// Decides a `dlsym`: the address to answer with, or null to let the real one answer, with the
    /// caller's frame intact.
    ///
    /// # Safety
    /// `name` is a C string or null, as for `dlsym`.
    pub unsafe fn decide(
        &self,
        handle: *mut c_void,
        name: *const c_char,
        caller: usize,
    ) -> *mut c_void {
        const PASS: *mut c_void = core::ptr::null_mut();
        if name.is_null() {
            return PASS;
        }
        // SAFETY: by this function's contract.
        let Some(group) = self
            .groups
            .iter()
            .find(|group| unsafe { begins(name, group.prefix) })
        else {
            return PASS;
        };
        catch_panic(PASS, || {
            // SAFETY: by this function's contract.
            let Some(hook) = group.find(unsafe { CStr::from_ptr(name) }) else {
                return PASS;
            };
            if handle == libc::RTLD_DEFAULT || handle == libc::RTLD_NEXT {
                // The search order depends on the caller, which only the real dlsym sees. With the
                // default order it finds the library's own export. With "next" it would skip that,
                // so the answer is given here if there is a driver.
                if handle == libc::RTLD_NEXT
                    && !group.library.loaded().is_null()
                    && !self.is_driver(caller)
                {
                    return hook.address;
                }
                return PASS;
            }
            let Some(dlsym) = real_dlsym() else {
                return PASS;
            };
            // SAFETY: the caller's own arguments; an explicit handle does not depend on the calling
            // frame.
            let answer = unsafe { dlsym(handle, name) };
            if answer.is_null() || self.is_driver(caller) {
                return PASS;
            }
            // Only the driver's own function is replaced, not another library's function of that
            // name.
            if answer == group.library.symbol(hook.name) {
                hook.address
            } else {
                PASS
            }
        })
    }
}

impl Lookup {
    /// Decides a `dlvsym`, as [`Lookup::decide`] does a `dlsym`. A wrapper has no version and
    /// stands for every version that the driver's own library has of the name.
    ///
    /// # Safety
    /// `name` and `version` are C strings or null, as for `dlvsym`.
    pub unsafe fn decide_versioned(
        &self,
        handle: *mut c_void,
        name: *const c_char,
        version: *const c_char,
        caller: usize,
    ) -> *mut c_void {
        const PASS: *mut c_void = core::ptr::null_mut();
        if name.is_null() || version.is_null() {
            return PASS;
        }
        catch_panic(PASS, || {
            // SAFETY: by this function's contract.
            let name = unsafe { CStr::from_ptr(name) };
            let found = self
                .groups
                .iter()
                .find_map(|group| Some((group, group.find(name)?)));
            let (Some((group, hook)), Some(dlvsym)) = (found, real_dlvsym()) else {
                return PASS;
            };
            let library = group.library.loaded();
            if library.is_null() || self.is_driver(caller) {
                return PASS;
            }
            // SAFETY: the driver's own handle and the caller's strings; an explicit handle does not
            // depend on the frame.
            let theirs = unsafe { dlvsym(library, name.as_ptr(), version) };
            if theirs.is_null() {
                return PASS;
            }
            // The loader's own order would skip this library's exports, which have no version.
            let by_order = handle == libc::RTLD_DEFAULT || handle == libc::RTLD_NEXT;
            // SAFETY: as above.
            if by_order || unsafe { dlvsym(handle, name.as_ptr(), version) } == theirs {
                return hook.address;
            }
            PASS
        })
    }
}

/// Returns the C library's `dlvsym`; if it is unknown, one that finds nothing.
pub fn dlvsym_or_nothing() -> Dlvsym {
    unsafe extern "C" fn nothing(
        _handle: *mut c_void,
        _name: *const c_char,
        _version: *const c_char,
    ) -> *mut c_void {
        core::ptr::null_mut()
    }
    real_dlvsym().unwrap_or(nothing)
}

/// Returns true if `name` begins with `prefix`.
///
/// # Safety
/// `name` is a C string.
unsafe fn begins(name: *const c_char, prefix: &[u8]) -> bool {
    // SAFETY: a byte is read only if all before it were those of the prefix, of which none is the
    // terminating zero.
    prefix
        .iter()
        .enumerate()
        .all(|(at, &byte)| unsafe { *name.cast::<u8>().add(at) } == byte)
}

/// Returns the C library's `dlsym`; if it is unknown, one that finds nothing.
pub fn dlsym_or_nothing() -> Dlsym {
    unsafe extern "C" fn nothing(_handle: *mut c_void, _name: *const c_char) -> *mut c_void {
        core::ptr::null_mut()
    }
    real_dlsym().unwrap_or(nothing)
}

/// Returns the `dlsym` to which a preload library sends other names. It is that of the next FCSP
/// library, with another vendor's names, and for the last of them the C library's. Other libraries
/// that interpose `dlsym` are skipped: one that forwards by a call answers wrongly where the caller
/// matters.
pub fn next_dlsym() -> Dlsym {
    let real = dlsym_or_nothing();
    // SAFETY: a C string; RTLD_NEXT looks past the library that this code is linked into.
    let next = unsafe { real(libc::RTLD_NEXT, c"dlsym".as_ptr()) };
    if next.is_null() || core::ptr::eq(next, real as *const c_void) || !is_ours(next) {
        return real;
    }
    // SAFETY: our libraries' `dlsym` has this signature.
    unsafe { core::mem::transmute::<*mut c_void, Dlsym>(next) }
}

/// Returns true if an address is in a library of FCSP's, by its file's name.
fn is_ours(address: *const c_void) -> bool {
    let mut about = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: writes a record that outlives the call.
    if unsafe { libc::dladdr(address, about.as_mut_ptr()) } == 0 {
        return false;
    }
    // SAFETY: zero is a value of every field, and dladdr has filled them.
    let name = unsafe { about.assume_init() }.dli_fname;
    if name.is_null() {
        return false;
    }
    // SAFETY: the loader keeps the name, a C string, for as long as the library is loaded.
    let path = unsafe { CStr::from_ptr(name) }.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    file.starts_with(b"libfcsp_")
}

#[cfg(test)]
mod tests {
    use super::*;

    static LIBC: Library = Library::new(&[c"libc.so.6"]);
    static OTHER: Library = Library::new(&[c"libabsent-from-everywhere.so.9"]);

    const fn hook(name: &'static CStr, address: usize) -> Hook {
        Hook {
            name,
            address: core::ptr::without_provenance_mut(address),
        }
    }

    static PIDS: &[Hook] = crate::table::sorted(&[hook(c"getpid", 1), hook(c"getppid", 2)]);
    static OTHERS: &[Hook] = crate::table::sorted(&[hook(c"xAlloc", 3), hook(c"xFree", 4)]);
    static LOOKUP: Lookup = Lookup::new(&[Group::new(&LIBC, PIDS), Group::new(&OTHER, OTHERS)]);

    fn decided(handle: *mut c_void, name: &CStr) -> usize {
        // SAFETY: a C string.
        let answer = unsafe { LOOKUP.decide(handle, name.as_ptr(), decided as *const () as usize) };
        answer as usize
    }

    #[test]
    fn prefixes_are_what_all_names_share() {
        assert_eq!(common_prefix(PIDS), b"getp");
        assert_eq!(common_prefix(OTHERS), b"x");
        assert_eq!(common_prefix(&[]), b"");
    }

    #[test]
    fn the_librarys_own_function_is_swapped_and_no_other() {
        // SAFETY: a C string and plain flags.
        let libc = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY) };
        assert_eq!(decided(libc, c"getpid"), 1);
        assert_eq!(decided(libc, c"getpgid"), 0);
        assert_eq!(decided(libc, c""), 0);
        assert_eq!(decided(libc::RTLD_NEXT, c"getppid"), 2);
        assert_eq!(decided(libc::RTLD_DEFAULT, c"getppid"), 0);
        // A library that does not exist has nothing to replace.
        assert_eq!(decided(libc, c"xAlloc"), 0);
        assert_eq!(decided(libc::RTLD_NEXT, c"xAlloc"), 0);
        assert_eq!(LOOKUP.hooks().count(), 4);
    }

    #[test]
    fn functions_are_known_by_their_real_address() {
        let getppid = LIBC.symbol(c"getppid") as usize;
        assert_eq!(
            LOOKUP.by_address(getppid).map(|hook| hook.name),
            Some(c"getppid")
        );
        assert!(LOOKUP.by_address(getppid + 1).is_none());
        assert_eq!(
            LOOKUP.by_name(c"xFree").map(|hook| hook.address as usize),
            Some(4)
        );
    }
}
