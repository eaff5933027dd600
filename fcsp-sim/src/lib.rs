//! See the crate's README.
pub mod clock;
pub mod engine;
pub mod error;
pub mod faults;
pub mod host;
pub mod ipc;
pub mod launch;
pub mod memory;
pub mod pool;
pub mod process;
pub mod program;
pub mod region;
pub mod slab;
pub mod spec;
pub mod stream;
pub mod vmm;
