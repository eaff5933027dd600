//! Devices: how many, which, and what they are.

use crate::abi::{Out, Text, put_text};
use crate::codes::{INVALID_DEVICE, INVALID_VALUE};
use crate::driver::driver;
use crate::export::api;

/// The oldest description of a device.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    max_threads: i32,
    max_block: [i32; 3],
    max_grid: [i32; 3],
    shared: i32,
    constant: i32,
    warp: i32,
    pitch: i32,
    registers: i32,
    clock: i32,
    texture_align: i32,
}

api! {
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        driver()?.device(ordinal)?;
        device.put(ordinal)
    }
    fn cuDeviceGetCount(count: Out<i32>) {
        count.put(driver()?.visible.len() as i32)
    }
    fn cuDeviceGetName(name: Out<u8>, len: i32, device: i32) {
        let len = usize::try_from(len).map_err(|_| INVALID_VALUE)?;
        put_text(name, len, &driver()?.spec(device)?.name)
    }
    fn cuDeviceGetUuid, cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) {
        uuid.put(driver()?.spec(device)?.uuid())
    }
    fn cuDeviceTotalMem_v2(bytes: Out<u64>, device: i32) {
        bytes.put(driver()?.spec(device)?.memory)
    }
    fn cuDeviceTotalMem(bytes: Out<u32>, device: i32) {
        bytes.put(driver()?.spec(device)?.memory.min(u64::from(u32::MAX)) as u32)
    }
    fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) {
        let spec = driver()?.spec(device)?;
        value.put(crate::attributes::device(spec, attribute).ok_or(INVALID_VALUE)?)
    }
    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        let (a, b) = driver()?.spec(device)?.capability;
        major.put(a as i32)?;
        minor.put(b as i32)
    }
    fn cuDeviceGetProperties(properties: Out<Properties>, device: i32) {
        let spec = driver()?.spec(device)?;
        let a = |n| crate::attributes::device(spec, n).unwrap_or(0);
        properties.put(Properties {
            max_threads: a(1),
            max_block: [a(2), a(3), a(4)],
            max_grid: [a(5), a(6), a(7)],
            shared: a(8),
            constant: a(9),
            warp: a(10),
            pitch: a(11),
            registers: a(12),
            clock: a(13),
            texture_align: a(14),
        })
    }
    fn cuDeviceGetPCIBusId(text: Out<u8>, len: i32, device: i32) {
        let len = usize::try_from(len).map_err(|_| INVALID_VALUE)?;
        put_text(text, len, &driver()?.spec(device)?.pci_text())
    }
    fn cuDeviceGetByPCIBusId(device: Out<i32>, text: Text) {
        let d = driver()?;
        let text = text.get()?;
        // The domain may be given with four or eight digits or left out, the function may be left
        // out.
        let tail = text.rsplitn(3, ':').take(2).collect::<Vec<_>>();
        let [last, bus] = tail[..] else { return Err(INVALID_VALUE) };
        let bus = u32::from_str_radix(bus, 16).map_err(|_| INVALID_VALUE)?;
        let slot = u32::from_str_radix(last.split('.').next().unwrap_or_default(), 16).map_err(|_| INVALID_VALUE)?;
        let hit = d.visible.iter().position(|i| d.process.topology.devices[*i].pci_bus() == bus && slot == 0);
        device.put(hit.ok_or(INVALID_DEVICE)? as i32)
    }
    fn cuDeviceGetLuid(_luid: Out<u64>, _mask: Out<u32>, device: i32) {
        driver()?.device(device)?;
        // A Windows notion.
        Err(crate::codes::NOT_SUPPORTED)
    }
    fn cuDeviceGetTexture1DLinearMaxWidth(width: Out<u64>, _format: i32, channels: u32, device: i32) {
        driver()?.device(device)?;
        if !matches!(channels, 1 | 2 | 4) {
            return Err(INVALID_VALUE);
        }
        width.put(1 << 28)
    }
    fn cuDeviceGetExecAffinitySupport(value: Out<i32>, _kind: i32, device: i32) {
        driver()?.device(device)?;
        value.put(0)
    }
    fn cuDeviceCanAccessPeer(value: Out<i32>, device: i32, peer: i32) {
        let d = driver()?;
        d.device(device)?;
        d.device(peer)?;
        value.put(i32::from(device != peer))
    }
    fn cuDeviceGetP2PAttribute(value: Out<i32>, attribute: i32, device: i32, peer: i32) {
        let d = driver()?;
        d.device(device)?;
        d.device(peer)?;
        if device == peer || !(1..=5).contains(&attribute) {
            return Err(INVALID_VALUE);
        }
        // Performance rank, access, native atomics, arrays; nothing else is special about a
        // simulated link.
        value.put(i32::from(matches!(attribute, 2 | 4)))
    }
}
