//! The shared region: one small file for each tenant and device, mapped by every process of the
//! tenant.
//!
//! - [`layout`]: the bytes.
//! - [`ledger`]: the lock-free arithmetic. After `kill -9` only a sum has to be recomputed.
//! - [`contexts`]: the known sizes of contexts, and the processes that make one.
//! - `outer`: a tenant that is a part of another.
//! - [`ahead`]: the reservation cache for small requests.
//! - [`physical`]: the driver account of a process.
//! - [`requests`]: the requests whose bytes are reserved and not yet reconciled.
//! - `made`: creating and checking the file.
//! - [`attach`]: mapping it, taking a slot, clearing the slots of dead processes.
//! - [`snapshot`]: reading a region from outside without trusting it.
//! - [`standstill`]: a process's answer to a pause.
//! - [`heap`]: the same words in private memory, for embedders and tests.

pub mod ahead;
pub mod attach;
pub mod contexts;
pub mod heap;
pub mod layout;
pub mod ledger;
mod made;
mod outer;
pub mod physical;
pub mod requests;
pub mod snapshot;
pub mod standstill;
#[cfg(all(test, not(loom)))]
mod tests;

pub use attach::{Attachment, Governed, RegionError};
pub use ledger::Ledger;
#[cfg(not(loom))]
pub(crate) use made::provide;
pub use snapshot::{ProcessSnapshot, RegionSnapshot};
