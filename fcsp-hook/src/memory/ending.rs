//! The books of a context while the driver ends it. The driver may give the context's handle, and
//! its addresses, to new objects before its call comes back; what is entered for those must not go
//! with the old ones.

use super::pieces::{self, Detached};
use super::{Record, context_died};
use crate::backend::Backend;

/// The books of a context that is about to end: out of reach of whoever is given its handle
/// meanwhile. What it held stays charged until it is said how the call went.
#[derive(Debug)]
#[must_use]
pub struct Ending {
    context: usize,
    slabs: Vec<Detached>,
}

/// Takes the books of a context aside. Before the driver's call that may end it.
pub fn context_ends<B: Backend>(context: usize) -> Ending {
    rename::<B>(context, dying(context));
    Ending {
        context,
        slabs: pieces::detach::<B>(context),
    }
}

impl Ending {
    /// The call has ended the context: gives back what it held.
    pub fn died<B: Backend>(self) {
        context_died::<B>(dying(self.context));
        pieces::gone::<B>(&self.slabs);
    }

    /// The context lives on, as after a call that failed.
    pub fn survived<B: Backend>(self) {
        rename::<B>(dying(self.context), self.context);
        pieces::attach::<B>(&self.slabs);
    }
}

/// The name of a context that is about to end: no handle, and nothing that stands for one.
fn dying(context: usize) -> usize {
    !context
}

/// Has the books call a context otherwise from here on. What is allocated in it stays, and can be
/// freed.
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
