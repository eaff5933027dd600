//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

/// What an exported function's body returns.
pub type Reply<T = ()> = Result<T, i32>;

pub const UNINITIALIZED: i32 = 1;
pub const INVALID_ARGUMENT: i32 = 2;
pub const NOT_SUPPORTED: i32 = 3;
pub const NOT_FOUND: i32 = 6;
pub const INSUFFICIENT_SIZE: i32 = 7;
pub const DRIVER_NOT_LOADED: i32 = 9;
pub const VERSION_MISMATCH: i32 = 25;

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
        self.put_at(0, value)
    }

    /// Stores an element of an array.
    pub fn put_at(self, i: usize, value: T) -> Reply {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: non-null, so by the ABI's contract a place for a value of this type (the i-th of
        // an array whose length the caller stated). Unaligned, because C callers pass what they
        // like.
        unsafe { self.0.add(i).write_unaligned(value) };
        Ok(())
    }

    /// What the caller stored there.
    pub fn get(self) -> Reply<T> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: as above; used for in-out arguments only, which the caller initialised.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Whether the caller gave no place.
    pub fn is_null(self) -> bool {
        self.0.is_null()
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
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: non-null, so by the contract a string that ends with a zero byte.
        Ok(unsafe { std::ffi::CStr::from_ptr(self.0) }
            .to_string_lossy()
            .into_owned())
    }
}

/// Writes a string into a caller's buffer of `len` bytes; it must fit.
pub fn put_text(buffer: Out<u8>, len: u32, text: &str) -> Reply {
    if buffer.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= len as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    text.bytes()
        .chain([0])
        .enumerate()
        .try_for_each(|(i, b)| buffer.put_at(i, b))
}

/// A string in an array of a structure.
pub fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let n = text.len().min(N - 1);
    out[..n].copy_from_slice(&text.as_bytes()[..n]);
    out
}
