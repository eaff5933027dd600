//! The scheduler: divides a device's time between tenants by their shares, and decides when each
//! tenant's next work may start.
//!
//! | module | contents |
//! |---|---|
//! | [`params`] | mode, share, floor, pool limit, burst, priority, weight |
//! | [`token_bucket`] | the token bucket (GCRA): one word and an explicit clock |
//! | [`claim_page`] | the claim page that a tenant publishes and every neighbour reads |
//! | [`policy`] | the decision: a pure function, by EEVDF's lag and virtual time |
//! | [`mix`] | GPU time by class of work, and sensitivity |
//! | [`margin`] | proportion where a contended device delivers less than was promised |
//! | [`gap_filling`] | filling the gaps of host-bound neighbours |
//! | [`step_predictor`] | prediction of the next step of a tenant of high priority |
//! | [`authority`] | the priorities that count between tenants of different owners |
//! | [`files`] | the files of claim pages: one to write, the neighbours' to read |
//! | [`cost`] | the learned costs of kernels |
//! | [`recent_average`] | the recent mean cost, charged for strangers |
//! | [`cost_cache`] | the cost cache: one cache line a launch |
//! | [`gate`] | the rate limiter that a backend calls at a launch |
//! | [`wait`] | waits, and the clock |
//!
//! Only [`wait`] blocks or reads a clock. A backend uses the modules as follows:
//!
//! ```no_run
//! use fcsp_core::share::{cost, claim_page::ClaimPage, gate::{Gate, GateAdmission}, wait};
//! # fn launch() {} fn mark_stream(_: fcsp_core::share::gate::Position) {} fn poll_markers(_: &Gate) {}
//! # fn wait_for_a_marker(_: &Gate, _: u64) {}
//! fn before_launch(gate: &Gate, costs: &cost::CostTable, function: u64, blocks: u64, neighbours: &[&ClaimPage]) {
//!     let cost = costs.cost(cost::kernel_key(function, blocks), blocks);
//!     if gate.admit(cost) {
//!         return launch(); // the fast path: no clock, no shared cache line
//!     }
//!     loop {
//!         poll_markers(gate); // for reached fences: gate.retire(marker, now)
//!         let event = gate.page().event_word().load(std::sync::atomic::Ordering::Acquire);
//!         let views: Vec<_> = neighbours.iter().filter_map(|page| page.view()).collect(); // a backend keeps them on the stack
//!         match gate.acquire(cost, wait::now_ns(), &views) {
//!             GateAdmission::Go { .. } | GateAdmission::Forced => {
//!                 launch();
//!                 return mark_stream(gate.mark()); // an event or a write; call retire() when it is reached
//!             }
//!             // Before either wait: a fence at the end of the queue, unless there is one.
//!             GateAdmission::Drain { to } => wait_for_a_marker(gate, to),
//!             GateAdmission::Wait { until, .. } => drop(wait::wait(gate.page().event_word(), event, until)),
//!         }
//!     }
//! }
//! ```
//!
//! Around a synchronisation or a blocking copy, call `gate.block(now)` before. After it, call
//! `gate.drained(now)` if the whole context is known to be idle, then `gate.resume(now)`. If that
//! returns true, call [`wait::wake`] for each neighbour's page whose view `waits`. A query that
//! answers "not ready" is a `block`; the next launch ends it.
//!
//! [`gate::Gate::reconcile`] charges what the device did. [`gate::Gate::set_ranks`] is for
//! collectives. A recording is neither delayed nor charged; the graph is charged when it is
//! launched. In a forked child the gate belongs to the parent: make a new one.
//!
//! A waiter sleeps on its own page's word. A neighbour can wake it there although it may only read
//! that page: the kernel needs the word's place and not its value. The word does not change then,
//! so a waiter that was about to sleep misses the wake-up. It checks again after 50 us. That also
//! covers a neighbour that never wakes anyone.

pub mod authority;
pub mod cost;
pub mod step_predictor;
pub mod token_bucket;
// A loom model has no files, and its atomics cannot be mapped.
pub mod claim_page;
pub mod cost_cache;
#[cfg(not(loom))]
pub mod files;
pub mod gap_filling;
pub mod gate;
#[cfg(not(loom))]
pub mod limiter;
pub mod margin;
pub mod mix;
#[cfg(all(test, loom))]
mod model;
pub mod params;
pub mod policy;
pub mod recent_average;
pub mod wait;
