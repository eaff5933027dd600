//! Simulated accelerators: one device model, shared by processes through a mapped file.
//!
//! The modules, from the machine inwards: [`spec`] which devices there are; [`region`] the state
//! file; [`process`] who holds how much; [`engine`] whose turn it is; [`memory`], [`slab`],
//! [`pool`], [`vmm`] and [`ipc`] device memory over [`host`] memory; [`program`] and [`launch`]
//! kernels; [`copy`] copies and fills; [`stream`] order; [`graph`] recorded work; [`faults`] what
//! goes wrong on demand; [`clock`] time; [`table`] handles, [`strict`] what ends a program that
//! misuses them, [`owner`] and [`first`] what forks ask for. The driver libraries in `cuda/` and
//! `nvml/` put a vendor's ABI on top. What is modelled and what is not: see the README.

pub mod clock;
pub mod copy;
pub mod engine;
pub mod error;
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
