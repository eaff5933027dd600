//! The stream classifier: what kind of work a launch is, from the kernel's name, its shape and the stream's history.

/// A kind of device work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Waits for other devices or ranks: never held back, charged afterwards.
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
