//! The two structures of device properties: the one up to version 5 and the one since version 6.
//! Fields are written at their offsets; what no simulated device has stays zero.

use super::device::{attribute, uuid};
use crate::abi::Out;
use crate::codes::Reply;
use crate::driver::driver;
use crate::export::early_api;
use fcsp_sim::spec::DeviceSpec;

/// Offsets of what is filled in.
struct Form {
    size: usize,
    uuid: Option<usize>,
    memory: usize,
    /// Offset, attribute.
    numbers: &'static [(usize, i32)],
    /// Eight bytes wide.
    sizes: &'static [(usize, i32)],
    arch: usize,
}

const R0600: Form = Form {
    size: 1472,
    uuid: Some(256),
    memory: 288,
    numbers: &[
        (304, 71),
        (308, 87),
        (320, 56),
        (324, 26),
        (328, 27),
        (332, 28),
        (336, 29),
        (340, 30),
        (344, 31),
        (348, 5),
        (360, 23),
        (364, 61),
        (388, 63),
        (396, 16),
        (400, 3),
        (608, 60),
        (612, 59),
        (616, 19),
        (624, 57),
        (584, 67),
        (588, 68),
        (592, 69),
        (604, 85),
        (652, 24),
        (688, 10),
        (576, 8),
        (600, 2),
        (1464, 10_011),
        (744, 88),
        (676, 9),
    ],
    sizes: &[
        (296, 74),
        (312, 58),
        (352, 83),
        (368, 81),
        (1416, 10_002),
        (640, 76),
    ],
    arch: 1160,
};

const R0000: Form = Form {
    size: 792,
    uuid: None,
    memory: 256,
    numbers: &[
        (272, 71),
        (276, 87),
        (280, 56),
        (284, 26),
        (288, 27),
        (292, 28),
        (296, 29),
        (300, 30),
        (304, 31),
        (308, 5),
        (328, 23),
        (332, 61),
        (336, 63),
        (652, 16),
        (388, 3),
        (312, 60),
        (316, 59),
        (340, 19),
        (344, 57),
        (368, 67),
        (372, 68),
        (364, 69),
        (772, 24),
        (656, 10),
        (360, 8),
        (764, 10_011),
        (780, 9),
    ],
    sizes: &[(264, 74), (712, 58), (320, 83), (720, 81), (376, 10_002)],
    arch: 396,
};

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Returns the name of the instruction set, which the capability stands for: 9.4 is `gfx942`.
fn arch(spec: &DeviceSpec) -> String {
    let (major, minor) = spec.capability;
    let tail = if (major, minor) == (9, 4) { "2" } else { "0" };
    format!("gfx{major}{minor}{tail}:sramecc+:xnack-")
}

fn fill(place: Out<u8>, device: i32, form: &Form) -> Reply {
    place.need()?;
    let spec = driver()?.spec(device)?;
    let mut out = vec![0u8; form.size];
    put(&mut out, 0, spec.name.as_bytes());
    if let Some(at) = form.uuid {
        put(&mut out, at, &uuid(spec));
    }
    put(&mut out, form.memory, &spec.memory.to_le_bytes());
    for (at, which) in form.numbers {
        put(
            &mut out,
            *at,
            &attribute(spec, *which).unwrap_or(0).to_le_bytes(),
        );
    }
    for (at, which) in form.sizes {
        let value = attribute(spec, *which).unwrap_or(0) as u64;
        put(&mut out, *at, &value.to_le_bytes());
    }
    put(&mut out, form.arch, arch(spec).as_bytes());
    out.iter()
        .enumerate()
        .for_each(|(i, b)| place.set_at(i, *b));
    Ok(())
}

early_api! {
    fn hipGetDeviceProperties(place: Out<u8>, device: i32) {
        fill(place, device, &R0000)
    }
    fn hipGetDevicePropertiesR0000(place: Out<u8>, device: i32) {
        fill(place, device, &R0000)
    }
    fn hipGetDevicePropertiesR0600(place: Out<u8>, device: i32) {
        fill(place, device, &R0600)
    }
}
