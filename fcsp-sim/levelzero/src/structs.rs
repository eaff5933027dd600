//! The structures of the API, as C lays them out. Pointers and handles are words; enumerations are
//! numbers, because a caller may pass any.

#![allow(missing_docs, reason = "fields are named as in the API's headers")]

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceProperties {
    pub stype: u32,
    pub next: u64,
    pub kind: u32,
    pub vendor_id: u32,
    pub device_id: u32,
    pub flags: u32,
    pub subdevice_id: u32,
    pub core_clock_rate: u32,
    pub max_mem_alloc_size: u64,
    pub max_hardware_contexts: u32,
    pub max_command_queue_priority: u32,
    pub num_threads_per_eu: u32,
    pub physical_eu_simd_width: u32,
    pub num_eus_per_subslice: u32,
    pub num_subslices_per_slice: u32,
    pub num_slices: u32,
    pub timer_resolution: u64,
    pub timestamp_valid_bits: u32,
    pub kernel_timestamp_valid_bits: u32,
    pub uuid: DeviceUuid,
    pub name: [u8; 256],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceComputeProperties {
    pub stype: u32,
    pub next: u64,
    pub max_total_group_size: u32,
    pub max_group_size_x: u32,
    pub max_group_size_y: u32,
    pub max_group_size_z: u32,
    pub max_group_count_x: u32,
    pub max_group_count_y: u32,
    pub max_group_count_z: u32,
    pub max_shared_local_memory: u32,
    pub num_sub_group_sizes: u32,
    pub sub_group_sizes: [u32; 8],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceModuleProperties {
    pub stype: u32,
    pub next: u64,
    pub spirv_version_supported: u32,
    pub flags: u32,
    pub fp16flags: u32,
    pub fp32flags: u32,
    pub fp64flags: u32,
    pub max_arguments_size: u32,
    pub printf_buffer_size: u32,
    pub native_kernel_supported: NativeKernelUuid,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CommandQueueGroupProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub max_memory_fill_pattern_size: u64,
    pub num_queues: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceMemoryProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub max_clock_rate: u32,
    pub max_bus_width: u32,
    pub total_size: u64,
    pub name: [u8; 256],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceMemoryAccessProperties {
    pub stype: u32,
    pub next: u64,
    pub host_alloc_capabilities: u32,
    pub device_alloc_capabilities: u32,
    pub shared_single_device_alloc_capabilities: u32,
    pub shared_cross_device_alloc_capabilities: u32,
    pub shared_system_alloc_capabilities: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceCacheProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub cache_size: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceImageProperties {
    pub stype: u32,
    pub next: u64,
    pub max_image_dims_1d: u32,
    pub max_image_dims_2d: u32,
    pub max_image_dims_3d: u32,
    pub max_image_buffer_size: u64,
    pub max_image_array_slices: u32,
    pub max_samplers: u32,
    pub max_read_image_args: u32,
    pub max_write_image_args: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceExternalMemoryProperties {
    pub stype: u32,
    pub next: u64,
    pub memory_allocation_import_types: u32,
    pub memory_allocation_export_types: u32,
    pub image_import_types: u32,
    pub image_export_types: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceP2pProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DriverProperties {
    pub stype: u32,
    pub next: u64,
    pub uuid: DriverUuid,
    pub driver_version: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DriverIpcProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DriverExtensionProperties {
    pub name: [u8; 256],
    pub version: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ContextDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CommandQueueDesc {
    pub stype: u32,
    pub next: u64,
    pub ordinal: u32,
    pub index: u32,
    pub flags: u32,
    pub mode: u32,
    pub priority: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CommandListDesc {
    pub stype: u32,
    pub next: u64,
    pub command_queue_group_ordinal: u32,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CopyRegion {
    pub origin_x: u32,
    pub origin_y: u32,
    pub origin_z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageRegion {
    pub origin_x: u32,
    pub origin_y: u32,
    pub origin_z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EventPoolDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EventDesc {
    pub stype: u32,
    pub next: u64,
    pub index: u32,
    pub signal: u32,
    pub wait: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelTimestampData {
    pub kernel_start: u64,
    pub kernel_end: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelTimestampResult {
    pub global: KernelTimestampData,
    pub context: KernelTimestampData,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub kind: u32,
    pub format: ImageFormat,
    pub width: u64,
    pub height: u32,
    pub depth: u32,
    pub arraylevels: u32,
    pub miplevels: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageProperties {
    pub stype: u32,
    pub next: u64,
    pub sampler_filter_flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceMemAllocDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub ordinal: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct HostMemAllocDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct MemoryAllocationProperties {
    pub stype: u32,
    pub next: u64,
    pub kind: u32,
    pub id: u64,
    pub page_size: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ModuleDesc {
    pub stype: u32,
    pub next: u64,
    pub format: u32,
    pub input_size: u64,
    pub input_module: u64,
    pub build_flags: u64,
    pub constants: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ModuleProperties {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub kernel_name: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelProperties {
    pub stype: u32,
    pub next: u64,
    pub num_kernel_args: u32,
    pub required_group_size_x: u32,
    pub required_group_size_y: u32,
    pub required_group_size_z: u32,
    pub required_num_sub_groups: u32,
    pub required_subgroup_size: u32,
    pub max_subgroup_size: u32,
    pub max_num_subgroups: u32,
    pub local_mem_size: u32,
    pub private_mem_size: u32,
    pub spill_mem_size: u32,
    pub uuid: KernelUuid,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GroupCount {
    pub group_count_x: u32,
    pub group_count_y: u32,
    pub group_count_z: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PhysicalMemDesc {
    pub stype: u32,
    pub next: u64,
    pub flags: u32,
    pub size: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PciExtProperties {
    pub stype: u32,
    pub next: u64,
    pub address: PciAddressExt,
    pub max_speed: PciSpeedExt,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct MemoryFreeExtDesc {
    pub stype: u32,
    pub next: u64,
    pub free_policy: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesDeviceProperties {
    pub stype: u32,
    pub next: u64,
    pub core: DeviceProperties,
    pub num_subdevices: u32,
    pub serial_number: [u8; 64],
    pub board_number: [u8; 64],
    pub brand_name: [u8; 64],
    pub model_name: [u8; 64],
    pub vendor_name: [u8; 64],
    pub driver_version: [u8; 64],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesDeviceState {
    pub stype: u32,
    pub next: u64,
    pub reset: u32,
    pub repaired: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesProcessState {
    pub stype: u32,
    pub next: u64,
    pub process_id: u32,
    pub mem_size: u64,
    pub shared_size: u64,
    pub engines: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesPciProperties {
    pub stype: u32,
    pub next: u64,
    pub address: ZesPciAddress,
    pub max_speed: ZesPciSpeed,
    pub have_bandwidth_counters: u8,
    pub have_packet_counters: u8,
    pub have_replay_counters: u8,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesMemProperties {
    pub stype: u32,
    pub next: u64,
    pub kind: u32,
    pub on_subdevice: u8,
    pub subdevice_id: u32,
    pub location: u32,
    pub physical_size: u64,
    pub bus_width: i32,
    pub num_channels: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesMemState {
    pub stype: u32,
    pub next: u64,
    pub health: u32,
    pub free: u64,
    pub size: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesMemBandwidth {
    pub read_counter: u64,
    pub write_counter: u64,
    pub max_bandwidth: u64,
    pub timestamp: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesEngineProperties {
    pub stype: u32,
    pub next: u64,
    pub kind: u32,
    pub on_subdevice: u8,
    pub subdevice_id: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesEngineStats {
    pub active_time: u64,
    pub timestamp: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageMemoryPropertiesExp {
    pub stype: u32,
    pub next: u64,
    pub size: u64,
    pub row_pitch: u64,
    pub slice_pitch: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceUuid {
    pub id: [u8; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NativeKernelUuid {
    pub id: [u8; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DriverUuid {
    pub id: [u8; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageFormat {
    pub layout: u32,
    pub kind: u32,
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub w: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelUuid {
    pub kid: [u8; 16],
    pub mid: [u8; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PciAddressExt {
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
    pub function: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PciSpeedExt {
    pub gen_version: i32,
    pub width: i32,
    pub max_bandwidth: i64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesPciAddress {
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
    pub function: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ZesPciSpeed {
    pub gen_number: i32,
    pub width: i32,
    pub max_bandwidth: i64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct IpcMemHandle {
    pub data: [u8; 64],
}
