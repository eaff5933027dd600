//! The tenant's own compute units, if it requested some.
//!
//! ROCr's variable `HSA_CU_MASK` limits a process to them; `fcsp run` sets it before the program
//! starts. ROCr puts it on every queue that it makes, including those of the null stream, the
//! threads' own streams, graphs and copies, and no call lifts it. `hipExtStreamCreateWithCUMask`
//! for each stream would leave all of those out, and take flags and priorities from the rest.
//!
//! The wrappers only make the program work with it. A program's own masks are narrowed to the
//! tenant's units, since the runtime makes no queue with a mask that ROCr had to narrow. The
//! program sees these units as the device's, so that grids which must fit on the device at once do.
//!
//! Groups of units:
//! - From gfx10 on, two units are a work-group processor, and ROCr refuses masks that split one.
//!   The runtime then counts processors, and masks count units.
//! - Devices of several XCCs (gfx942, gfx950) distribute the bits of a mask to them in turn. Work
//!   goes to each XCC, and one without a unit would never finish its part. So a group has as many
//!   units as there are XCCs.

use fcsp_core::spatial::claims::{self, UnitReservation};
use fcsp_core::spatial::{Layout, UnitSet};
use fcsp_core::state::StateDir;
use fcsp_hook::backend::Devices;
use fcsp_hook::overhead::takes_memory;

use crate::call_real;
use crate::errors::answered;
use crate::ffi::hip::*;
use crate::vendor::{
    self, Hip, Reentry, Target, attribute, catch_panic, log_refusal, target, target_of,
};

/// ROCr's variable that limits a process to some units: sets of `device:units`, separated by
/// semicolons. Devices go by their place among the devices that `ROCR_VISIBLE_DEVICES` leaves.
pub const VARIABLE: &str = "HSA_CU_MASK";

/// XCCs taken to be there where a runtime before 6 does not tell (docs/assumptions.md): devices
/// have up to 8 of them, or 6.
const UNTOLD_XCCS: u32 = 24;

/// Returns the units of a device, as its masks count them; `None` if the runtime does not report
/// them.
pub fn layout(ordinal: hipDevice_t) -> Option<Layout> {
    let ask = |which| attribute(ordinal, which).and_then(|value| u32::try_from(value).ok());
    let processors = ask(hipDeviceAttributePhysicalMultiProcessorCount)
        .filter(|count| *count > 0)
        .or_else(|| ask(hipDeviceAttributeMultiprocessorCount))?;
    let family = (
        ask(hipDeviceAttributeComputeCapabilityMajor)?,
        ask(hipDeviceAttributeComputeCapabilityMinor)?,
    );
    Some(layout_of(
        processors,
        family,
        ask(hipDeviceAttributeNumberOfXccs),
    ))
}

fn layout_of(processors: u32, (major, minor): (u32, u32), xccs: Option<u32>) -> Layout {
    let each = if major >= 10 { 2 } else { 1 };
    let xccs = match xccs {
        Some(told) if told > 0 => told,
        _ if (major, minor) == (9, 4) || (major, minor) == (9, 5) => UNTOLD_XCCS,
        _ => 1,
    };
    Layout {
        units: processors * each,
        group: each * xccs,
    }
}

/// Returns the variable's value for these devices, by place, and their units.
pub fn variable<'a>(sets: impl IntoIterator<Item = (u32, &'a UnitSet)>) -> String {
    let sets: Vec<String> = sets
        .into_iter()
        .map(|(place, set)| format!("{place}:{set}"))
        .collect();
    sets.join(";")
}

/// Returns the tenant's unit reservation on a device that this process begins to use. It fails
/// open, as all of compute does, and reports that.
pub(crate) fn own(ordinal: hipDevice_t) -> Option<UnitReservation> {
    let tenant = vendor::governed()?.tenant.name();
    let device = Hip::identify(ordinal)?;
    let claim = match claims::read(&StateDir::locate(), &device.uuid, tenant) {
        Ok(claim) => claim?,
        Err(error) => {
            log_refusal(&format!("compute units not kept: {error}"));
            return None;
        }
    };
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    let kept = asked
        .split(';')
        .any(|part| part.split_once(':').map(|(_, units)| units) == Some(&*claim.set.to_string()));
    if kept {
        return Some(claim);
    }
    log_refusal(&format!(
        "compute units not kept: {VARIABLE} is not what `fcsp run` set, {}",
        claim.set
    ));
    None
}

/// Returns the number of processors to report for a device; `None` to report the true one.
pub(crate) fn processors(ordinal: hipDevice_t) -> Option<i32> {
    let _inside = Reentry::enter()?;
    let Target::Device(device, _) = target_of(ordinal) else {
        return None;
    };
    let claim = device.own.units.as_ref()?;
    let all = attribute(ordinal, hipDeviceAttributeMultiprocessorCount)?;
    // Units are processors, or two are one.
    let own = i64::from(all) * i64::from(claim.set.len()) / i64::from(claim.layout.units.max(1));
    i32::try_from(own).ok()
}

/// Returns the tenant's part of a program's own mask. If no whole group is left, the tenant's units
/// are the mask. The runtime does the same with a mask that leaves nothing of its global one.
fn narrowed(asked: &[u32], claim: &UnitReservation) -> Vec<u32> {
    let own = claim.set.words(claim.layout.units);
    let both: Vec<u32> = asked
        .iter()
        .zip(&own)
        .map(|(asked, own)| asked & own)
        .collect();
    let has = |unit: u32| {
        both.get(unit as usize / 32)
            .is_some_and(|word| word >> (unit % 32) & 1 == 1)
    };
    let Layout { units, group } = claim.layout;
    let whole = |first: u32| (first..first.saturating_add(group)).all(has);
    if (0..units).step_by(group.max(1) as usize).any(whole) {
        both
    } else {
        own
    }
}

/// `hipExtStreamCreateWithCUMask`: of the mask, what is the tenant's. A stream takes memory of the
/// runtime's own.
pub unsafe extern "C" fn hipExtStreamCreateWithCUMask(
    stream: *mut hipStream_t,
    cuMaskSize: uint32_t,
    cuMask: *const uint32_t,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let Some(_inside) = Reentry::enter() else {
            return call_real!(hipExtStreamCreateWithCUMask(stream, cuMaskSize, cuMask));
        };
        let target = target();
        let claim = match &target {
            Target::Device(device, _) => device.own.units.as_ref(),
            _ => None,
        };
        let mask = claim.filter(|_| !cuMask.is_null()).and_then(|claim| {
            // SAFETY: the caller passes that many words, as the runtime requires.
            let asked = unsafe { core::slice::from_raw_parts(cuMask, cuMaskSize as usize) };
            // One without any unit is the runtime's to refuse.
            let any = asked.iter().any(|word| *word != 0);
            any.then(|| narrowed(asked, claim))
        });
        let call = || match &mask {
            Some(mask) => call_real!(hipExtStreamCreateWithCUMask(
                stream,
                mask.len() as u32,
                mask.as_ptr()
            )),
            None => call_real!(hipExtStreamCreateWithCUMask(stream, cuMaskSize, cuMask)),
        };
        answered(takes_memory(target, call, || {
            // SAFETY: the runtime has written there with success.
            let made = unsafe { *stream };
            call_real!(hipStreamDestroy(made));
        }))
    })
}

/// `hipExtStreamGetCUMask`: the runtime knows of its own masks only, not of ROCr's.
pub unsafe extern "C" fn hipExtStreamGetCUMask(
    stream: hipStream_t,
    cuMaskSize: uint32_t,
    cuMask: *mut uint32_t,
) -> hipError_t {
    catch_panic(hipErrorUnknown, || {
        let result = call_real!(hipExtStreamGetCUMask(stream, cuMaskSize, cuMask));
        if result != hipSuccess || cuMask.is_null() {
            return result;
        }
        let Some(_inside) = Reentry::enter() else {
            return result;
        };
        let mut ordinal = 0;
        let target = match call_real!(hipStreamGetDevice(stream, &mut ordinal)) {
            hipSuccess => target_of(ordinal),
            _ => target(),
        };
        if let Target::Device(device, _) = target
            && let Some(claim) = &device.own.units
        {
            for word in 0..cuMaskSize {
                // SAFETY: the runtime has filled that many words with success.
                unsafe { *cuMask.add(word as usize) &= claim.set.word(word) };
            }
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_follows_the_family() {
        let layout = |processors, family, xccs| {
            let Layout { units, group } = layout_of(processors, family, xccs);
            (units, group)
        };
        assert_eq!(layout(104, (9, 0), Some(1)), (104, 1), "MI210");
        assert_eq!(layout(304, (9, 4), Some(8)), (304, 8), "MI300X");
        assert_eq!(
            layout(38, (9, 4), Some(1)),
            (38, 1),
            "one of its partitions"
        );
        assert_eq!(
            layout(228, (9, 4), None),
            (228, 24),
            "a runtime that does not tell"
        );
        assert_eq!(layout(40, (10, 3), None), (80, 2), "work-group processors");
    }

    #[test]
    fn the_variable_is_as_rocr_reads_it() {
        let sets = [
            (0, "0-71".parse().unwrap()),
            (2, "8-15,24-31".parse().unwrap()),
        ];
        let text = variable(sets.iter().map(|(place, set)| (*place, set)));
        assert_eq!(text, "0:0-71;2:8-15,24-31");
    }

    #[test]
    fn masks_are_narrowed_to_whole_groups() {
        let claim = UnitReservation {
            layout: Layout {
                units: 64,
                group: 8,
            },
            set: "32-47".parse().unwrap(),
        };
        assert_eq!(narrowed(&[u32::MAX, u32::MAX], &claim), [0, 0xffff]);
        assert_eq!(
            narrowed(&[u32::MAX, 0x0fff], &claim),
            [0, 0x0fff],
            "a group and a half"
        );
        assert_eq!(
            narrowed(&[u32::MAX, 0x000f], &claim),
            [0, 0xffff],
            "half a group"
        );
        assert_eq!(narrowed(&[u32::MAX], &claim), [0, 0xffff], "nothing");
        assert_eq!(
            narrowed(&[0, 0xff00, 7], &claim),
            [0, 0xff00],
            "words beyond the device"
        );
    }
}
