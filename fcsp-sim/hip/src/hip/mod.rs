//! HIP's API over the driver's, part by part.

pub mod array;
pub mod context;
pub mod copy;
pub mod device;
pub mod event;
pub mod fill;
pub mod graph;
pub mod handles;
pub mod init;
pub mod launch;
pub mod memory;
pub mod module;
pub mod node;
pub mod occupancy;
pub mod pointer;
pub mod pool;
pub mod properties;
pub mod registered;
pub mod stream;
pub mod symbol;
pub mod thread;
pub mod vmm;
