//! Futexes: which waits and wake-ups belong together.

use super::memory::Mapping;

/// Identity of a futex, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A word of one process's memory.
    Private { process: u32, address: u64 },
    /// A word of a file, which any process may have mapped.
    Shared { file: String, offset: u64 },
}

impl Key {
    /// Identifies the word at an address of a process. `is_private` says that the caller counts on
    /// no other process.
    pub fn of(process: u32, address: u64, is_private: bool) -> Self {
        let private = Self::Private { process, address };
        if is_private {
            return private;
        }
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
        let mapping = maps
            .lines()
            .filter_map(Mapping::parse)
            .find(|mapping| (mapping.from..mapping.to).contains(&address));
        match mapping {
            Some(mapping) if mapping.is_shared => Self::Shared {
                file: mapping.file.to_owned(),
                offset: mapping.offset + (address - mapping.from),
            },
            _ => private,
        }
    }
}
