//! Acquiring and releasing a card: the queue, and memory that the driver takes without a request.

use core::ffi::{CStr, c_char};
use std::time::Duration;

use fcsp_core::clock::{nap, now_ns};
use fcsp_core::share::params::{Mode, Params};
use fcsp_core::state::StateDir;
use fcsp_hook::backend::{Devices, Driver};
use fcsp_hook::device::Device;
use fcsp_hook::memory;
use fcsp_hook::overhead::{context_ends, context_left, made_context};
use fcsp_hook::process::{Managed, Status, Target};
use fcsp_hook::setup::{Reentry, catch_panic, log_refusal};

use crate::call_real;
use crate::device::{self, Card, find_acquired};
use crate::ffi::synapse::*;
use crate::queue::Queue;
use crate::vendor::{self, Gaudi, context, set_acquired};

/// Variable with the time to wait for a busy card: seconds, or `forever`. Unset, a process does not
/// wait, as in the driver.
pub const WAIT_VARIABLE: &str = "FCSP_GAUDI_WAIT";
/// Between two looks at a card: the second is for those who wait long, as Synapse writes each
/// failure into its log.
const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_millis(500);

/// Request for a card.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Any,
    Module(synModuleId),
    At(*const c_char),
}

impl Wanted {
    /// Returns the ordinals of the acceptable cards.
    fn ordinals(self) -> Vec<i32> {
        let one = |found: Option<i32>| found.into_iter().collect();
        match self {
            Self::Any => (0..Gaudi::device_count().unwrap_or(0)).collect(),
            Self::Module(module) => one(device::position(|card| card.module == module)),
            Self::At(address) => {
                // SAFETY: by the API's contract a C string; null was told apart before.
                let text = unsafe { CStr::from_ptr(address) }.to_str().unwrap_or("");
                let address = text.parse().ok();
                one(device::position(|card| {
                    card.identity.pci == address && address.is_some()
                }))
            }
        }
    }
}

/// Acquires a card by `call`, which is the program's own call, or by its module after waiting for
/// it.
fn acquire(pDeviceId: *mut synDeviceId, wanted: Wanted, call: impl Fn() -> synStatus) -> synStatus {
    catch_panic(synFail, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let governed = match Gaudi::process().status() {
            Some(Status::Managed(governed)) => governed,
            // Limits that cannot be enforced: no card is available.
            Some(Status::Broken(_)) => return synNoDeviceFound,
            _ => return call(),
        };
        if let Some(ordinal) = vendor::acquired() {
            // A process has one card. The driver says so, unless another thread is releasing the
            // card.
            let device = governed.device(ordinal);
            let _turn = device.map(Device::context_turn);
            if vendor::acquired().is_some() {
                return call();
            }
        }
        let result = in_turn(governed, pDeviceId, wanted, &call);
        match result {
            synSuccess => admit(governed, wanted),
            other => other,
        }
    })
}

/// A card that will do, and its queue.
struct Candidate {
    card: &'static Card,
    queue: Queue,
}

fn in_turn(
    governed: &'static Managed<Gaudi>,
    pDeviceId: *mut synDeviceId,
    wanted: Wanted,
    call: &dyn Fn() -> synStatus,
) -> synStatus {
    let state = StateDir::locate();
    let candidate = |ordinal| {
        let card = device::find(ordinal)?;
        let priority = share(governed, card).priority;
        let queue = Queue::open(&state, &card.identity.uuid, priority).ok()?;
        Some(Candidate { card, queue })
    };
    let mut candidates: Vec<Candidate> = wanted
        .ordinals()
        .into_iter()
        .filter_map(candidate)
        .collect();
    if candidates.is_empty() {
        // No such card, or no queue for it.
        return call();
    }
    let mut result = synNoDeviceFound;
    if candidates.iter().any(|one| !one.queue.is_anybody_before()) {
        result = call();
        // By address a card that somebody has is a plain failure.
        if result != synNoDeviceFound && !(result == synFail && matches!(wanted, Wanted::At(_))) {
            return result;
        }
    }
    let about = describe(&state, &candidates);
    let Some(patience) = patience() else {
        log_refusal(&format!(
            "{about}. A Gaudi card belongs to one process at a time and cannot be shared; \
             {WAIT_VARIABLE}=SECONDS or {WAIT_VARIABLE}=forever waits for it"
        ));
        return result;
    };
    for one in &mut candidates {
        if one.queue.join().is_err() {
            return result;
        }
    }
    log_refusal(&format!("waits: {about}"));
    let begun = now_ns();
    let elapsed = || Duration::from_nanos(now_ns().saturating_sub(begun));
    let mut pause = SOONEST;
    loop {
        for one in candidates
            .iter()
            .filter(|one| !one.queue.is_anybody_before())
        {
            let tried = call_real!(synDeviceAcquireByModuleId(pDeviceId, one.card.module));
            if tried != synNoDeviceFound {
                let seconds = elapsed().as_secs_f64();
                log_refusal(&format!(
                    "has module {} after {seconds:.1} s",
                    one.card.module
                ));
                return tried;
            }
        }
        if elapsed() >= patience {
            log_refusal(&format!(
                "gives up after {} s: {about}",
                patience.as_secs_f64()
            ));
            return result;
        }
        let next = pause.min(patience.saturating_sub(elapsed()));
        nap(u64::try_from(next.as_nanos()).unwrap_or(u64::MAX));
        pause = (pause * 2).min(LATEST);
    }
}

/// Returns the tenant's share of a card, of which only the priority counts here.
fn share(governed: &'static Managed<Gaudi>, card: &Card) -> Params {
    let limits = governed.tenant.limits().map(|(_, limits)| limits);
    let params = limits
        .ok()
        .and_then(|limits| limits.compute.for_device(&card.identity));
    params.unwrap_or_default()
}

/// Parses a value of [`WAIT_VARIABLE`]. Returns `None` for no wait.
///
/// # Errors
///
/// A sentence that names the variable and its valid values.
pub fn read_wait(value: &str) -> Result<Option<Duration>, String> {
    match value.trim() {
        "" => Ok(None),
        "forever" => Ok(Some(Duration::MAX)),
        number => number
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(Some)
            .ok_or_else(|| format!("{WAIT_VARIABLE}: \"{number}\" is neither seconds nor forever")),
    }
}

/// Returns the time to wait; `None` for no wait.
fn patience() -> Option<Duration> {
    read_wait(&std::env::var(WAIT_VARIABLE).ok()?).unwrap_or_else(|error| {
        log_refusal(&format!("{error}: not waiting"));
        None
    })
}

/// Describes cards that other processes have.
fn describe(state: &StateDir, candidates: &[Candidate]) -> String {
    let one = |one: &Candidate| {
        let card = one.card;
        let place = card
            .identity
            .pci
            .map_or(String::new(), |pci| format!(" ({pci})"));
        let holder = holder(state, card).unwrap_or_else(|| "another process".to_owned());
        format!("module {}{place} is in use by {holder}", card.module)
    };
    candidates.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns the tenant's process that has the card, if a tenant of FCSP has it.
fn holder(state: &StateDir, card: &Card) -> Option<String> {
    let uuid = card.identity.uuid.to_string();
    state.tenants().ok()?.into_iter().find_map(|tenant| {
        let regions = state.regions(&tenant).ok()?;
        let snapshots = regions
            .into_iter()
            .filter_map(|(_, snapshot)| snapshot.ok());
        let mut processes = snapshots
            .filter(|one| one.uuid == uuid)
            .flat_map(|one| one.processes);
        // A process that has released a card keeps a slot in the region, and uses no memory.
        let process = processes.find(|process| process.alive && process.reserved_bytes > 0)?;
        Some(format!(
            "process {} ({}) of tenant {tenant}",
            process.pid, process.name
        ))
    })
}

/// Enters the card that Synapse has just given to this process, or gives it back where its limits
/// cannot be kept.
fn admit(governed: &'static Managed<Gaudi>, wanted: Wanted) -> synStatus {
    let known = match wanted.ordinals()[..] {
        [only] => Some(only),
        _ => find_acquired(),
    };
    let release = || {
        set_acquired(None);
        call_real!(synDeviceRelease(vendor::DEVICE));
    };
    let Some(ordinal) = known else {
        release();
        log_refusal("which card was acquired cannot be told, so no limit can be kept on it");
        return synNoDeviceFound;
    };
    let target = Gaudi::process().target_of(ordinal);
    if !matches!(target, Target::Device(..)) {
        release();
        return synNoDeviceFound;
    }
    if let Some(card) = device::find(ordinal) {
        let share = share(governed, card);
        if share.mode != Mode::None && share.guarantee < fcsp_core::units::WHOLE {
            log_refusal(
                "a compute limit has no effect on Gaudi: the process that has a card has all of its time",
            );
        }
    }
    set_acquired(Some(ordinal));
    made_context(target, context(ordinal), release)
}

/// `synDeviceAcquireByDeviceType`: the first that is free.
pub unsafe extern "C" fn synDeviceAcquireByDeviceType(
    pDeviceId: *mut synDeviceId,
    deviceType: synDeviceType,
) -> synStatus {
    acquire(pDeviceId, Wanted::Any, || {
        call_real!(synDeviceAcquireByDeviceType(pDeviceId, deviceType))
    })
}

/// `synDeviceAcquireByModuleId`.
pub unsafe extern "C" fn synDeviceAcquireByModuleId(
    pDeviceId: *mut synDeviceId,
    moduleId: synModuleId,
) -> synStatus {
    acquire(pDeviceId, Wanted::Module(moduleId), || {
        call_real!(synDeviceAcquireByModuleId(pDeviceId, moduleId))
    })
}

/// `synDeviceAcquire`: by PCI address; without one, the first that is free.
pub unsafe extern "C" fn synDeviceAcquire(
    pDeviceId: *mut synDeviceId,
    pciBus: *const c_char,
) -> synStatus {
    // SAFETY: null or a C string, by the API's contract.
    let wanted = match unsafe { pciBus.as_ref() } {
        None | Some(0) => Wanted::Any,
        Some(_) => Wanted::At(pciBus),
    };
    acquire(pDeviceId, wanted, || {
        call_real!(synDeviceAcquire(pDeviceId, pciBus))
    })
}

/// Releases the card by `call`, and everything in its memory.
fn let_go(call: impl Fn() -> synStatus) -> synStatus {
    catch_panic(synFail, || {
        let Some(_inside) = Reentry::enter() else {
            return call();
        };
        let found = vendor::acquired().zip(Gaudi::process().governed());
        let found =
            found.and_then(|(ordinal, governed)| Some((ordinal, governed.device(ordinal)?)));
        let Some((ordinal, device)) = found else {
            return call();
        };
        // Who acquires a card meanwhile waits for this turn, and what it takes there is not
        // forgotten with the old one's.
        let _turn = device.context_turn();
        context_ends::<Gaudi>(Some(context(ordinal)));
        let ending = memory::context_ends::<Gaudi>(context(ordinal));
        let result = call();
        if result == synSuccess {
            ending.died::<Gaudi>();
            set_acquired(None);
            context_left::<Gaudi>(context(ordinal), Some(device));
        } else {
            ending.survived::<Gaudi>();
        }
        result
    })
}

/// `synDeviceRelease`.
pub unsafe extern "C" fn synDeviceRelease(deviceId: synDeviceId) -> synStatus {
    let_go(|| call_real!(synDeviceRelease(deviceId)))
}

/// `synDestroy`: releases the card as well.
pub unsafe extern "C" fn synDestroy() -> synStatus {
    let_go(|| call_real!(synDestroy()))
}
