//! The node agent's library: the trusted half of FCSP on a machine.
//!
//! | to | use |
//! |---|---|
//! | find the container, unit or user of a process | [`identity::of_process`] |
//! | find those of the process at the other end of a socket | [`identity::of_peer`] |
//! | parse `/proc/PID/cgroup` without a process | [`identity::cgroup::parse`] |
//! | read tenants from files, and put them into force | [`tenants`] |
//!
//! A process says nothing about itself here. Every answer comes from the kernel.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod devices;
pub mod identity;
pub mod tenants;
pub mod watch;
