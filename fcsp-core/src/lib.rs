//! Vendor-neutral core of FCSP: what a backend, the `fcsp` command, the node agent or an embedding
//! program needs to give a tenant a fixed part of an accelerator.
//!
//! Four traits, each with an implementation that limits nothing:
//!
//! | trait | question it answers | here |
//! |---|---|---|
//! | [`memory::MemoryTracker`] | may this tenant hold these bytes? | [`membership::Membership`] (shared), [`region::heap::LocalLedger`] (one process), [`memory::Unlimited`] |
//! | [`limiter::RateLimiter`] | may this work start now? | [`share::limiter::ShareLimiter`], [`limiter::Unlimited`] |
//! | [`classifier::StreamClassifier`] | what kind of work is this? | [`classifier::ByName`], [`classifier::Unclassified`] |
//! | [`process::ProcessManager`] | which processes belong to the tenant, and are they alive? | [`tenant::TenantProcesses`], [`process::Unlimited`] |
//!
//! A backend names one type for each ([`binding`]), and calls it without indirection.
//!
//! Nothing here names a vendor, prints, installs a signal handler or exits the process. Everything
//! that several processes share lives in small files (see [`region`]) that survive `kill -9` at any
//! instruction.

pub mod allocations;
#[cfg(not(loom))]
pub mod binding;
pub mod boot;
pub mod classifier;
pub mod classify;
pub mod clock;
pub mod config;
pub mod control;
pub mod device;
pub mod file;
// A loom model has no files.
pub mod layout_version;
pub mod limiter;
#[cfg(not(loom))]
pub mod membership;
pub mod memory;
pub mod places;
pub mod process;
pub mod region;
pub mod share;
pub mod spatial;
pub mod state;
#[cfg(not(loom))]
pub mod submitter;
pub mod sync;
pub mod tenant;
pub mod tree;
pub mod units;
