//! A program's objects while it runs, and whether the contents of memory are determined.
//!
//! The worker keeps programs legal. An object knows its context, the thread that made it, the
//! memory and code that it depends on, and the stream that used it last. An operation on an object
//! that is gone, foreign or in use elsewhere is skipped. Contents are compared only where every run
//! must agree: the prefix of `known` bytes, unless two streams have used the memory without an
//! order between them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No stream.
pub const NOWHERE: u32 = u32::MAX;
/// No context: the object belongs to the process.
pub const PROCESS: u32 = u32::MAX;

/// Form of a memory object, or a variant of another object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Nothing special.
    #[default]
    Plain,
    /// Managed memory.
    Managed,
    /// Memory in stream order.
    Ordered,
    /// Memory in stream order that a capture recorded: an address without memory until the graph
    /// runs.
    Recorded,
    /// A stream that takes no notice of the null stream.
    NonBlocking,
    /// An event without a time.
    Untimed,
    /// A graph or executable that allocates memory and does not free it.
    Leaking,
    /// Physical memory that can leave the process.
    Exportable,
}

/// An object of a program.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Its letter; 0 for one that was never made.
    pub kind: char,
    /// True if it can be used.
    pub live: bool,
    /// The driver's handle, or the address.
    pub handle: u64,
    /// Bytes, of what has a size.
    pub bytes: u64,
    /// Its variant.
    pub form: Form,
    /// The context that it lives in, or [`PROCESS`].
    pub context: u32,
    /// The thread that made it and may end it.
    pub owner: u8,
    /// Bytes from the start whose contents every run must have alike.
    pub known: u64,
    /// True if two streams may have written it in either order.
    pub tainted: bool,
    /// The stream whose work on it may not have ended.
    pub pending: u32,
    /// True if unordered work of another stream may not have ended either.
    pub racing: bool,
    /// Other objects that must live while this one is used.
    pub parts: Vec<u32>,
    /// For a range: the physical memory mapped, and whether it may be used. For a graph: its last
    /// node.
    pub extra: u64,
    /// For a range: 1 once access is granted. For an array: bytes of an element. For an event: how
    /// it was recorded.
    pub more: u64,
}

/// Every object of a program, by number.
pub struct Objects(Vec<Mutex<Object>>);

impl Objects {
    /// Creates space for `count` objects.
    pub fn new(count: u32) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    /// Locks one object.
    pub fn lock(&self, id: u32) -> MutexGuard<'_, Object> {
        self.0[id as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy of one object.
    pub fn get(&self, id: u32) -> Object {
        self.lock(id).clone()
    }

    /// Returns the numbers of all live objects, from the youngest.
    pub fn alive(&self) -> Vec<u32> {
        (0..self.0.len() as u32)
            .rev()
            .filter(|&id| self.lock(id).live)
            .collect()
    }

    /// Changes every object.
    pub fn each(&self, mut change: impl FnMut(u32, &mut Object)) {
        for id in 0..self.0.len() as u32 {
            change(id, &mut self.lock(id));
        }
    }
}
