//! Handles of one kind, with a record of destroyed objects.
//!
//! A real driver's handles are addresses of heap memory. There, as here, the handle of a destroyed
//! object is the next new one. A stale handle can therefore name a new object of the same kind,
//! unnoticed. A stale handle that names no object makes [`Table::get`] end the program.

use crate::strict::{End, Rule, fatal, is_on};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A handle that names no live object, in a call that says so by its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// The null handle.
    Null,
    /// Any other.
    Unknown,
}

#[derive(Debug)]
struct State<T> {
    live: HashMap<u64, Arc<T>>,
    /// Handles of destroyed objects. The last one destroyed is used first.
    free: Vec<u64>,
    /// End of each free handle's object.
    ended: HashMap<u64, End>,
    /// Handles made so far.
    made: u64,
    tag: u64,
}

/// Live objects of one kind by handle.
#[derive(Debug)]
pub struct Table<T> {
    kind: &'static str,
    reuse: bool,
    state: RwLock<State<T>>,
}

impl<T> State<T> {
    fn end(&mut self, handle: u64) -> Option<Arc<T>> {
        let object = self.live.remove(&handle)?;
        self.ended.insert(handle, End::now());
        // Not what `put` was given: that handle is its caller's to use again.
        if handle >> 40 == self.tag {
            self.free.push(handle);
        }
        Some(object)
    }
}

impl<T> Table<T> {
    /// Makes a table without objects. `kind` names them in messages; `tag` is above bit 40 of their
    /// handles and this table's alone.
    pub fn new(kind: &'static str, tag: u64) -> Self {
        Self::with_reuse(kind, tag, is_on(Rule::Reuse))
    }

    fn with_reuse(kind: &'static str, tag: u64, reuse: bool) -> Self {
        Self {
            kind,
            reuse,
            state: RwLock::new(State {
                live: HashMap::new(),
                free: Vec::new(),
                ended: HashMap::new(),
                made: 0,
                tag,
            }),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an object that is made from its own handle.
    pub fn add_with(&self, make: impl FnOnce(u64) -> T) -> (u64, Arc<T>) {
        let reused = self.reuse.then(|| self.write().free.pop()).flatten();
        let handle = reused.unwrap_or_else(|| {
            let mut state = self.write();
            state.made += 1;
            // Spaced and tagged, so that it looks like an address and is none.
            state.tag << 40 | state.made << 4
        });
        // Without the lock: making an object may need other tables, or this one.
        let object = Arc::new(make(handle));
        let mut state = self.write();
        state.ended.remove(&handle);
        state.live.insert(handle, object.clone());
        (handle, object)
    }

    /// Adds an object, and returns its handle.
    pub fn add(&self, object: T) -> u64 {
        self.add_with(|_| object).0
    }

    /// Makes an object live under a handle of the caller's own, which has another tag than this
    /// table's.
    pub fn put(&self, handle: u64, object: Arc<T>) {
        let mut state = self.write();
        state.ended.remove(&handle);
        state.live.insert(handle, object);
    }

    /// Finds the object of a handle that the real driver follows, and refuses by a code if the
    /// object is dead. Ends the program if there never was one, except for the null handle. Under
    /// [`Rule::Checked`], it also ends the program for a dead one.
    ///
    /// # Errors
    /// What is wrong with the handle.
    pub fn checked(&self, handle: u64) -> Result<Arc<T>, Stale> {
        self.look_up(handle)
            .map_err(|s| self.refuse_unless_dead(handle, s))
    }

    /// Destroys a handle as [`Table::checked`] finds it. Returns its object.
    ///
    /// # Errors
    /// As [`Table::checked`].
    pub fn take_checked(&self, handle: u64) -> Result<Arc<T>, Stale> {
        self.take(handle)
            .map_err(|s| self.refuse_unless_dead(handle, s))
    }

    fn refuse_unless_dead(&self, handle: u64, stale: Stale) -> Stale {
        if self.is_dead(handle) && !is_on(Rule::Checked) {
            return stale;
        }
        self.refuse(handle, stale)
    }

    /// Returns true if a handle's object was destroyed, and no other has the handle since.
    pub fn is_dead(&self, handle: u64) -> bool {
        self.read().ended.contains_key(&handle)
    }

    /// Finds the object of a handle that the real driver follows without a look. Ends the program
    /// if there is none, except for the null handle.
    ///
    /// # Errors
    /// [`Stale::Null`] for 0; [`Stale::Unknown`] if [`Rule::Handles`] is off.
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Stale> {
        self.look_up(handle).map_err(|s| self.refuse(handle, s))
    }

    /// Finds the object of a handle that the real driver looks up before it uses it.
    ///
    /// # Errors
    /// What is wrong with the handle.
    pub fn look_up(&self, handle: u64) -> Result<Arc<T>, Stale> {
        match self.read().live.get(&handle) {
            Some(object) => Ok(object.clone()),
            None if handle == 0 => Err(Stale::Null),
            None => Err(Stale::Unknown),
        }
    }

    /// Destroys a handle that the real driver follows without a look, as [`Table::get`]; its
    /// object.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn remove(&self, handle: u64) -> Result<Arc<T>, Stale> {
        self.take(handle).map_err(|s| self.refuse(handle, s))
    }

    /// Destroys a handle that the real driver looks up first; its object.
    ///
    /// # Errors
    /// As [`Table::look_up`].
    pub fn take(&self, handle: u64) -> Result<Arc<T>, Stale> {
        let null = if handle == 0 {
            Stale::Null
        } else {
            Stale::Unknown
        };
        self.write().end(handle).ok_or(null)
    }

    /// Ends the program for a handle that names no live object, unless it is null or the rule is
    /// off.
    pub fn refuse(&self, handle: u64, stale: Stale) -> Stale {
        if stale == Stale::Null || !is_on(Rule::Handles) {
            return stale;
        }
        fatal(&self.describe(handle))
    }

    /// Describes a handle that names no live object.
    pub fn describe(&self, handle: u64) -> String {
        match self.read().ended.get(&handle) {
            Some(end) => format!("{} {handle:#x} was destroyed by {end}", self.kind),
            None => format!(
                "{handle:#x} never was a handle of a {} in this process",
                self.kind
            ),
        }
    }

    /// Finds the handle of an object that passes.
    pub fn handle_of(&self, hit: impl Fn(&T) -> bool) -> Option<u64> {
        let state = self.read();
        state.live.iter().find(|(_, o)| hit(o)).map(|(h, _)| *h)
    }

    /// Destroys what passes; the objects.
    pub fn drain(&self, gone: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut state = self.write();
        let hits = state.live.iter().filter(|(_, o)| gone(o));
        let mut hits: Vec<u64> = hits.map(|(h, _)| *h).collect();
        // In an order that does not depend on the map's, or handles would be reused at random.
        hits.sort_unstable();
        hits.into_iter().filter_map(|h| state.end(h)).collect()
    }

    /// Destroys what does not pass.
    pub fn retain(&self, keep: impl Fn(&T) -> bool) {
        self.drain(|o| !keep(o));
    }

    /// Runs `f` on every object.
    pub fn each(&self, f: impl FnMut(&Arc<T>)) {
        self.read().live.values().for_each(f);
    }

    /// Returns true if an object passes.
    pub fn any(&self, hit: impl Fn(&T) -> bool) -> bool {
        self.read().live.values().any(|o| hit(o))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_handle_destroyed_is_the_next_new_one() {
        let t = Table::with_reuse("thing", 0x77, true);
        let [a, b, c] = [1, 2, 3].map(|n| t.add(n));
        assert_eq!(a >> 40, 0x77);
        t.take(a).unwrap();
        t.take(c).unwrap();
        assert_eq!(t.look_up(c), Err(Stale::Unknown));
        assert!(
            t.describe(c).contains("was destroyed by"),
            "{}",
            t.describe(c)
        );
        assert_eq!((t.add(4), t.add(5)), (c, a));
        assert_eq!((*t.get(c).unwrap(), *t.get(b).unwrap()), (4, 2));
        assert!(t.describe(0x1234).contains("never was a handle of a thing"));
        assert_eq!(t.get(0), Err(Stale::Null));
    }

    #[test]
    fn draining_destroys_in_the_order_of_handles() {
        let t = Table::with_reuse("thing", 1, true);
        let all: Vec<u64> = (0..20).map(|n| t.add(n)).collect();
        assert_eq!(t.drain(|n| n % 2 == 0).len(), 10);
        assert_eq!(t.add(100), all[18]);
        assert!(!t.any(|n| *n == 4) && t.any(|n| *n == 5));
    }
}
