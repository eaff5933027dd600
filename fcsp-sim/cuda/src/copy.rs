//! Copies and fills.

use crate::abi::In;
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::stream_api;
use crate::stream::{Target, target};
use fcsp_sim::copy::{Copy, Fill, Place};
use fcsp_sim::graph::Work;
use fcsp_sim::stream::Op;

const HOST: u32 = 1;
const DEVICE: u32 = 2;
const ARRAY: u32 = 3;
const UNIFIED: u32 = 4;

/// Runs a copy on a stream. Host memory that the device cannot see is read before the call returns,
/// and written before it returns.
fn enqueue(t: &Target, mut c: Copy) -> Reply {
    let d = driver()?;
    if t.recording().is_some() {
        // What is recorded may speak of memory that a launch has yet to make; it is checked when it
        // runs.
        return t.run(Work::Copy(c));
    }
    c.check(&d.memory)?;
    let pageable = |p: &Place| !p.device && c.bytes() > 0 && d.memory.find(p.at).is_none();
    let (from, to) = (pageable(&c.from), pageable(&c.to));
    if from {
        c.stage();
    }
    t.run(Work::Copy(c))?;
    if to {
        Ok(t.context.timeline.synchronise_stream(t.stream.queue)?)
    } else {
        Ok(())
    }
}

/// Runs a copy after a stream's work so far, on the caller's own thread.
fn now(t: &Target, c: &Copy) -> Reply {
    let d = driver()?;
    c.check(&d.memory)?;
    t.finish()?;
    Ok(c.run(&d.memory)?)
}

/// Returns a side of a copy whose kind of memory the address itself tells.
fn unified(at: u64) -> Reply<(u64, bool)> {
    let d = driver()?;
    Ok((at, d.memory.find(at).is_some() || d.graphs.pool.holds(at)))
}

fn fill(t: &Target, f: Fill, wait: bool) -> Reply {
    let d = driver()?;
    if t.recording().is_some() && !wait {
        return t.run(Work::Fill(f));
    }
    f.check(&d.memory)?;
    t.run(Work::Fill(f))?;
    if wait { t.finish() } else { Ok(()) }
}

fn row(at: u64, value: u32, element: u64, n: u64) -> Fill {
    Fill {
        at,
        pitch: n.saturating_mul(element),
        value,
        element,
        width: n,
        height: 1,
    }
}

/// A copy of rows and slices, in the API's words.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Copy2 {
    src_x: u64,
    src_y: u64,
    src_kind: u32,
    src_host: u64,
    src_device: u64,
    src_array: u64,
    src_pitch: u64,
    dst_x: u64,
    dst_y: u64,
    dst_kind: u32,
    dst_host: u64,
    dst_device: u64,
    dst_array: u64,
    dst_pitch: u64,
    width: u64,
    height: u64,
}

/// As [`Copy2`] with slices. The words that are reserved in the plain form name contexts in the one
/// between devices.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Copy3 {
    src_x: u64,
    src_y: u64,
    src_z: u64,
    src_lod: u64,
    src_kind: u32,
    src_host: u64,
    src_device: u64,
    src_array: u64,
    src_context: u64,
    src_pitch: u64,
    src_height: u64,
    dst_x: u64,
    dst_y: u64,
    dst_z: u64,
    dst_lod: u64,
    dst_kind: u32,
    dst_host: u64,
    dst_device: u64,
    dst_array: u64,
    dst_context: u64,
    dst_pitch: u64,
    dst_height: u64,
    width: u64,
    height: u64,
    depth: u64,
}

struct Side {
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    pitch: u64,
    rows: u64,
    at: [u64; 3],
}

fn place(s: &Side, width: u64) -> Reply<Place> {
    let (base, pitch, rows, device) = match s.kind {
        HOST => (s.host, s.pitch, s.rows, false),
        DEVICE => (s.device, s.pitch, s.rows, true),
        UNIFIED => {
            let (at, device) = unified(s.device)?;
            (at, s.pitch, s.rows, device)
        }
        ARRAY => {
            let a = driver()?.arrays.get(s.array)?;
            // Rows of an array lie next to each other.
            (a.at, a.pitch(), a.rows(), true)
        }
        _ => return Err(INVALID_VALUE),
    };
    let pitch = if pitch == 0 { s.at[0] + width } else { pitch };
    let rows = rows.max(1);
    let at = base + s.at[0] + (s.at[1] + s.at[2] * rows) * pitch;
    Ok(Place {
        at,
        pitch,
        slice: pitch * rows,
        device,
    })
}

impl Copy2 {
    fn plan(&self) -> Reply<Copy> {
        let from = Side {
            kind: self.src_kind,
            host: self.src_host,
            device: self.src_device,
            array: self.src_array,
            pitch: self.src_pitch,
            rows: 0,
            at: [self.src_x, self.src_y, 0],
        };
        let to = Side {
            kind: self.dst_kind,
            host: self.dst_host,
            device: self.dst_device,
            array: self.dst_array,
            pitch: self.dst_pitch,
            rows: 0,
            at: [self.dst_x, self.dst_y, 0],
        };
        let (width, height) = (self.width, self.height);
        Ok(Copy {
            to: place(&to, width)?,
            from: place(&from, width)?,
            width,
            height,
            depth: 1,
            staged: None,
        })
    }
}

impl Copy3 {
    /// Returns the description of a copy.
    pub fn describe(c: &Copy) -> Self {
        let side = |p: &Place| {
            if p.device {
                (DEVICE, 0, p.at)
            } else {
                (HOST, p.at, 0)
            }
        };
        let ((src_kind, src_host, src_device), (dst_kind, dst_host, dst_device)) =
            (side(&c.from), side(&c.to));
        let rows = |p: &Place| p.slice.checked_div(p.pitch).unwrap_or(0);
        Self {
            src_x: 0,
            src_y: 0,
            src_z: 0,
            src_lod: 0,
            src_kind,
            src_host,
            src_device,
            src_array: 0,
            src_context: 0,
            src_pitch: c.from.pitch,
            src_height: rows(&c.from),
            dst_x: 0,
            dst_y: 0,
            dst_z: 0,
            dst_lod: 0,
            dst_kind,
            dst_host,
            dst_device,
            dst_array: 0,
            dst_context: 0,
            dst_pitch: c.to.pitch,
            dst_height: rows(&c.to),
            width: c.width,
            height: c.height,
            depth: c.depth,
        }
    }

    /// Returns the copy it describes.
    pub fn plan(&self) -> Reply<Copy> {
        let from = Side {
            kind: self.src_kind,
            host: self.src_host,
            device: self.src_device,
            array: self.src_array,
            pitch: self.src_pitch,
            rows: self.src_height,
            at: [self.src_x, self.src_y, self.src_z],
        };
        let to = Side {
            kind: self.dst_kind,
            host: self.dst_host,
            device: self.dst_device,
            array: self.dst_array,
            pitch: self.dst_pitch,
            rows: self.dst_height,
            at: [self.dst_x, self.dst_y, self.dst_z],
        };
        if self.src_lod != 0 || self.dst_lod != 0 {
            return Err(INVALID_VALUE);
        }
        let (width, height, depth) = (self.width, self.height, self.depth);
        Ok(Copy {
            to: place(&to, width)?,
            from: place(&from, width)?,
            width,
            height,
            depth,
            staged: None,
        })
    }
}

/// Returns a place at an offset in an array.
fn in_array(array: u64, offset: u64, n: u64) -> Reply<(u64, bool)> {
    let a = driver()?.arrays.get(array)?;
    if offset.checked_add(n).is_none_or(|end| end > a.bytes) {
        return Err(INVALID_VALUE);
    }
    Ok((a.at + offset, true))
}

stream_api! {
    fn cuMemcpy, cuMemcpy_ptds[pt](to: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear(unified(to)?, unified(from)?, n))
    }
    fn cuMemcpyPeer, cuMemcpyPeer_ptds[pt](to: u64, _to_context: u64, from: u64, _from_context: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, true), (from, true), n))
    }
    fn cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds[pt](to: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, true), (from, false), n))
    }
    fn cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds[pt](to: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, false), (from, true), n))
    }
    fn cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds[pt](to: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, true), (from, true), n))
    }
    fn cuMemcpyDtoA_v2, cuMemcpyDtoA_v2_ptds[pt](array: u64, offset: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear(in_array(array, offset, n)?, (from, true), n))
    }
    fn cuMemcpyAtoD_v2, cuMemcpyAtoD_v2_ptds[pt](to: u64, array: u64, offset: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, true), in_array(array, offset, n)?, n))
    }
    fn cuMemcpyHtoA_v2, cuMemcpyHtoA_v2_ptds[pt](array: u64, offset: u64, from: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear(in_array(array, offset, n)?, (from, false), n))
    }
    fn cuMemcpyAtoH_v2, cuMemcpyAtoH_v2_ptds[pt](to: u64, array: u64, offset: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear((to, false), in_array(array, offset, n)?, n))
    }
    fn cuMemcpyAtoA_v2, cuMemcpyAtoA_v2_ptds[pt](to: u64, to_offset: u64, from: u64, from_offset: u64, n: u64) {
        now(&target(0, pt)?, &Copy::linear(in_array(to, to_offset, n)?, in_array(from, from_offset, n)?, n))
    }
    fn cuMemcpy2D_v2, cuMemcpy2D_v2_ptds[pt](copy: In<Copy2>) {
        now(&target(0, pt)?, &copy.get()?.plan()?)
    }
    fn cuMemcpy2DUnaligned_v2, cuMemcpy2DUnaligned_v2_ptds[pt](copy: In<Copy2>) {
        now(&target(0, pt)?, &copy.get()?.plan()?)
    }
    fn cuMemcpy3D_v2, cuMemcpy3D_v2_ptds[pt](copy: In<Copy3>) {
        now(&target(0, pt)?, &copy.get()?.plan()?)
    }
    fn cuMemcpy3DPeer, cuMemcpy3DPeer_ptds[pt](copy: In<Copy3>) {
        now(&target(0, pt)?, &copy.get()?.plan()?)
    }
    fn cuMemcpyAsync, cuMemcpyAsync_ptsz[pt](to: u64, from: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear(unified(to)?, unified(from)?, n))
    }
    fn cuMemcpyPeerAsync, cuMemcpyPeerAsync_ptsz[pt](
        to: u64, _to_context: u64, from: u64, _from_context: u64, n: u64, stream: u64,
    ) {
        enqueue(&target(stream, pt)?, Copy::linear((to, true), (from, true), n))
    }
    fn cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync_v2_ptsz[pt](to: u64, from: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear((to, true), (from, false), n))
    }
    fn cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2_ptsz[pt](to: u64, from: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear((to, false), (from, true), n))
    }
    fn cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2_ptsz[pt](to: u64, from: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear((to, true), (from, true), n))
    }
    fn cuMemcpyHtoAAsync_v2, cuMemcpyHtoAAsync_v2_ptsz[pt](array: u64, offset: u64, from: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear(in_array(array, offset, n)?, (from, false), n))
    }
    fn cuMemcpyAtoHAsync_v2, cuMemcpyAtoHAsync_v2_ptsz[pt](to: u64, array: u64, offset: u64, n: u64, stream: u64) {
        enqueue(&target(stream, pt)?, Copy::linear((to, false), in_array(array, offset, n)?, n))
    }
    fn cuMemcpy2DAsync_v2, cuMemcpy2DAsync_v2_ptsz[pt](copy: In<Copy2>, stream: u64) {
        enqueue(&target(stream, pt)?, copy.get()?.plan()?)
    }
    fn cuMemcpy3DAsync_v2, cuMemcpy3DAsync_v2_ptsz[pt](copy: In<Copy3>, stream: u64) {
        enqueue(&target(stream, pt)?, copy.get()?.plan()?)
    }
    fn cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync_ptsz[pt](copy: In<Copy3>, stream: u64) {
        enqueue(&target(stream, pt)?, copy.get()?.plan()?)
    }
    fn cuMemcpyBatchAsync_v2, cuMemcpyBatchAsync_v2_ptsz[pt](
        to: In<u64>, from: In<u64>, sizes: In<u64>, n: u64, _attributes: u64, _indices: u64, _m: u64, stream: u64,
    ) {
        // The legacy stream is refused, as by the API.
        if stream == 0 && !pt {
            return Err(INVALID_VALUE);
        }
        let t = target(stream, pt)?;
        for i in 0..n as usize {
            enqueue(&t, Copy::linear(unified(to.at(i)?)?, unified(from.at(i)?)?, sizes.at(i)?))?;
        }
        Ok(())
    }
    fn cuMemsetD8_v2, cuMemsetD8_v2_ptds[pt](at: u64, value: u8, n: u64) {
        fill(&target(0, pt)?, row(at, u32::from(value), 1, n), true)
    }
    fn cuMemsetD16_v2, cuMemsetD16_v2_ptds[pt](at: u64, value: u16, n: u64) {
        fill(&target(0, pt)?, row(at, u32::from(value), 2, n), true)
    }
    fn cuMemsetD32_v2, cuMemsetD32_v2_ptds[pt](at: u64, value: u32, n: u64) {
        fill(&target(0, pt)?, row(at, value, 4, n), true)
    }
    fn cuMemsetD8Async, cuMemsetD8Async_ptsz[pt](at: u64, value: u8, n: u64, stream: u64) {
        fill(&target(stream, pt)?, row(at, u32::from(value), 1, n), false)
    }
    fn cuMemsetD16Async, cuMemsetD16Async_ptsz[pt](at: u64, value: u16, n: u64, stream: u64) {
        fill(&target(stream, pt)?, row(at, u32::from(value), 2, n), false)
    }
    fn cuMemsetD32Async, cuMemsetD32Async_ptsz[pt](at: u64, value: u32, n: u64, stream: u64) {
        fill(&target(stream, pt)?, row(at, value, 4, n), false)
    }
    fn cuMemsetD2D8_v2, cuMemsetD2D8_v2_ptds[pt](at: u64, pitch: u64, value: u8, width: u64, height: u64) {
        fill(&target(0, pt)?, Fill { at, pitch, value: u32::from(value), element: 1, width, height }, true)
    }
    fn cuMemsetD2D16_v2, cuMemsetD2D16_v2_ptds[pt](at: u64, pitch: u64, value: u16, width: u64, height: u64) {
        fill(&target(0, pt)?, Fill { at, pitch, value: u32::from(value), element: 2, width, height }, true)
    }
    fn cuMemsetD2D32_v2, cuMemsetD2D32_v2_ptds[pt](at: u64, pitch: u64, value: u32, width: u64, height: u64) {
        fill(&target(0, pt)?, Fill { at, pitch, value, element: 4, width, height }, true)
    }
    fn cuMemsetD2D8Async, cuMemsetD2D8Async_ptsz[pt](
        at: u64, pitch: u64, value: u8, width: u64, height: u64, stream: u64,
    ) {
        let value = u32::from(value);
        fill(&target(stream, pt)?, Fill { at, pitch, value, element: 1, width, height }, false)
    }
    fn cuMemsetD2D16Async, cuMemsetD2D16Async_ptsz[pt](
        at: u64, pitch: u64, value: u16, width: u64, height: u64, stream: u64,
    ) {
        let value = u32::from(value);
        fill(&target(stream, pt)?, Fill { at, pitch, value, element: 2, width, height }, false)
    }
    fn cuMemsetD2D32Async, cuMemsetD2D32Async_ptsz[pt](
        at: u64, pitch: u64, value: u32, width: u64, height: u64, stream: u64,
    ) {
        fill(&target(stream, pt)?, Fill { at, pitch, value, element: 4, width, height }, false)
    }
}

/// Returns an instant operation that retires freed pool memory in its stream's order.
pub fn retire(pool: u64, ticket: u64) -> Reply<Op> {
    let memory = driver()?.memory.clone();
    Ok(Op::Instant(Box::new(move || {
        memory.pool_retire(pool, ticket);
        Ok(())
    })))
}
