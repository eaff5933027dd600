//! Sockets and processors: which there are, what they are, and how full. One processor a socket.

use crate::abi::{INVALID_ARGS, Out, Reply, fill, fixed};
use crate::api;
use crate::state::{Machine, device, machine};
use fcsp_sim::process::{holdings, used};
use fcsp_sim::spec::DeviceSpec;

const PROCESSOR: u64 = 0x5350_0000;
const SOCKET: u64 = 0x5351_0000;
const MIB: u64 = 1 << 20;

/// Returns the machine and the device of a processor's handle.
pub fn processor(handle: u64) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    of(handle, PROCESSOR)
}

fn of(handle: u64, tag: u64) -> Reply<(&'static Machine, &'static DeviceSpec)> {
    let index = (handle ^ tag) >> 4;
    if handle & !0xffff != tag || handle & 0xf != 0 || index == 0 {
        return Err(INVALID_ARGS);
    }
    device(index as u32 - 1)
}

fn handle(tag: u64, index: usize) -> u64 {
    tag | (index as u64 + 1) << 4
}

/// `amdsmi_vram_usage_t`, in MiB.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VramUsage {
    total: u32,
    used: u32,
    reserved: [u32; 2],
}

/// `amdsmi_vram_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VramInfo {
    kind: u32,
    vendor: [u8; 256],
    size: u64,
    width: u32,
    bandwidth: u64,
    reserved: [u64; 37],
}

/// `amdsmi_engine_usage_t`, in per cent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    gfx: u32,
    memory: u32,
    media: u32,
    reserved: [u32; 13],
}

const _: () = assert!(
    size_of::<VramUsage>() == 16 && size_of::<VramInfo>() == 584 && size_of::<Activity>() == 64
);

const VRAM: u32 = 0;
const VISIBLE: u32 = 1;
const GTT: u32 = 2;
const AMD_GPU: u32 = 1;
const HBM3: u32 = 4;

api! {
    fn amdsmi_get_socket_handles(n: Out<u32>, list: Out<u64>) {
        let all: Vec<u64> = (0..machine()?.topology.devices.len()).map(|i| handle(SOCKET, i)).collect();
        fill(n, list, &all)
    }
    fn amdsmi_get_processor_handles(socket: u64, n: Out<u32>, list: Out<u64>) {
        fill(n, list, &[handle(PROCESSOR, of(socket, SOCKET)?.1.index)])
    }
    fn amdsmi_get_processor_type(p: u64, kind: Out<u32>) {
        processor(p)?;
        kind.put(AMD_GPU)
    }
    /// Function, device, bus and domain from the lowest bit on.
    fn amdsmi_get_gpu_device_bdf(p: u64, place: Out<u64>) {
        place.put(u64::from(processor(p)?.1.pci_bus()) << 8)
    }
    fn amdsmi_get_gpu_device_uuid(p: u64, n: Out<u32>, text: Out<u8>) {
        let uuid = processor(p)?.1.uuid_text()[4..].to_string();
        let bytes: Vec<u8> = uuid.bytes().chain([0]).collect();
        fill(n, text, &bytes)
    }
    fn amdsmi_get_gpu_id(p: u64, id: Out<u16>) {
        id.put((processor(p)?.1.pci_device >> 16) as u16)
    }
    fn amdsmi_get_gpu_memory_total(p: u64, kind: u32, total: Out<u64>) {
        let (_, spec) = processor(p)?;
        match kind {
            VRAM | VISIBLE => total.put(spec.memory + spec.reserved),
            GTT => total.put(spec.memory / 2),
            _ => Err(INVALID_ARGS),
        }
    }
    fn amdsmi_get_gpu_memory_usage(p: u64, kind: u32, bytes: Out<u64>) {
        let (m, spec) = processor(p)?;
        match kind {
            VRAM | VISIBLE => bytes.put(used(&m.region, spec.index) + spec.reserved),
            // No simulated memory lies in the host's part.
            GTT => bytes.put(0),
            _ => Err(INVALID_ARGS),
        }
    }
    fn amdsmi_get_gpu_vram_usage(p: u64, place: Out<VramUsage>) {
        let (m, spec) = processor(p)?;
        let used = used(&m.region, spec.index) + spec.reserved;
        place.put(VramUsage {
            total: ((spec.memory + spec.reserved) / MIB) as u32,
            used: (used / MIB) as u32,
            reserved: [0; 2],
        })
    }
    fn amdsmi_get_gpu_vram_info(p: u64, place: Out<VramInfo>) {
        let (_, spec) = processor(p)?;
        place.put(VramInfo {
            kind: HBM3,
            vendor: fixed("FCSP"),
            size: (spec.memory + spec.reserved) / MIB,
            width: spec.bus_width,
            bandwidth: spec.bandwidth / 1000,
            reserved: [0; 37],
        })
    }
    fn amdsmi_get_gpu_activity(p: u64, place: Out<Activity>) {
        let (m, spec) = processor(p)?;
        let gfx: u32 = holdings(&m.region, spec.index).iter().map(|h| h.utilisation).sum();
        place.put(Activity { gfx: gfx.min(100), memory: gfx.min(100) / 2, media: 0, reserved: [0; 13] })
    }
}
