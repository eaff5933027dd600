//! Attributes of a pointer.

use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, NOT_SUPPORTED, Reply};
use crate::driver::driver;
use crate::export::api;
use fcsp_sim::memory::{Kind, Range};
use fcsp_sim::vmm::Access;

const HOST: u64 = 1;
const DEVICE: u64 = 2;

/// Returns an attribute's value and its width in bytes.
fn value(r: &Range, at: u64, which: i32) -> Reply<(u64, usize)> {
    let d = driver()?;
    let device = r.on_device();
    Ok(match which {
        1 => (r.context, 8),
        2 => (if device { DEVICE } else { HOST }, 4),
        3 => (at, 8),
        4 if !device || r.kind == Kind::Managed => (at, 8),
        4 | 5 => return Err(INVALID_VALUE),
        6 => (0, 4),
        7 => (r.id, 8),
        8 => (u64::from(r.kind == Kind::Managed), 4),
        9 => (d.ordinal(r.device) as u64, 4),
        10 => (u64::from(r.kind == Kind::Device), 4),
        11 => (r.base, 8),
        12 => (r.size, 8),
        13 => (1, 4),
        14 => (0, 8),
        15 => (0, 4),
        16 => {
            let flags = match r.kind {
                Kind::Mapped => match d.memory.physical_granted(at)? {
                    Access::None => 0,
                    Access::Read => 1,
                    Access::ReadWrite => 3,
                },
                _ => 3,
            };
            (flags, 4)
        }
        17 => match r.kind {
            Kind::Pool(id) => (crate::pool::handle(id)?, 8),
            _ => (0, 8),
        },
        18 => (r.size, 8),
        19 => (r.base, 8),
        20 => (r.id, 8),
        21 => (0, 4),
        _ => return Err(INVALID_VALUE),
    })
}

fn store(place: Out<u8>, (v, width): (u64, usize)) {
    v.to_le_bytes()[..width]
        .iter()
        .enumerate()
        .for_each(|(i, b)| place.set_at(i, *b));
}

api! {
    fn cuPointerGetAttribute(place: Out<u8>, which: i32, at: u64) {
        place.need()?;
        let r = driver()?.memory.find(at).ok_or(INVALID_VALUE)?;
        store(place, value(&r, at, which)?);
        Ok(())
    }
    fn cuPointerGetAttributes(n: u32, which: In<i32>, places: In<Out<u8>>, at: u64) {
        let r = driver()?.memory.find(at);
        for i in 0..n as usize {
            let (w, place) = (which.at(i)?, places.at(i)?);
            // Memory that the driver does not know is no error here; the values are then zero, the
            // device -2.
            let v = match &r {
                Some(r) => value(r, at, w).unwrap_or((0, if matches!(w, 2 | 6 | 8 | 9) { 4 } else { 8 })),
                None if w == 9 => (-2i32 as u32 as u64, 4),
                None => (0, if matches!(w, 2 | 6 | 8 | 10 | 13 | 15 | 16 | 21) { 4 } else { 8 }),
            };
            store(place, v);
        }
        Ok(())
    }
    fn cuPointerSetAttribute(_value: u64, which: i32, at: u64) {
        driver()?.memory.find(at).ok_or(INVALID_VALUE)?;
        // Synchronous memory operations: all of this library's synchronous calls are.
        if which == 6 { Ok(()) } else { Err(INVALID_VALUE) }
    }
    fn cuMemRangeGetAttribute(place: Out<i32>, size: u64, which: i32, at: u64, count: u64) {
        if !driver()?.memory.covers(at, count) || size < 4 {
            return Err(INVALID_VALUE);
        }
        // Advice is accepted and not kept: no range is read-mostly, and none has a preferred place.
        match which {
            1 => place.put(0),
            2 | 4 => place.put(-2),
            _ => Err(NOT_SUPPORTED),
        }
    }
}
