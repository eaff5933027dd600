//! Physical memory by handle, in whole grains.

use crate::backend::Backend;
use crate::device::Device;
use crate::memory::or_wrong_argument;
use crate::memory::physical::Books;

/// A request for physical memory.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The driver's function, for the log.
    pub what: &'static str,
    /// The bytes that the program asked for.
    pub bytes: usize,
    /// Physical memory comes in multiples of so many bytes.
    pub grain: usize,
    /// True if the driver would accept the other arguments.
    pub is_usable: bool,
}

/// Makes physical memory on `device` through `call`, which takes the bytes to ask for. Then
/// `handle` reads its handle. `release` releases one. Inside a wrapper.
///
/// Where the quota refuses a request that the driver might refuse for its arguments, a request of
/// one grain finds that out: the memory itself would pass the quota.
pub fn create<B: Backend>(
    books: &Books<B>,
    device: &'static Device<B>,
    request: Request,
    call: impl Fn(usize) -> B::Status,
    handle: impl Fn() -> u64,
    release: impl FnOnce(u64),
) -> B::Status {
    let Request {
        what,
        bytes,
        grain,
        is_usable,
    } = request;
    let result = books.create(device, 0, what, bytes as u64, || call(bytes), &handle);
    let usable = || is_usable && bytes > 0 && bytes.is_multiple_of(grain);
    let small = bytes.min(grain + bytes % grain);
    or_wrong_argument::<B>(result, usable, || call(small), || release(handle()))
}
