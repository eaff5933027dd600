//! Filling a caller's dispatch table.
//!
//! The table is the caller's memory and as long as the version that the caller names has it. A
//! driver that is newer than its loader must stop where that version ends, or it writes past the
//! loader's table.

use crate::abi::Out;
use crate::codes::{Reply, UNSUPPORTED_VERSION};

/// The version of the API that this driver speaks: 1.4.
pub const VERSION: u32 = 1 << 16 | 4;

/// Since which version a table has an entry, and the entry.
pub type Entry = (u32, unsafe extern "C" fn());

/// Writes the entries that a table of this version has.
pub fn fill(version: u32, table: Out<usize>, entries: &[Entry]) -> Reply {
    table.need()?;
    // A major version changes what is where; of a minor one only the length differs.
    if version >> 16 != VERSION >> 16 {
        return Err(UNSUPPORTED_VERSION);
    }
    let fit = entries.iter().take_while(|(since, _)| *since <= version);
    let mut n = 0;
    for (i, (_, f)) in fit.enumerate() {
        table.set_at(i, *f as usize);
        n = i + 1;
    }
    // A table that this version does not have at all.
    if n == 0 {
        Err(UNSUPPORTED_VERSION)
    } else {
        Ok(())
    }
}
