//! A share of a device's time: how much a tenant was promised, what it has had, and whether its
//! next work may start.
//!
//! | room | what is in it |
//! |---|---|
//! | [`params`] | mode, quota, floor, pool, burst, priority, weight |
//! | [`bucket`] | the signed bucket of GPU time, one word and an explicit clock |
//! | [`page`] | what a tenant publishes and every neighbour reads |
//! | [`policy`] | the decision: a pure function |
//! | [`mix`] | what GPU time goes into, by class of work |
//! | [`margin`] | proportion where a contended device delivers less than was promised |
//! | [`turns`] | turns with neighbours whose hosts do most of the work |
//! | [`arrivals`] | when a tenant of high priority begins its next step |
//! | [`authority`] | whose priority counts between tenants of different owners |
//! | [`files`] | where pages live: one's own to write, the others' to read |
//! | [`cost`] | what kernels cost, learned |
//! | [`lately`] | what strangers are charged |
//! | [`recent`] | the costs of the kernels launched lately, one cache line a launch |
//! | [`gate`] | what a backend calls at a launch |
//! | [`wait`] | sleeping, and the clock |
//!
//! Nothing in here blocks or reads a clock but [`wait`]. How a backend uses it:
//!
//! ```no_run
//! use fcsp_core::share::{cost, gate::{Gate, Verdict}, page::TenantPage, wait};
//! # fn launch() {} fn mark_stream(_: fcsp_core::share::gate::Marker) {} fn poll_markers(_: &Gate) {}
//! # fn wait_for_a_marker(_: &Gate, _: u64) {}
//! fn before_launch(gate: &Gate, costs: &cost::CostTable, function: u64, blocks: u64, neighbours: &[&TenantPage]) {
//!     let cost = costs.cost(cost::kernel_key(function, blocks), blocks);
//!     if gate.admit(cost) {
//!         return launch(); // no clock, no shared line: the way of nearly all launches
//!     }
//!     loop {
//!         poll_markers(gate); // markers the device has passed: gate.retire(marker, now)
//!         let event = gate.page().event_word().load(std::sync::atomic::Ordering::Acquire);
//!         let views: Vec<_> = neighbours.iter().filter_map(|page| page.view()).collect(); // on the stack, in earnest
//!         match gate.acquire(cost, wait::now_ns(), &views) {
//!             Verdict::Go { .. } | Verdict::LetOne => {
//!                 launch();
//!                 return mark_stream(gate.mark()); // an event or a write; retire() it when the device has passed it
//!             }
//!             // Before either wait, a marker at the end of what is queued, unless there is one.
//!             Verdict::Drain { to } => wait_for_a_marker(gate, to),
//!             Verdict::Wait { until, .. } => drop(wait::wait(gate.page().event_word(), event, until)),
//!         }
//!     }
//! }
//! ```
//!
//! Around a synchronisation or a blocking copy: `gate.block(now)` before; after it
//! `gate.drained(now)` if the whole context is known to be idle, then `gate.resume(now)`, and if
//! that says true and a neighbour's view `waits`, for each page that waits [`wait::wake`]. A query
//! that says "not ready" is a `block`; the next launch ends it. What the device did is charged by
//! [`gate::Gate::reconcile`]. Collectives: [`gate::Gate::set_ranks`]. Capture: not gated, not
//! charged; the graph is charged when launched. In a forked child the gate is the parent's: make a
//! new one.
//!
//! A waiter sleeps on its own page's word. A neighbour can wake it there, though it may only read
//! that page: the kernel needs the word's place and not its value. The word does not change then,
//! so a waiter that was just about to sleep misses it, and looks again after 50 us, which is also
//! what covers a neighbour that never wakes anyone.

pub mod arrivals;
pub mod authority;
pub mod bucket;
pub mod cost;
// A model has no files, and its atomics cannot be mapped.
#[cfg(not(loom))]
pub mod files;
pub mod gate;
pub mod lately;
pub mod margin;
pub mod mix;
#[cfg(all(test, loom))]
mod model;
pub mod page;
pub mod params;
pub mod policy;
pub mod recent;
pub mod turns;
pub mod wait;
