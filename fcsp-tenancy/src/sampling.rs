//! Rates between two readings of the counters that tenants publish.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::inventory::TenantSnapshot;
use crate::usage::Look;

/// Distance apart the two looks of a single listing are: some hundred slices of credit.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Time that a live picture averages over: long enough to read, short enough to see a change.
const SPAN_NS: u64 = 1_000_000_000;

/// Earlier readings of tenants' counters, to say what happened since.
///
/// ```
/// use fcsp_core::state::StateDir;
/// use fcsp_tenancy::{INTERVAL, Sampler, inventory};
///
/// # let folder = tempfile::tempdir()?;
/// # let state = StateDir::at(folder.path());
/// let mut sampler = Sampler::default();
/// sampler.compare(&mut inventory::all(&state)?);
/// std::thread::sleep(INTERVAL);
/// let mut tenants = inventory::all(&state)?;
/// sampler.compare(&mut tenants);
/// for device in tenants.iter().flat_map(|tenant| &tenant.devices) {
///     if let Some(part) = device.compute.as_ref().and_then(|share| share.utilization) {
///         println!("{}: {:.0} %", device.region.uuid, part * 100.0);
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Sampler {
    looks: HashMap<(String, String), VecDeque<Look>>,
}

impl Sampler {
    /// Fills in what each share used since the reading about one second ago, or since the first
    /// reading if that is later.
    pub fn compare(&mut self, tenants: &mut [TenantSnapshot]) {
        let mut known = std::mem::take(&mut self.looks);
        for tenant in tenants {
            for device in &mut tenant.devices {
                let living = device.living;
                let Some(share) = &mut device.compute else {
                    continue;
                };
                let Some(look) = share.look.filter(|_| living > 0) else {
                    continue;
                };
                let key = (tenant.name.clone(), device.region.uuid.clone());
                let mut looks = known.remove(&key).unwrap_or_default();
                while looks
                    .get(1)
                    .is_some_and(|second| look.at.saturating_sub(second.at) >= SPAN_NS)
                {
                    looks.pop_front();
                }
                if let Some(&before) = looks.front() {
                    share.compare(before, living);
                }
                looks.push_back(look);
                self.looks.insert(key, looks);
            }
        }
    }
}
