//! FCSP for Intel Gaudi: binds the core's memory tracker to Synapse and to HLML.
//!
//! **A Gaudi card cannot be shared.** Its kernel driver gives a card to one process at a time and
//! answers all others that it is busy; no library inside a process changes that. A tenant therefore
//! gets a whole card:
//!
//! - A memory quota for the one process that has the card, which sees the quota as the card's
//!   memory.
//! - A queue for the card (`FCSP_GAUDI_WAIT`): by priority, then in order of arrival. With
//!   `FCSP_LOG=1`, messages name the process that has it.
//! - All of its time. A compute limit has no effect, and a message says so. The time of launches is
//!   counted if `FCSP_ACCOUNT_TIME` asks for it.
//!
//! To run several processes on a card takes a server that has the card and executes the requests of
//! others (an inference server). This library is none.
//!
//! Not seen: programs that call `libhl-thunk.so` or the kernel themselves. Estimated: what Synapse
//! takes when it acquires a card. It is measured as the part of the card's memory that is not
//! available right after.
//!
//! This crate contains the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_gaudi.so`.
//!
//! | module | contents |
//! |---|---|
//! | [`ffi`] | the libraries' types, by hand |
//! | [`symbols`] | every function of the libraries, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`vendor`] | the vendor's type, its binding, and this process as wrappers ask for it |
//! | [`fork`] | state that a forked child forgets |
//! | [`device`] | the cards |
//! | [`context`] | acquiring and releasing a card |
//! | [`queue`] | the queue for a card |
//! | [`memory`] | everything that allocates or frees device memory |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`launch`] | launches: counted, never delayed |
//! | [`events`] | events, by which they are counted |

// Wrappers and their parameters bear the vendor's names, so that its documentation and this source
// can be read side by side.
#![allow(non_snake_case, non_upper_case_globals)]

pub mod context;
pub mod device;
pub mod driver;
pub mod events;
pub mod ffi;
pub mod fork;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod memory;
pub mod queue;
pub mod symbols;
pub mod vendor;
