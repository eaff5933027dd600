//! Around driver calls that change what the driver holds for this process: what is held before, what is entered after.

use core::cell::Cell;

use fcsp_core::memory::Denied;
use fcsp_core::region::physical::Physical;

use super::Device;
use super::small::Small;
use crate::backend::Backend;
use crate::memory::Given;

/// Calls of more bytes than this are bracketed however far the quota is ([`Device::passing`]): another thread's request may be near it, and what
/// is counted twice for a moment must not refuse that.
const PASSING: u64 = 32 << 20;

/// Around a driver call that changes what the driver holds for this process, until that is entered in the slot.
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
    /// The call has succeeded; the management library counts `gained` bytes more, beside what it gave back.
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

/// Around a driver call that takes memory: its bytes are held.
pub struct Taking<'a, B: Backend> {
    device: &'a Device<B>,
    bytes: u64,
    counted: bool,
    by: By<'a, B>,
}

/// Around a driver call that gives memory back.
pub struct Giving<'a, B: Backend> {
    device: &'a Device<B>,
    bytes: u64,
    by: By<'a, B>,
}

enum By<'a, B: Backend> {
    /// Through the stock of small requests.
    Small(Small<'a, B>),
    /// Through the ledger.
    Ledger(Passing<'a, B>),
    /// Nothing is given.
    Nothing,
}

impl<B: Backend> Taking<'_, B> {
    /// The call has taken `truly` bytes.
    #[inline]
    pub fn succeeded(self, truly: u64) {
        let (device, held) = (self.device, self.bytes);
        match self.by {
            By::Small(small) => small.taken(truly),
            By::Ledger(passing) => {
                if truly > held {
                    device.charge(truly - held);
                } else if truly < held {
                    device.release(held - truly);
                }
                passing.succeeded(if self.counted { truly } else { 0 });
            }
            By::Nothing => {}
        }
    }

    /// The call has failed, and nothing is held any more.
    #[inline]
    pub fn failed(self) {
        match self.by {
            By::Small(small) => small.given(),
            By::Ledger(passing) => {
                passing.failed();
                self.device.release(self.bytes);
            }
            By::Nothing => {}
        }
    }
}

impl<B: Backend> Giving<'_, B> {
    /// The call has given the memory back.
    #[inline]
    pub fn succeeded(self) {
        match self.by {
            By::Small(small) => small.given(),
            By::Ledger(passing) => {
                passing.succeeded(0);
                self.device.release(self.bytes);
            }
            By::Nothing => {}
        }
    }

    /// The call has failed, and nothing has changed.
    #[inline]
    pub fn failed(self) {
        if let By::Ledger(passing) = self.by {
            passing.failed();
        }
    }
}

impl<B: Backend> Device<B> {
    /// Holds `bytes` for a driver call that takes them; `counted` says whether the management library will count them.
    #[inline]
    pub fn taking(&self, bytes: u64, counted: bool) -> Result<Taking<'_, B>, Denied> {
        let small = if counted { self.take_small(bytes) } else { None };
        let by = match small {
            Some(small) => By::Small(small),
            None => {
                let near = self.hold(bytes)?;
                By::Ledger(self.passing(near, bytes, 0))
            }
        };
        Ok(Taking {
            device: self,
            bytes,
            counted,
            by,
        })
    }

    /// Prepares for a driver call that gives memory back.
    #[inline]
    pub fn giving(&self, given: Given) -> Giving<'_, B> {
        let Given { bytes, counted } = given;
        let by = if bytes == 0 {
            By::Nothing
        } else {
            let near = self.is_near();
            match counted.then(|| self.give_small(bytes, near)).flatten() {
                Some(small) => By::Small(small),
                None => By::Ledger(self.passing(near, bytes, if counted { bytes } else { 0 })),
            }
        };
        Giving {
            device: self,
            bytes,
            by,
        }
    }

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

    /// [`Device::change`] for a driver call that takes `bytes` (or gives them back, if `lost` of them, which the management library counts,
    /// are more than none), as cheap as `near` allows. Far from the quota a measurement is seldom taken and decides nothing: one that falls between
    /// the call and its entry may count the allocation as overhead, too. So the entry comes after a call that takes and before one that gives, which makes
    /// that too much and never too little, and says that the overhead is to be measured again.
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
