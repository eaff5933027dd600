//! Single operators. An operator's type is the name of a kernel, its integer attributes are the
//! kernel's parameters in the order in which they were set.

use crate::data::{Buffer, Tensor};
use crate::{INVALID_PARAM, rt};
use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::sync::{LazyLock, Mutex, PoisonError};

/// `aclopAttr`.
#[derive(Debug, Default)]
pub struct Attributes {
    integers: Vec<(String, i64)>,
}

#[unsafe(no_mangle)]
pub extern "C" fn aclopCreateAttr() -> *mut Attributes {
    Box::into_raw(Box::default())
}

#[unsafe(no_mangle)]
pub extern "C" fn aclopDestroyAttr(attributes: *mut Attributes) {
    if !attributes.is_null() {
        // SAFETY: made by `aclopCreateAttr`, by the API's contract, and given back once.
        drop(unsafe { Box::from_raw(attributes) });
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclopSetAttrInt(
    attributes: *mut Attributes,
    name: *const c_char,
    value: i64,
) -> i32 {
    // SAFETY: null or made here.
    let Some(attributes) = (unsafe { attributes.as_mut() }) else {
        return INVALID_PARAM;
    };
    if name.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: not null, so by the API's contract a string.
    let name = unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned();
    attributes.integers.retain(|(n, _)| *n != name);
    attributes.integers.push((name, value));
    0
}

/// Nothing but the first bytes of an image is looked at.
static CODE: [u8; 16] = *b"\x7fELF operators  ";

#[derive(Debug, Default)]
struct Operators {
    binary: u64,
    functions: HashMap<String, u64>,
}

/// Returns the kernel of an operator type, compiled on first use.
fn compiled(kind: &CStr) -> Result<u64, i32> {
    static OPERATORS: LazyLock<Mutex<Operators>> = LazyLock::new(Mutex::default);
    let mut all = OPERATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let name = kind.to_string_lossy().into_owned();
    if let Some(f) = all.functions.get(&name) {
        return Ok(*f);
    }
    if all.binary == 0 {
        // SAFETY: a static image, and a place that outlives the call.
        let code = unsafe {
            rt::rtBinaryLoadWithoutTilingKey(
                CODE.as_ptr() as u64,
                CODE.len() as u64,
                &mut all.binary,
            )
        };
        if code != 0 {
            return Err(code);
        }
    }
    let mut f = 0;
    // SAFETY: a C string, and a place that outlives the call.
    match unsafe { rt::rtsFuncGetByName(all.binary, kind.as_ptr() as u64, &mut f) } {
        0 => {
            all.functions.insert(name, f);
            Ok(f)
        }
        code => Err(code),
    }
}

fn execute(kind: *const c_char, attributes: *const Attributes, stream: u64) -> i32 {
    if kind.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: not null, so by the API's contract a string.
    let f = match compiled(unsafe { CStr::from_ptr(kind) }) {
        Ok(f) => f,
        Err(code) => return code,
    };
    // SAFETY: null or made here.
    let args: Vec<i64> = unsafe { attributes.as_ref() }
        .map(|a| a.integers.iter().map(|(_, v)| *v).collect())
        .unwrap_or_default();
    // SAFETY: the runtime reads the arguments before it returns.
    unsafe {
        rt::rtsLaunchKernelWithHostArgs(
            f,
            1,
            stream,
            0,
            args.as_ptr() as u64,
            8 * args.len() as u32,
            0,
            0,
        )
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclopExecuteV2(
    kind: *const c_char,
    _inputs: i32,
    _input_descs: *const *mut Tensor,
    _input: *const *mut Buffer,
    _outputs: i32,
    _output_descs: *const *mut Tensor,
    _output: *const *mut Buffer,
    attributes: *mut Attributes,
    stream: u64,
) -> i32 {
    execute(kind, attributes, stream)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclopCompileAndExecute(
    kind: *const c_char,
    _inputs: i32,
    _input_descs: *const *const Tensor,
    _input: *const *const Buffer,
    _outputs: i32,
    _output_descs: *const *const Tensor,
    _output: *const *mut Buffer,
    attributes: *const Attributes,
    _engine: i32,
    _flag: i32,
    _path: *const c_char,
    stream: u64,
) -> i32 {
    execute(kind, attributes, stream)
}
