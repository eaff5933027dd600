//! Copies and fills: rows of bytes between places in memory.

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::spec::DeviceSpec;
use crate::stream::{Effect, Op};
use std::sync::Arc;

/// One side of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Address of the first byte.
    pub at: u64,
    /// Bytes from one row to the next.
    pub pitch: u64,
    /// Bytes from one slice to the next.
    pub slice: u64,
    /// True if it must be memory that the device can reach.
    pub device: bool,
}

/// A copy of `depth` slices of `height` rows of `width` bytes.
#[derive(Debug, Clone)]
pub struct Copy {
    /// To.
    pub to: Place,
    /// From.
    pub from: Place,
    /// Bytes a row.
    pub width: u64,
    /// Rows a slice.
    pub height: u64,
    /// Slices.
    pub depth: u64,
    /// The source's bytes, where they were taken at the time of the call.
    pub staged: Option<Arc<Vec<u8>>>,
}

/// Bytes a microsecond between host and device.
const LINK: u64 = 50_000;

impl Copy {
    /// Makes a copy of `n` bytes in one row.
    pub fn linear(to: (u64, bool), from: (u64, bool), n: u64) -> Self {
        let place = |(at, device)| Place {
            at,
            pitch: n,
            slice: n,
            device,
        };
        Self {
            to: place(to),
            from: place(from),
            width: n,
            height: 1,
            depth: 1,
            staged: None,
        }
    }

    /// Returns the sum of its bytes.
    pub fn bytes(&self) -> u64 {
        self.width
            .saturating_mul(self.height)
            .saturating_mul(self.depth)
    }

    /// Checks that the device can reach the sides that it must reach.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if it cannot.
    pub fn check(&self, memory: &Memory) -> Result {
        if self.bytes() == 0 {
            return Ok(());
        }
        for p in [self.to, self.from].iter().filter(|p| p.device) {
            let last = (self.depth - 1) * p.slice + (self.height - 1) * p.pitch + self.width;
            if p.pitch < self.width && self.height > 1 || !memory.covers(p.at, last) {
                return Err(Error::InvalidValue);
            }
        }
        Ok(())
    }

    /// Takes the source's bytes now, so that the caller may change them. For a source that the
    /// device cannot see.
    pub fn stage(&mut self) {
        let mut bytes = vec![0u8; self.bytes() as usize];
        for (i, row) in bytes
            .chunks_exact_mut(self.width.max(1) as usize)
            .enumerate()
        {
            let (z, y) = (i as u64 / self.height, i as u64 % self.height);
            let at = self.from.at + z * self.from.slice + y * self.from.pitch;
            // SAFETY: the caller of the API gave this host range to be read; `row` is our own.
            unsafe { std::ptr::copy_nonoverlapping(at as *const u8, row.as_mut_ptr(), row.len()) };
        }
        self.staged = Some(Arc::new(bytes));
    }

    /// Does it, at host speed.
    ///
    /// # Errors
    /// [`Error::IllegalAddress`] if device memory it names is gone.
    pub fn run(&self, memory: &Memory) -> Result {
        self.check(memory).map_err(|_| Error::IllegalAddress)?;
        if self.bytes() == 0 {
            return Ok(());
        }
        for p in [self.to, self.from].iter().filter(|p| p.device) {
            memory.touch(
                p.at,
                (self.depth - 1) * p.slice + (self.height - 1) * p.pitch + self.width,
            );
        }
        for z in 0..self.depth {
            for y in 0..self.height {
                let to = self.to.at + z * self.to.slice + y * self.to.pitch;
                let from = match &self.staged {
                    Some(bytes) => bytes.as_ptr() as u64 + (z * self.height + y) * self.width,
                    None => self.from.at + z * self.from.slice + y * self.from.pitch,
                };
                // SAFETY: device sides lie in live allocations, checked above, which are freed only
                // after the work in flight; host sides are the API caller's ranges. The two may
                // overlap.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, self.width as usize) };
            }
        }
        Ok(())
    }

    /// Makes it an operation of a stream: on the engine within a device, on a copy engine to and
    /// from the host.
    pub fn op(&self, device: &DeviceSpec, memory: &Arc<Memory>) -> Op {
        // Memory that a graph has yet to make is the device's as well.
        let inside = |p: &Place| p.device && memory.find(p.at).is_none_or(|r| r.on_device());
        let both = inside(&self.to) && inside(&self.from);
        let (me, memory, bytes) = (self.clone(), memory.clone(), self.bytes());
        let effect: Effect = Box::new(move || me.run(&memory));
        if both {
            Op::Engine(
                1_000 + bytes.saturating_mul(2_000) / device.bandwidth,
                effect,
            )
        } else {
            Op::Copy(1_000 + bytes.saturating_mul(1_000) / LINK, effect)
        }
    }
}

/// A fill of `height` rows of `width` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Address of the first element.
    pub at: u64,
    /// Bytes from one row to the next.
    pub pitch: u64,
    /// The value; its low `element` bytes are used.
    pub value: u32,
    /// Bytes an element: 1, 2 or 4.
    pub element: u64,
    /// Elements a row.
    pub width: u64,
    /// Rows.
    pub height: u64,
}

impl Fill {
    fn span(&self) -> u64 {
        if self.width == 0 || self.height == 0 {
            return 0;
        }
        self.pitch
            .saturating_mul(self.height - 1)
            .saturating_add(self.width.saturating_mul(self.element))
    }

    /// Checks it as [`Copy::check`] does.
    pub fn check(&self, memory: &Memory) -> Result {
        let good = matches!(self.element, 1 | 2 | 4)
            && self.at.is_multiple_of(self.element)
            && (self.height <= 1 || self.pitch >= self.width.saturating_mul(self.element))
            && (self.span() == 0 || memory.covers(self.at, self.span()));
        if good {
            Ok(())
        } else {
            Err(Error::InvalidValue)
        }
    }

    /// Does it.
    pub fn run(&self, memory: &Memory) -> Result {
        self.check(memory).map_err(|_| Error::IllegalAddress)?;
        if self.span() == 0 {
            return Ok(());
        }
        memory.touch(self.at, self.span());
        for y in 0..self.height {
            let row = self.at + y * self.pitch;
            // SAFETY: inside live device memory, checked above; aligned to the element, checked by
            // `check` for the first row, and rows that start unaligned are written without relying
            // on it.
            unsafe {
                match self.element {
                    1 => {
                        std::ptr::write_bytes(row as *mut u8, self.value as u8, self.width as usize)
                    }
                    2 => (0..self.width).for_each(|i| {
                        ((row + 2 * i) as *mut u16).write_unaligned(self.value as u16)
                    }),
                    _ => (0..self.width)
                        .for_each(|i| ((row + 4 * i) as *mut u32).write_unaligned(self.value)),
                }
            }
        }
        Ok(())
    }

    /// Makes it an operation of a stream.
    pub fn op(&self, device: &DeviceSpec, memory: &Arc<Memory>) -> Op {
        let (me, memory) = (*self, memory.clone());
        let bytes = self
            .width
            .saturating_mul(self.height)
            .saturating_mul(self.element);
        Op::Engine(
            1_000 + bytes.saturating_mul(1_000) / device.bandwidth,
            Box::new(move || me.run(&memory)),
        )
    }
}
