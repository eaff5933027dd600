//! The clock without a system call: the kernel maps code for it into every process, the vDSO.

use std::io::{Error, Result};
use std::os::unix::fs::FileExt;

use object::{Object, ObjectSymbol};

use super::memory::{self, Mapping};

/// Code that makes the system call clock_gettime of its arguments and returns its result.
#[cfg(target_arch = "x86_64")]
const CALL: [u8; 8] = [
    0xb8,
    libc::SYS_clock_gettime as u8,
    0,
    0,
    0,
    0x0f,
    0x05,
    0xc3,
];
#[cfg(target_arch = "aarch64")]
const CALL: [u8; 12] = [
    0x28, 0x0e, 0x80, 0xd2, // mov x8, 113
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

/// Replaces the clock of a process that has one thread, which waits in a system call: each read of
/// it becomes a system call.
pub fn disable(thread: u32) -> Result<()> {
    let maps = std::fs::read_to_string(format!("/proc/{thread}/maps"))?;
    let mut mappings = maps.lines().filter_map(Mapping::parse);
    let Some(code) = mappings.find(|mapping| mapping.name == "[vdso]") else {
        return Ok(());
    };
    let memory = memory::all(thread)?;
    let image = memory::range(&memory, code.from, code.to)?;
    let file = object::File::parse(&*image).map_err(Error::other)?;
    let mut replaced = 0;
    for symbol in file.dynamic_symbols() {
        if symbol
            .name()
            .is_ok_and(|name| name.ends_with("clock_gettime"))
        {
            memory.write_all_at(&CALL, code.from + symbol.address())?;
            replaced += 1;
        }
    }
    match replaced {
        0 => Err(Error::other("the vDSO has no clock_gettime")),
        _ => Ok(()),
    }
}
