//! Copies. The kind that a caller names is what the addresses tell anyhow.

use super::memory::{Extent, Pitched};
use crate::abi::{In, Out};
use crate::codes::{INVALID_VALUE, Reply};
use crate::copy::{Copy2, Copy3};
use crate::export::{cu, hip_api, same_api};

/// A place in an array or a pitched piece of memory.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Position {
    x: u64,
    y: u64,
    z: u64,
}

/// The driver's description of a copy of rows and slices.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    src: RowsSide,
    dst: RowsSide,
    width: u64,
    height: u64,
    depth: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RowsSide {
    at: [u64; 3],
    lod: u64,
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    context: u64,
    pitch: u64,
    height: u64,
}

const _: () = assert!(size_of::<Rows>() == size_of::<Copy3>());

impl Rows {
    /// As the driver reads it.
    pub fn driver(&self) -> In<Copy3> {
        In::from_raw((self as *const Self).cast())
    }
}

const ARRAY: u32 = 3;
const UNIFIED: u32 = 4;

/// HIP's kinds of memory in the driver's numbers.
fn kind(hip: u32) -> Reply<u32> {
    Ok(match hip {
        1 | 2 => hip,
        3 | 11 => UNIFIED,
        10 => ARRAY,
        _ => return Err(INVALID_VALUE),
    })
}

/// `hip_Memcpy2D`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Flat {
    src: FlatSide,
    dst: FlatSide,
    width: u64,
    height: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct FlatSide {
    at: [u64; 2],
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    pitch: u64,
}

const _: () = assert!(size_of::<Flat>() == size_of::<Copy2>());

fn flat(p: In<Flat>) -> Reply<Flat> {
    let mut f = p.get()?;
    f.src.kind = kind(f.src.kind)?;
    f.dst.kind = kind(f.dst.kind)?;
    Ok(f)
}

/// `HIP_MEMCPY3D`, which has no contexts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Deep {
    src: DeepSide,
    dst: DeepSide,
    width: u64,
    height: u64,
    depth: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct DeepSide {
    at: [u64; 3],
    lod: u64,
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    pitch: u64,
    height: u64,
}

const _: () = assert!(size_of::<Deep>() == 184);

/// Reads a copy from `HIP_MEMCPY3D`.
pub fn deep(p: In<Deep>) -> Reply<Rows> {
    let d = p.get()?;
    let side = |s: &DeepSide| -> Reply<RowsSide> {
        Ok(RowsSide {
            at: s.at,
            lod: s.lod,
            kind: kind(s.kind)?,
            host: s.host,
            device: s.device,
            array: s.array,
            context: 0,
            pitch: s.pitch,
            height: s.height,
        })
    };
    Ok(Rows {
        src: side(&d.src)?,
        dst: side(&d.dst)?,
        width: d.width,
        height: d.height,
        depth: d.depth,
    })
}

/// `hipMemcpy3DParms`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Params {
    src_array: u64,
    src_at: Position,
    src: Pitched,
    dst_array: u64,
    dst_at: Position,
    dst: Pitched,
    extent: Extent,
    kind: i32,
}

const _: () = assert!(size_of::<Params>() == 160);

/// `hipMemcpy3DPeerParms`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PeerParams {
    src_array: u64,
    src_at: Position,
    src: Pitched,
    src_device: i32,
    dst_array: u64,
    dst_at: Position,
    dst: Pitched,
    dst_device: i32,
    extent: Extent,
}

/// Reads a copy from `hipMemcpy3DParms`. Widths count elements where an array takes part, bytes
/// else.
pub fn params(p: &Params) -> Reply<Rows> {
    let scale = match (p.src_array, p.dst_array) {
        (0, 0) => 1,
        (0, array) | (array, _) => super::array::unit(array)?,
    };
    let side = |array: u64, at: Position, m: &Pitched| RowsSide {
        at: [if array == 0 { at.x } else { at.x * scale }, at.y, at.z],
        lod: 0,
        kind: if array == 0 { UNIFIED } else { ARRAY },
        host: 0,
        device: m.at,
        array,
        context: 0,
        pitch: m.pitch,
        height: m.rows,
    };
    Ok(Rows {
        src: side(p.src_array, p.src_at, &p.src),
        dst: side(p.dst_array, p.dst_at, &p.dst),
        width: p.extent.width.checked_mul(scale).ok_or(INVALID_VALUE)?,
        height: p.extent.height,
        depth: p.extent.depth,
    })
}

/// Rows between plain memory, or memory and an array, at one pitch each.
#[derive(Debug, Clone, Copy)]
enum Side {
    Memory(u64, u64),
    Array(u64, [u64; 2]),
}

fn rows(to: Side, from: Side, width: u64, height: u64) -> Rows {
    let side = |s: Side| match s {
        Side::Memory(device, pitch) => RowsSide {
            kind: UNIFIED,
            device,
            pitch,
            ..RowsSide::default()
        },
        Side::Array(array, [x, y]) => RowsSide {
            kind: ARRAY,
            array,
            at: [x, y, 0],
            ..RowsSide::default()
        },
    };
    Rows {
        src: side(from),
        dst: side(to),
        width,
        height,
        depth: 1,
    }
}

fn now(r: &Rows, spt: bool) -> Reply {
    cu(if spt {
        crate::copy::cuMemcpy3D_v2_ptds(r.driver())
    } else {
        crate::copy::cuMemcpy3D_v2(r.driver())
    })
}

fn later(r: &Rows, stream: u64, spt: bool) -> Reply {
    cu(if spt {
        crate::copy::cuMemcpy3DAsync_v2_ptsz(r.driver(), stream)
    } else {
        crate::copy::cuMemcpy3DAsync_v2(r.driver(), stream)
    })
}

/// Pairs of functions: the legacy default stream, and a default stream a thread.
macro_rules! pairs {
    ($( fn $plain:ident, $thread:ident [$spt:ident] ($($a:ident : $t:ty),* $(,)?) $body:block )*) => {
        hip_api! { $( fn $plain($($a: $t),*) { let $spt = false; $body } )* }
        hip_api! { $( fn $thread($($a: $t),*) { let $spt = true; $body } )* }
    };
}

pairs! {
    fn hipMemcpy, hipMemcpy_spt[spt](to: u64, from: u64, n: u64, _kind: i32) {
        cu(if spt { crate::copy::cuMemcpy_ptds(to, from, n) } else { crate::copy::cuMemcpy(to, from, n) })
    }
    fn hipMemcpyAsync, hipMemcpyAsync_spt[spt](to: u64, from: u64, n: u64, _kind: i32, stream: u64) {
        cu(if spt {
            crate::copy::cuMemcpyAsync_ptsz(to, from, n, stream)
        } else {
            crate::copy::cuMemcpyAsync(to, from, n, stream)
        })
    }
    fn hipMemcpy2D, hipMemcpy2D_spt[spt](
        to: u64, to_pitch: u64, from: u64, from_pitch: u64, width: u64, height: u64, _kind: i32,
    ) {
        now(&rows(Side::Memory(to, to_pitch), Side::Memory(from, from_pitch), width, height), spt)
    }
    fn hipMemcpy2DAsync, hipMemcpy2DAsync_spt[spt](
        to: u64, to_pitch: u64, from: u64, from_pitch: u64, width: u64, height: u64, _kind: i32, stream: u64,
    ) {
        later(&rows(Side::Memory(to, to_pitch), Side::Memory(from, from_pitch), width, height), stream, spt)
    }
    fn hipMemcpy2DToArray, hipMemcpy2DToArray_spt[spt](
        array: u64, x: u64, y: u64, from: u64, pitch: u64, width: u64, height: u64, _kind: i32,
    ) {
        now(&rows(Side::Array(array, [x, y]), Side::Memory(from, pitch), width, height), spt)
    }
    fn hipMemcpy2DToArrayAsync, hipMemcpy2DToArrayAsync_spt[spt](
        array: u64, x: u64, y: u64, from: u64, pitch: u64, width: u64, height: u64, _kind: i32, stream: u64,
    ) {
        later(&rows(Side::Array(array, [x, y]), Side::Memory(from, pitch), width, height), stream, spt)
    }
    fn hipMemcpy2DFromArray, hipMemcpy2DFromArray_spt[spt](
        to: u64, pitch: u64, array: u64, x: u64, y: u64, width: u64, height: u64, _kind: i32,
    ) {
        now(&rows(Side::Memory(to, pitch), Side::Array(array, [x, y]), width, height), spt)
    }
    fn hipMemcpy2DFromArrayAsync, hipMemcpy2DFromArrayAsync_spt[spt](
        to: u64, pitch: u64, array: u64, x: u64, y: u64, width: u64, height: u64, _kind: i32, stream: u64,
    ) {
        later(&rows(Side::Memory(to, pitch), Side::Array(array, [x, y]), width, height), stream, spt)
    }
    fn hipMemcpyFromArray, hipMemcpyFromArray_spt[spt](to: u64, array: u64, x: u64, y: u64, n: u64, _kind: i32) {
        now(&rows(Side::Memory(to, 0), Side::Array(array, [x, y]), n, 1), spt)
    }
    fn hipMemcpy3D, hipMemcpy3D_spt[spt](p: In<Params>) {
        now(&params(&p.get()?)?, spt)
    }
    fn hipMemcpy3DAsync, hipMemcpy3DAsync_spt[spt](p: In<Params>, stream: u64) {
        later(&params(&p.get()?)?, stream, spt)
    }
}

fn peers(p: In<PeerParams>) -> Reply<Rows> {
    let p = p.get()?;
    let d = crate::driver::driver()?;
    d.device(p.src_device)?;
    d.device(p.dst_device)?;
    params(&Params {
        src_array: p.src_array,
        src_at: p.src_at,
        src: p.src,
        dst_array: p.dst_array,
        dst_at: p.dst_at,
        dst: p.dst,
        extent: p.extent,
        kind: 4,
    })
}

hip_api! {
    fn hipMemcpyWithStream(to: u64, from: u64, n: u64, _kind: i32, stream: u64) {
        cu(crate::copy::cuMemcpyAsync(to, from, n, stream))?;
        cu(crate::stream::cuStreamSynchronize(stream))
    }
    fn hipMemcpyToArray(array: u64, x: u64, y: u64, from: u64, n: u64, _kind: i32) {
        now(&rows(Side::Array(array, [x, y]), Side::Memory(from, 0), n, 1), false)
    }
    fn hipMemcpy2DArrayToArray(
        to: u64, to_x: u64, to_y: u64, from: u64, x: u64, y: u64, width: u64, height: u64, _kind: i32,
    ) {
        now(&rows(Side::Array(to, [to_x, to_y]), Side::Array(from, [x, y]), width, height), false)
    }
    fn hipMemcpyParam2D(p: In<Flat>) {
        let f = flat(p)?;
        cu(crate::copy::cuMemcpy2D_v2(In::from_raw((&raw const f).cast())))
    }
    fn hipDrvMemcpy2DUnaligned(p: In<Flat>) {
        let f = flat(p)?;
        cu(crate::copy::cuMemcpy2DUnaligned_v2(In::from_raw((&raw const f).cast())))
    }
    fn hipMemcpyParam2DAsync(p: In<Flat>, stream: u64) {
        let f = flat(p)?;
        cu(crate::copy::cuMemcpy2DAsync_v2(In::from_raw((&raw const f).cast()), stream))
    }
    fn hipDrvMemcpy3D(p: In<Deep>) {
        now(&deep(p)?, false)
    }
    fn hipDrvMemcpy3DAsync(p: In<Deep>, stream: u64) {
        later(&deep(p)?, stream, false)
    }
    fn hipMemcpyPeer(to: u64, to_device: i32, from: u64, from_device: i32, n: u64) {
        let d = crate::driver::driver()?;
        d.device(to_device)?;
        d.device(from_device)?;
        cu(crate::copy::cuMemcpy(to, from, n))
    }
    fn hipMemcpyPeerAsync(to: u64, to_device: i32, from: u64, from_device: i32, n: u64, stream: u64) {
        let d = crate::driver::driver()?;
        d.device(to_device)?;
        d.device(from_device)?;
        cu(crate::copy::cuMemcpyAsync(to, from, n, stream))
    }
    fn hipMemcpy3DPeer(p: In<PeerParams>) {
        now(&peers(p)?, false)
    }
    fn hipMemcpy3DPeerAsync(p: In<PeerParams>, stream: u64) {
        later(&peers(p)?, stream, false)
    }
    fn hipMemcpyBatchAsync(
        to: In<u64>, from: In<u64>, sizes: In<u64>, n: u64, attributes: u64, indices: u64, m: u64, failed: Out<u64>,
        stream: u64,
    ) {
        failed.set(u64::MAX);
        cu(crate::copy::cuMemcpyBatchAsync_v2(to, from, sizes, n, attributes, indices, m, stream))
    }
}

same_api! {
    fn hipMemcpyHtoD = copy::cuMemcpyHtoD_v2(to: u64, from: u64, n: u64);
    fn hipMemcpyDtoH = copy::cuMemcpyDtoH_v2(to: u64, from: u64, n: u64);
    fn hipMemcpyDtoD = copy::cuMemcpyDtoD_v2(to: u64, from: u64, n: u64);
    fn hipMemcpyHtoDAsync = copy::cuMemcpyHtoDAsync_v2(to: u64, from: u64, n: u64, stream: u64);
    fn hipMemcpyDtoHAsync = copy::cuMemcpyDtoHAsync_v2(to: u64, from: u64, n: u64, stream: u64);
    fn hipMemcpyDtoDAsync = copy::cuMemcpyDtoDAsync_v2(to: u64, from: u64, n: u64, stream: u64);
    fn hipMemcpyAtoD = copy::cuMemcpyAtoD_v2(to: u64, array: u64, offset: u64, n: u64);
    fn hipMemcpyDtoA = copy::cuMemcpyDtoA_v2(array: u64, offset: u64, from: u64, n: u64);
    fn hipMemcpyAtoA = copy::cuMemcpyAtoA_v2(to: u64, to_offset: u64, from: u64, from_offset: u64, n: u64);
    fn hipMemcpyAtoH = copy::cuMemcpyAtoH_v2(to: u64, array: u64, offset: u64, n: u64);
    fn hipMemcpyHtoA = copy::cuMemcpyHtoA_v2(array: u64, offset: u64, from: u64, n: u64);
    fn hipMemcpyAtoHAsync = copy::cuMemcpyAtoHAsync_v2(to: u64, array: u64, offset: u64, n: u64, stream: u64);
    fn hipMemcpyHtoAAsync = copy::cuMemcpyHtoAAsync_v2(array: u64, offset: u64, from: u64, n: u64, stream: u64);
}
