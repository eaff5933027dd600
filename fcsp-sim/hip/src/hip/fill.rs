//! Fills.

use super::memory::{Extent, Pitched};
use crate::codes::{INVALID_VALUE, Reply};
use crate::copy as driver;
use crate::export::{cu, hip_api, same_api};

/// Slices of a pitched piece as one fill of rows. Slices lie `rows` rows apart, so with fewer rows
/// each is its own.
fn slices(m: Pitched, e: Extent, fill: impl Fn(u64, u64) -> i32) -> Reply {
    if e.width == 0 || e.height == 0 || e.depth == 0 {
        return Ok(());
    }
    if e.width > m.pitch || m.rows < e.height && e.depth > 1 {
        return Err(INVALID_VALUE);
    }
    if m.rows == e.height {
        return cu(fill(m.at, e.height * e.depth));
    }
    (0..e.depth).try_for_each(|z| cu(fill(m.at + z * m.pitch * m.rows, e.height)))
}

hip_api! {
    fn hipMemset(at: u64, value: i32, n: u64) {
        cu(driver::cuMemsetD8_v2(at, value as u8, n))
    }
    fn hipMemset_spt(at: u64, value: i32, n: u64) {
        cu(driver::cuMemsetD8_v2_ptds(at, value as u8, n))
    }
    fn hipMemsetAsync(at: u64, value: i32, n: u64, stream: u64) {
        cu(driver::cuMemsetD8Async(at, value as u8, n, stream))
    }
    fn hipMemsetAsync_spt(at: u64, value: i32, n: u64, stream: u64) {
        cu(driver::cuMemsetD8Async_ptsz(at, value as u8, n, stream))
    }
    fn hipMemset2D(at: u64, pitch: u64, value: i32, width: u64, height: u64) {
        cu(driver::cuMemsetD2D8_v2(at, pitch, value as u8, width, height))
    }
    fn hipMemset2D_spt(at: u64, pitch: u64, value: i32, width: u64, height: u64) {
        cu(driver::cuMemsetD2D8_v2_ptds(at, pitch, value as u8, width, height))
    }
    fn hipMemset2DAsync(at: u64, pitch: u64, value: i32, width: u64, height: u64, stream: u64) {
        cu(driver::cuMemsetD2D8Async(at, pitch, value as u8, width, height, stream))
    }
    fn hipMemset2DAsync_spt(at: u64, pitch: u64, value: i32, width: u64, height: u64, stream: u64) {
        cu(driver::cuMemsetD2D8Async_ptsz(at, pitch, value as u8, width, height, stream))
    }
    fn hipMemset3D(m: Pitched, value: i32, e: Extent) {
        slices(m, e, |at, rows| driver::cuMemsetD2D8_v2(at, m.pitch, value as u8, e.width, rows))
    }
    fn hipMemset3D_spt(m: Pitched, value: i32, e: Extent) {
        slices(m, e, |at, rows| driver::cuMemsetD2D8_v2_ptds(at, m.pitch, value as u8, e.width, rows))
    }
    fn hipMemset3DAsync(m: Pitched, value: i32, e: Extent, stream: u64) {
        slices(m, e, |at, rows| driver::cuMemsetD2D8Async(at, m.pitch, value as u8, e.width, rows, stream))
    }
    fn hipMemset3DAsync_spt(m: Pitched, value: i32, e: Extent, stream: u64) {
        slices(m, e, |at, rows| driver::cuMemsetD2D8Async_ptsz(at, m.pitch, value as u8, e.width, rows, stream))
    }
}

same_api! {
    fn hipMemsetD8 = copy::cuMemsetD8_v2(at: u64, value: u8, n: u64);
    fn hipMemsetD8Async = copy::cuMemsetD8Async(at: u64, value: u8, n: u64, stream: u64);
    fn hipMemsetD16 = copy::cuMemsetD16_v2(at: u64, value: u16, n: u64);
    fn hipMemsetD16Async = copy::cuMemsetD16Async(at: u64, value: u16, n: u64, stream: u64);
    fn hipMemsetD32 = copy::cuMemsetD32_v2(at: u64, value: u32, n: u64);
    fn hipMemsetD32Async = copy::cuMemsetD32Async(at: u64, value: u32, n: u64, stream: u64);
    fn hipMemsetD2D8 = copy::cuMemsetD2D8_v2(at: u64, pitch: u64, value: u8, width: u64, height: u64);
    fn hipMemsetD2D8Async = copy::cuMemsetD2D8Async(
        at: u64, pitch: u64, value: u8, width: u64, height: u64, stream: u64,
    );
    fn hipMemsetD2D16 = copy::cuMemsetD2D16_v2(at: u64, pitch: u64, value: u16, width: u64, height: u64);
    fn hipMemsetD2D16Async = copy::cuMemsetD2D16Async(
        at: u64, pitch: u64, value: u16, width: u64, height: u64, stream: u64,
    );
    fn hipMemsetD2D32 = copy::cuMemsetD2D32_v2(at: u64, pitch: u64, value: u32, width: u64, height: u64);
    fn hipMemsetD2D32Async = copy::cuMemsetD2D32Async(
        at: u64, pitch: u64, value: u32, width: u64, height: u64, stream: u64,
    );
}
