//! A membership: this process's ledger in a tenant on one device, and its rate limiter. Both have
//! limits that follow `fcsp limit` and `fcsp pause` by themselves.
//!
//! The control page has a generation word. Each look at the limit compares it with the generation
//! that was read last: one load while nothing changes.

use std::borrow::Borrow;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::binding::OpenMemory;
use crate::device::DeviceIdentity;
use crate::memory::{Denied, MemoryTracker, Usage};
use crate::region::Attachment;
use crate::share::files::OwnPage;
use crate::submitter::{Submitter, SubmitterError};
use crate::tenant::{Tenant, TenantError};

mod sealed {
    pub trait Sealed {}
}

/// A holder of a tenant: the tenant itself, a reference to it, or an `Arc`. Sealed: a holder always
/// gives the same tenant.
pub trait HoldsTenant: Borrow<Tenant> + sealed::Sealed {}

impl<T: Borrow<Tenant> + sealed::Sealed> HoldsTenant for T {}
impl sealed::Sealed for Tenant {}
impl sealed::Sealed for &Tenant {}
impl sealed::Sealed for Arc<Tenant> {}

/// Membership of this process in a tenant on one device. `T` holds the tenant: a reference, an
/// `Arc` or the tenant itself.
///
/// ```no_run
/// use fcsp_core::config::Config;
/// use fcsp_core::device::{DeviceIdentity, DeviceUuid};
/// use fcsp_core::membership::Membership;
/// use fcsp_core::memory::MemoryTracker;
/// use fcsp_core::state::StateDir;
/// use fcsp_core::tenant::Tenant;
///
/// let mut config = Config::unlimited();
/// config.tenant = Some("serving".into());
/// let tenant = Tenant::join(&StateDir::locate(), &config)?;
/// let device = DeviceIdentity { index: Some(0), uuid: DeviceUuid([7; 16]), pci: None };
/// let quota = Membership::join(tenant, &device, 80 << 30)?;
/// // Whatever `fcsp limit` says at this moment.
/// quota.try_hold(1 << 30)?.keep();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Membership<T: HoldsTenant> {
    attachment: Attachment,
    /// Dropped after the place: a collector takes a tenant without members for dead.
    tenant: T,
    device: DeviceIdentity,
    total: u64,
    limit: AtomicU64,
    /// The generation word of the control page: each look at the limit reads it.
    word: NonNull<AtomicU64>,
    /// Generation of the control page that `limit` was read at.
    generation: AtomicU64,
    /// The same of the outer tenants' pages, from the inside outwards.
    outer: Box<[AtomicU64]>,
    /// The tenant's claim page for shares of the device's time. Mapped once there is a limiter.
    page: OnceLock<OwnPage>,
}

impl<T: HoldsTenant> Membership<T> {
    /// Takes a place on `device`, which has `total` bytes.
    ///
    /// # Errors
    ///
    /// A region or a control page that cannot be used.
    pub fn join(tenant: T, device: &DeviceIdentity, total: u64) -> Result<Self, TenantError> {
        let member: &Tenant = tenant.borrow();
        let (generation, limits) = member.limits_when_settled()?;
        let mut limit = Tenant::memory_limit(&limits, device, total);
        for outer in member.outers() {
            let (_, limits) = outer.limits_when_settled()?;
            limit = limit.min(Tenant::memory_limit(&limits, device, total));
        }
        Ok(Self {
            attachment: member.attach(device, total, limit)?,
            outer: member.outers().map(|_| AtomicU64::new(UNREAD)).collect(),
            device: *device,
            total,
            limit: AtomicU64::new(limit),
            // Not the generation read: the first look takes in what has changed meanwhile.
            generation: AtomicU64::new(generation.wrapping_sub(2)),
            page: OnceLock::new(),
            word: NonNull::from(member.control().generation_word()),
            tenant,
        })
    }

    /// Returns the tenant.
    pub fn tenant(&self) -> &Tenant {
        self.tenant.borrow()
    }

    /// Returns the limiter of the tenant's share of the device's time. A tenant without a share is
    /// not limited, until it is paused or has a share.
    ///
    /// # Errors
    ///
    /// A page that cannot be mapped or is of another version, or limits that cannot be read.
    pub fn submitter(&self) -> Result<Submitter<'_>, SubmitterError> {
        let page = match self.page.get() {
            Some(page) => page,
            None => {
                let made = self.tenant().share_page(&self.device.uuid)?;
                self.page.get_or_init(|| made)
            }
        };
        let slot = self.attachment.outermost().slot();
        Submitter::following(page, self.tenant(), &self.device, slot)
    }

    /// Returns true if the known limit is that of the control pages.
    #[inline]
    fn is_current(&self) -> bool {
        // Relaxed: a change is noticed by this look or by the next.
        let is_seen = |word: &AtomicU64, seen: &AtomicU64| {
            word.load(Ordering::Relaxed) == seen.load(Ordering::Relaxed)
        };
        // SAFETY: the word lies in the mapping of the tenant's control page. `tenant` keeps that
        // mapped for as long as `self` lives: its type always gives the same tenant, and moving a
        // tenant does not move the mapping.
        is_seen(unsafe { self.word.as_ref() }, &self.generation)
            && (self.outer.is_empty()
                || self
                    .tenant()
                    .outers()
                    .zip(&self.outer)
                    .all(|(outer, seen)| is_seen(outer.control().generation_word(), seen)))
    }

    /// Takes in what the control pages say now. A page that is damaged, or half-written by a
    /// process that died, leaves the last known limit.
    #[cold]
    fn reload(&self) {
        let tenant = self.tenant();
        let word = tenant.control().generation_word();
        let seen = word.load(Ordering::Relaxed);
        // Before the limits are read: a change meanwhile is for the next look.
        for (outer, known) in tenant.outers().zip(&self.outer) {
            let word = outer.control().generation_word();
            known.store(word.load(Ordering::Acquire), Ordering::Relaxed);
        }
        let read = tenant
            .limits()
            .and_then(|(generation, _)| Ok((generation, tenant.quotas(&self.device, self.total)?)));
        let Ok((generation, quotas)) = read else {
            // The next look is worth its wait when a process has written again.
            self.generation.store(seen, Ordering::Relaxed);
            return;
        };
        let limit = quotas.iter().copied().min().unwrap_or(u64::MAX);
        self.limit.store(limit, Ordering::Relaxed);
        self.attachment
            .tenant()
            .limit
            .store(limit, Ordering::Relaxed);
        self.attachment.set_outer_limits(&quotas[1..]);
        self.generation.store(generation, Ordering::Relaxed);
    }
}

// SAFETY: the pointer is to an atomic word, which any thread may read; see `is_current`.
unsafe impl<T: HoldsTenant + Send> Send for Membership<T> {}
// SAFETY: as above.
unsafe impl<T: HoldsTenant + Sync> Sync for Membership<T> {}

/// A generation that no page has: the generation of a page at rest is even.
const UNREAD: u64 = u64::MAX;

impl<T: HoldsTenant> MemoryTracker for Membership<T> {
    #[inline]
    fn limit(&self) -> u64 {
        if !self.is_current() {
            self.reload();
        }
        self.limit.load(Ordering::Relaxed)
    }

    #[inline]
    fn reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.attachment.reserve(bytes, limit)
    }

    fn try_reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.attachment.try_reserve(bytes, limit)
    }

    #[inline]
    fn reserve_at_once_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.attachment.reserve_at_once(bytes, limit)
    }

    fn charge(&self, bytes: u64) {
        self.attachment.charge(bytes);
    }

    #[inline]
    fn release(&self, bytes: u64) {
        self.attachment.release(bytes);
    }

    fn usage_under(&self, limit: u64) -> Usage {
        self.attachment.usage(limit)
    }

    #[inline]
    fn room_under(&self, limit: u64) -> u64 {
        self.attachment.room(limit)
    }

    fn over(&self) -> u64 {
        self.attachment.over(self.limit())
    }

    fn deny(&self, bytes: u64, limit: u64) -> Denied {
        self.attachment.deny(bytes, limit)
    }

    fn count_refusal(&self, bytes: u64) {
        self.attachment.count_refusal(bytes);
    }

    fn reap_if_due(&self) {
        self.attachment.reap_if_due();
    }
}

impl OpenMemory for Membership<&'static Tenant> {
    fn open(
        tenant: &'static Tenant,
        device: &DeviceIdentity,
        total: u64,
    ) -> Result<Self, TenantError> {
        Self::join(tenant, device, total)
    }

    fn place(&self) -> &Attachment {
        &self.attachment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Class;
    use crate::config::{Config, Quota, Source};
    use crate::control::{Control, Limits, Pauser, RunState, Stage};
    use crate::device::{DeviceUuid, Selector};
    use crate::limiter::{Admission, Work};
    use crate::region::standstill::Answer;
    use crate::share::cost::kernel_key;
    use crate::share::params::Params;
    use crate::state::{SetupGuard, StateDir};

    const DEVICE: DeviceIdentity = DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([9; 16]),
        pci: None,
    };

    fn join(dir: &std::path::Path, quota: u64) -> Membership<Tenant> {
        let mut config = Config::unlimited();
        config.tenant = Some("t".into());
        config.source = Source::Environment;
        config.memory.set(Selector::All, Quota::Bytes(quota));
        let tenant = Tenant::join(&StateDir::at(dir), &config).unwrap();
        Membership::join(tenant, &DEVICE, 1 << 30).unwrap()
    }

    /// Writes what `fcsp limit`, `fcsp pause` and `fcsp resume` write.
    fn write(tenant: &Tenant, change: impl FnOnce(&mut Limits)) {
        let setup = SetupGuard::acquire(tenant.dir()).unwrap();
        let (_, mut limits) = tenant.limits().unwrap();
        change(&mut limits);
        Control::create(&setup).unwrap().write(&limits).unwrap();
    }

    #[test]
    fn a_quota_follows_its_control_page() {
        let dir = tempfile::tempdir().unwrap();
        let member = join(dir.path(), 1 << 20);
        assert_eq!(member.limit(), 1 << 20);
        member.reserve(1 << 20).unwrap();
        assert!(member.reserve(512).is_err());
        write(member.tenant(), |limits| {
            limits.memory.set(Selector::All, Quota::Bytes(2 << 20));
        });
        member.reserve(1 << 20).unwrap();
        write(member.tenant(), |limits| {
            limits.memory.set(Selector::All, Quota::Bytes(1 << 20));
        });
        assert_eq!(member.over(), 1 << 20);
        // For those who read the region.
        assert_eq!(
            member.attachment.tenant().limit.load(Ordering::Relaxed),
            1 << 20
        );
    }

    #[test]
    fn a_checkpointed_tenant_gets_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let member = join(dir.path(), 1 << 20);
        member.reserve(4096).unwrap();
        let stage = |stage| {
            let paused = RunState::default().paused_by(Pauser::Agent);
            write(member.tenant(), |limits| {
                limits.run_state = paused.at_stage(stage).unwrap();
            });
        };
        stage(Stage::Quiesced);
        member.reserve(4096).unwrap();
        stage(Stage::Checkpointed);
        assert!(member.reserve(4096).is_err());
        member.release(4096);
        stage(Stage::Paused);
        member.reserve(4096).unwrap();
    }

    #[test]
    fn a_pause_is_answered_by_a_gate() {
        let dir = tempfile::tempdir().unwrap();
        let member = join(dir.path(), 1 << 20);
        let submitter = member.submitter().unwrap();
        let work = Work {
            key: kernel_key(0x7000, 64),
            blocks: 64,
            class: Class::Gemm,
        };
        assert!(matches!(submitter.admit(&work), Admission::Go { .. }));
        write(member.tenant(), |limits| {
            limits.run_state = RunState::user(true);
        });
        let since = member.tenant().control().generation();
        let answer = || {
            let word = member.attachment.slot().stopped.load(Ordering::Relaxed);
            Answer::from_word(word, since)
        };
        assert_eq!(answer(), Answer::None, "it has asked nothing since");
        assert!(matches!(submitter.admit(&work), Admission::Wait(_)));
        assert_eq!(answer(), Answer::Stopped, "its first launch is in flight");
        submitter.synchronise(|| {});
        assert_eq!(answer(), Answer::Still);
        write(member.tenant(), |limits| {
            limits.run_state = RunState::default();
        });
        assert!(matches!(submitter.admit(&work), Admission::Go { .. }));
        write(member.tenant(), |limits| {
            limits.run_state = RunState::user(true);
        });
        let again = member.tenant().control().generation();
        let word = member.attachment.slot().stopped.load(Ordering::Relaxed);
        assert_eq!(Answer::from_word(word, again), Answer::None);
    }

    #[test]
    fn a_share_follows_its_control_page_and_is_paused_by_it() {
        let dir = tempfile::tempdir().unwrap();
        let member = join(dir.path(), 1 << 20);
        let submitter = member.submitter().unwrap();
        let work = Work {
            key: kernel_key(0x7000, 64),
            blocks: 64,
            class: Class::Gemm,
        };
        let goes = || matches!(submitter.admit(&work), Admission::Go { .. });
        assert!(goes(), "no share");
        write(member.tenant(), |limits| {
            limits.run_state = RunState::user(true)
        });
        assert!(!goes(), "paused");
        write(member.tenant(), |limits| {
            limits.run_state = RunState::default();
            limits.compute.set(Selector::All, Params::strict(250_000));
        });
        assert!(goes());
        assert_eq!(submitter.params(), Params::strict(250_000));
        // Another process of the tenant sees the same.
        let second = join(dir.path(), 1 << 20);
        assert_eq!(
            second.submitter().unwrap().params(),
            Params::strict(250_000)
        );
    }
}
