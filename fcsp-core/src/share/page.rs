//! The page a tenant publishes on one device: written by the tenant's own processes, read by every
//! neighbour.
//!
//! Every word stands alone: no word is a lock, none guards another, and every change is one atomic
//! store, add or exchange. So a process killed at any instruction leaves a page that can be read
//! and used, and a neighbour that reads two words of different moments draws at worst a conclusion
//! that was true a moment ago. What a page says is a claim: the policy uses a neighbour's claims
//! only to share out what is left over, never to take its own tenant below the quota.
//!
//! Times are ns of CLOCK_MONOTONIC, one clock for all processes of a machine, whatever container
//! they are in.

mod account;
mod beside;
mod renew;

use crate::boot;
use crate::classify::Class;
use crate::share::arrivals::Expected;
use crate::share::authority::Authority;
use crate::share::bucket::{Rate, wall_of};
use crate::share::mix::Leaning;
use crate::share::params::{Mode, Params, Priority};
use crate::share::turns::Pace;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::units::{Ppm, WHOLE};
use beside::Beside;

/// Marks a page of this layout. The last byte is the version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"FCSPSHR\x01");

/// Bytes of a page in a file: one page of memory for each tenant and device.
pub const PAGE_BYTES: usize = 4096;

/// Where a page says when it was last written to, bytes from its start.
pub(super) const SEEN_AT: u64 = 112;

/// Why a page cannot be used. The share is then kept without it, as strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Another layout or something else altogether.
    #[error(
        "not a share page of this version (found {found:#018x}); restart the tenant's processes together"
    )]
    Version {
        /// The word found where the version is.
        found: u64,
    },
    /// The mapping is too small or not aligned.
    #[error("a share page needs {PAGE_BYTES} bytes at a multiple of 64")]
    Mapping,
}

/// One tenant's page on one device. All zero is a page that nobody has set up.
///
/// The first line is written when the tenant attaches or its limits change; the second with every
/// slice of credit; the third only by the tenant's own processes among themselves; the fourth, for
/// reports and for the adaptive mode, with every slice; the fifth and the sixth among the tenant's
/// own processes as well.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct TenantPage {
    magic: AtomicU64,
    generation: AtomicU64,
    /// quota 20 bits, weight 20 bits, priority 4 bits, mode 4 bits: one word, so that they are
    /// always of one moment.
    promise: AtomicU64,
    /// The wake word: waiters of any tenant sleep on it.
    event: AtomicU32,
    attached: AtomicU32,
    /// [`Expected`]: written with every step of a tenant of high priority. Pages of before have zeros here.
    expected_at: AtomicU64,
    expected_spread: AtomicU64,
    /// The boot of the machine that the times are of ([`crate::boot::id`]). Pages of before have
    /// zero here.
    boot: AtomicU64,
    /// Not used.
    _spare: AtomicU64,

    empty_at: AtomicU64,
    vtime: AtomicU64,
    finish_at: AtomicU64,
    blocked_since: AtomicU64,
    pressed_at: AtomicU64,
    waiting_at: AtomicU64,
    seen: AtomicU64,
    consumed: AtomicU64,

    floor_empty_at: AtomicU64,
    pool_empty_at: AtomicU64,
    cap: AtomicU64,
    surplus: AtomicU64,
    waited: AtomicU64,
    waits: AtomicU64,
    let_through: AtomicU64,
    corrections: AtomicU64,

    /// GPU time by class, ns, in the order of [`Class::ALL`]. This line came later; pages of before
    /// have zeros here.
    classes: [AtomicU64; Class::ALL.len()],
    leaning: AtomicU64,
    /// [`Pace`], as a word.
    pace: AtomicU64,

    /// No launch is let through by a deadline before, ns.
    let_at: AtomicU64,
    /// Up to when the device's time is accounted for by charges, ns.
    accounted_at: AtomicU64,
    /// How much of what the tenant is charged may be wrong, ppm.
    doubt: AtomicU64,
    /// Until when one process tries what its work takes, ns.
    trial_until: AtomicU64,
    /// Pages of before have zeros in the rest.
    _later: [AtomicU64; 4],

    /// See [`Beside`].
    beside: Beside,
}

/// What a neighbour can see of a page, read once for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The guaranteed share.
    pub quota: Ppm,
    /// The weight in what is left over.
    pub weight: u32,
    /// The class that the page says, for the surplus.
    pub priority: Priority,
    /// The classes that count for the guarantee.
    pub authority: Authority,
    /// How the share is kept.
    pub mode: Mode,
    /// When the bucket is empty; see [`crate::share::bucket`].
    pub empty_at: u64,
    /// Surplus taken, ns of GPU time times a million over the weight.
    pub vtime: u64,
    /// When everything submitted would be done if the tenant had the device alone.
    pub finish_at: u64,
    /// Since when the host has stood waiting for the device; 0 while it does not.
    pub blocked_since: u64,
    /// When the host last stopped waiting for the device.
    pub pressed_at: u64,
    /// When a launch last said that it stands at the gate; 0 while none does.
    pub waiting_at: u64,
    /// When the tenant last wrote here.
    pub seen: u64,
    /// GPU time charged since the page was set up, ns.
    pub consumed: u64,
    /// Which way its work leans.
    pub leaning: Leaning,
    /// How its steps divide between host and device.
    pub pace: Pace,
    /// When its next step begins, as far as that is foreseen.
    pub expected: Expected,
    /// How much of what it is charged may be wrong, ppm.
    pub doubt: u64,
    /// GPU time charged for work that is done, ns, wrapping.
    pub done: u64,
    /// Whether some of its work is not known to be done.
    pub is_queued: bool,
    /// Up to when the device's time is accounted for by its charges.
    pub accounted_at: u64,
}

/// The tenant's own counters, for `top` and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// GPU time charged, ns.
    pub consumed: u64,
    /// The part of it that was surplus, ns.
    pub surplus: u64,
    /// Time launches stood at the gate, ns.
    pub waited: u64,
    /// How many launches stood at the gate.
    pub waits: u64,
    /// How many were let through because a deadline passed.
    pub let_through: u64,
    /// Sum of the corrections made at markers, ns, wrapping as a signed number.
    pub corrections: i64,
    /// GPU time granted by class of the work that asked for it, ns, in the order of [`Class::ALL`]:
    /// a sample of what the time goes into. Corrections are not in it.
    pub classes: [u64; Class::ALL.len()],
}

impl TenantPage {
    /// A page in this process's own memory, for tests and for a tenant without a shared folder.
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            magic: zero(),
            generation: zero(),
            promise: zero(),
            event: AtomicU32::new(0),
            attached: AtomicU32::new(0),
            expected_at: zero(),
            expected_spread: zero(),
            boot: zero(),
            _spare: zero(),
            empty_at: zero(),
            vtime: zero(),
            finish_at: zero(),
            blocked_since: zero(),
            pressed_at: zero(),
            waiting_at: zero(),
            seen: zero(),
            consumed: zero(),
            floor_empty_at: zero(),
            pool_empty_at: zero(),
            cap: zero(),
            surplus: zero(),
            waited: zero(),
            waits: zero(),
            let_through: zero(),
            corrections: zero(),
            classes: std::array::from_fn(|_| zero()),
            leaning: zero(),
            pace: zero(),
            let_at: zero(),
            accounted_at: zero(),
            doubt: zero(),
            trial_until: zero(),
            _later: std::array::from_fn(|_| zero()),
            beside: Beside::default(),
        }
    }

    /// The page in a mapping of `len` bytes at `base`.
    ///
    /// # Safety
    /// `base` must point to `len` bytes that stay mapped for `'a` and that nobody changes but
    /// through atomics. A mapping that may only be read is good for [`TenantPage::view`],
    /// [`TenantPage::counters`] and [`TenantPage::event_word`], and nothing else.
    #[cfg(not(loom))]
    pub unsafe fn from_mapping<'a>(base: *const u8, len: usize) -> Result<&'a Self, PageError> {
        if base.is_null()
            || len < size_of::<Self>()
            || !base.addr().is_multiple_of(align_of::<Self>())
        {
            return Err(PageError::Mapping);
        }
        // SAFETY: long enough, aligned, and every bit pattern is a valid page of atomics; the
        // caller vouches for the lifetime.
        Ok(unsafe { &*base.cast::<Self>() })
    }

    /// Makes sure the page is set up and counts one process in. Any number of processes may do this
    /// at once.
    pub fn attach(&self, params: &Params, now: u64) -> Result<(), PageError> {
        // AcqRel: whoever finds the page set up also sees nothing older than that.
        match self
            .magic
            .compare_exchange(0, MAGIC, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) | Err(MAGIC) => {}
            Err(found) => return Err(PageError::Version { found }),
        }
        self.renew(boot::id(), now);
        self.set_params(params, now);
        self.attached.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Counts one process out. A process that dies without this costs nothing: the page goes stale
    /// by itself.
    pub fn detach(&self, now: u64) {
        let left = self.attached.fetch_sub(1, Ordering::AcqRel);
        if left <= 1 {
            self.blocked_since.store(0, Ordering::Relaxed);
            self.waiting_at.store(0, Ordering::Relaxed);
            self.finish_at.store(now, Ordering::Relaxed);
            self.bump();
        }
    }

    /// Publishes the limits, keeping what the bucket holds.
    pub fn set_params(&self, params: &Params, now: u64) {
        let promise = u64::from(params.quota)
            | (u64::from(params.weight) << 20)
            | (u64::from(params.priority.code()) << 40)
            | (u64::from(params.mode.code()) << 44);
        let new = Rate {
            quota: params.quota,
            cap: params.cap_ns(),
        };
        // Relaxed, here and for every word below that is only counted or compared: no other memory
        // is published by them, and a decision on a value a moment old is allowed for.
        let old_cap = self.cap.swap(new.cap, Ordering::Relaxed);
        let old = self.promise.swap(promise, Ordering::Relaxed);
        let old_quota = (old & 0xf_ffff) as Ppm;
        if old_quota != 0 && (old_quota != new.quota || old_cap != new.cap) {
            let before = Rate {
                quota: old_quota,
                cap: old_cap,
            };
            let _ = self
                .empty_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    Some(new.converted(before, at, now))
                });
        }
        if old != promise {
            // Release: a reader that sees the new generation sees the new promise.
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether this is a page of this version that somebody has set up.
    pub fn is_valid(&self) -> bool {
        self.magic.load(Ordering::Acquire) == MAGIC
    }

    /// Whether nobody has set the page up.
    pub fn is_blank(&self) -> bool {
        self.magic.load(Ordering::Acquire) == 0
    }

    /// When the tenant last wrote here, as the page says.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Counts the changes of the tenant's limits.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What the page says, or `None` if it is not one of this version and boot or says nothing that
    /// makes sense.
    pub fn view(&self) -> Option<View> {
        if !self.is_valid() || boot::is_another(self.boot.load(Ordering::Relaxed)) {
            return None;
        }
        // Acquire: pairs with the Release in `publish`, so that every word below is at least as new
        // as this one. A stale word can then never be mistaken for a fresh one.
        let seen = self.seen.load(Ordering::Acquire);
        let promise = self.promise.load(Ordering::Relaxed);
        let consumed = self.consumed.load(Ordering::Relaxed);
        let view = View {
            quota: (promise & 0xf_ffff) as Ppm,
            weight: ((promise >> 20) & 0xf_ffff) as u32,
            priority: Priority::from_code(((promise >> 40) & 0xf) as u32)?,
            authority: Authority::Said,
            mode: Mode::from_code(((promise >> 44) & 0xf) as u32)?,
            empty_at: self.empty_at.load(Ordering::Relaxed),
            vtime: self.vtime.load(Ordering::Relaxed),
            finish_at: self.finish_at.load(Ordering::Relaxed),
            blocked_since: self.blocked_since.load(Ordering::Relaxed),
            pressed_at: self.pressed_at.load(Ordering::Relaxed),
            waiting_at: self.waiting_at.load(Ordering::Relaxed),
            seen,
            consumed,
            leaning: Leaning::from_code(self.leaning.load(Ordering::Relaxed)),
            pace: Pace::from_word(self.pace.load(Ordering::Relaxed)),
            expected: Expected {
                at: self.expected_at.load(Ordering::Relaxed),
                spread: self.expected_spread.load(Ordering::Relaxed),
            },
            doubt: self.doubt.load(Ordering::Relaxed),
            done: self.done().unwrap_or(consumed),
            is_queued: self.is_queued(),
            accounted_at: self.accounted_at(),
        };
        (view.quota != 0 && view.quota <= WHOLE && view.weight != 0).then_some(view)
    }

    /// Says that the tenant is alive at `now`.
    pub fn publish(&self, now: u64) {
        // Release: see `view`. The maximum, since two processes' clocks readings may cross.
        self.seen.fetch_max(now, Ordering::Release);
    }

    /// Charges `gpu` ns to the guarantee; negative gives back. Returns the tokens left. What was
    /// used is counted by [`TenantPage::count`].
    pub fn charge(&self, rate: Rate, gpu: i64, now: u64) -> i64 {
        let mut left = 0;
        // An exchange loop and not an add: the clamp and the charge are then one step, so that no
        // charge of another process is forgiven by a clamp that falls between.
        let _ = self
            .empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                let after = rate.after(at, now, gpu);
                left = rate.tokens(after, now);
                Some(after)
            });
        left
    }

    /// Charges `gpu` ns to the surplus.
    pub fn charge_surplus(&self, weight: u32, pool: Rate, gpu: u64, now: u64) {
        self.vtime
            .fetch_add(wall_of(gpu, weight.min(WHOLE)), Ordering::Relaxed);
        if pool.quota < WHOLE {
            let _ = self
                .pool_empty_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    Some(pool.after(at, now, i64::try_from(gpu).unwrap_or(i64::MAX)))
                });
        }
        self.surplus.fetch_add(gpu, Ordering::Relaxed);
        self.count(i64::try_from(gpu).unwrap_or(i64::MAX));
    }

    /// Charges `gpu` ns to the floor, which everything counts against.
    ///
    /// Time that was there for other reasons makes a debt of at most the bucket's depth: whatever a
    /// tenant has had, its floor begins again within that. Time had on the floor `alone` is paid
    /// back in full.
    pub fn charge_floor(&self, floor: Rate, gpu: u64, alone: bool, now: u64) {
        let gpu = i64::try_from(gpu).unwrap_or(i64::MAX);
        let _ = self
            .floor_empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                let after = floor.after(at, now, gpu);
                let most = floor.settle(at, now).max(now.saturating_add(floor.span()));
                Some(if alone { after } else { after.min(most) })
            });
    }

    /// Counts `gpu` ns as used.
    pub fn count(&self, gpu: i64) {
        // Wrapping: a signed amount added to an unsigned counter.
        self.consumed.fetch_add(gpu as u64, Ordering::Relaxed);
    }

    /// Notes a correction in the counters; [`TenantPage::charge`] has made it.
    pub fn note_correction(&self, gpu: i64) {
        self.corrections.fetch_add(gpu as u64, Ordering::Relaxed);
    }

    /// Adds work submitted from `since` on to the queue as neighbours see it.
    pub fn submitted(&self, gpu: u64, since: u64) {
        let _ = self
            .finish_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                Some(at.max(since).saturating_add(gpu))
            });
    }

    /// Brings the estimate of the queue's end up: at `now`, `gpu` ns of work are left, which
    /// others' slices have kept the device from.
    pub fn still_queued(&self, gpu: u64, now: u64) {
        if gpu > 0 {
            self.finish_at
                .fetch_max(now.saturating_add(gpu), Ordering::Relaxed);
        }
    }

    /// Brings the estimate of the queue's end down to `now`: nothing is in flight.
    pub fn drained(&self, now: u64) {
        self.finish_at.fetch_min(now, Ordering::Relaxed);
    }

    /// Says that the host stands waiting for the device since `now`.
    pub fn block(&self, now: u64) {
        // An exchange and not a store: it then has its place between the exchanges of `unblock`, in
        // loom's eyes too.
        self.blocked_since.swap(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Takes back the claim made with the same `since`, and no other process's.
    pub fn unblock(&self, since: u64, now: u64) {
        self.pressed_at.fetch_max(now, Ordering::Relaxed);
        // A failed exchange means that another process blocked later: its claim stands.
        let _ = self
            .blocked_since
            .compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed);
        self.publish(now);
    }

    /// Says that a launch stands at the gate at `now`. Each look of its own renews that: one of a
    /// process that is dead or stopped does not live on by what others of its tenant write.
    pub fn waits(&self, now: u64) {
        self.waiting_at.fetch_max(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Ends [`TenantPage::waits`] and counts the wait, which began at `since`.
    pub fn wait_ends(&self, since: u64, now: u64) {
        self.waiting_at.store(0, Ordering::Relaxed);
        self.waited
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a launch that went because a deadline passed.
    pub fn note_let_through(&self) {
        self.let_through.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `gpu` ns as granted to work of `class`, for the mix.
    pub fn count_class(&self, class: Class, gpu: u64) {
        self.classes[usize::from(class.code())].fetch_add(gpu, Ordering::Relaxed);
    }

    /// Says which way the tenant's work leans. Of several processes the last one to say so is
    /// heard.
    pub fn lean(&self, leaning: Leaning) {
        // Read first: it hardly ever changes, and neighbours read the line.
        if self.leaning.load(Ordering::Relaxed) != leaning.code() {
            self.leaning.store(leaning.code(), Ordering::Relaxed);
        }
    }

    /// Says that a step has ended at `now`, and how the tenant's steps divide. Of several processes
    /// the last one to say so is heard.
    pub fn keep_pace(&self, pace: Pace, now: u64) {
        self.pace.store(pace.word(), Ordering::Relaxed);
        self.pressed_at.fetch_max(now, Ordering::Relaxed);
        self.publish(now);
    }

    /// Says when the tenant's next step begins. The two words of two moments may be read together:
    /// a time with another time's spread, both of them lately true.
    pub fn expect(&self, expected: Expected) {
        self.expected_spread
            .store(expected.spread, Ordering::Relaxed);
        self.expected_at.store(expected.at, Ordering::Relaxed);
    }

    /// Raises the surplus clock to `to`; it never goes back.
    pub fn raise_vtime(&self, to: u64) {
        self.vtime.fetch_max(to, Ordering::Relaxed);
    }

    /// The tenant's own floor and pool buckets: when each is empty.
    pub fn own_buckets(&self) -> (u64, u64) {
        (
            self.floor_empty_at.load(Ordering::Relaxed),
            self.pool_empty_at.load(Ordering::Relaxed),
        )
    }

    /// Moves the wake word on. Whoever sleeps on it must then be woken: see [`crate::share::wait`].
    pub fn bump(&self) {
        // Release: a waiter that sees the new value sees what was published before it.
        self.event.fetch_add(1, Ordering::Release);
    }

    /// The wake word.
    pub fn event_word(&self) -> &AtomicU32 {
        &self.event
    }

    /// The tenant's counters.
    pub fn counters(&self) -> Counters {
        Counters {
            consumed: self.consumed.load(Ordering::Relaxed),
            surplus: self.surplus.load(Ordering::Relaxed),
            waited: self.waited.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            let_through: self.let_through.load(Ordering::Relaxed),
            corrections: self.corrections.load(Ordering::Relaxed) as i64,
            classes: std::array::from_fn(|index| self.classes[index].load(Ordering::Relaxed)),
        }
    }
}

impl Default for TenantPage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<TenantPage>() == 384);
    assert!(std::mem::offset_of!(TenantPage, boot) == 48);
    assert!(std::mem::offset_of!(TenantPage, empty_at) == 64);
    assert!(std::mem::offset_of!(TenantPage, seen) as u64 == SEEN_AT);
    assert!(std::mem::offset_of!(TenantPage, floor_empty_at) == 128);
    assert!(std::mem::offset_of!(TenantPage, classes) == 192);
    assert!(std::mem::offset_of!(TenantPage, let_at) == 256);
    assert!(std::mem::offset_of!(TenantPage, beside) == 320);
};
