//! The simulated accelerator as `libdcmi.so`, Ascend's management library.
//!
//! It reads the machine's state file and changes nothing in it. Every card has one chip, number 0;
//! all cards are listed, whatever `ASCEND_RT_VISIBLE_DEVICES` says. Partitions are not modelled:
//! creating one is refused as not supported.

mod device;
mod process;
mod state;

use fcsp_sim::faults::around;

/// What an exported function's body returns: a code of the library, all of them negative.
type Reply<T = ()> = Result<T, i32>;

const INVALID_PARAMETER: i32 = -8001;
const INVALID_DEVICE_ID: i32 = -8007;
const NOT_READY: i32 = -8012;
const NOT_SUPPORT: i32 = -8255;

/// Writes a line to stderr if `FCSP_SIM_LOG` is set.
fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

/// Runs an exported function's body, with the faults asked for before and after it.
fn call(name: &'static str, body: impl FnOnce() -> Reply) -> i32 {
    around(name, || body().err().unwrap_or(0))
}

/// Stores a result in a caller's place.
fn put<T>(place: *mut T, value: T) -> Reply {
    if place.is_null() {
        return Err(INVALID_PARAMETER);
    }
    // SAFETY: not null, so by the API's contract a place for a value of this type.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Stores a text in a caller's buffer, cut short if need be and always terminated.
fn put_text(place: *mut u8, len: usize, text: &str) -> Reply {
    if place.is_null() || len == 0 {
        return Err(INVALID_PARAMETER);
    }
    let n = text.len().min(len - 1);
    // SAFETY: by the API's contract `len` bytes, of which at most `len` are written.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), place, n);
        place.add(n).write(0);
    }
    Ok(())
}

/// Exports functions. Each body is a closure that may use `?`.
macro_rules! api {
    ($( $(#[$m:meta])* fn $name:ident ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            $crate::call(stringify!($name), || -> $crate::Reply { $body })
        }
    )* };
}
use api;
