//! The simulated accelerator as `libdcmi.so`, Ascend's management library.
//!
//! It reads the machine's state file and changes nothing in it. Every card has one chip, number 0;
//! all cards are listed, whatever `ASCEND_RT_VISIBLE_DEVICES` says. Partitions are not modelled:
//! creating one is refused as not supported.

mod device;
mod process;
mod state;

use fcsp_sim::abi::{Out, Vendor};
use fcsp_sim::export::{call, log};

/// The result of an exported function's body: a code of the library, all of them negative.
type Reply<T = ()> = Result<T, i32>;

const INVALID_PARAMETER: i32 = -8001;
const INVALID_DEVICE_ID: i32 = -8007;
const NOT_READY: i32 = -8012;
const NOT_SUPPORT: i32 = -8255;

/// The library's own code for a null pointer.
#[derive(Debug)]
enum Abi {}

impl Vendor for Abi {
    type Code = i32;
    const NULL_POINTER: i32 = INVALID_PARAMETER;
}

/// Stores a result in a caller's place.
fn put<T>(place: *mut T, value: T) -> Reply {
    Out::<_, Abi>::from_raw(place).put(value)
}

/// Stores a text in a caller's buffer, cut short if need be and always terminated.
fn put_text(place: *mut u8, len: usize, text: &str) -> Reply {
    fcsp_sim::abi::put_text(Out::<_, Abi>::from_raw(place), len, text)
}

/// Exports functions; see [`fcsp_sim::exported_functions`].
macro_rules! api {
    ($($functions:tt)*) => {
        fcsp_sim::exported_functions!([$crate::call] [$crate::Reply] $($functions)*);
    };
}
use api;
