//! FCSP for Intel Gaudi: binds the core's memory tracker to Synapse and to HLML.
//!
//! **A Gaudi card cannot be shared.** Its kernel driver gives a card to one process at a time and
//! tells everybody else that it is busy; no library inside a process changes that. What a tenant
//! gets here is therefore a whole card:
//!
//! - a memory quota for the one process that has the card, which sees the quota as the card's
//!   memory;
//! - a queue for the card (`FCSP_GAUDI_WAIT`): by priority, then in order of arrival; with
//!   `FCSP_LOG=1`, messages that say who has it;
//! - all of its time: a compute limit has no effect, and a message says so. What launches take is
//!   counted where `FCSP_ACCOUNT_TIME` asks for it.
//!
//! To put several processes on a card is the work of a server that has the card and carries out
//! what others ask of it (an inference server); this is none.
//!
//! Not seen: programs that call `libhl-thunk.so` or the kernel themselves. Estimated: what Synapse
//! takes when it acquires a card is measured as what is missing of the card's memory right after.
//!
//! This crate holds the wrappers and what they know; it exports nothing. The crate in `preload/`
//! gives them their C names and builds `libfcsp_gaudi.so`.
//!
//! | room | what is in it |
//! |---|---|
//! | [`ffi`] | the libraries' types, by hand |
//! | [`symbols`] | every function of the libraries, with its role |
//! | [`driver`] | the real functions |
//! | [`hooks`] | the list of wrapped functions |
//! | [`process`] | what the other rooms ask of Gaudi's driver |
//! | [`device`] | which cards there are |
//! | [`context`] | acquiring a card and letting go of it |
//! | [`queue`] | who is next for a card |
//! | [`memory`] | everything that takes or gives back device memory |
//! | [`info`] | the answers that show a tenant its own device |
//! | [`launch`] | launches: counted, never held back |
//! | [`events`] | events, by which they are counted |

// Wrappers and their parameters bear the vendor's names, so that its documentation and this source
// can be read side by side.
#![allow(non_snake_case, non_upper_case_globals)]

pub mod context;
pub mod device;
pub mod driver;
pub mod events;
pub mod ffi;
pub mod hooks;
pub mod info;
pub mod launch;
pub mod memory;
pub mod process;
pub mod queue;
pub mod symbols;
