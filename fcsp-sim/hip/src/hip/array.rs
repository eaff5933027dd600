//! Arrays and mipmaps.

use super::memory::Extent;
use crate::abi::{In, Out};
use crate::array::Desc2;
use crate::codes::{INVALID_VALUE, Reply};
use crate::export::{cu, handle_api, hip_api, same_api};

/// Bits of each channel, and what they are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    bits: [i32; 4],
    kind: i32,
}

const _: () = assert!(size_of::<Channels>() == 20);

const SIGNED: i32 = 0;
const UNSIGNED: i32 = 1;
const FLOAT: i32 = 2;

/// The driver's description of a shape.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Desc3 {
    width: u64,
    height: u64,
    depth: u64,
    format: u32,
    channels: u32,
    flags: u32,
}

const _: () = assert!(size_of::<Desc3>() == size_of::<crate::array::Desc3>());

/// Formats of the driver: number, channel kind, bits.
const FORMATS: [(u32, i32, i32); 8] = [
    (0x01, UNSIGNED, 8),
    (0x02, UNSIGNED, 16),
    (0x03, UNSIGNED, 32),
    (0x08, SIGNED, 8),
    (0x09, SIGNED, 16),
    (0x0a, SIGNED, 32),
    (0x10, FLOAT, 16),
    (0x20, FLOAT, 32),
];

fn shape(desc: In<Channels>, e: Extent, flags: u32) -> Reply<Desc3> {
    let c = desc.get()?;
    let (format, _, _) = FORMATS
        .iter()
        .find(|(_, kind, bits)| *kind == c.kind && *bits == c.bits[0])
        .ok_or(INVALID_VALUE)?;
    let channels = c.bits.iter().filter(|b| **b > 0).count() as u32;
    Ok(Desc3 {
        width: e.width,
        height: e.height,
        depth: e.depth,
        format: *format,
        channels,
        flags,
    })
}

fn create(place: Out<u64>, desc: Desc3) -> Reply {
    cu(crate::array::cuArray3DCreate_v2(
        place,
        In::from_raw((&raw const desc).cast()),
    ))
}

fn description(array: u64) -> Reply<Desc3> {
    let mut d = Desc3 {
        width: 0,
        height: 0,
        depth: 0,
        format: 0,
        channels: 0,
        flags: 0,
    };
    cu(crate::array::cuArray3DGetDescriptor_v2(
        Out::from_raw((&raw mut d).cast()),
        array,
    ))?;
    Ok(d)
}

fn channels(d: &Desc3) -> Reply<Channels> {
    let (_, kind, width) = FORMATS
        .iter()
        .find(|(f, _, _)| *f == d.format)
        .ok_or(INVALID_VALUE)?;
    let mut bits = [0; 4];
    bits.iter_mut()
        .take(d.channels as usize)
        .for_each(|b| *b = *width);
    Ok(Channels { bits, kind: *kind })
}

/// Bytes an element of an array.
pub fn unit(array: u64) -> Reply<u64> {
    let d = description(array)?;
    let c = channels(&d)?;
    Ok(c.bits.iter().sum::<i32>() as u64 / 8)
}

pub extern "C" fn hipCreateChannelDesc(x: i32, y: i32, z: i32, w: i32, kind: i32) -> Channels {
    Channels {
        bits: [x, y, z, w],
        kind,
    }
}

hip_api! {
    fn hipMallocArray(place: Out<u64>, desc: In<Channels>, width: u64, height: u64, flags: u32) {
        create(place, shape(desc, Extent { width, height, depth: 0 }, flags)?)
    }
    fn hipMalloc3DArray(place: Out<u64>, desc: In<Channels>, extent: Extent, flags: u32) {
        create(place, shape(desc, extent, flags)?)
    }
    fn hipMallocMipmappedArray(place: Out<u64>, desc: In<Channels>, extent: Extent, levels: u32, flags: u32) {
        let d = shape(desc, extent, flags)?;
        cu(crate::array::cuMipmappedArrayCreate(place, In::from_raw((&raw const d).cast()), levels))
    }
    fn hipFreeArray(array: u64) {
        if array == 0 {
            return Ok(());
        }
        super::handles::array_to_destroy(array)?;
        cu(crate::array::cuArrayDestroy(array))
    }
    fn hipArrayGetInfo(desc: Out<Channels>, extent: Out<Extent>, flags: Out<u32>, array: u64) {
        super::handles::array(array)?;
        let d = description(array)?;
        desc.set(channels(&d)?);
        extent.set(Extent { width: d.width, height: d.height, depth: d.depth });
        flags.set(d.flags);
        Ok(())
    }
    fn hipGetChannelDesc(desc: Out<Channels>, array: u64) {
        super::handles::array(array)?;
        desc.put(channels(&description(array)?)?)
    }
}

handle_api! {
    fn hipArrayDestroy[array_to_destroy array] = array::cuArrayDestroy(array: u64);
    fn hipArrayGetDescriptor[array array] = array::cuArrayGetDescriptor_v2(desc: Out<Desc2>, array: u64);
    fn hipArray3DGetDescriptor[array array] = array::cuArray3DGetDescriptor_v2(
        desc: Out<crate::array::Desc3>, array: u64,
    );
}

same_api! {
    fn hipArrayCreate = array::cuArrayCreate_v2(place: Out<u64>, desc: In<Desc2>);
    fn hipArray3DCreate = array::cuArray3DCreate_v2(place: Out<u64>, desc: In<crate::array::Desc3>);
    fn hipMipmappedArrayCreate = array::cuMipmappedArrayCreate(
        place: Out<u64>, desc: In<crate::array::Desc3>, levels: u32,
    );
    fn hipMipmappedArrayDestroy = array::cuMipmappedArrayDestroy(mipmap: u64);
    fn hipMipmappedArrayGetLevel = array::cuMipmappedArrayGetLevel(place: Out<u64>, mipmap: u64, level: u32);
    fn hipFreeMipmappedArray = array::cuMipmappedArrayDestroy(mipmap: u64);
    fn hipGetMipmappedArrayLevel = array::cuMipmappedArrayGetLevel(place: Out<u64>, mipmap: u64, level: u32);
}
