//! Removal of tenants whose processes have ended.

use fcsp_core::state::StateDir;

use crate::inventory::TenantSnapshot;

/// Tenants that [`collect`] may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Tenants whose names FCSP chose.
    Unnamed,
    /// Every tenant.
    All,
}

/// Removes dead tenants that nobody named, or, with [`Scope::All`], all dead tenants. Returns their
/// names. A tenant that another process sets up at this moment stays.
///
/// # Errors
///
/// The state folder cannot be listed.
pub fn collect(state: &StateDir, scope: Scope) -> std::io::Result<Vec<String>> {
    let mut removed = Vec::new();
    // A daemon that was started in a tenant and has not used the device yet counts as alive. Asked
    // once: who carries a tenant in its environment has it from a process that did.
    let carried = std::cell::OnceCell::new();
    for name in state.tenants()? {
        if scope == Scope::Unnamed && !name.starts_with("run-") && !name.starts_with("tree-") {
            continue;
        }
        // Asked twice: most live, and their setup locks are not to be taken for that; and once more
        // under the lock, since a program may have been started meanwhile.
        let dead = || TenantSnapshot::read(state, &name).is_dead();
        if dead()
            && !carried.get_or_init(|| state.carried()).contains(&name)
            && state.remove_if(&name, dead).unwrap_or(false)
        {
            removed.push(name);
        }
    }
    state.sweep();
    Ok(removed)
}
