//! A binding of one's own: the types that decide for tenants, under the four names that a backend
//! looks for.
//!
//! Launches are admitted in every second window of the wall clock, whatever other tenants do.
//! Decisions are logged, one line each, in the file that `OWN_POLICY_LOG` names.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use fcsp_core::binding::{OpenLimiter, ShareOf};
use fcsp_core::classifier::{ByName, Class, Launch, StreamClassifier};
use fcsp_core::limiter::{GateAdmission, HotState, RateLimiter, Reason};
use fcsp_core::membership::Membership;
use fcsp_core::share::params::Params;
use fcsp_core::tenant::{Tenant, TenantProcesses};

/// The memory tracker: FCSP's own.
pub type Memory = Membership<&'static Tenant>;
/// The rate limiter: windows of the wall clock, with a log of what they decide.
pub type Limiter = Logged<Windows>;
/// The stream classifier: FCSP's rules, with a log.
pub type Classifier = LoggedNames;
/// The process manager: FCSP's own.
pub type Processes = TenantProcesses;

/// Length of a window, ns. Launches are admitted in every second one.
pub const WINDOW_NS: u64 = 50_000_000;

/// Appends a line to the log, if there is one. A decision does not depend on it.
fn log(line: &str) {
    static LOG: OnceLock<Option<File>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("OWN_POLICY_LOG")?;
        OpenOptions::new().append(true).create(true).open(path).ok()
    };
    if let Some(mut log) = LOG.get_or_init(open).as_ref() {
        // One write a line: lines of several threads do not mix.
        let _ = log.write_all(format!("{line}\n").as_bytes());
    }
}

/// Returns the end of the closed window in which `now` lies; `None` in an open window.
fn closed_until(now: u64) -> Option<u64> {
    let window = now / WINDOW_NS;
    (window % 2 == 1).then(|| (window + 1) * WINDOW_NS)
}

/// A limiter that admits launches in every second window of the wall clock.
#[derive(Debug, Default)]
pub struct Windows {
    line: HotState,
    paused: AtomicBool,
}

impl OpenLimiter for Windows {
    fn open(_share: &ShareOf<'_>, _told: &dyn Fn(&str)) -> Option<Box<Self>> {
        Some(Box::default())
    }
}

impl RateLimiter for Windows {
    fn line(&self) -> &HotState {
        &self.line
    }

    /// Returns false: every launch asks.
    fn try_admit(&self, _cost: u64) -> bool {
        false
    }

    fn ask(&self, _class: Class, _cost: u64, now: u64) -> GateAdmission {
        // Relaxed: the flag guards no memory.
        if self.paused.load(Ordering::Relaxed) {
            return GateAdmission::Wait {
                until: now + WINDOW_NS,
                reason: Reason::Paused,
            };
        }
        match closed_until(now) {
            None => GateAdmission::Go { marker: false },
            Some(until) => GateAdmission::Wait {
                until,
                reason: Reason::Quota,
            },
        }
    }

    fn set_limits(&self, _params: Params, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    fn params(&self) -> Params {
        Params::default()
    }
}

/// A limiter that logs what another limiter decides.
#[derive(Debug)]
pub struct Logged<L>(L);

impl<L: OpenLimiter> OpenLimiter for Logged<L> {
    fn open(share: &ShareOf<'_>, told: &dyn Fn(&str)) -> Option<Box<Self>> {
        let limiter = *L::open(share, told)?;
        log(&format!("limiter opened for {}", share.tenant.name()));
        Some(Box::new(Self(limiter)))
    }
}

impl<L: RateLimiter> RateLimiter for Logged<L> {
    fn line(&self) -> &HotState {
        self.0.line()
    }

    fn try_admit(&self, cost: u64) -> bool {
        self.0.try_admit(cost)
    }

    fn ask(&self, class: Class, cost: u64, now: u64) -> GateAdmission {
        let verdict = self.0.ask(class, cost, now);
        match verdict {
            GateAdmission::Go { .. } | GateAdmission::Forced => {
                log(&format!("go {} {now}", class.name()))
            }
            GateAdmission::Drain { .. } => log(&format!("drain {} {now}", class.name())),
            GateAdmission::Wait { until, .. } => {
                log(&format!("wait {} {now} until {until}", class.name()));
            }
        }
        verdict
    }

    fn set_limits(&self, params: Params, paused: bool) {
        log(if paused { "paused" } else { "not paused" });
        self.0.set_limits(params, paused);
    }

    fn params(&self) -> Params {
        self.0.params()
    }
}

/// A classifier that logs what FCSP's rules say of each kernel, and knows one kernel by itself.
#[derive(Debug, Default)]
pub struct LoggedNames(ByName);

impl StreamClassifier for LoggedNames {
    fn classify(&self, launch: &Launch<'_>) -> Class {
        let class = match launch.kernel {
            // No rule of FCSP's knows it.
            "my_own_product" => Class::Gemm,
            _ => self.0.classify(launch),
        };
        log(&format!("class {} {}", launch.kernel, class.name()));
        class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_are_admitted_in_every_second_window() {
        let windows = Windows::default();
        let ask = |now| windows.ask(Class::Other, 1, now);
        assert_eq!(ask(2 * WINDOW_NS), GateAdmission::Go { marker: false });
        assert_eq!(
            ask(3 * WINDOW_NS + 7),
            GateAdmission::Wait {
                until: 4 * WINDOW_NS,
                reason: Reason::Quota
            }
        );
        windows.set_limits(Params::default(), true);
        assert!(matches!(ask(2 * WINDOW_NS), GateAdmission::Wait { .. }));
    }
}
