//! A differential tester for the CUDA driver API.
//!
//! Random programs of driver calls run natively and under the preload library with a memory quota,
//! a compute share or both. Both runs must have the same results, except what the quota refuses.
//!
//! [`generate`] makes a [`program`] from a seed. A worker process ([`serve`], [`worker`]) runs
//! programs against the driver that it finds. A [`desk`] starts workers in a [`place`] and
//! [`compare`]s their [`record`]s. A [`campaign`] does so for many programs and [`shrink`]s those
//! programs that differ.

pub mod campaign;
pub mod compare;
pub mod crash;
pub mod desk;
pub mod driver;
pub mod fault;
pub mod generate;
pub mod hang;
pub mod kernels;
pub mod place;
pub mod process;
pub mod program;
pub mod progress;
pub mod random;
pub mod record;
pub mod repeat;
pub mod report;
pub mod serve;
pub mod shrink;
pub mod worker;
