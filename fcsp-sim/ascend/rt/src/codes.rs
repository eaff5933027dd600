//! Result codes. The runtime answers with the `ACL_ERROR_RT_*` numbers that ACL hands on.

use fcsp_sim::error::Error;
use fcsp_sim::table::Stale;

/// A result code other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i32);

/// The result of an exported function's body.
pub type Reply<T = ()> = Result<T, Code>;

pub const PARAM_INVALID: Code = Code(107_000);
pub const INVALID_DEVICE: Code = Code(107_001);
pub const CONTEXT_NULL: Code = Code(107_002);
pub const STREAM_CONTEXT: Code = Code(107_003);
pub const MODEL_CONTEXT: Code = Code(107_004);
pub const STREAM_MODEL: Code = Code(107_005);
pub const EVENT_TIMESTAMP_INVALID: Code = Code(107_006);
pub const INVALID_MEMORY_TYPE: Code = Code(107_016);
pub const INVALID_HANDLE: Code = Code(107_017);
pub const STREAM_CAPTURED: Code = Code(107_027);
pub const CAPTURE_UNMATCHED: Code = Code(107_036);
pub const FEATURE_NOT_SUPPORT: Code = Code(207_000);
pub const MEMORY_ALLOCATION: Code = Code(207_001);
pub const INTERNAL_ERROR: Code = Code(507_000);
pub const NO_DEVICE: Code = Code(507_004);
pub const AICORE_EXCEPTION: Code = Code(507_015);
pub const STREAM_SYNC_TIMEOUT: Code = Code(507_046);

/// A handle that the runtime was to follow. Any but the null handle ends the program before it
/// comes here, unless the rule is off.
impl From<Stale> for Code {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Null => PARAM_INVALID,
            Stale::Unknown => INVALID_HANDLE,
        }
    }
}

impl From<Error> for Code {
    fn from(e: Error) -> Self {
        match e {
            Error::OutOfMemory => MEMORY_ALLOCATION,
            Error::InvalidValue | Error::NotFound | Error::InvalidImage => PARAM_INVALID,
            Error::InvalidHandle => INVALID_HANDLE,
            Error::InvalidContext | Error::ContextDestroyed => CONTEXT_NULL,
            Error::NotReady => EVENT_TIMESTAMP_INVALID,
            Error::NotSupported => FEATURE_NOT_SUPPORT,
            Error::IllegalAddress => AICORE_EXCEPTION,
            Error::CaptureUnsupported => STREAM_CAPTURED,
            Error::CaptureUnmatched | Error::CaptureInvalidated | Error::CaptureUnjoined => {
                CAPTURE_UNMATCHED
            }
            Error::OperatingSystem | Error::TooMany => INTERNAL_ERROR,
        }
    }
}
