//! Standstill of a paused tenant: which of its processes have closed their gates, and which have
//! nothing left on the device.

use std::time::Duration;

use fcsp_core::clock::{nap, now_ns};
use fcsp_core::control::{Control, Limits, RunState};
use fcsp_core::region::ProcessSnapshot;
use fcsp_core::region::standstill::Answer;
use fcsp_core::state::{SetupGuard, StateDir};
use serde::Serialize;

use crate::edit::edit_limits;
use crate::error::Error;

/// Interval between two looks at the answers, ns.
const LOOK_NS: u64 = 5_000_000;

/// Position of a live process in a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stance {
    /// It waits at its gate, and everything that it submitted is done.
    Still,
    /// It waits at its gate. Work that it submitted before may still run.
    Stopped,
    /// It has neither launched nor synchronised since the pause began. It stops at its next launch.
    Silent,
}

/// A live process of a paused tenant, on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PausedProcess {
    /// Number in its own PID namespace.
    pub pid: u32,
    /// Command name.
    pub name: String,
    /// UUID of the device.
    pub device: String,
    /// Position in the pause.
    pub stance: Stance,
}

/// Answers of a paused tenant's live processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standstill {
    /// True if every live process stands still.
    pub complete: bool,
    /// The live processes, once for each device that they use.
    pub processes: Vec<PausedProcess>,
}

impl Standstill {
    /// Reads the answers of a tenant's processes. Returns `None` if it is not paused.
    ///
    /// # Errors
    ///
    /// The control page or a region cannot be read. A tenant whose state is unknown is not known to
    /// stand still.
    pub fn read(state: &StateDir, tenant: &str) -> Result<Option<Self>, Error> {
        let Some(since) = Control::open(&state.tenant(tenant))?
            .map(|page| page.paused_since())
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        let mut processes = Vec::new();
        for (_, region) in state.regions(tenant)? {
            let region = region?;
            for process in region.processes.iter().filter(|process| process.alive) {
                processes.push(PausedProcess {
                    pid: process.pid,
                    name: process.name.clone(),
                    device: region.uuid.clone(),
                    stance: stance(process, since),
                });
            }
        }
        Ok(Some(Self {
            complete: processes
                .iter()
                .all(|process| process.stance == Stance::Still),
            processes,
        }))
    }

    /// Reads the answers until every process stands still, the pause ends, or `timeout` has passed.
    ///
    /// # Errors
    ///
    /// As for [`Standstill::read`].
    pub fn wait(state: &StateDir, tenant: &str, timeout: Duration) -> Result<Option<Self>, Error> {
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = now_ns().saturating_add(timeout);
        loop {
            let found = Self::read(state, tenant)?;
            let waits = found.as_ref().is_some_and(|found| !found.complete);
            if !waits || now_ns() >= deadline {
                return Ok(found);
            }
            nap(LOOK_NS);
        }
    }

    /// Returns the number of processes in this position.
    pub fn count(&self, stance: Stance) -> usize {
        self.processes
            .iter()
            .filter(|process| process.stance == stance)
            .count()
    }
}

fn stance(process: &ProcessSnapshot, since: u64) -> Stance {
    match Answer::from_word(process.stopped, since) {
        Answer::Still => Stance::Still,
        Answer::Stopped => Stance::Stopped,
        // A library of before gives no answers. While the tenant is paused, a launch that waits
        // does not go on.
        Answer::None if process.waiting_since != 0 => Stance::Stopped,
        Answer::None => Stance::Silent,
    }
}

/// Changes a tenant's run state and nothing else. Returns the limits that are in force now.
///
/// # Errors
///
/// The control page cannot be read or written.
pub fn edit_run_state(
    setup: &SetupGuard,
    state: &StateDir,
    edit: impl FnOnce(RunState) -> RunState,
) -> Result<Limits, Error> {
    edit_limits(setup, state, |before| {
        Ok(Limits {
            run_state: edit(before.run_state),
            ..before.clone()
        })
    })
}
