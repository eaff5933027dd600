//! Images: device memory with a shape. They are kept in rows, without tiling.

use crate::abi::{In, Out};
use crate::codes::{
    INVALID_ARGUMENT, INVALID_ENUMERATION, INVALID_SIZE, Reply, UNSUPPORTED_IMAGE_FORMAT,
};
use crate::driver::{Context, device, driver};
use crate::export::api;
use crate::structs::{ImageDesc, ImageMemoryPropertiesExp, ImageProperties, ImageRegion};
use fcsp_sim::copy::Place;
use std::sync::Arc;

/// One image.
#[derive(Debug)]
pub struct Image {
    /// Its context.
    pub context: Arc<Context>,
    /// First byte.
    pub at: u64,
    /// Bytes an element.
    pub element: u64,
    /// Elements a row, rows a slice, slices.
    pub shape: [u64; 3],
    /// Bytes from row to row.
    pub pitch: u64,
    /// True if another image has the memory.
    view: bool,
}

/// One sampler, of which nothing is known but that it is there.
#[derive(Debug)]
pub struct Sampler {
    /// Its context.
    pub context: Arc<Context>,
}

/// Bytes an element of a layout, for the layouts of one plane.
fn element(layout: u32) -> Option<u64> {
    Some(match layout {
        0 | 14 => 1,
        1 | 3 | 11..=13 | 24 => 2,
        2 | 4 | 5 | 9 | 10 => 4,
        6 | 7 => 8,
        8 => 16,
        _ => return None,
    })
}

fn shape(desc: &ImageDesc) -> Reply<(u64, [u64; 3])> {
    let e = element(desc.format.layout).ok_or(UNSUPPORTED_IMAGE_FORMAT)?;
    let (h, z, n) = (
        u64::from(desc.height),
        u64::from(desc.depth),
        u64::from(desc.arraylevels).max(1),
    );
    let s = match desc.kind {
        0 | 5 => [desc.width, 1, 1],
        1 => [desc.width, 1, n],
        2 => [desc.width, h, 1],
        3 => [desc.width, h, n],
        4 => [desc.width, h, z],
        _ => return Err(INVALID_ENUMERATION),
    };
    if s.contains(&0) {
        Err(INVALID_SIZE)
    } else {
        Ok((e, s))
    }
}

impl Image {
    /// Returns the part of the image that a region names, and its shape in bytes, rows and slices.
    pub fn place(&self, region: Option<ImageRegion>) -> Reply<(Place, [u64; 3])> {
        let r = region.unwrap_or(ImageRegion {
            origin_x: 0,
            origin_y: 0,
            origin_z: 0,
            width: self.shape[0] as u32,
            height: self.shape[1] as u32,
            depth: self.shape[2] as u32,
        });
        let start = [r.origin_x, r.origin_y, r.origin_z].map(u64::from);
        let size = [r.width, r.height, r.depth].map(|n| u64::from(n).max(1));
        if (0..3).any(|i| start[i] + size[i] > self.shape[i]) {
            return Err(INVALID_ARGUMENT);
        }
        let slice = self.pitch * self.shape[1];
        let at = self.at + start[2] * slice + start[1] * self.pitch + start[0] * self.element;
        let place = Place {
            at,
            pitch: self.pitch,
            slice,
            device: true,
        };
        Ok((place, [size[0] * self.element, size[1], size[2]]))
    }
}

api! {
    fn zeImageGetProperties(on: u64, desc: In<ImageDesc>, place: Out<ImageProperties>) {
        device(on)?;
        shape(&desc.get()?)?;
        let mut p = place.get()?;
        p.sampler_filter_flags = 0b11;
        place.put(p)
    }
    fn zeImageCreate(context: u64, on: u64, desc: In<ImageDesc>, place: Out<u64>) {
        let (d, index) = device(on)?;
        let c = d.contexts.get(context)?;
        place.need()?;
        let (element, shape) = shape(&desc.get()?)?;
        let pitch = (shape[0] * element).next_multiple_of(64);
        let bytes = pitch.checked_mul(shape[1]).and_then(|n| n.checked_mul(shape[2])).ok_or(INVALID_SIZE)?;
        let at = crate::memory::take(d, &c, index, bytes)?;
        place.put(d.images.add(Image { context: c, at, element, shape, pitch, view: false }))
    }
    fn zeImageViewCreateExp(context: u64, on: u64, desc: In<ImageDesc>, of: u64, place: Out<u64>) {
        let (d, _) = device(on)?;
        let context = d.contexts.get(context)?;
        let i = d.images.get(of)?;
        context.must_be(&i.context, "image", of);
        place.need()?;
        let (element, shape) = shape(&desc.get()?)?;
        if element != i.element || (0..3).any(|k| shape[k] > i.shape[k]) {
            return Err(INVALID_ARGUMENT);
        }
        place.put(d.images.add(Image { context, at: i.at, element, shape, pitch: i.pitch, view: true }))
    }
    fn zeImageDestroy(handle: u64) {
        let d = driver()?;
        let i = d.images.get(handle)?;
        i.context.settle()?;
        d.images.remove(handle)?;
        if i.view { Ok(()) } else { Ok(d.memory.free(i.at, false)?) }
    }
    fn zeImageGetMemoryPropertiesExp(handle: u64, place: Out<ImageMemoryPropertiesExp>) {
        let i = driver()?.images.get(handle)?;
        let mut p = place.get()?;
        p.size = i.pitch * i.shape[1] * i.shape[2];
        p.row_pitch = i.pitch;
        p.slice_pitch = i.pitch * i.shape[1];
        place.put(p)
    }
    fn zeContextMakeImageResident(context: u64, on: u64, image: u64) {
        let (d, _) = device(on)?;
        d.contexts.get(context)?;
        d.images.get(image)?;
        Ok(())
    }
    fn zeContextEvictImage(context: u64, on: u64, image: u64) {
        let (d, _) = device(on)?;
        d.contexts.get(context)?;
        d.images.get(image)?;
        Ok(())
    }
    fn zeSamplerCreate(context: u64, on: u64, _desc: In<u64>, place: Out<u64>) {
        let (d, _) = device(on)?;
        let context = d.contexts.get(context)?;
        place.need()?;
        place.put(d.samplers.add(Sampler { context }))
    }
    fn zeSamplerDestroy(handle: u64) {
        driver()?.samplers.remove(handle)?;
        Ok(())
    }
}
