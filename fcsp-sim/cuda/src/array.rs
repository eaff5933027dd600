//! Arrays and mipmaps: memory with a shape. Their elements lie row by row without gaps; what they
//! take of the device is more, as its blocks of elements are whole.

use crate::abi::{In, Out};
use crate::capture::forbid_by;
use crate::codes::{INVALID_HANDLE, INVALID_VALUE, OUT_OF_MEMORY, Reply};
use crate::driver::{Context, driver, none_or_usable};
use crate::export::api;
use crate::memory::may_allocate;
use fcsp_sim::memory::Kind;
use fcsp_sim::strict::{Rule, is_on};

/// A shape.
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

/// A shape without depth.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Desc2 {
    width: u64,
    height: u64,
    format: u32,
    channels: u32,
}

/// One array, or one level of a mipmap.
#[derive(Debug)]
pub struct Array {
    /// The context it belongs to.
    pub context: u64,
    /// Address of its first element.
    pub at: u64,
    /// Bytes.
    pub bytes: u64,
    desc: Desc3,
    level: bool,
}

/// One mipmap.
#[derive(Debug)]
pub struct Mipmap {
    /// The context it belongs to.
    pub context: u64,
    at: u64,
    levels: Vec<u64>,
}

const LAYERED: u32 = 1;
const CUBE: u32 = 4;
const SPARSE: u32 = 0x40;
const DEFERRED: u32 = 0x80;

fn element(format: u32) -> Option<u64> {
    Some(match format {
        0x01 | 0x08 => 1,
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => return None,
    })
}

impl Desc3 {
    fn unit(&self) -> u64 {
        element(self.format).unwrap_or(1) * u64::from(self.channels)
    }

    fn bytes(&self) -> Reply<u64> {
        let good =
            element(self.format).is_some() && matches!(self.channels, 1 | 2 | 4) && self.width > 0;
        if !good
            || self.flags & (SPARSE | DEFERRED) != 0
            || (self.depth > 0 && self.height == 0 && self.flags & LAYERED == 0)
        {
            return Err(INVALID_VALUE);
        }
        let most = [131_072, 65_536, 16_384];
        let sizes = [self.width, self.height.max(1), self.depth.max(1)];
        if sizes.iter().zip(most).any(|(n, most)| *n > most) {
            return Err(INVALID_VALUE);
        }
        sizes
            .iter()
            .try_fold(self.unit(), |a, n| a.checked_mul(*n))
            .ok_or(OUT_OF_MEMORY)
    }

    /// Bytes that the device takes for it, measured on an H200: rows of 64 bytes, in blocks of 8 to
    /// 128 rows, and of up to 8 slices.
    fn footprint(&self) -> Reply<u64> {
        self.bytes()?;
        let rows = self.height.max(1);
        let rows = rows.next_multiple_of(rows.next_power_of_two().clamp(8, 128));
        let slices = self.depth.max(1);
        let slices = if self.flags & (LAYERED | CUBE) != 0 {
            slices
        } else {
            slices.next_multiple_of(slices.next_power_of_two().min(8))
        };
        let row = (self.width * self.unit()).next_multiple_of(64);
        let whole = row.checked_mul(rows).and_then(|n| n.checked_mul(slices));
        whole.ok_or(OUT_OF_MEMORY)
    }

    fn at_level(&self, level: u32) -> Desc3 {
        let half = |n: u64| if n == 0 { 0 } else { (n >> level).max(1) };
        // Layers and faces stay as many at every level.
        let depth = if self.flags & (LAYERED | CUBE) != 0 {
            self.depth
        } else {
            half(self.depth)
        };
        Desc3 {
            width: half(self.width),
            height: half(self.height),
            depth,
            ..*self
        }
    }
}

impl Array {
    /// Returns the bytes of a row.
    pub fn pitch(&self) -> u64 {
        self.desc.width * self.desc.unit()
    }

    /// Rows a slice.
    pub fn rows(&self) -> u64 {
        self.desc.height.max(1)
    }
}

/// Memory for elements of `bytes` that take `footprint` on the device.
fn allocate(c: &Context, bytes: u64, footprint: u64) -> Reply<u64> {
    let memory = &driver()?.memory;
    Ok(if crate::export::SIZES_ARE_KNOWN && is_on(Rule::Sizes) {
        memory.alloc_apart(c.device, c.tag(), footprint, Kind::Array)?
    } else {
        memory.alloc(c.device, c.tag(), bytes, Kind::Array)?
    })
}

fn create(place: Out<u64>, desc: Desc3) -> Reply {
    let c = may_allocate()?;
    place.need()?;
    let bytes = desc.bytes()?;
    let d = driver()?;
    let at = allocate(&c, bytes, desc.footprint()?)?;
    place.put(d.arrays.add(Array {
        context: c.tag(),
        at,
        bytes,
        desc,
        level: false,
    }))
}

api! {
    fn cuArrayCreate_v2(place: Out<u64>, desc: In<Desc2>) {
        let d = desc.get()?;
        let (width, height, format, channels) = (d.width, d.height, d.format, d.channels);
        create(place, Desc3 { width, height, depth: 0, format, channels, flags: 0 })
    }
    fn cuArray3DCreate_v2(place: Out<u64>, desc: In<Desc3>) {
        create(place, desc.get()?)
    }
    fn cuArrayDestroy(array: u64) {
        let d = driver()?;
        none_or_usable()?;
        forbid_by(Rule::Captures)?;
        let a = d.arrays.get(array)?;
        if a.level {
            return Err(INVALID_HANDLE);
        }
        crate::memory::settle(a.at)?;
        d.arrays.remove(array)?;
        Ok(d.memory.free(a.at, true)?)
    }
    fn cuArrayGetDescriptor_v2(desc: Out<Desc2>, array: u64) {
        let d = driver()?.arrays.get(array)?.desc;
        desc.put(Desc2 { width: d.width, height: d.height, format: d.format, channels: d.channels })
    }
    fn cuArray3DGetDescriptor_v2(desc: Out<Desc3>, array: u64) {
        desc.put(driver()?.arrays.get(array)?.desc)
    }
    /// Only arrays whose memory comes later have requirements to ask for, and there are none;
    /// measured.
    fn cuArrayGetMemoryRequirements(_place: u64, array: u64, device: i32) {
        let d = driver()?;
        d.device(device)?;
        d.arrays.get(array)?;
        Err(INVALID_VALUE)
    }
    fn cuMipmappedArrayGetMemoryRequirements(_place: u64, mipmap: u64, device: i32) {
        let d = driver()?;
        d.device(device)?;
        d.mipmaps.get(mipmap)?;
        Err(INVALID_VALUE)
    }
    fn cuArrayGetSparseProperties(_place: u64, array: u64) {
        driver()?.arrays.get(array)?;
        Err(INVALID_VALUE)
    }
    fn cuMipmappedArrayGetSparseProperties(_place: u64, mipmap: u64) {
        driver()?.mipmaps.get(mipmap)?;
        Err(INVALID_VALUE)
    }
    fn cuMipmappedArrayCreate(place: Out<u64>, desc: In<Desc3>, levels: u32) {
        let c = may_allocate()?;
        place.need()?;
        let desc = desc.get()?;
        let most = 64 - desc.width.max(desc.height).max(1).leading_zeros();
        if levels == 0 {
            return Err(INVALID_VALUE);
        }
        let shapes: Vec<Desc3> = (0..levels.min(most)).map(|l| desc.at_level(l)).collect();
        let sizes = shapes.iter().map(Desc3::bytes).collect::<Reply<Vec<u64>>>()?;
        let d = driver()?;
        let whole = shapes.iter().map(Desc3::footprint).collect::<Reply<Vec<u64>>>()?;
        let at = allocate(&c, sizes.iter().sum(), whole.iter().sum())?;
        let mut next = at;
        let levels = shapes.into_iter().zip(sizes).map(|(desc, bytes)| {
            let a = Array { context: c.tag(), at: next, bytes, desc, level: true };
            next += bytes;
            d.arrays.add(a)
        });
        place.put(d.mipmaps.add(Mipmap { context: c.tag(), at, levels: levels.collect() }))
    }
    fn cuMipmappedArrayGetLevel(place: Out<u64>, mipmap: u64, level: u32) {
        let m = driver()?.mipmaps.get(mipmap)?;
        place.put(*m.levels.get(level as usize).ok_or(INVALID_VALUE)?)
    }
    fn cuMipmappedArrayDestroy(mipmap: u64) {
        let d = driver()?;
        none_or_usable()?;
        forbid_by(Rule::Captures)?;
        let m = d.mipmaps.get(mipmap)?;
        crate::memory::settle(m.at)?;
        d.mipmaps.remove(mipmap)?;
        for l in &m.levels {
            d.arrays.remove(*l)?;
        }
        Ok(d.memory.free(m.at, true)?)
    }
}
