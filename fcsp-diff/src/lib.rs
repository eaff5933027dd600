//! A differential tester for the CUDA driver API: random programs of driver calls run natively and
//! under the preload library with a memory quota, a compute share or both, and must come to the
//! same but for what the quota refuses.
//!
//! [`generate`] makes a [`program`] from a seed. A worker process ([`serve`], [`worker`]) runs
//! programs against whatever driver it finds. A [`desk`] starts workers in a [`place`] and
//! [`compare`]s their [`record`]s; a [`campaign`] does so for many programs and [`shrink`]s those
//! that differ.

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
