//! Core limits: a part of a device's cores for a tenant's operators, in addition to the share of
//! time, if `FCSP_ASCEND_CORES=quota` asks for it.
//!
//! A limit is a count and not a place: the cores of two processes may be the same. It therefore
//! bounds the part of the device that each operator takes, and isolates no process. Cores are never
//! limited in a process that has loaded the collective library. Operators that synchronise over all
//! cores, and collectives on other streams, can deadlock with fewer cores than one of them needs.
//! The number that a collective needs is not documented.

use fcsp_hook::backend::Driver;
use fcsp_hook::process::Target;

use crate::call_real;
use crate::driver::HCCL;
use crate::ffi::acl::*;
use crate::vendor::Ascend;

/// Millionths of a device.
const WHOLE: u64 = 1_000_000;

/// Returns the part of `cores` that a share in ppm is: rounded up, at least one.
pub fn part(cores: u32, share: u64) -> u32 {
    let part = (u64::from(cores) * share.min(WHOLE)).div_ceil(WHOLE);
    u32::try_from(part).unwrap_or(cores).clamp(1, cores.max(1))
}

/// The variable that asks for it.
pub const VARIABLE: &str = "FCSP_ASCEND_CORES";

/// Parses a value of [`VARIABLE`]. Returns true if it asks for core limits.
///
/// # Errors
///
/// A sentence that names the variable and its valid values, for any other value: a wish must not be
/// ignored.
pub fn read(value: &str) -> Result<bool, String> {
    match value.trim() {
        "" | "none" => Ok(false),
        "quota" => Ok(true),
        other => Err(format!("{VARIABLE}: \"{other}\" is neither quota nor none")),
    }
}

/// Returns the setting of this process's environment.
///
/// # Errors
///
/// As [`read`].
pub fn setting() -> Result<bool, String> {
    match std::env::var_os(VARIABLE) {
        Some(value) => read(&value.to_string_lossy()),
        None => Ok(false),
    }
}

fn asked() -> bool {
    // A wrong value has kept this process from opening any device.
    setting().unwrap_or(false)
}

/// The kinds of core: what ACL counts them by, and what it limits them by.
const KINDS: [(aclDeviceInfo, aclrtDevResLimitType); 2] = [
    (ACL_DEVICE_INFO_AI_CORE_NUM, ACL_RT_DEV_RES_CUBE_CORE),
    (ACL_DEVICE_INFO_VECTOR_CORE_NUM, ACL_RT_DEV_RES_VECTOR_CORE),
];

/// Limits the cores of a device that has just been opened, if that is asked for and the tenant has
/// a share there.
pub fn apply(ordinal: i32) {
    if !asked() || !HCCL.loaded().is_null() {
        return;
    }
    let Target::Device(device, _) = Ascend::process().target_of(ordinal) else {
        return;
    };
    let limits = Ascend::process()
        .governed()
        .and_then(|governed| governed.tenant.limits().ok());
    let Some(share) = limits
        .and_then(|(_, limits)| limits.compute.for_device(&device.identity))
        .map(|params| u64::from(params.guarantee))
    else {
        return;
    };
    for (info, kind) in KINDS {
        let mut cores = 0i64;
        if call_real!(aclGetDeviceCapability(
            ordinal.cast_unsigned(),
            info,
            &mut cores
        )) != ACL_SUCCESS
        {
            continue;
        }
        let Ok(cores) = u32::try_from(cores) else {
            continue;
        };
        if cores > 0 {
            call_real!(aclrtSetDeviceResLimit(ordinal, kind, part(cores, share)));
        }
    }
}

/// Takes limits back before a collective starts: the library may have been loaded after the device
/// was opened.
#[cold]
pub fn lift() {
    if !asked() {
        return;
    }
    if let Some(governed) = Ascend::process().governed() {
        for device in governed.devices() {
            call_real!(aclrtResetDeviceResLimit(device.ordinal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{part, read};

    #[test]
    fn a_wrong_value_is_named_with_what_is_right() {
        assert_eq!(read("quota"), Ok(true));
        assert_eq!(read(" quota "), Ok(true));
        assert_eq!((read(""), read("none")), (Ok(false), Ok(false)));
        let error = read("half").unwrap_err();
        for part in ["FCSP_ASCEND_CORES", "\"half\"", "quota", "none"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_part_is_never_nothing_and_never_more_than_all() {
        assert_eq!(part(20, 250_000), 5);
        assert_eq!(part(20, 260_000), 6);
        assert_eq!(part(40, 1), 1);
        assert_eq!(part(8, 1_000_000), 8);
        assert_eq!(part(8, 5_000_000), 8);
    }
}
