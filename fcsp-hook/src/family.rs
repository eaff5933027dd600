//! Code that several drivers of one family share, beyond what every backend needs.
//!
//! | module | shared by drivers with |
//! |---|---|
//! | [`mod@array`] | arrays and mipmapped arrays whose size must be computed |
//! | [`capture`] | streams whose work is captured into graphs |
//! | [`observed`] | functions that FCSP observes without a change to their result |
//! | [`ordered`] | allocations in the order of a stream, from memory pools |
//! | [`vmm`] | physical memory by handle, in whole grains |
//!
//! CUDA and HIP are one family: HIP took over CUDA's interface. A backend implements the small
//! traits here by its driver's calls. Each backend gets code of its own, as with the rest of this
//! crate. The wrappers stay beside the vendor's names.

pub mod array;
pub mod capture;
pub mod observed;
pub mod ordered;
pub mod vmm;

/// Rounds a request up to whole pages of `page` bytes. A request near 2^64 cannot be rounded up and
/// cannot be met: the result is then [`u64::MAX`].
pub const fn whole_pages(bytes: u64, page: u64) -> u64 {
    match bytes.checked_next_multiple_of(page) {
        Some(rounded) => rounded,
        None => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::whole_pages;

    #[test]
    fn requests_are_rounded_up_to_pages() {
        for (asked, page, taken) in [
            (0, 2 << 20, 0),
            (1, 4096, 4096),
            ((1 << 20) + 1, 2 << 20, 2 << 20),
            (2 << 20, 2 << 20, 2 << 20),
            ((2 << 20) + 1, 2 << 20, 4 << 20),
            (u64::MAX, 2 << 20, u64::MAX),
        ] {
            assert_eq!(whole_pages(asked, page), taken, "{asked}");
        }
    }
}
