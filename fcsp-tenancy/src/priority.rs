//! Priorities between tenants of different owners.

use std::os::unix::fs::MetadataExt;

use fcsp_core::control::Limits;
use fcsp_core::share::{authority, files};
use fcsp_core::state::{StateDir, layout};

/// Records the priorities of a tenant where neighbours of other owners can rely on them. Only root
/// can: the word of another user about its own tenants decides the surplus only.
pub(crate) fn record(state: &StateDir, tenant: &str, limits: &Limits) {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let owner = files::devices(state, tenant)
        .first()
        .and_then(|device| {
            let page = files::folder(state, device).join(layout::claim_page(tenant));
            std::fs::symlink_metadata(page).ok()
        })
        .map_or(0, |page| page.uid());
    // Best effort: without it a priority counts for less.
    let _ = authority::enter(state, tenant, owner, &limits.compute);
}
