//! FCSP for Huawei Ascend: binds the core's memory tracker and rate limiter to ACL, to the runtime
//! under it, to HCCL and to DCMI.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_ascend.so`; an embedder links this one and exports
//! nothing by accident.
//!
//! A call of ACL is a call or a few of the runtime, by the dynamic linker, so both layers pass
//! here. The outer one counts: a thread that is inside a wrapper goes straight through the others.
//! Operators of the `aclnn` libraries, offline models and single operators (`aclmdl`, `aclop`)
//! launch by way of the runtime and are met there; names of the runtime change between versions of
//! CANN, and ACL's own launches and allocations are therefore met in ACL already.
//!
//! Not limited: copies and fills, which engines of their own carry out beside the cores, are
//! neither charged nor held back. Not to be had under a quota: memory pools (`aclrtMemPoolCreate`,
//! `aclrtMallocAsync`), which would hold memory that nothing here sees. Estimated, for no card has
//! been measured: what a context takes where DCMI does not say.
//!
//! | room | what is in it |
//! |---|---|
//! | [`ffi`] | the libraries' types, by hand; ACL's and HCCL's are checked against the headers |
//! | [`symbols`] | every function of the libraries, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`process`] | what the other rooms ask of Ascend's driver |
//! | [`device`] | what the driver says of its devices |
//! | [`events`] | events, by which launches are charged |
//! | [`memory`] | everything that takes or gives back device memory |
//! | [`context`] | devices and contexts: memory the driver takes for itself |
//! | [`cores`] | core limits, where they are asked for |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`launch`] | everything that starts work on the device |
//! | [`recording`] | what is recorded now and launched later |
//! | [`collective`] | HCCL: never held back |
//! | [`partition`] | vNPU templates, and which fit together |

// Wrappers and their parameters bear the vendor's names, so that a header and this source can be
// read side by side.
#![allow(non_snake_case)]

pub mod collective;
pub mod context;
pub mod cores;
pub mod device;
pub mod driver;
pub mod events;
pub mod ffi;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod memory;
pub mod partition;
pub mod process;
pub mod recording;
pub mod symbols;
