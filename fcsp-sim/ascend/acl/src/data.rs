//! What ACL keeps for its callers: buffers' descriptions, tensors' descriptions, data sets.

use crate::INVALID_PARAM;

/// `aclDataBuffer`.
#[derive(Debug)]
pub struct Buffer {
    address: u64,
    size: u64,
}

/// `aclTensorDesc`.
#[derive(Debug)]
pub struct Tensor {
    data: i32,
    dims: Vec<i64>,
    format: i32,
}

/// `aclmdlDataset`.
#[derive(Debug, Default)]
pub struct Dataset {
    buffers: Vec<*mut Buffer>,
}

/// Bytes of an element of a type.
pub fn width(data: i32) -> usize {
    match data {
        0 | 3 | 8 => 4,
        1 | 6 | 7 | 27 => 2,
        9 | 10 | 11 | 16 => 8,
        17 => 16,
        _ => 1,
    }
}

fn made<T>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

fn gone<T>(object: *mut T) -> i32 {
    if object.is_null() {
        return INVALID_PARAM;
    }
    // SAFETY: made by `made`, by the API's contract, and given back once.
    drop(unsafe { Box::from_raw(object) });
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn aclCreateDataBuffer(address: u64, size: u64) -> *mut Buffer {
    made(Buffer { address, size })
}

#[unsafe(no_mangle)]
pub extern "C" fn aclDestroyDataBuffer(buffer: *mut Buffer) -> i32 {
    gone(buffer)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetDataBufferAddr(buffer: *const Buffer) -> u64 {
    // SAFETY: null or made here.
    unsafe { buffer.as_ref() }.map_or(0, |b| b.address)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetDataBufferSizeV2(buffer: *const Buffer) -> u64 {
    // SAFETY: null or made here.
    unsafe { buffer.as_ref() }.map_or(0, |b| b.size)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclCreateTensorDesc(
    data: i32,
    count: i32,
    dims: *const i64,
    format: i32,
) -> *mut Tensor {
    if count < 0 || (count > 0 && dims.is_null()) {
        return std::ptr::null_mut();
    }
    // SAFETY: by the API's contract an array of `count`.
    let dims = (0..count as usize)
        .map(|i| unsafe { dims.add(i).read_unaligned() })
        .collect();
    made(Tensor { data, dims, format })
}

#[unsafe(no_mangle)]
pub extern "C" fn aclDestroyTensorDesc(tensor: *mut Tensor) {
    gone(tensor);
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetTensorDescType(tensor: *const Tensor) -> i32 {
    // SAFETY: null or made here.
    unsafe { tensor.as_ref() }.map_or(-1, |t| t.data)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetTensorDescFormat(tensor: *const Tensor) -> i32 {
    // SAFETY: null or made here.
    unsafe { tensor.as_ref() }.map_or(-1, |t| t.format)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetTensorDescNumDims(tensor: *const Tensor) -> u64 {
    // SAFETY: null or made here.
    unsafe { tensor.as_ref() }.map_or(0, |t| t.dims.len() as u64)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclGetTensorDescSize(tensor: *const Tensor) -> u64 {
    // SAFETY: null or made here.
    let count = |t: &Tensor| t.dims.iter().product::<i64>() as u64 * width(t.data) as u64;
    // SAFETY: as above.
    unsafe { tensor.as_ref() }.map_or(0, count)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclDataTypeSize(data: i32) -> u64 {
    width(data) as u64
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlCreateDataset() -> *mut Dataset {
    made(Dataset::default())
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlDestroyDataset(set: *mut Dataset) -> i32 {
    gone(set)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlAddDatasetBuffer(set: *mut Dataset, buffer: *mut Buffer) -> i32 {
    // SAFETY: null or made here.
    match unsafe { set.as_mut() } {
        Some(set) if !buffer.is_null() => {
            set.buffers.push(buffer);
            0
        }
        _ => INVALID_PARAM,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlGetDatasetNumBuffers(set: *const Dataset) -> u64 {
    // SAFETY: null or made here.
    unsafe { set.as_ref() }.map_or(0, |s| s.buffers.len() as u64)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlGetDatasetBuffer(set: *const Dataset, index: u64) -> *mut Buffer {
    // SAFETY: null or made here.
    unsafe { set.as_ref() }
        .and_then(|s| s.buffers.get(index as usize).copied())
        .unwrap_or(std::ptr::null_mut())
}
