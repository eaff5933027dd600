//! Allocations in the order of a stream. What a pool is charged is in [`crate::memory::pool`].

use crate::memory::graph::GraphMemory;
use crate::memory::or_wrong_argument;
use crate::memory::pool::{self, Pooled};
use crate::process::Target;
use crate::setup::Reentry;

use super::capture;

/// The calls of a driver that allocates in the order of a stream.
pub trait OrderedAllocation: Pooled + GraphMemory {
    /// The driver's function, for the log.
    const NAME: &'static str;
    /// True if the driver grants a request of no bytes.
    const GRANTS_NOTHING: bool;

    /// Returns the device whose pool serves `stream`.
    fn device_of_stream(inside: &Reentry, stream: usize) -> Target<Self>;
    /// Returns the code by which the driver refuses an allocation on `stream` because of a capture
    /// elsewhere. `pool` is the pool that the request names. Called first: the queries before a
    /// pool grows would end a capture which the refusal does not end.
    fn forbidden_on(stream: usize, pool: Option<usize>) -> Option<Self::Status>;
}

/// A request in the order of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The bytes that the program asked for.
    pub bytes: u64,
    /// The stream, by its true name.
    pub stream: usize,
    /// The pool that the request names; 0 if none.
    pub pool: usize,
    /// True if the driver would accept the other arguments.
    pub is_usable: bool,
}

/// Allocates through `call`; then `address` reads the result. An allocation on a stream that is
/// capturing becomes a node of its graph, and is charged when the graph is launched.
pub fn allocate<B: OrderedAllocation>(
    request: Request,
    call: impl Fn() -> B::Status,
    address: impl Fn() -> u64,
) -> B::Status {
    let Request {
        bytes,
        stream,
        pool,
        is_usable,
    } = request;
    let Some(inside) = Reentry::enter() else {
        return call();
    };
    if capture::is_capturing::<B>(stream) {
        let result = call();
        if result == B::SUCCESS {
            // A graph that could not be queried is found out after its launch.
            B::graphs().node_added::<B>(B::graph_of_capture(stream), bytes);
        }
        return result;
    }
    let device = match B::device_of_stream(&inside, stream) {
        Target::Device(device, _) => device,
        Target::PassThrough => return call(),
        Target::Deny => return B::OUT_OF_MEMORY,
    };
    let pool = (pool != 0).then_some(pool);
    if B::is_recording()
        && is_usable
        && bytes > 0
        && let Some(code) = B::forbidden_on(stream, pool)
    {
        return code;
    }
    // What the driver refuses for its arguments must not make a pool give back what it keeps.
    let result = if is_usable {
        pool::allocate(device, pool, B::NAME, bytes, &call, &address)
    } else {
        B::OUT_OF_MEMORY
    };
    let usable = || is_usable && (bytes > 0 || B::GRANTS_NOTHING);
    or_wrong_argument::<B>(result, usable, call, || {
        B::free_now(address());
    })
}
