//! The stream classifier: what kind of work is this?

pub use crate::classify::Class;

/// A launch as a classifier sees it.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The kernel's name, mangled or not; empty where it is unknown.
    pub kernel: &'a str,
    /// Thread blocks.
    pub blocks: u64,
    /// Threads a block.
    pub threads: u32,
    /// Identifies the stream.
    pub stream: u64,
}

/// Tells kinds of device work apart.
pub trait StreamClassifier {
    /// The class of one launch.
    fn classify(&self, launch: &Launch<'_>) -> Class;
}

/// Calls everything [`Class::Other`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Unclassified;

impl StreamClassifier for Unclassified {
    fn classify(&self, _launch: &Launch<'_>) -> Class {
        Class::Other
    }
}
