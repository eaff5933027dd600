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

/// Goes by the kernel's name, and where there is none by nothing: without a memory of streams.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByName;

impl StreamClassifier for ByName {
    fn classify(&self, launch: &Launch<'_>) -> Class {
        crate::classify::by_name(launch.kernel)
    }
}

/// Calls everything [`Class::Other`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Unclassified;

impl StreamClassifier for Unclassified {
    fn classify(&self, _launch: &Launch<'_>) -> Class {
        Class::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectives_are_told_by_name_and_by_nothing_else() {
        let launch = |kernel| Launch {
            kernel,
            blocks: 1,
            threads: 32,
            stream: 0,
        };
        let nccl =
            launch("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)");
        assert!(ByName.classify(&nccl).bypasses_gate());
        assert_eq!(ByName.classify(&launch("")), Class::Other);
        assert_eq!(Unclassified.classify(&nccl), Class::Other);
    }
}
