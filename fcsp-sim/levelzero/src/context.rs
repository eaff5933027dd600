//! Initialisation, the driver, and contexts.

use crate::abi::{In, Out, Text, put_list, text};
use crate::codes::{INVALID_ARGUMENT, INVALID_ENUMERATION, Reply, UNINITIALIZED};
use crate::driver::{Context, DRIVER_HANDLE, device, driver, init, named};
use crate::export::api;
use crate::structs::{
    ContextDesc, DriverExtensionProperties, DriverIpcProperties, DriverProperties,
};

const GPU_ONLY: u32 = 1;
const VPU_ONLY: u32 = 2;

/// The extensions of which something is modelled: name and version.
const EXTENSIONS: [(&str, u32); 4] = [
    ("ZE_extension_pci_properties", 1 << 16),
    ("ZE_extension_memory_free_policies", 1 << 16),
    ("ZE_experimental_event_query_timestamps", 1 << 16),
    ("ZE_experimental_relaxed_allocation_limits", 1 << 16),
];

fn create(handle: u64, desc: In<ContextDesc>, place: Out<u64>) -> Reply {
    let d = named(handle)?;
    place.need()?;
    if desc.get()?.flags & !1 != 0 {
        return Err(INVALID_ENUMERATION);
    }
    place.put(d.contexts.add_with(Context::new).0)
}

api! {
    fn zeInit(flags: u32) {
        if flags & !(GPU_ONLY | VPU_ONLY) != 0 {
            return Err(INVALID_ENUMERATION);
        }
        // The machine has GPUs only.
        if flags == VPU_ONLY {
            return Err(UNINITIALIZED);
        }
        init()
    }
    fn zeDriverGet(count: Out<u32>, place: Out<u64>) {
        driver()?;
        put_list(count, place, &[DRIVER_HANDLE])
    }
    fn zeDriverGetApiVersion(handle: u64, version: Out<u32>) {
        named(handle)?;
        version.put(crate::table::VERSION)
    }
    fn zeDriverGetProperties(handle: u64, place: Out<DriverProperties>) {
        named(handle)?;
        let mut p = place.get()?;
        p.uuid.id = *b"fcsp-sim-driver\0";
        p.driver_version = 0x0103_0001;
        place.put(p)
    }
    fn zeDriverGetIpcProperties(handle: u64, place: Out<DriverIpcProperties>) {
        named(handle)?;
        let mut p = place.get()?;
        // Memory goes between processes, event pools do not.
        p.flags = 1;
        place.put(p)
    }
    fn zeDriverGetExtensionProperties(handle: u64, count: Out<u32>, place: Out<DriverExtensionProperties>) {
        named(handle)?;
        let all = EXTENSIONS.map(|(name, version)| DriverExtensionProperties { name: text(name), version });
        put_list(count, place, &all)
    }
    /// Gives the address of any function of the API, as well as of what an extension would add.
    fn zeDriverGetExtensionFunctionAddress(handle: u64, name: Text, place: Out<u64>) {
        named(handle)?;
        let name = name.get()?;
        let hit = crate::names::FUNCTIONS.iter().find(|(n, _)| *n == name);
        place.put(hit.map(|(_, f)| *f as usize as u64).ok_or(INVALID_ARGUMENT)?)
    }
    fn zeContextCreate(handle: u64, desc: In<ContextDesc>, place: Out<u64>) {
        create(handle, desc, place)
    }
    fn zeContextCreateEx(handle: u64, desc: In<ContextDesc>, count: u32, devices: In<u64>, place: Out<u64>) {
        for h in devices.list(if devices.is_null() { 0 } else { count as usize })? {
            device(h)?;
        }
        create(handle, desc, place)
    }
    fn zeContextDestroy(handle: u64) {
        let d = driver()?;
        d.contexts.get(handle)?.end()?;
        // Last: the next context may have the handle, and memory is found by it.
        d.contexts.remove(handle)?;
        Ok(())
    }
    fn zeContextGetStatus(handle: u64) {
        driver()?.contexts.get(handle)?.check()
    }
    fn zeContextSystemBarrier(handle: u64, on: u64) {
        device(on)?;
        driver()?.contexts.get(handle)?.settle()
    }
}
