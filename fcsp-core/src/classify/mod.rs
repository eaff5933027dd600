//! The stream classifier: finds the class of a launch from the kernel's name, its shape and the
//! stream's history.
//!
//! A name is resolved once for each function handle ([`by_name`]). A launch then costs a lookup of
//! the handle, which the backend makes anyway. The history of a stream ([`StreamHistory`]) shows
//! the phase of its program, and replaces a missing name.

mod history;
mod names;

pub use history::StreamHistory;
pub use names::by_name;

/// Kind of device work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Waits for other devices or ranks. It is admitted first while its tenant owes little.
    Collective = 0,
    /// Attention.
    Attention = 1,
    /// Matrix products and convolutions: limited by arithmetic.
    Gemm = 2,
    /// Element-wise work, norms, reductions, gathers: limited by memory bandwidth.
    MemoryBound = 3,
    /// Copies and fills.
    Copy = 4,
    /// Anything else.
    Other = 5,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Collective,
        Self::Attention,
        Self::Gemm,
        Self::MemoryBound,
        Self::Copy,
        Self::Other,
    ];

    /// Returns the class's number in claim pages and tables.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the class with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Returns the class's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collective => "collective",
            Self::Attention => "attention",
            Self::Gemm => "gemm",
            Self::MemoryBound => "memory_bound",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }

    /// Returns true if another rank may be waiting for work of this class.
    pub const fn bypasses_gate(self) -> bool {
        matches!(self, Self::Collective)
    }
}

/// Returns the class of a launch: by its name, else by its shape, else by the stream's recent
/// launches. `threads` is per block.
pub fn by_launch(name: &str, blocks: u64, threads: u32, history: &StreamHistory) -> Class {
    match by_name(name) {
        Class::Other if name.is_empty() => {
            // One block of one warp or less is a helper (a counter, a flag), whatever the stream
            // does.
            if blocks == 1 && threads <= 32 {
                Class::Other
            } else {
                history.dominant().unwrap_or(Class::Other)
            }
        }
        class => class,
    }
}
