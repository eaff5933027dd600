//! Places that a C caller hands over.
//!
//! By the ABI's contract a pointer argument is null or points to what the prototype says. These
//! types carry that contract from the exported function's signature to the one spot where it is
//! used.

use crate::codes::{INVALID_NULL_POINTER, Reply};

/// A pointer through which results go out.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T: Copy> Out<T> {
    /// Stores a result that the caller must have given a place for.
    pub fn put(self, value: T) -> Reply {
        if self.0.is_null() {
            return Err(INVALID_NULL_POINTER);
        }
        self.set(value);
        Ok(())
    }

    /// Stores a result if the caller wants it.
    pub fn set(self, value: T) {
        self.set_at(0, value);
    }

    /// Stores an element of an array if the caller gave one.
    pub fn set_at(self, i: usize, value: T) {
        if !self.0.is_null() {
            // SAFETY: non-null, so by the contract above a place for a value of this type (the i-th
            // of an array whose length the caller stated). Unaligned, because C callers pass what
            // they like.
            unsafe { self.0.add(i).write_unaligned(value) }
        }
    }

    /// What is stored there now.
    pub fn get(self) -> Reply<T> {
        if self.0.is_null() {
            return Err(INVALID_NULL_POINTER);
        }
        // SAFETY: as above; used for in-out arguments only, which the caller initialised.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// What is stored in an element of an array that the caller gave and initialised.
    pub fn at(self, i: usize) -> Reply<T> {
        self.need()?;
        // SAFETY: non-null; the length is the caller's word, as for `set_at`.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    /// Whether the caller gave no place.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Fails unless the caller gave a place; for calls that must not act before they know.
    pub fn need(self) -> Reply {
        if self.0.is_null() {
            Err(INVALID_NULL_POINTER)
        } else {
            Ok(())
        }
    }
}

/// A pointer from which arguments come in.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    /// A copy of the argument.
    pub fn get(self) -> Reply<T> {
        self.at(0)
    }

    /// A copy of an element of an array.
    pub fn at(self, i: usize) -> Reply<T> {
        if self.0.is_null() {
            return Err(INVALID_NULL_POINTER);
        }
        // SAFETY: non-null, so by the contract above an array of at least the length that the
        // caller stated.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    /// A copy of a whole array.
    pub fn list(self, n: usize) -> Reply<Vec<T>> {
        (0..n).map(|i| self.at(i)).collect()
    }

    /// Whether the caller passed nothing.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Wraps a raw pointer that a C structure carried.
    pub fn from_raw(p: *const T) -> Self {
        Self(p)
    }

    /// Nothing passed.
    pub const fn null() -> Self {
        Self(std::ptr::null())
    }

    /// The raw address.
    pub fn address(self) -> u64 {
        self.0 as u64
    }
}

/// A C string argument.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Text(*const std::ffi::c_char);

impl Text {
    /// The string, with what is not UTF-8 replaced.
    pub fn get(self) -> Reply<String> {
        if self.0.is_null() {
            return Err(INVALID_NULL_POINTER);
        }
        // SAFETY: non-null, so by the contract a string that ends with a zero byte.
        Ok(unsafe { std::ffi::CStr::from_ptr(self.0) }
            .to_string_lossy()
            .into_owned())
    }

    /// Wraps a raw string.
    pub fn from_raw(p: *const std::ffi::c_char) -> Self {
        Self(p)
    }
}

/// A text for a structure's array of characters, cut short if need be and always terminated.
pub fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let n = text.len().min(N - 1);
    out[..n].copy_from_slice(&text.as_bytes()[..n]);
    out
}

/// Answers a call that lists things: without a place for them their number, with one as many as
/// fit.
pub fn put_list<T: Copy>(count: Out<u32>, place: Out<T>, items: &[T]) -> Reply {
    let room = count.get()? as usize;
    if room == 0 || place.is_null() {
        return count.put(items.len() as u32);
    }
    let n = room.min(items.len());
    for (i, item) in items.iter().take(n).enumerate() {
        place.set_at(i, *item);
    }
    count.put(n as u32)
}
