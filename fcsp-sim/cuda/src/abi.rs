//! Places that a C caller hands over.
//!
//! By the ABI's contract a pointer argument is null or points to what the prototype says. These
//! types carry that contract from the exported function's signature to the one spot where it is
//! used.

use crate::codes::{
    CAPTURE_IMPLICIT, CAPTURE_UNSUPPORTED, Code, INVALID_VALUE, OUT_OF_MEMORY, Reply,
};

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
            return Err(INVALID_VALUE);
        }
        self.set(value);
        Ok(())
    }

    /// Stores a result if the caller wants it.
    pub fn set(self, value: T) {
        self.set_at(0, value);
    }

    /// Leaves what a device leaves where it has no memory, or a capture forbids to take any: zeroes
    /// (measured, H200, driver 580.159.04).
    pub fn nowhere<R>(self, code: Code) -> Reply<R>
    where
        T: Default,
    {
        if [OUT_OF_MEMORY, CAPTURE_UNSUPPORTED, CAPTURE_IMPLICIT].contains(&code) {
            self.set(T::default());
        }
        Err(code)
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
            return Err(INVALID_VALUE);
        }
        // SAFETY: as above; used for in-out arguments only, which the caller initialised.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Whether the caller gave no place.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Fails unless the caller gave a place; for calls that must not act before they know.
    pub fn need(self) -> Reply {
        if self.0.is_null() {
            Err(INVALID_VALUE)
        } else {
            Ok(())
        }
    }

    /// The place as another type; for results whose type depends on another argument.
    pub fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }

    /// Wraps a raw place that a C structure carried.
    pub fn from_raw(p: *mut T) -> Self {
        Self(p)
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
            return Err(INVALID_VALUE);
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
            return Err(INVALID_VALUE);
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

/// Writes a string into a caller's buffer of `len` bytes, cut short if need be and always
/// terminated.
pub fn put_text(buffer: Out<u8>, len: usize, text: &str) -> Reply {
    if buffer.is_null() || len == 0 {
        return Err(INVALID_VALUE);
    }
    let n = text.len().min(len - 1);
    for (i, b) in text.bytes().take(n).enumerate() {
        buffer.set_at(i, b);
    }
    buffer.set_at(n, 0);
    Ok(())
}
