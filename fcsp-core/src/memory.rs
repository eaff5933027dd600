//! The memory tracker: may this tenant hold these bytes?
//!
//! The protocol for every allocation is reserve, call the driver, then keep the reservation or give
//! it back. The reservation is what makes two racing processes unable to overcommit.

/// A request that would pass the quota. The caller answers with its vendor's own out-of-memory
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes on top of {used} would pass the quota of {limit}")]
pub struct Denied {
    /// Bytes asked for.
    pub wanted: u64,
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}

/// Memory that a tenant holds and may hold on one device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Held now.
    pub used: u64,
    /// Allowed; `u64::MAX` without a limit.
    pub limit: u64,
    /// Size of the device's memory.
    pub total: u64,
}

impl Usage {
    /// Returns the size of the device's memory as the tenant should see it.
    pub fn visible_total(&self) -> u64 {
        self.limit.min(self.total)
    }

    /// Returns the free memory as the tenant should see it, when the device itself has `physical`
    /// bytes free.
    pub fn visible_free(&self, physical: u64) -> u64 {
        self.limit
            .saturating_sub(self.used)
            .min(physical)
            .min(self.visible_total())
    }
}

/// A hard quota for one tenant on one device. All amounts are bytes.
///
/// Methods that end in `_under` take the limit that their caller has just asked for with
/// [`MemoryTracker::limit`]: one look serves several questions.
///
/// ```
/// use std::sync::Arc;
///
/// use fcsp_core::memory::MemoryTracker;
/// use fcsp_core::region::heap::LocalLedger;
///
/// struct Server {
///     quota: Arc<dyn MemoryTracker + Send + Sync>,
/// }
///
/// let server = Server { quota: Arc::new(LocalLedger::new(80 << 30, 8 << 30)) };
/// let reservation = server.quota.try_hold(1 << 30)?;
/// // The driver is asked here. Without `keep`, the bytes are released.
/// reservation.keep();
/// assert_eq!(server.quota.usage().used, 1 << 30);
/// # Ok::<(), fcsp_core::memory::Denied>(())
/// ```
pub trait MemoryTracker {
    /// Returns the bytes that the tenant may hold, as of now; `u64::MAX` without a limit.
    fn limit(&self) -> u64;

    /// Holds `bytes` if `limit` allows it; otherwise changes nothing, and counts a refusal.
    fn reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied>;

    /// Holds `bytes` whatever the quota says: memory the driver has taken already.
    fn charge(&self, bytes: u64);

    /// Gives `bytes` back that were reserved or charged.
    fn release(&self, bytes: u64);

    /// Returns what is held and allowed under `limit`.
    fn usage_under(&self, limit: u64) -> Usage;

    /// Holds `bytes` if the quota allows it; otherwise changes nothing, and counts a refusal.
    #[inline]
    fn reserve(&self, bytes: u64) -> Result<(), Denied> {
        self.reserve_under(bytes, self.limit())
    }

    /// Does the same for a caller who can do with less, or tries again: a refusal is not counted.
    fn try_reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.reserve_under(bytes, limit)
    }

    /// Does the same without a look for dead processes whose bytes would make room.
    #[inline]
    fn reserve_at_once_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
        self.try_reserve_under(bytes, limit)
    }

    /// Returns what is held and allowed.
    fn usage(&self) -> Usage {
        self.usage_under(self.limit())
    }

    /// Returns the bytes that `limit` leaves.
    #[inline]
    fn room_under(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.usage_under(limit).used)
    }

    /// Returns the bytes that the tenant holds beyond its quota.
    fn over(&self) -> u64 {
        let usage = self.usage();
        usage.used.saturating_sub(usage.limit)
    }

    /// Refuses more than the whole quota, for which no death can make room. Counted.
    fn deny(&self, bytes: u64, limit: u64) -> Denied {
        self.count_refusal(bytes);
        Denied {
            wanted: bytes,
            used: self.usage_under(limit).used,
            limit,
        }
    }

    /// Counts a refusal of `bytes` that no reservation had a part in.
    fn count_refusal(&self, _bytes: u64) {}

    /// Gives back what dead processes held, if it is time to look for them.
    fn reap_if_due(&self) {}

    /// Reserves `bytes` for as long as the returned guard lives; [`Reservation::keep`] makes it
    /// permanent.
    fn try_hold(&self, bytes: u64) -> Result<Reservation<'_, Self>, Denied>
    where
        Self: Sized,
    {
        self.reserve(bytes)?;
        Ok(Reservation {
            tracker: self,
            bytes,
        })
    }
}

/// Forwards every method to the tracker that is pointed to.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: MemoryTracker + ?Sized> MemoryTracker for $pointer {
            #[inline]
            fn limit(&self) -> u64 {
                (**self).limit()
            }

            #[inline]
            fn reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
                (**self).reserve_under(bytes, limit)
            }

            #[inline]
            fn charge(&self, bytes: u64) {
                (**self).charge(bytes);
            }

            #[inline]
            fn release(&self, bytes: u64) {
                (**self).release(bytes);
            }

            fn usage_under(&self, limit: u64) -> Usage {
                (**self).usage_under(limit)
            }

            #[inline]
            fn reserve(&self, bytes: u64) -> Result<(), Denied> {
                (**self).reserve(bytes)
            }

            fn try_reserve_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
                (**self).try_reserve_under(bytes, limit)
            }

            #[inline]
            fn reserve_at_once_under(&self, bytes: u64, limit: u64) -> Result<(), Denied> {
                (**self).reserve_at_once_under(bytes, limit)
            }

            fn usage(&self) -> Usage {
                (**self).usage()
            }

            #[inline]
            fn room_under(&self, limit: u64) -> u64 {
                (**self).room_under(limit)
            }

            fn over(&self) -> u64 {
                (**self).over()
            }

            fn deny(&self, bytes: u64, limit: u64) -> Denied {
                (**self).deny(bytes, limit)
            }

            fn count_refusal(&self, bytes: u64) {
                (**self).count_refusal(bytes);
            }

            fn reap_if_due(&self) {
                (**self).reap_if_due();
            }
        }
    )*};
}

forward!(&T, Box<T>, std::sync::Arc<T>);

/// Bytes held while the driver is being asked. Dropping gives them back.
#[derive(Debug)]
pub struct Reservation<'a, T: MemoryTracker> {
    tracker: &'a T,
    bytes: u64,
}

impl<T: MemoryTracker> Reservation<'_, T> {
    /// Keeps the bytes held until they are released: the driver has granted the request.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl<T: MemoryTracker> Drop for Reservation<'_, T> {
    fn drop(&mut self) {
        self.tracker.release(self.bytes);
    }
}

/// A tracker that limits nothing and counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl MemoryTracker for Unlimited {
    fn limit(&self) -> u64 {
        u64::MAX
    }

    fn reserve_under(&self, _bytes: u64, _limit: u64) -> Result<(), Denied> {
        Ok(())
    }

    fn charge(&self, _bytes: u64) {}

    fn release(&self, _bytes: u64) {}

    fn usage_under(&self, _limit: u64) -> Usage {
        Usage {
            used: 0,
            limit: u64::MAX,
            total: u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::heap::LocalLedger;

    #[test]
    fn a_dropped_reservation_is_a_rollback() {
        let tracker = LocalLedger::new(1 << 30, 1 << 20);
        let held = tracker.try_hold(1 << 19).unwrap();
        assert!(tracker.reserve((1 << 19) + 1).is_err());
        drop(held);
        tracker.try_hold(1 << 20).unwrap().keep();
        assert_eq!(tracker.usage().used, 1 << 20);
        assert_eq!(tracker.usage().visible_free(u64::MAX), 0);
    }

    #[test]
    fn the_tenant_sees_the_smaller_of_quota_and_device() {
        let usage = Usage {
            used: 3,
            limit: 10,
            total: 80,
        };
        assert_eq!(
            (
                usage.visible_total(),
                usage.visible_free(60),
                usage.visible_free(5)
            ),
            (10, 7, 5)
        );
        let usage = Usage {
            used: 30,
            limit: u64::MAX,
            total: 80,
        };
        assert_eq!((usage.visible_total(), usage.visible_free(20)), (80, 20));
    }
}
