//! The rate limiter: may this work start now?

use std::time::Duration;

use crate::classifier::Class;

/// A piece of device work about to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Identifies the kernel and its launch shape, or the graph: what its cost is remembered under.
    pub key: u64,
    /// Thread blocks, for a first guess of the cost; 0 where that means nothing.
    pub blocks: u64,
    /// What kind of work it is.
    pub class: Class,
}

/// What a limiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Submit now.
    Go,
    /// Ask again after this long, or when woken.
    Wait(Duration),
}

/// A share of a device's time for one tenant.
pub trait RateLimiter {
    /// May `work` start? Never blocks.
    fn admit(&self, work: &Work) -> Admission;

    /// `work` took `device_time` of the device.
    fn completed(&self, work: &Work, device_time: Duration);
}

/// Lets everything through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl RateLimiter for Unlimited {
    fn admit(&self, _work: &Work) -> Admission {
        Admission::Go
    }

    fn completed(&self, _work: &Work, _device_time: Duration) {}
}
