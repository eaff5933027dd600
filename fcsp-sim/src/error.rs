//! What the device model refuses, in terms that no vendor owns. Each driver library maps these to
//! its own codes.

/// A refusal by the device model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The device has no room for the request; nothing has changed.
    #[error("out of device memory")]
    OutOfMemory,
    /// An argument is outside what the call accepts.
    #[error("invalid value")]
    InvalidValue,
    /// A handle names no live object.
    #[error("invalid handle")]
    InvalidHandle,
    /// No context is current, or the one named is gone.
    #[error("invalid context")]
    InvalidContext,
    /// The context was destroyed while the call needed it.
    #[error("context is destroyed")]
    ContextDestroyed,
    /// The name is unknown.
    #[error("not found")]
    NotFound,
    /// The work has not finished.
    #[error("not ready")]
    NotReady,
    /// The simulator does not model this.
    #[error("not supported")]
    NotSupported,
    /// The operating system refused a mapping, a file or a lock.
    #[error("operating system call failed")]
    OperatingSystem,
    /// The program image cannot be read.
    #[error("invalid program image")]
    InvalidImage,
    /// A kernel touched an address that it may not; the context is lost.
    #[error("illegal address")]
    IllegalAddress,
    /// The operation is not permitted while the stream records a graph.
    #[error("stream is capturing")]
    CaptureUnsupported,
    /// The stream is not recording a graph.
    #[error("stream is not capturing")]
    CaptureUnmatched,
    /// The capture was broken by an earlier call.
    #[error("capture invalidated")]
    CaptureInvalidated,
    /// A forked stream was not joined to the origin of its capture.
    #[error("capture has an unjoined stream")]
    CaptureUnjoined,
    /// The shared state of the machine has no room for another process or context.
    #[error("too many processes or contexts")]
    TooMany,
}

/// Result of a call on the device model.
pub type Result<T = ()> = std::result::Result<T, Error>;
