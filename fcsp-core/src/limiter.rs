//! The rate limiter: may this work start now?
//!
//! A limiter answers, counts and never blocks or submits anything itself. Its user does, in four
//! steps:
//!
//! 1. before each piece of work, [`RateLimiter::admit`]; on [`Admission::Drain`] and
//!    [`Admission::Wait`] it waits and asks again, on [`Admission::Go`] it submits;
//! 2. where [`Admission::Go`] asks for a marker, and before it waits, it has the device tell when
//!    everything submitted so far is done (an event, a fence, a callback) and remembers the
//!    [`RateLimiter::position`];
//! 3. when the device has passed that, [`RateLimiter::passed`] with the position;
//! 4. around a wait of its own for the device, [`RateLimiter::blocks`] and
//!    [`RateLimiter::goes_on`].
//!
//! [`crate::governor::Governor`] is the limiter that keeps shares, and
//! [`crate::governor::Governor::submit`] does the steps for a user that can say what a marker is.
//! [`Unlimited`] lets everything through.

use std::time::Duration;

use crate::classifier::Class;

pub use crate::share::gate::Marker;

/// A piece of device work about to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Identifies the kernel and its launch shape, or the graph: what its cost is remembered under.
    /// Not 0; see [`crate::share::cost::kernel_key`].
    pub key: u64,
    /// Thread blocks, for a first guess of the cost; 0 where that means nothing.
    pub blocks: u64,
    /// What kind of work it is.
    pub class: Class,
}

/// What a limiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Submit now; the work is charged.
    Go {
        /// Whether to put a marker behind it.
        marker: bool,
    },
    /// Too much is in flight: wait for a marker to be passed, then ask again. Not for longer than a
    /// few milliseconds, since a device that makes no progress is the limiter's to judge.
    Drain {
        /// Ask again when no more than this much device time is in flight.
        to: Duration,
    },
    /// Ask again after this long, or when woken.
    Wait(Duration),
}

/// A share of a device's time for one tenant.
pub trait RateLimiter {
    /// May `work` start? Never blocks.
    fn admit(&self, work: &Work) -> Admission;

    /// The position after everything admitted so far, to remember with a marker.
    fn position(&self) -> Marker;

    /// Everything up to `marker` is done.
    fn passed(&self, marker: Marker);

    /// One run of `work`, timed on the device, took `device_time`. `contended` says whether other
    /// tenants' work may be contained in it.
    fn measured(&self, work: &Work, device_time: Duration, contended: bool);

    /// The host is about to stand waiting for the device.
    fn blocks(&self);

    /// The host goes on; `idle` says whether nothing of this process is in flight any more. The
    /// device has then been busy with it since [`RateLimiter::blocks`]: what of that nobody was
    /// charged for is charged.
    fn goes_on(&self, idle: bool);
}

/// Lets everything through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl RateLimiter for Unlimited {
    fn admit(&self, _work: &Work) -> Admission {
        Admission::Go { marker: false }
    }

    fn position(&self) -> Marker {
        Marker::default()
    }

    fn passed(&self, _marker: Marker) {}

    fn measured(&self, _work: &Work, _device_time: Duration, _contended: bool) {}

    fn blocks(&self) {}

    fn goes_on(&self, _idle: bool) {}
}
