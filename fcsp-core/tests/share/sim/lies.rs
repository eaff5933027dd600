//! Lies: what hostile tenants write into their pages.

use fcsp_core::share::mix::Sensitivity;
use fcsp_core::share::params::{Params, Priority};
use fcsp_core::share::step_predictor::PredictedStep;

use super::{Conduct, Sim};

impl Sim<'_> {
    pub(super) fn lies(&mut self) {
        for i in 0..self.hosts.len() {
            self.lie(i);
        }
    }

    /// Rewrites a hostile tenant's page, so often that no claim of it is ever stale.
    pub(super) fn lie(&mut self, i: usize) {
        let now = self.now;
        let page = self.pages[i];
        match self.hosts[i].tenant.conduct {
            Conduct::ClaimsHeldUp => {
                page.block(now);
                page.submitted(5_000_000, now);
                page.lean(Sensitivity::Latency);
                page.publish(now);
            }
            Conduct::ClaimsWaiting => {
                page.lean(Sensitivity::Latency);
                page.waits(now);
            }
            Conduct::ClaimsHuge => {
                page.raise_vtime(u64::MAX / 2);
                page.submitted(u64::MAX / 4, now);
                page.block(now + 1_000_000_000_000);
                page.publish(now + 1_000_000_000_000);
            }
            Conduct::ClaimsHigh => {
                let high = self.hosts[i].tenant.params.with_priority(Priority::High);
                page.set_params(&high, now);
                page.submitted(5_000_000, now);
                page.count(1_000_000);
                page.block(now);
                page.waits(now);
                page.expect(PredictedStep {
                    at: now + 1_000_000,
                    deviation: 1,
                });
            }
            Conduct::DeniesUse => {
                page.set_params(&Params::balanced(500_000), now);
                page.submitted(5_000_000, now);
                page.block(now);
                page.waits(now);
            }
            Conduct::ClaimsToBegin => {
                page.expect(PredictedStep {
                    at: now + 30_000,
                    deviation: 1_000,
                });
                page.publish(now);
            }
            Conduct::Noise => {
                let (a, b) = (self.random(u64::MAX), self.random(u64::MAX));
                page.raise_vtime(a);
                page.submitted(b, a);
                page.expect(PredictedStep {
                    at: b,
                    deviation: a,
                });
                page.block(b);
                page.publish(now);
            }
            _ => {}
        }
    }
}
