//! Properties of a device.

use crate::abi::{Out, put_list, text};
use crate::codes::Reply;
use crate::device::{KERNEL_TIMESTAMP_BITS, NS_A_TICK, TICKS_A_SECOND, TIMESTAMP_BITS};
use crate::driver::{Driver, device};
use crate::export::api;
use crate::structs::*;

/// Structure type by which a caller asks for the timer in ticks a second.
const DEVICE_PROPERTIES_1_2: u32 = 0x0002_0006;

/// Vector engines a subslice, and threads each of them keeps.
const ENGINES: u32 = 8;
const THREADS: u32 = 8;

/// Command queue groups: flags, queues, bytes of a fill pattern.
pub const GROUPS: [(u32, u32, u64); 2] = [(0b111, 4, 256), (0b010, 2, 256)];
/// The group that only copies.
pub const COPY_GROUP: u32 = 1;

/// Largest group of work items.
pub const GROUP_SIZE: u32 = 1024;
/// Local memory a group may have.
pub const LOCAL_MEMORY: u32 = 128 << 10;

/// What the core and the management functions alike say of a device.
pub fn core(d: &Driver, index: usize, mut p: DeviceProperties) -> DeviceProperties {
    let s = d.spec(index);
    p.kind = 1;
    p.vendor_id = s.pci_device & 0xffff;
    p.device_id = s.pci_device >> 16;
    p.flags = 0;
    p.subdevice_id = 0;
    p.core_clock_rate = s.clock_khz / 1000;
    p.max_mem_alloc_size = s.memory;
    p.max_hardware_contexts = 1 << 16;
    p.max_command_queue_priority = 0;
    p.num_threads_per_eu = THREADS;
    p.physical_eu_simd_width = 16;
    p.num_eus_per_subslice = ENGINES;
    p.num_subslices_per_slice = s.sm;
    p.num_slices = 1;
    p.timer_resolution = if p.stype == DEVICE_PROPERTIES_1_2 {
        TICKS_A_SECOND
    } else {
        NS_A_TICK
    };
    p.timestamp_valid_bits = TIMESTAMP_BITS;
    p.kernel_timestamp_valid_bits = KERNEL_TIMESTAMP_BITS;
    p.uuid.id = s.uuid();
    p.name = text(&s.name);
    p
}

/// Reads a caller's structure, for its header, changes it and writes it back.
fn edit<T: Copy>(place: Out<T>, change: impl FnOnce(&mut T)) -> Reply {
    let mut p = place.get()?;
    change(&mut p);
    place.put(p)
}

/// As [`edit`], for a call that lists `all.len()` structures.
pub fn edit_list<T: Copy, A>(
    count: Out<u32>,
    place: Out<T>,
    all: &[A],
    change: impl Fn(&mut T, &A),
) -> Reply {
    let room = count.get()? as usize;
    if room == 0 || place.is_null() {
        return count.put(all.len() as u32);
    }
    let n = room.min(all.len());
    for (i, a) in all.iter().take(n).enumerate() {
        let mut p = place.at(i)?;
        change(&mut p, a);
        place.set_at(i, p);
    }
    count.put(n as u32)
}

api! {
    fn zeDeviceGetProperties(handle: u64, place: Out<DeviceProperties>) {
        let (d, index) = device(handle)?;
        edit(place, |p| *p = core(d, index, *p))
    }
    fn zeDeviceGetComputeProperties(handle: u64, place: Out<DeviceComputeProperties>) {
        device(handle)?;
        edit(place, |p| {
            p.max_total_group_size = GROUP_SIZE;
            (p.max_group_size_x, p.max_group_size_y, p.max_group_size_z) = (GROUP_SIZE, GROUP_SIZE, GROUP_SIZE);
            (p.max_group_count_x, p.max_group_count_y, p.max_group_count_z) = (u32::MAX, u32::MAX, u32::MAX);
            p.max_shared_local_memory = LOCAL_MEMORY;
            p.num_sub_group_sizes = 2;
            p.sub_group_sizes = [16, 32, 0, 0, 0, 0, 0, 0];
        })
    }
    fn zeDeviceGetModuleProperties(handle: u64, place: Out<DeviceModuleProperties>) {
        device(handle)?;
        edit(place, |p| {
            p.spirv_version_supported = 1 << 16 | 2;
            p.flags = 0b111;
            (p.fp16flags, p.fp32flags, p.fp64flags) = (0xff, 0xff, 0xff);
            p.max_arguments_size = 2048;
            p.printf_buffer_size = 4 << 20;
            p.native_kernel_supported.id = [0; 16];
        })
    }
    fn zeDeviceGetCommandQueueGroupProperties(handle: u64, count: Out<u32>, place: Out<CommandQueueGroupProperties>) {
        device(handle)?;
        edit_list(count, place, &GROUPS, |p, (flags, queues, pattern)| {
            p.flags = *flags;
            p.num_queues = *queues;
            p.max_memory_fill_pattern_size = *pattern;
        })
    }
    fn zeDeviceGetMemoryProperties(handle: u64, count: Out<u32>, place: Out<DeviceMemoryProperties>) {
        let (d, index) = device(handle)?;
        edit_list(count, place, &[d.spec(index)], |p, s| {
            p.flags = 0;
            p.max_clock_rate = s.memory_clock_khz / 1000;
            p.max_bus_width = s.bus_width;
            p.total_size = s.memory;
            p.name = text("HBM");
        })
    }
    fn zeDeviceGetMemoryAccessProperties(handle: u64, place: Out<DeviceMemoryAccessProperties>) {
        device(handle)?;
        edit(place, |p| {
            // Read and write, atomics; of memory that the driver did not allocate nothing.
            p.host_alloc_capabilities = 0b11;
            p.device_alloc_capabilities = 0b11;
            p.shared_single_device_alloc_capabilities = 0b11;
            p.shared_cross_device_alloc_capabilities = 0b11;
            p.shared_system_alloc_capabilities = 0;
        })
    }
    fn zeDeviceGetCacheProperties(handle: u64, count: Out<u32>, place: Out<DeviceCacheProperties>) {
        let (d, index) = device(handle)?;
        edit_list(count, place, &[d.spec(index).l2], |p, size| {
            p.flags = 0;
            p.cache_size = *size;
        })
    }
    fn zeDeviceGetImageProperties(handle: u64, place: Out<DeviceImageProperties>) {
        device(handle)?;
        edit(place, |p| {
            (p.max_image_dims_1d, p.max_image_dims_2d, p.max_image_dims_3d) = (16_384, 16_384, 2048);
            p.max_image_buffer_size = 1 << 30;
            p.max_image_array_slices = 2048;
            p.max_samplers = 16;
            (p.max_read_image_args, p.max_write_image_args) = (128, 128);
        })
    }
    fn zeDeviceGetExternalMemoryProperties(handle: u64, place: Out<DeviceExternalMemoryProperties>) {
        device(handle)?;
        edit(place, |p| {
            (p.memory_allocation_import_types, p.memory_allocation_export_types) = (0, 0);
            (p.image_import_types, p.image_export_types) = (0, 0);
        })
    }
    fn zeDeviceGetP2PProperties(handle: u64, peer: u64, place: Out<DeviceP2pProperties>) {
        device(handle)?;
        device(peer)?;
        edit(place, |p| p.flags = 1)
    }
    fn zeDevicePciGetPropertiesExt(handle: u64, place: Out<PciExtProperties>) {
        let (d, index) = device(handle)?;
        edit(place, |p| {
            p.address = PciAddressExt { domain: 0, bus: d.spec(index).pci_bus(), device: 0, function: 0 };
            p.max_speed = PciSpeedExt { gen_version: 5, width: 16, max_bandwidth: 63_000_000_000 };
        })
    }
    fn zeDeviceGetFabricVertexExp(handle: u64, _place: Out<u64>) {
        device(handle)?;
        Err(crate::codes::UNSUPPORTED_FEATURE)
    }
    fn zeFabricVertexGetExp(driver: u64, count: Out<u32>, place: Out<u64>) {
        crate::driver::named(driver)?;
        put_list(count, place, &[])
    }
}
