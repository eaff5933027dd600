//! Proofs by exhaustion of the arithmetic of the token bucket and of the ledger.
//!
//! Each test goes through every case of a small domain, and through the edges of the large one.
//! The arithmetic is the same for all magnitudes, so a small domain reaches every branch.

#![cfg(not(loom))]

mod bucket;
mod ledger;
