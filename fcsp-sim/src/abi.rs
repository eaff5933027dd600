//! Pointer arguments of a vendor's C functions.
//!
//! By the ABI's contract a pointer argument is null or points to what the prototype says. These
//! types carry that contract from the exported function's signature to the place of its use. A
//! library names its own code for a null pointer by a [`Vendor`].

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

/// The error codes of one vendor's library.
pub trait Vendor {
    /// A result code other than success.
    type Code;

    /// The answer to a null pointer where the call needs a place.
    const NULL_POINTER: Self::Code;
}

/// The result of an exported function's body.
pub type Reply<V, T = ()> = Result<T, <V as Vendor>::Code>;

/// A pointer through which results go out.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T, V>(*mut T, PhantomData<V>);

impl<T, V> Clone for Out<T, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, V> Copy for Out<T, V> {}

impl<T, V> Out<T, V> {
    /// Returns the same place as another type, for results whose type depends on an argument.
    pub fn cast<U>(self) -> Out<U, V> {
        Out::from_raw(self.0.cast())
    }

    /// Wraps a raw place, such as one in a C structure.
    pub fn from_raw(place: *mut T) -> Self {
        Self(place, PhantomData)
    }

    /// Returns true if the caller gave no place.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl<T, V: Vendor> Out<T, V> {
    /// Stores a result that the caller must have given a place for.
    ///
    /// # Errors
    /// [`Vendor::NULL_POINTER`] without a place; so in all functions here.
    pub fn put(self, value: T) -> Reply<V> {
        self.put_at(0, value)
    }

    /// Stores an element of an array that the caller must have given.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_at(self, i: usize, value: T) -> Reply<V> {
        self.need()?;
        self.set_at(i, value);
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

    /// Fails without a place, in calls that must know before they act.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn need(self) -> Reply<V> {
        if self.0.is_null() {
            Err(V::NULL_POINTER)
        } else {
            Ok(())
        }
    }
}

impl<T: Copy, V: Vendor> Out<T, V> {
    /// Reads an in-out argument, which the caller initialised.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn get(self) -> Reply<V, T> {
        self.at(0)
    }

    /// Reads an element of an array that the caller gave and initialised.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn at(self, i: usize) -> Reply<V, T> {
        self.need()?;
        // SAFETY: non-null; the caller stated the array's length, as for `set_at`.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }
}

/// A pointer from which arguments come in.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T, V>(*const T, PhantomData<V>);

impl<T, V> Clone for In<T, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, V> Copy for In<T, V> {}

impl<T, V> In<T, V> {
    /// Returns true if the caller passed null.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Wraps a raw pointer, such as one in a C structure.
    pub fn from_raw(p: *const T) -> Self {
        Self(p, PhantomData)
    }

    /// Returns a null pointer.
    pub const fn null() -> Self {
        Self(std::ptr::null(), PhantomData)
    }

    /// Returns the raw address.
    pub fn address(self) -> u64 {
        self.0 as u64
    }
}

impl<T: Copy, V: Vendor> In<T, V> {
    /// Copies the argument.
    ///
    /// # Errors
    /// [`Vendor::NULL_POINTER`] for null; so in all functions here.
    pub fn get(self) -> Reply<V, T> {
        self.at(0)
    }

    /// Copies an element of an array.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn at(self, i: usize) -> Reply<V, T> {
        if self.0.is_null() {
            return Err(V::NULL_POINTER);
        }
        // SAFETY: non-null, so by the contract above an array of at least the length that the
        // caller stated.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    /// Copies an array of `n` elements.
    ///
    /// # Errors
    /// As [`get`](Self::get), unless `n` is 0.
    pub fn list(self, n: usize) -> Reply<V, Vec<T>> {
        (0..n).map(|i| self.at(i)).collect()
    }
}

/// A C string argument.
#[repr(transparent)]
#[derive(Debug)]
pub struct Text<V>(*const c_char, PhantomData<V>);

impl<V> Clone for Text<V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Text<V> {}

impl<V: Vendor> Text<V> {
    /// Copies the string, with replacement characters for bytes that are not UTF-8.
    ///
    /// # Errors
    /// [`Vendor::NULL_POINTER`] for null.
    pub fn get(self) -> Reply<V, String> {
        if self.0.is_null() {
            return Err(V::NULL_POINTER);
        }
        // SAFETY: non-null, so by the contract a string that ends with a zero byte.
        Ok(unsafe { CStr::from_ptr(self.0) }
            .to_string_lossy()
            .into_owned())
    }

    /// Wraps a raw string.
    pub fn from_raw(p: *const c_char) -> Self {
        Self(p, PhantomData)
    }
}

/// Writes a string into a caller's buffer of `len` bytes. It is truncated to fit and always
/// terminated.
///
/// # Errors
/// [`Vendor::NULL_POINTER`] without a buffer, or for one of no bytes.
pub fn put_text<V: Vendor>(buffer: Out<u8, V>, len: usize, text: &str) -> Reply<V> {
    if buffer.is_null() || len == 0 {
        return Err(V::NULL_POINTER);
    }
    let n = text.len().min(len - 1);
    for (i, b) in text.bytes().take(n).chain([0]).enumerate() {
        buffer.set_at(i, b);
    }
    Ok(())
}

/// Returns a text as a structure's array of characters, truncated to fit and always terminated.
pub fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let n = text.len().min(N - 1);
    out[..n].copy_from_slice(&text.as_bytes()[..n]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Example;

    impl Vendor for Example {
        type Code = i32;
        const NULL_POINTER: i32 = 7;
    }

    #[test]
    fn a_null_pointer_answers_the_vendors_code() {
        let out = Out::<u32, Example>::from_raw(std::ptr::null_mut());
        assert_eq!(out.put(1), Err(7));
        assert_eq!(out.get(), Err(7));
        assert_eq!(In::<u32, Example>::null().get(), Err(7));
        assert_eq!(Text::<Example>::from_raw(std::ptr::null()).get(), Err(7));
        assert_eq!(put_text(out.cast(), 4, "text"), Err(7));
        out.set(1);
    }

    #[test]
    fn a_text_is_truncated_to_its_buffer_and_terminated() {
        let mut buffer = [b'x'; 4];
        let out = Out::<u8, Example>::from_raw(buffer.as_mut_ptr());
        assert_eq!(put_text(out, 0, "text"), Err(7));
        assert_eq!(put_text(out, 3, "text"), Ok(()));
        assert_eq!(&buffer, b"te\0x");
        assert_eq!(fixed::<4>("text"), *b"tex\0");
    }

    #[test]
    fn places_need_no_alignment() {
        let mut bytes = [0u8; 9];
        let out = Out::<u64, Example>::from_raw(bytes[1..].as_mut_ptr().cast());
        assert_eq!(out.put(0x0102_0304_0506_0708), Ok(()));
        assert_eq!(out.get(), Ok(0x0102_0304_0506_0708));
        assert_eq!(bytes[0], 0);
    }
}
