//! Around driver calls that change what the driver holds for this process: what is held before,
//! what is entered after.

use core::cell::Cell;

use fcsp_core::region::physical::Physical;

use super::Device;
use crate::backend::Backend;

/// Calls of more bytes than this are bracketed however far the quota is ([`Device::passing`]):
/// another thread's request may be near it, and what is counted twice for a moment must not refuse
/// that.
const PASSING: u64 = 32 << 20;

/// Around a driver call that changes what the driver holds for this process, until that is entered
/// in the slot.
pub struct Change<'a> {
    account: Physical<'a>,
    by: Cell<i64>,
}

impl Change<'_> {
    /// Enters memory that the management library counts.
    #[inline]
    pub fn gained(&self, bytes: u64) {
        self.by.set(self.by.get().saturating_add_unsigned(bytes));
    }

    /// Removes memory that the management library counts.
    #[inline]
    pub fn lost(&self, bytes: u64) {
        self.by.set(self.by.get().saturating_sub_unsigned(bytes));
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.account.end(self.by.get());
    }
}

/// Around a driver call, see [`Device::passing`].
pub struct Passing<'a, B: Backend> {
    device: &'a Device<B>,
    change: Option<Change<'a>>,
    lost: u64,
}

impl<B: Backend> Passing<'_, B> {
    /// The call has succeeded; the management library counts `gained` bytes more, beside what it
    /// gave back.
    #[inline]
    pub fn succeeded(self, gained: u64) {
        match self.change {
            Some(change) => change.gained(gained),
            None => {
                if gained > 0 {
                    self.device.gained(gained);
                }
                self.device.overhead_changed();
            }
        }
    }

    /// The call has failed, and nothing has changed.
    #[inline]
    pub fn failed(self) {
        match self.change {
            Some(change) => change.gained(self.lost),
            None => {
                if self.lost > 0 {
                    self.device.gained(self.lost);
                    self.device.overhead_changed();
                }
            }
        }
    }
}

impl<B: Backend> Device<B> {
    /// Brackets a driver call that changes what the driver holds for this process.
    #[inline]
    pub fn change(&self) -> Change<'_> {
        let account = self.physical();
        account.begin();
        Change {
            account,
            by: Cell::new(0),
        }
    }

    /// [`Device::change`] for a driver call that takes `bytes` (or gives them back, if `lost` of
    /// them, which the management library counts, are more than none), as cheap as `near` allows.
    /// Far from the quota a measurement is seldom taken and decides nothing: one that falls between
    /// the call and its entry may count the allocation as overhead, too. So the entry comes after a
    /// call that takes and before one that gives, which makes that too much and never too little,
    /// and says that the overhead is to be measured again.
    #[inline]
    pub fn passing(&self, near: bool, bytes: u64, lost: u64) -> Passing<'_, B> {
        let change = (near || bytes > PASSING).then(|| self.change());
        match &change {
            Some(change) => change.lost(lost),
            None if lost > 0 => self.lost(lost),
            None => {}
        }
        Passing {
            device: self,
            change,
            lost,
        }
    }
}
