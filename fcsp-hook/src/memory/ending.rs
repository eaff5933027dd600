//! The records of a context while the driver ends it. The driver may give the context's handle, and
//! its addresses, to new objects before its call returns. Their records must not go with the old
//! ones.

use super::pieces::{self, Detached};
use super::{Record, context_died};
use crate::backend::Backend;

/// Records of a context that is about to end, out of reach of a thread that gets its handle
/// meanwhile. Its memory stays charged until the call's result is known.
#[derive(Debug)]
#[must_use]
pub struct Ending {
    context: usize,
    slabs: Vec<Detached>,
}

/// Sets the records of a context aside, before the driver's call that may end it.
pub fn context_ends<B: Backend>(context: usize) -> Ending {
    rename::<B>(context, dying(context));
    Ending {
        context,
        slabs: pieces::detach::<B>(context),
    }
}

impl Ending {
    /// Releases the context's memory: the call has ended it.
    pub fn died<B: Backend>(self) {
        context_died::<B>(dying(self.context));
        pieces::gone::<B>(&self.slabs);
    }

    /// Restores the records: the context lives on, as after a failed call.
    pub fn survived<B: Backend>(self) {
        rename::<B>(dying(self.context), self.context);
        pieces::attach::<B>(&self.slabs);
    }
}

/// Returns the name of a context that is about to end: no handle, and no key of another context.
fn dying(context: usize) -> usize {
    !context
}

/// Renames a context in the records. Its allocations stay, and can be freed.
fn rename<B: Backend>(from: usize, to: usize) {
    let process = B::process();
    process.contexts().rename(from, to);
    let mut addresses = Vec::new();
    let records = process.live().drain(|address, record| {
        let is_there = record.context == from;
        if is_there {
            addresses.push(address);
        }
        is_there
    });
    for (address, record) in addresses.into_iter().zip(records) {
        process.live().insert(
            address,
            Record {
                context: to,
                ..record
            },
        );
    }
}
