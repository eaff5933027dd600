//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

/// What an exported function's body returns.
pub type Reply<T = ()> = Result<T, i32>;

pub const INVALID_ARGS: i32 = 1;
pub const NOT_SUPPORTED: i32 = 2;
pub const INIT_ERROR: i32 = 8;
pub const NOT_FOUND: i32 = 10;
pub const INSUFFICIENT_SIZE: i32 = 11;

/// Number and description of each code.
pub const TEXTS: &[(i32, &std::ffi::CStr)] = &[
    (0, c"RSMI_STATUS_SUCCESS: The function has been executed successfully."),
    (1, c"RSMI_STATUS_INVALID_ARGS: The provided arguments do not meet the preconditions required for calling this function."),
    (2, c"RSMI_STATUS_NOT_SUPPORTED: This function is not supported in the current environment."),
    (8, c"RSMI_STATUS_INIT_ERROR: An error occurred during initialization, during monitor discovery or when when initializing internal data structures."),
    (10, c"RSMI_STATUS_NOT_FOUND: An item required to complete the call was not found."),
    (11, c"RSMI_STATUS_INSUFFICIENT_SIZE: Not enough resources were available to fully execute the call."),
];

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
            return Err(INVALID_ARGS);
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
            return Err(INVALID_ARGS);
        }
        // SAFETY: as above; used for in-out arguments only, which the caller initialised.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Whether the caller gave no place.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

/// Writes a string into a caller's buffer of `len` bytes, cut short if need be, which is then said.
pub fn put_text(buffer: Out<u8>, len: usize, text: &str) -> Reply {
    if buffer.is_null() || len == 0 {
        return Err(INVALID_ARGS);
    }
    let n = text.len().min(len - 1);
    for (i, b) in text.bytes().take(n).chain([0]).enumerate() {
        buffer.put_at(i, b)?;
    }
    if n < text.len() {
        Err(INSUFFICIENT_SIZE)
    } else {
        Ok(())
    }
}
