//! Result codes, and the places that a C caller hands over: null, or what the prototype says.

/// What an exported function's body returns.
pub type Reply<T = ()> = Result<T, i32>;

pub const INVALID_ARGS: i32 = 1;
pub const NOT_SUPPORTED: i32 = 2;
pub const OUT_OF_RESOURCES: i32 = 15;
pub const NOT_FOUND: i32 = 31;
/// Not initialised.
pub const INIT_ERROR: i32 = 32;

/// Number and description of each code.
pub const TEXTS: &[(i32, &std::ffi::CStr)] = &[
    (0, c"AMDSMI_STATUS_SUCCESS: Call succeeded."),
    (1, c"AMDSMI_STATUS_INVAL: Invalid parameters."),
    (2, c"AMDSMI_STATUS_NOT_SUPPORTED: Command not supported."),
    (
        15,
        c"AMDSMI_STATUS_OUT_OF_RESOURCES: Not enough memory or other resources.",
    ),
    (31, c"AMDSMI_STATUS_NOT_FOUND: Device not found."),
    (32, c"AMDSMI_STATUS_NOT_INIT: Device not initialized."),
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

/// Fills a caller's list, whose length comes in and goes out through `n`; without a list its length
/// is asked for.
pub fn fill<T: Copy>(n: Out<u32>, list: Out<T>, items: &[T]) -> Reply {
    if list.is_null() {
        return n.put(items.len() as u32);
    }
    let room = n.get()? as usize;
    for (i, item) in items.iter().take(room).enumerate() {
        list.put_at(i, *item)?;
    }
    n.put(items.len() as u32)?;
    if items.len() > room {
        Err(OUT_OF_RESOURCES)
    } else {
        Ok(())
    }
}

/// A string in an array of a structure.
pub fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let n = text.len().min(N - 1);
    out[..n].copy_from_slice(&text.as_bytes()[..n]);
    out
}
