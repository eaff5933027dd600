//! Result codes.

use fcsp_sim::error::Error;
use fcsp_sim::table::Stale;

/// A result code other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i32);

/// The result of an exported function's body.
pub type Reply<T = ()> = Result<T, Code>;

pub const NOT_READY: Code = Code(1);
pub const DEVICE_LOST: Code = Code(0x7000_0001);
pub const OUT_OF_HOST_MEMORY: Code = Code(0x7000_0002);
pub const OUT_OF_DEVICE_MEMORY: Code = Code(0x7000_0003);
pub const MODULE_BUILD_FAILURE: Code = Code(0x7000_0004);
pub const UNINITIALIZED: Code = Code(0x7800_0001);
pub const UNSUPPORTED_VERSION: Code = Code(0x7800_0002);
pub const UNSUPPORTED_FEATURE: Code = Code(0x7800_0003);
pub const INVALID_ARGUMENT: Code = Code(0x7800_0004);
pub const INVALID_NULL_HANDLE: Code = Code(0x7800_0005);
pub const OBJECT_IN_USE: Code = Code(0x7800_0006);
pub const INVALID_NULL_POINTER: Code = Code(0x7800_0007);
pub const INVALID_SIZE: Code = Code(0x7800_0008);
pub const UNSUPPORTED_SIZE: Code = Code(0x7800_0009);
pub const UNSUPPORTED_ALIGNMENT: Code = Code(0x7800_000a);
pub const INVALID_SYNCHRONIZATION_OBJECT: Code = Code(0x7800_000b);
pub const INVALID_ENUMERATION: Code = Code(0x7800_000c);
pub const UNSUPPORTED_IMAGE_FORMAT: Code = Code(0x7800_000e);
pub const INVALID_NATIVE_BINARY: Code = Code(0x7800_000f);
pub const INVALID_GLOBAL_NAME: Code = Code(0x7800_0010);
pub const INVALID_KERNEL_NAME: Code = Code(0x7800_0011);
pub const INVALID_GROUP_SIZE: Code = Code(0x7800_0013);
pub const INVALID_ARGUMENT_INDEX: Code = Code(0x7800_0015);
pub const INVALID_ARGUMENT_SIZE: Code = Code(0x7800_0016);
pub const INVALID_LIST_TYPE: Code = Code(0x7800_0019);

/// A handle that the driver was to follow: the null handle has a code of its own. Any other ends
/// the program before it comes here, unless the rule is off.
impl From<Stale> for Code {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Null => INVALID_NULL_HANDLE,
            Stale::Unknown => INVALID_ARGUMENT,
        }
    }
}

impl From<Error> for Code {
    fn from(e: Error) -> Self {
        match e {
            Error::OutOfMemory => OUT_OF_DEVICE_MEMORY,
            Error::NotReady => NOT_READY,
            Error::NotSupported => UNSUPPORTED_FEATURE,
            Error::OperatingSystem | Error::TooMany => OUT_OF_HOST_MEMORY,
            Error::InvalidImage => MODULE_BUILD_FAILURE,
            Error::NotFound => INVALID_KERNEL_NAME,
            // A context that has lost its device.
            Error::IllegalAddress | Error::ContextDestroyed => DEVICE_LOST,
            _ => INVALID_ARGUMENT,
        }
    }
}
