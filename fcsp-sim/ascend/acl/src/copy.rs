//! Copies and fills.

use crate::forward;

forward! {
    fn aclrtMemcpy(dst: u64, most: u64, src: u64, n: u64, kind: i32) = rtMemcpy(dst, most, src, n, kind);
    fn aclrtMemcpyAsync(dst: u64, most: u64, src: u64, n: u64, kind: i32, stream: u64) = rtMemcpyAsync(dst, most, src, n, kind, stream);
    fn aclrtMemset(at: u64, most: u64, value: i32, n: u64) = rtMemset(at, most, value as u32, n);
    fn aclrtMemsetAsync(at: u64, most: u64, value: i32, n: u64, stream: u64) = rtMemsetAsync(at, most, value as u32, n, stream);
}

/// Counts elements, of which the runtime wants bytes.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtReduceAsync(
    dst: u64,
    src: u64,
    count: u64,
    kind: i32,
    data: i32,
    stream: u64,
    _reserve: u64,
) -> i32 {
    let n = count * crate::data::width(data) as u64;
    // SAFETY: the runtime checks both ranges.
    unsafe { crate::rt::rtReduceAsync(dst, n, src, n, kind, data, stream) }
}
