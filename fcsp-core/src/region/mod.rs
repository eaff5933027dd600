//! The shared region: one small file a tenant and device, mapped by every process of the tenant.
//!
//! - [`layout`]: the bytes.
//! - [`ledger`]: the arithmetic on them, with no lock and nothing to mend after `kill -9` but a
//!   sum.
//! - [`contexts`]: what a context is known to take, and who is making one.
//! - `outer`: a tenant that is a part of another.
//! - [`ahead`]: bytes held before small requests want them.
//! - [`physical`]: what the driver holds for a process by the process's own account.
//! - `made`: making and checking the file.
//! - [`attach`]: mapping it, taking a slot, clearing after the dead.
//! - [`snapshot`]: reading a region from outside without trusting it.
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
pub mod snapshot;
#[cfg(all(test, not(loom)))]
mod tests;

pub use attach::{Attachment, Governed, RegionError};
pub use ledger::Ledger;
pub use snapshot::{ProcessSnapshot, RegionSnapshot};
