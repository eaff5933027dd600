//! Brackets around driver calls that change this process's driver account: the changes before and
//! after a call.

use core::cell::Cell;

use fcsp_core::region::physical::Physical;

use super::Device;
use crate::backend::Backend;

/// Calls of more bytes than this get a full bracket however far the quota is ([`Device::passing`]).
/// Another thread's request may be near it, and bytes that count twice for a moment must not refuse
/// it.
const PASSING: u64 = 32 << 20;

/// Bracket around a driver call that changes this process's driver account, until the change is in
/// the slot.
pub struct DriverCall<'a> {
    account: Physical<'a>,
    by: Cell<i64>,
}

impl DriverCall<'_> {
    /// Adds memory that the management library counts.
    #[inline]
    pub fn gained(&self, bytes: u64) {
        self.by.set(self.by.get().saturating_add_unsigned(bytes));
    }

    /// Subtracts memory that the management library counts.
    #[inline]
    pub fn lost(&self, bytes: u64) {
        self.by.set(self.by.get().saturating_sub_unsigned(bytes));
    }
}

impl Drop for DriverCall<'_> {
    fn drop(&mut self) {
        self.account.end(self.by.get());
    }
}

/// Light bracket around a driver call, see [`Device::passing`].
pub struct LightDriverCall<'a, B: Backend> {
    device: &'a Device<B>,
    change: Option<DriverCall<'a>>,
    lost: u64,
}

impl<B: Backend> LightDriverCall<'_, B> {
    /// Records that the call has succeeded. The management library counts `gained` bytes more,
    /// besides the freed ones.
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

    /// Records that the call has failed, and nothing has changed.
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
    /// Brackets a driver call that changes this process's driver account.
    #[inline]
    pub fn change(&self) -> DriverCall<'_> {
        let account = self.physical();
        account.begin();
        DriverCall {
            account,
            by: Cell::new(0),
        }
    }

    /// Brackets a driver call that allocates `bytes`, or frees them if `lost` is not 0. `lost` is
    /// the part that the management library counts.
    ///
    /// Near the quota, and for many bytes, it is a full bracket. Elsewhere a measurement is rare
    /// and decides nothing. If it falls between the call and its record, it may count the
    /// allocation as overhead too. The record therefore comes after a call that allocates and
    /// before one that frees. The error is then too much and never too little, and a new
    /// measurement is requested.
    #[inline]
    pub fn passing(&self, near: bool, bytes: u64, lost: u64) -> LightDriverCall<'_, B> {
        let change = (near || bytes > PASSING).then(|| self.change());
        match &change {
            Some(change) => change.lost(lost),
            None if lost > 0 => self.lost(lost),
            None => {}
        }
        LightDriverCall {
            device: self,
            change,
            lost,
        }
    }
}
