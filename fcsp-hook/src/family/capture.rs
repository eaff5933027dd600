//! Streams whose work is captured into graphs, and queries of the driver meanwhile.

use crate::backend::{Capture, Driver};
use crate::memory::graph::GraphMemory;
use crate::recordings::{Origin, Question, Recordings};

/// A driver that lets a thread choose how captures of other threads restrict it.
pub trait CaptureMode: Driver {
    /// The vendor's number of a mode.
    type Mode: Copy + core::fmt::Debug;
    /// The mode in which captures of other threads restrict nothing.
    const RELAXED: Self::Mode;

    /// Exchanges the calling thread's mode for `mode`. Returns true if that succeeded.
    fn exchange_capture_mode(mode: &mut Self::Mode) -> bool;
}

/// Guard under which this thread may create and query events while another thread captures.
///
/// Most captures use a mode in which such a query breaks the capture. A launch on a stream that is
/// not captured must still pass the limiter: one open capture would otherwise be a way around the
/// share.
#[derive(Debug)]
pub struct BesideCaptures<B: CaptureMode>(B::Mode);

impl<B: CaptureMode> BesideCaptures<B> {
    /// Exchanges the calling thread's mode, if the driver can.
    #[cold]
    fn begin() -> Option<Self> {
        let mut mode = B::RELAXED;
        // The driver exchanges the mode for the thread's previous one.
        B::exchange_capture_mode(&mut mode).then_some(Self(mode))
    }
}

impl<B: CaptureMode> Drop for BesideCaptures<B> {
    fn drop(&mut self) {
        B::exchange_capture_mode(&mut self.0);
    }
}

/// Begins a query of the driver beside the `recordings` of any thread. For
/// [`Capture::beside_recordings`].
pub fn beside<B: CaptureMode>(recordings: &'static Recordings) -> Question<BesideCaptures<B>> {
    recordings.ask(BesideCaptures::begin)
}

/// Returns true if `stream` is capturing. The driver is asked only while any stream may be.
#[inline]
pub fn is_capturing<B: Capture>(stream: usize) -> bool {
    B::is_recording() && B::records(stream)
}

/// Runs `call`, which begins a capture on `stream`, of a graph of its own if `is_fresh`. The
/// capture counts from before the call, so that no query of FCSP spoils it.
pub fn begins<B: GraphMemory>(
    stream: usize,
    is_fresh: bool,
    call: &dyn Fn() -> B::Status,
) -> B::Status {
    if B::process().is_free() {
        return call();
    }
    let began = |result| {
        if result != B::SUCCESS {
            return None;
        }
        let graph = if is_fresh {
            B::graph_of_capture(stream)
        } else {
            0
        };
        // A capture that failed frees its graph without a call.
        B::graphs().graph_gone(graph);
        Some(Origin {
            queue: stream,
            context: B::current_context().unwrap_or(0),
            device: -1,
            graph,
        })
    };
    B::graphs().recordings().begins(call, began)
}

/// Runs `call`, which ends a capture on `stream`. Whatever the result, a capture that was begun on
/// this stream is over, unless the call came from the wrong thread: then it is still capturing.
pub fn ends<B: GraphMemory>(stream: usize, call: &dyn Fn() -> B::Status) -> B::Status {
    let graphs = B::graphs();
    let was = graphs.recordings().began_on(stream) && B::records(stream);
    let result = call();
    if was
        && !B::records(stream)
        && let Some(origin) = graphs.recordings().ended_on(stream)
        && result != B::SUCCESS
    {
        graphs.graph_gone(origin.graph);
    }
    result
}
