//! Simulated accelerators: one device model, shared by processes through a mapped file.
//!
//! The modules, from the machine inwards:
//!
//! - [`spec`] names the devices; [`region`] is the state file; [`process`] counts memory by
//!   process; [`engine`] divides the device's time.
//! - [`memory`], [`slab`], [`pool`], [`vmm`] and [`ipc`] are device memory over [`host`] memory.
//! - [`program`] and [`launch`] are kernels; [`copy`] is copies and fills; [`stream`] is order;
//!   [`graph`] is recorded work; [`clock`] is time.
//! - [`faults`] are errors on demand; [`table`] is handles; [`strict`] ends a program that misuses
//!   them; [`owner`] and [`first`] serve forks.
//! - [`abi`] and [`export`] serve the libraries that put a vendor's ABI on top (`cuda/`, `nvml/`
//!   and so on).
//!
//! The README says what is modelled and what is not.

pub mod abi;
pub mod clock;
pub mod copy;
pub mod engine;
pub mod error;
pub mod export;
pub mod faults;
pub mod first;
pub mod graph;
pub mod host;
pub mod ipc;
pub mod launch;
pub mod memory;
pub mod owner;
pub mod pool;
pub mod process;
pub mod program;
pub mod region;
pub mod slab;
pub mod spec;
pub mod stream;
pub mod strict;
pub mod table;
pub mod vmm;
