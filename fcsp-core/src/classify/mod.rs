//! The stream classifier: what kind of work a launch is, from the kernel's name, its shape and the
//! stream's history.
//!
//! A name is resolved once for each function handle ([`by_name`]); what a launch then costs is a
//! lookup of the handle, which the backend has anyway. The history of a stream ([`StreamHistory`])
//! says what phase its program is in, and stands in for a name where there is none.

mod history;
mod names;

pub use history::StreamHistory;
pub use names::by_name;

/// A kind of device work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Waits for other devices or ranks: goes first while its tenant owes little.
    Collective = 0,
    /// Attention.
    Attention = 1,
    /// Matrix products and convolutions: bound by arithmetic.
    Gemm = 2,
    /// Element-wise work, norms, reductions, gathers: bound by memory.
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

    /// The number the class has in shared pages and tables.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The class with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name the class has in metrics.
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

    /// Whether another rank may be waiting for work of this class.
    pub const fn bypasses_gate(self) -> bool {
        matches!(self, Self::Collective)
    }
}

/// The class of a launch from all there is: the name where it says something; else the shape, where
/// it says something; else what the stream mostly did lately. `threads` is per block.
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
