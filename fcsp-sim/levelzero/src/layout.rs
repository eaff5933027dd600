//! Sizes of the API's structures on a 64-bit host, checked when this crate is built: a structure
//! that is read or written with the wrong size is found here and not by an application.

use crate::structs::*;
use std::mem::size_of;

macro_rules! sizes {
    ($($t:ty = $n:literal;)*) => { $( const _: () = assert!(size_of::<$t>() == $n); )* };
}

sizes! {
    CommandListDesc = 24;
    CommandQueueDesc = 40;
    CommandQueueGroupProperties = 40;
    ContextDesc = 24;
    CopyRegion = 24;
    DeviceCacheProperties = 32;
    DeviceComputeProperties = 88;
    DeviceExternalMemoryProperties = 32;
    DeviceImageProperties = 56;
    DeviceMemAllocDesc = 24;
    DeviceMemoryAccessProperties = 40;
    DeviceMemoryProperties = 296;
    DeviceModuleProperties = 64;
    DeviceP2pProperties = 24;
    DeviceProperties = 368;
    DeviceUuid = 16;
    DriverExtensionProperties = 260;
    DriverIpcProperties = 24;
    DriverProperties = 40;
    DriverUuid = 16;
    EventDesc = 32;
    EventPoolDesc = 24;
    GroupCount = 12;
    HostMemAllocDesc = 24;
    ImageDesc = 72;
    ImageFormat = 24;
    ImageMemoryPropertiesExp = 40;
    ImageProperties = 24;
    ImageRegion = 24;
    KernelDesc = 32;
    KernelProperties = 96;
    KernelTimestampData = 16;
    KernelTimestampResult = 32;
    KernelUuid = 32;
    MemoryAllocationProperties = 40;
    MemoryFreeExtDesc = 24;
    ModuleDesc = 56;
    ModuleProperties = 24;
    NativeKernelUuid = 16;
    PciAddressExt = 16;
    PciExtProperties = 48;
    PciSpeedExt = 16;
    PhysicalMemDesc = 32;
    ZesDeviceProperties = 776;
    ZesDeviceState = 24;
    ZesEngineProperties = 32;
    ZesEngineStats = 16;
    ZesMemBandwidth = 32;
    ZesMemProperties = 48;
    ZesMemState = 40;
    ZesPciAddress = 16;
    ZesPciProperties = 56;
    ZesPciSpeed = 16;
    ZesProcessState = 48;
}
