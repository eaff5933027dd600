//! The stream classifier: what kind of work is this?
//!
//! A backend asks once for each function handle, at its first launch, and again after its code may
//! have been unloaded. Launches then find the class with what else is known of the handle.

pub use crate::classify::Class;

/// A kernel as a classifier sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Launch<'a> {
    /// The kernel's name, mangled or not; empty where it is unknown.
    pub kernel: &'a str,
}

impl<'a> Launch<'a> {
    /// Returns the launch of a kernel of this name; empty where it is unknown.
    pub fn of(kernel: &'a str) -> Self {
        Self { kernel }
    }
}

/// Classification of device work.
pub trait StreamClassifier: Send + Sync {
    /// Returns the class of a kernel's launches.
    fn classify(&self, launch: &Launch<'_>) -> Class;
}

/// Classifier by the kernel's name. Work without a known name is [`Class::Other`].
///
/// ```
/// use fcsp_core::classifier::{ByName, Launch, StreamClassifier};
/// use fcsp_core::classify::Class;
///
/// let launch = Launch::of("ampere_sgemm_128x64_nn");
/// assert_eq!(ByName.classify(&launch), Class::Gemm);
/// ```
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
        let nccl =
            Launch::of("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)");
        assert!(ByName.classify(&nccl).bypasses_gate());
        assert_eq!(ByName.classify(&Launch::of("")), Class::Other);
        assert_eq!(Unclassified.classify(&nccl), Class::Other);
    }
}
