//! Tenants of a simulation: their programs, their conduct, and what each of them got.

use fcsp_core::classify::Class;
use fcsp_core::share::params::Params;

use crate::traces::Trace;

/// Conduct of a tenant besides its program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Conduct {
    /// Behaves.
    Honest,
    /// Dies at this instant, its page as it was.
    DiesAt(u64),
    /// Is stopped between these instants; its queued work still runs.
    Stopped(u64, u64),
    /// Always claims to be device-bound and owed everything.
    ClaimsHeldUp,
    /// Always claims to have never had any surplus and to wait.
    ClaimsWaiting,
    /// Claims a huge virtual time and huge instants.
    ClaimsHuge,
    /// Fills its page with noise.
    Noise,
    /// Says that its next step begins in a moment, always.
    ClaimsToBegin,
    /// Always claims high priority, to be device-bound and owed everything.
    ClaimsHigh,
    /// Says that it waits for the device, has a share of half and was never served. It is served.
    DeniesUse,
    /// Has no page.
    Hidden,
}

/// A tenant of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    pub trace: Trace,
    pub params: Params,
    pub conduct: Conduct,
    /// The gate charges this times the true cost, in ppm.
    pub bias: u64,
    /// The gate charges this whatever the cost, ns.
    pub flat: Option<u64>,
    /// True if each launch is a stranger, of which nothing else is known.
    pub strange: bool,
    /// True if fences correct the charges.
    pub correct: bool,
    /// Another process of the tenant at this index.
    pub shares_page_of: Option<usize>,
    /// Class of its kernels, by name.
    pub class: Class,
    /// The user that it runs as. Between users no priority counts for the guarantee.
    pub user: u32,
    /// Instant at which its program begins, ns.
    pub start: u64,
}

impl Tenant {
    pub fn new(trace: Trace, params: Params) -> Self {
        Self {
            trace,
            params,
            conduct: Conduct::Honest,
            bias: 1_000_000,
            flat: None,
            strange: false,
            correct: false,
            shares_page_of: None,
            class: Class::Other,
            user: 0,
            start: 0,
        }
    }

    pub fn user(mut self, user: u32) -> Self {
        self.user = user;
        self
    }

    /// Sets a fixed charge for each launch, ns.
    pub fn flat(mut self, ns: u64) -> Self {
        self.flat = Some(ns);
        self
    }

    /// Makes each launch a stranger, guessed at 3 us.
    pub fn strange(mut self) -> Self {
        (self.flat, self.strange) = (Some(3_000), true);
        self
    }

    pub fn bias(mut self, bias: u64, correct: bool) -> Self {
        (self.bias, self.correct) = (bias, correct);
        self
    }
}

/// Result of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// GPU time over the whole measured time.
    pub share: f64,
    /// Steps a second.
    pub rate: f64,
    /// Step times, ns, sorted.
    pub steps: Vec<u64>,
    /// GPU time by window of 10 ms, ns, from the start of the simulation.
    pub windows: Vec<u64>,
    /// Forced admissions.
    pub forced_admissions: u64,
    /// Launches through the slow path, over all.
    pub slow: f64,
}

impl Outcome {
    pub fn percentile(&self, p: f64) -> f64 {
        let last = self.steps.len().saturating_sub(1);
        self.steps
            .get((last as f64 * p) as usize)
            .map_or(f64::NAN, |&ns| ns as f64 / 1e6)
    }
}
