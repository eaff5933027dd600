//! Core limits: a part of a device's cores for a tenant's operators, where
//! `FCSP_ASCEND_CORES=quota` asks for it, on top of the share of time.
//!
//! A limit is a count and not a place: those of two processes may fall on the same cores, so it
//! evens out how large a part of the device each operator takes and isolates nobody. Cores are
//! never limited in a process that has loaded the collective library: operators that synchronise
//! over all cores and collectives on other streams can lock each other out when there are fewer
//! cores than one of them needs, and how many a collective needs, nobody says.

use fcsp_hook::backend::Backend;
use fcsp_hook::process::Scope;

use crate::call_real;
use crate::driver::HCCL;
use crate::ffi::acl::*;
use crate::process::Ascend;

/// Millionths of a device.
const WHOLE: u64 = 1_000_000;

/// How many of `cores` a share of so many millionths is: rounded up, at least one.
pub fn part(cores: u32, share: u64) -> u32 {
    let part = (u64::from(cores) * share.min(WHOLE)).div_ceil(WHOLE);
    u32::try_from(part).unwrap_or(cores).clamp(1, cores.max(1))
}

/// The variable that asks for it.
pub const VARIABLE: &str = "FCSP_ASCEND_CORES";

/// Whether a value of [`VARIABLE`] asks for it.
///
/// # Errors
///
/// A sentence that names the variable and what it takes, for any other value: somebody wanted
/// something and would not get it.
pub fn read(value: &str) -> Result<bool, String> {
    match value.trim() {
        "" | "none" => Ok(false),
        "quota" => Ok(true),
        other => Err(format!("{VARIABLE}: \"{other}\" is neither quota nor none")),
    }
}

/// What this process's environment asks for.
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
    let Scope::On(device, _) = Ascend::process().scope_of(ordinal) else {
        return;
    };
    let limits = Ascend::process()
        .governed()
        .and_then(|governed| governed.tenant.limits().ok());
    let Some(share) = limits
        .and_then(|(_, limits)| limits.compute.for_device(&device.identity))
        .map(|params| u64::from(params.quota))
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
