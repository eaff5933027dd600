//! Variables by their host symbol.

use super::registered::variable;
use crate::abi::Out;
use crate::codes::{INVALID_VALUE, Reply};
use crate::copy as driver;
use crate::export::{cu, hip_api};

/// Returns the address of a part of a variable.
pub fn place(symbol: u64, offset: u64, n: u64) -> Reply<u64> {
    let (at, size) = variable(symbol)?;
    if offset.checked_add(n).is_none_or(|end| end > size) {
        return Err(INVALID_VALUE);
    }
    Ok(at + offset)
}

hip_api! {
    fn hipGetSymbolAddress(at: Out<u64>, symbol: u64) {
        at.put(variable(symbol)?.0)
    }
    fn hipGetSymbolSize(size: Out<u64>, symbol: u64) {
        size.put(variable(symbol)?.1)
    }
    fn hipMemcpyToSymbol(symbol: u64, from: u64, n: u64, offset: u64, _kind: i32) {
        cu(driver::cuMemcpy(place(symbol, offset, n)?, from, n))
    }
    fn hipMemcpyToSymbol_spt(symbol: u64, from: u64, n: u64, offset: u64, _kind: i32) {
        cu(driver::cuMemcpy_ptds(place(symbol, offset, n)?, from, n))
    }
    fn hipMemcpyToSymbolAsync(symbol: u64, from: u64, n: u64, offset: u64, _kind: i32, stream: u64) {
        cu(driver::cuMemcpyAsync(place(symbol, offset, n)?, from, n, stream))
    }
    fn hipMemcpyToSymbolAsync_spt(symbol: u64, from: u64, n: u64, offset: u64, _kind: i32, stream: u64) {
        cu(driver::cuMemcpyAsync_ptsz(place(symbol, offset, n)?, from, n, stream))
    }
    fn hipMemcpyFromSymbol(to: u64, symbol: u64, n: u64, offset: u64, _kind: i32) {
        cu(driver::cuMemcpy(to, place(symbol, offset, n)?, n))
    }
    fn hipMemcpyFromSymbol_spt(to: u64, symbol: u64, n: u64, offset: u64, _kind: i32) {
        cu(driver::cuMemcpy_ptds(to, place(symbol, offset, n)?, n))
    }
    fn hipMemcpyFromSymbolAsync(to: u64, symbol: u64, n: u64, offset: u64, _kind: i32, stream: u64) {
        cu(driver::cuMemcpyAsync(to, place(symbol, offset, n)?, n, stream))
    }
    fn hipMemcpyFromSymbolAsync_spt(to: u64, symbol: u64, n: u64, offset: u64, _kind: i32, stream: u64) {
        cu(driver::cuMemcpyAsync_ptsz(to, place(symbol, offset, n)?, n, stream))
    }
}
