//! FCSP for Huawei Ascend: binds the core's memory tracker and rate limiter to ACL, to the runtime
//! under it, to HCCL and to DCMI.
//!
//! This crate contains the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_ascend.so`. An embedder links this one and exports
//! nothing by accident.
//!
//! A call of ACL makes one or a few calls of the runtime, by the dynamic linker, so both layers
//! pass here. The outer one counts: a thread inside a wrapper bypasses the others. Operators of the
//! `aclnn` libraries, offline models and single operators (`aclmdl`, `aclop`) launch by way of the
//! runtime and are met there. The runtime's names change between versions of CANN. ACL's own
//! launches and allocations are therefore met in ACL already.
//!
//! Not limited: copies and fills, which have their own engines. They are neither charged nor
//! delayed. Not available under a quota: memory pools (`aclrtMemPoolCreate`, `aclrtMallocAsync`),
//! whose memory could not be seen here. Estimated, since no card has been measured: the size of a
//! context if DCMI does not report it.
//!
//! | module | contents |
//! |---|---|
//! | [`ffi`] | the libraries' types, by hand; ACL's and HCCL's are checked against the headers |
//! | [`symbols`] | every function of the libraries, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`vendor`] | the vendor's type, its binding, and this process as wrappers ask for it |
//! | [`fork`] | state that a forked child forgets |
//! | [`device`] | the driver's devices |
//! | [`events`] | events, by which launches are charged |
//! | [`memory`] | everything that allocates or frees device memory |
//! | [`context`] | devices and contexts: memory that the driver takes for itself |
//! | [`cores`] | core limits, if requested |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`launch`] | everything that starts work on the device |
//! | [`recording`] | work that is recorded now and launched later |
//! | [`collective`] | HCCL: never delayed |
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
pub mod fork;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod memory;
pub mod partition;
pub mod recording;
pub mod symbols;
pub mod vendor;
