//! The devices of every vendor but NVIDIA, asked in the hidden child through the vendor's backend:
//! so they have the identities that tenants' files go by.

use std::ffi::{CStr, c_char, c_int};

use fcsp_ascend::vendor::Ascend;
use fcsp_core::device::DeviceIdentity;
use fcsp_gaudi::vendor::Gaudi;
use fcsp_hip::vendor::Hip;
use fcsp_hook::backend::Backend;
use fcsp_levelzero::vendor::LevelZero;

use super::{Device, Handle, text};
use fcsp_tenancy::Vendor;

/// Returns the vendor's devices, in the order of this process.
pub fn devices(vendor: Vendor) -> Result<Vec<Device>, String> {
    match vendor {
        Vendor::Cuda => Err("is asked by its own libraries".into()),
        Vendor::Hip => found::<Hip>("hipInit", Ok(()), |ordinal, _| hip_name(ordinal)),
        Vendor::LevelZero => {
            let init = match fcsp_levelzero::driver::real::zeInit.get() {
                // SAFETY: the function has its header's type; 0 asks for every driver.
                Some(init) => code(unsafe { init(0) } as i64),
                None => Err("cannot be loaded".into()),
            };
            found::<LevelZero>("zeInit", init, |_, identity| levelzero_name(identity))
        }
        Vendor::Ascend => {
            let init = match fcsp_ascend::driver::real::aclInit.get() {
                // SAFETY: the function has its header's type and takes no configuration as null.
                Some(init) => code(i64::from(unsafe { init(std::ptr::null()) })),
                None => Err("cannot be loaded".into()),
            };
            found::<Ascend>("aclInit", init, |_, _| soc_name())
        }
        Vendor::Gaudi => found::<Gaudi>("synInitialize", initialize_synapse(), |_, _| None),
        other => Err(format!("{} cannot be asked for its devices", other.name())),
    }
}

fn code(code: i64) -> Result<(), String> {
    match code {
        0 => Ok(()),
        code => Err(format!("error {code}")),
    }
}

/// Returns a backend's devices, after `init` has succeeded. A fact that a device does not tell is
/// left out.
fn found<B: Backend>(
    what: &str,
    init: Result<(), String>,
    name: impl Fn(i32, &DeviceIdentity) -> Option<String>,
) -> Result<Vec<Device>, String> {
    init.map_err(|error| format!("{what}: {error}"))?;
    let count = B::device_count().ok_or("the driver does not count its devices")?;
    (0..count)
        .map(|ordinal| {
            let identity = B::identify(ordinal)
                .ok_or(format!("device {ordinal} does not tell its identity"))?;
            let total = B::total_memory(ordinal);
            Ok(Device {
                index: ordinal.cast_unsigned(),
                name: name(ordinal, &identity).unwrap_or_default(),
                uuid: identity.uuid.to_string(),
                pci: identity.pci.map(|pci| pci.to_string()),
                total_bytes: total,
                used_bytes: B::free(&identity).map(|free| total.saturating_sub(free)),
                mig: false,
            })
        })
        .collect()
}

/// Initialises Synapse, which then counts its cards; none is acquired by that.
fn initialize_synapse() -> Result<(), String> {
    type Initialize = unsafe extern "C" fn() -> c_int;
    let driver = Vendor::Gaudi.driver().ok_or("cannot be loaded")?;
    let library = Handle::open_path(&driver)?;
    // SAFETY: the type is that of synapse_api.h, and the function takes nothing.
    code(i64::from(unsafe {
        library.function::<Initialize>(c"synInitialize")?()
    }))
}

fn hip_name(ordinal: i32) -> Option<String> {
    type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let driver = Vendor::Hip.driver()?;
    let library = Handle::open_path(&driver).ok()?;
    // SAFETY: the type is that of hip_runtime_api.h.
    let function = unsafe { library.function::<Name>(c"hipDeviceGetName") }.ok()?;
    let mut buffer = [0 as c_char; 256];
    // SAFETY: the buffer is as long as said.
    let result = unsafe { function(buffer.as_mut_ptr(), buffer.len() as c_int, ordinal) };
    (result == 0).then(|| text(&buffer))
}

fn levelzero_name(identity: &DeviceIdentity) -> Option<String> {
    use fcsp_levelzero::ffi::ze::*;
    let known = fcsp_levelzero::device::by_uuid(identity.uuid)?;
    let properties = fcsp_levelzero::driver::real::zeDeviceGetProperties.get()?;
    // SAFETY: plain data for which all zeroes is valid.
    let mut answer: ze_device_properties_t = unsafe { std::mem::zeroed() };
    answer.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES;
    // SAFETY: the handle came from the driver, and the answer outlives the call.
    let result = unsafe { properties(known.handle as ze_device_handle_t, &mut answer) };
    (result == ZE_RESULT_SUCCESS).then(|| text(&answer.name))
}

fn soc_name() -> Option<String> {
    type Name = unsafe extern "C" fn() -> *const c_char;
    let library = Handle::open_path(&Vendor::Ascend.driver()?).ok()?;
    // SAFETY: the type is that of acl_rt.h.
    let function = unsafe { library.function::<Name>(c"aclrtGetSocName") }.ok()?;
    // SAFETY: the function takes nothing; its answer is null or a string that lives as long as the
    // library.
    unsafe {
        let name = function();
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
