//! Classes of device work, and the rules that find one by the name of a kernel.
//!
//! A name is resolved once for each function handle ([`by_name`]). A launch then costs a lookup of
//! the handle, which the backend makes anyway.

mod names;

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
