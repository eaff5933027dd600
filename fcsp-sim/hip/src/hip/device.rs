//! Devices: which there are, and what their attributes are.

use crate::abi::{In, Out, Text, put_text};
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::driver;
use crate::export::{cu, early_api};
use fcsp_sim::spec::DeviceSpec;

/// HIP's number of an attribute and the driver's.
const ATTRIBUTES: &[(i32, i32)] = &[
    (0, 32),
    (2, 40),
    (3, 19),
    (5, 13),
    (6, 20),
    (7, 90),
    (8, 31),
    (9, 89),
    (10, 95),
    (11, 96),
    (12, 15),
    (13, 101),
    (14, 79),
    (15, 86),
    (16, 18),
    (17, 84),
    (18, 17),
    (19, 38),
    (20, 80),
    (23, 75),
    (24, 83),
    (25, 106),
    (26, 2),
    (27, 3),
    (28, 4),
    (29, 5),
    (30, 6),
    (31, 7),
    (39, 21),
    (43, 22),
    (44, 23),
    (49, 24),
    (50, 25),
    (51, 26),
    (56, 1),
    (57, 39),
    (58, 11),
    (59, 37),
    (60, 36),
    (61, 76),
    (63, 16),
    (65, 88),
    (67, 33),
    (68, 34),
    (69, 50),
    (71, 12),
    (72, 82),
    (74, 8),
    (75, 97),
    (76, 81),
    (78, 78),
    (79, 30),
    (80, 35),
    (81, 14),
    (82, 51),
    (83, 9),
    (85, 41),
    (88, 115),
    (89, 102),
    (90, 99),
    (91, 119),
    (10_002, 81),
    (10_015, 16),
];

/// Threads of a wavefront of the devices for computing.
pub const WAVEFRONT: i32 = 64;

/// Dies that each run a part of every kernel: 8 in the devices of the gfx942 family, one elsewhere.
fn xccs(spec: &DeviceSpec) -> i32 {
    if spec.capability == (9, 4) { 8 } else { 1 }
}

/// Returns an attribute by HIP's number.
pub fn attribute(spec: &DeviceSpec, which: i32) -> Option<i32> {
    match which {
        // In bytes, cut to what an `int` holds, as the real runtime does.
        84 => Some(spec.memory as i32),
        87 => Some(WAVEFRONT),
        10_011 | 10_013 | 10_014 => Some(1),
        10_018 => Some(xccs(spec)),
        10_016 => Some(0),
        10_017 => Some(100_000),
        _ => {
            let (_, driver) = ATTRIBUTES.iter().find(|(hip, _)| *hip == which)?;
            crate::attributes::device(spec, *driver)
        }
    }
}

/// Returns the 16 characters behind the device's UUID: the number that the management library calls
/// its unique id.
pub fn uuid(spec: &DeviceSpec) -> [u8; 16] {
    let mut out = [0; 16];
    for (pair, byte) in out.chunks_exact_mut(2).zip(spec.uuid()) {
        let digit = |n: u8| b"0123456789abcdef"[n as usize & 15];
        (pair[0], pair[1]) = (digit(byte >> 4), digit(byte));
    }
    out
}

early_api! {
    fn hipDeviceGet(device: Out<i32>, ordinal: i32) {
        cu(crate::device::cuDeviceGet(device, ordinal))
    }
    fn hipDeviceGetName(name: Out<u8>, len: i32, device: i32) {
        cu(crate::device::cuDeviceGetName(name, len, device))
    }
    fn hipDeviceGetUuid(place: Out<[u8; 16]>, device: i32) {
        place.put(uuid(driver()?.spec(device)?))
    }
    fn hipDeviceTotalMem(bytes: Out<u64>, device: i32) {
        cu(crate::device::cuDeviceTotalMem_v2(bytes, device))
    }
    fn hipDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        cu(crate::device::cuDeviceComputeCapability(major, minor, device))
    }
    fn hipDeviceGetAttribute(value: Out<i32>, which: i32, device: i32) {
        value.put(attribute(driver()?.spec(device)?, which).ok_or(INVALID_VALUE)?)
    }
    fn hipDeviceGetPCIBusId(text: Out<u8>, len: i32, device: i32) {
        let spec = driver()?.spec(device)?;
        let len = usize::try_from(len).map_err(|_| INVALID_VALUE)?;
        // In small letters here.
        put_text(text, len, &spec.pci_text().to_lowercase())
    }
    fn hipDeviceGetByPCIBusId(device: Out<i32>, text: Text) {
        cu(crate::device::cuDeviceGetByPCIBusId(device, text))
    }
    fn hipDeviceCanAccessPeer(value: Out<i32>, device: i32, peer: i32) {
        cu(crate::device::cuDeviceCanAccessPeer(value, device, peer))
    }
    fn hipDeviceGetP2PAttribute(value: Out<i32>, which: i32, device: i32, peer: i32) {
        // Numbered from 0 here, in the driver's order.
        cu(crate::device::cuDeviceGetP2PAttribute(value, which + 1, device, peer))
    }
    fn hipExtGetLinkTypeAndHopCount(device: i32, peer: i32, kind: Out<u32>, hops: Out<u32>) {
        let d = driver()?;
        d.device(device)?;
        d.device(peer)?;
        // HSA_AMD_LINK_INFO_TYPE_XGMI
        kind.put(4)?;
        hops.put(u32::from(device != peer))
    }
    fn hipDeviceGetTexture1DLinearMaxWidth(width: Out<u64>, _desc: In<u8>, device: i32) {
        driver()?.device(device)?;
        width.put(1 << 28)
    }
}

/// Every device is as good as the next; the first one that is there.
fn choose(device: Out<i32>, wish: u64) -> Reply {
    if wish == 0 {
        Err(INVALID_VALUE)
    } else {
        device.put(0)
    }
}

early_api! {
    fn hipChooseDevice(device: Out<i32>, wish: u64) {
        choose(device, wish)
    }
    fn hipChooseDeviceR0000(device: Out<i32>, wish: u64) {
        choose(device, wish)
    }
    fn hipChooseDeviceR0600(device: Out<i32>, wish: u64) {
        choose(device, wish)
    }
}
