//! The management functions: memory and processes of a device, and how busy it is. As in the real
//! driver they answer only where `ZES_ENABLE_SYSMAN=1` was set when the driver was initialised.

use crate::abi::{Out, put_list, text};
use crate::codes::{INVALID_ARGUMENT, Reply, UNINITIALIZED};
use crate::driver::{Driver, device};
use crate::export::api;
use crate::structs::*;
use fcsp_sim::clock;
use fcsp_sim::process::listed;
use std::sync::atomic::Ordering;

const MEMORY_TAG: u64 = 0x4c5a_0002_0000;
const ENGINE_TAG: u64 = 0x4c5a_0003_0000;

fn managed(handle: u64) -> Reply<(&'static Driver, usize)> {
    let (d, index) = device(handle)?;
    if d.sysman {
        Ok((d, index))
    } else {
        Err(UNINITIALIZED)
    }
}

/// Returns the device of a handle to a part of it.
fn part(handle: u64, tag: u64) -> Reply<(&'static Driver, usize)> {
    if handle & !0xffff != tag {
        return Err(INVALID_ARGUMENT);
    }
    managed(crate::driver::device_handle(0) & !0xffff | handle & 0xffff)
}

fn part_handle(index: usize, tag: u64) -> u64 {
    tag | (index as u64 + 1) << 4
}

api! {
    fn zesDeviceGetProperties(handle: u64, place: Out<ZesDeviceProperties>) {
        let (d, index) = managed(handle)?;
        let mut p = place.get()?;
        p.core = crate::properties::core(d, index, p.core);
        p.num_subdevices = 0;
        p.serial_number = text(&format!("fcsp-{index:04}"));
        p.board_number = text("unknown");
        p.brand_name = text("fcsp");
        p.model_name = text(&d.spec(index).name);
        p.vendor_name = text("FCSP Simulated");
        p.driver_version = text("1.4");
        place.put(p)
    }
    fn zesDeviceGetState(handle: u64, place: Out<ZesDeviceState>) {
        managed(handle)?;
        let mut p = place.get()?;
        (p.reset, p.repaired) = (0, 0);
        place.put(p)
    }
    /// Only processes with a context are listed.
    fn zesDeviceProcessesGetState(handle: u64, count: Out<u32>, place: Out<ZesProcessState>) {
        let (d, index) = managed(handle)?;
        let all: Vec<_> = listed(&d.process.region, index)
            .into_iter()
            .filter(|h| h.contexts > 0)
            .collect();
        let room = count.get()? as usize;
        if room != 0 && room < all.len() {
            count.put(all.len() as u32)?;
            return Err(crate::codes::INVALID_SIZE);
        }
        crate::properties::edit_list(count, place, &all, |p, h| {
            p.process_id = h.pid;
            p.mem_size = h.bytes;
            p.shared_size = 0;
            p.engines = 1 << 1;
        })
    }
    fn zesDevicePciGetProperties(handle: u64, place: Out<ZesPciProperties>) {
        let (d, index) = managed(handle)?;
        let mut p = place.get()?;
        p.address = ZesPciAddress { domain: 0, bus: d.spec(index).pci_bus(), device: 0, function: 0 };
        p.max_speed = ZesPciSpeed { gen_number: 5, width: 16, max_bandwidth: 63_000_000_000 };
        (p.have_bandwidth_counters, p.have_packet_counters, p.have_replay_counters) = (0, 0, 0);
        place.put(p)
    }
    fn zesDeviceEnumMemoryModules(handle: u64, count: Out<u32>, place: Out<u64>) {
        let (_, index) = managed(handle)?;
        put_list(count, place, &[part_handle(index, MEMORY_TAG)])
    }
    fn zesMemoryGetProperties(handle: u64, place: Out<ZesMemProperties>) {
        let (d, index) = part(handle, MEMORY_TAG)?;
        let s = d.spec(index);
        let mut p = place.get()?;
        (p.kind, p.on_subdevice, p.subdevice_id, p.location) = (0, 0, 0, 1);
        p.physical_size = s.memory + s.reserved;
        (p.bus_width, p.num_channels) = (s.bus_width as i32, 8);
        place.put(p)
    }
    fn zesMemoryGetState(handle: u64, place: Out<ZesMemState>) {
        let (d, index) = part(handle, MEMORY_TAG)?;
        let mut p = place.get()?;
        p.health = 1;
        (p.free, p.size) = d.process.memory(index);
        place.put(p)
    }
    fn zesMemoryGetBandwidth(handle: u64, place: Out<ZesMemBandwidth>) {
        let (d, index) = part(handle, MEMORY_TAG)?;
        place.put(ZesMemBandwidth {
            read_counter: 0,
            write_counter: 0,
            max_bandwidth: d.spec(index).bandwidth * 1_000_000,
            timestamp: clock::now() / 1000,
        })
    }
    fn zesDeviceEnumEngineGroups(handle: u64, count: Out<u32>, place: Out<u64>) {
        let (_, index) = managed(handle)?;
        put_list(count, place, &[part_handle(index, ENGINE_TAG)])
    }
    /// All compute engines together.
    fn zesEngineGetProperties(handle: u64, place: Out<ZesEngineProperties>) {
        part(handle, ENGINE_TAG)?;
        let mut p = place.get()?;
        (p.kind, p.on_subdevice, p.subdevice_id) = (1, 0, 0);
        place.put(p)
    }
    fn zesEngineGetActivity(handle: u64, place: Out<ZesEngineStats>) {
        let (d, index) = part(handle, ENGINE_TAG)?;
        // Relaxed: a statistic.
        let busy = d.process.region.engine(index).busy_ns.load(Ordering::Relaxed);
        place.put(ZesEngineStats { active_time: busy / 1000, timestamp: clock::now() / 1000 })
    }
}
