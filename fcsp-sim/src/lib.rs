//! See the crate's README.
pub mod clock;
pub mod engine;
pub mod error;
pub mod faults;
pub mod process;
pub mod region;
pub mod spec;
