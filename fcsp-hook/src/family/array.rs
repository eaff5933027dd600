//! Arrays and mipmapped arrays whose size the driver does not report, so that it is computed.

use crate::backend::Backend;
use crate::memory::{self, Request};
use crate::process::Target;
use crate::setup::Reentry;

/// Shape of an array or of one of its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Width, height and depth in elements; 0 for a dimension that the array does not have.
    pub sides: [u64; 3],
    /// Bytes of one element, all channels included.
    pub element: u64,
    /// True if the slices are separate pictures: no mipmap level halves their number.
    pub is_layered: bool,
}

impl Shape {
    /// Returns the shape of a mipmap level. A side of at least 1 stays at least 1.
    fn level(self, level: u32) -> Self {
        let shrink = |side: u64| if side == 0 { 0 } else { (side >> level).max(1) };
        let [width, height, depth] = self.sides;
        let depth = if self.is_layered {
            depth
        } else {
            shrink(depth)
        };
        Self {
            sides: [shrink(width), shrink(height), depth],
            ..self
        }
    }

    /// Returns the bytes of the first `levels` levels, of 1 to 32. `level_bytes` returns the bytes
    /// of one level. The sum ends at [`u64::MAX`].
    pub fn bytes(self, levels: u32, level_bytes: impl Fn(Self) -> u64) -> u64 {
        (0..levels.clamp(1, 32))
            .map(|level| level_bytes(self.level(level)))
            .fold(0, u64::saturating_add)
    }
}

/// Returns the bytes of one channel of an element, by the number of its format. For
/// block-compressed and planar formats, which the low numbers do not cover, it returns the largest.
pub fn channel_bytes(format: u32) -> u64 {
    match format {
        0x01 | 0x08 => 1,
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => 4,
    }
}

/// Makes an array through `call`; then `handle` reads its handle. `charge` bytes are charged.
/// `taken` bytes are the most that the driver takes: the rest of shared pages shows in the
/// overhead. `target` returns the target of the call.
pub fn create<B: Backend>(
    what: &'static str,
    charge: u64,
    taken: u64,
    target: impl FnOnce() -> Target<B>,
    call: impl Fn() -> B::Status,
    handle: impl Fn() -> u64,
) -> B::Status {
    let Some(_inside) = Reentry::enter() else {
        return call();
    };
    let (device, context) = match target() {
        Target::Device(device, context) => (device, context),
        Target::PassThrough => return call(),
        Target::Deny => return B::OUT_OF_MEMORY,
    };
    let request = Request {
        what,
        bytes: charge,
        counted: true,
    };
    memory::allocate_sharing(device, context, request, taken - charge, call, handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(shape: Shape) -> u64 {
        let sides = shape.sides.map(|side| side.max(1));
        sides
            .into_iter()
            .fold(shape.element, |bytes, side| bytes.saturating_mul(side))
    }

    #[test]
    fn levels_halve_every_side_that_is_not_layered() {
        let mut shape = Shape {
            sides: [8, 4, 4],
            element: 1,
            is_layered: false,
        };
        assert_eq!(shape.bytes(3, volume), 128 + 4 * 2 * 2 + 2);
        shape.is_layered = true;
        assert_eq!(shape.bytes(3, volume), 128 + 4 * 2 * 4 + 2 * 4);
        shape.sides = [8, 0, 0];
        assert_eq!(shape.bytes(2, |level| level.sides[1] + level.sides[2]), 0);
    }

    #[test]
    fn sums_never_overflow() {
        let shape = Shape {
            sides: [u64::MAX; 3],
            element: 16,
            is_layered: true,
        };
        assert_eq!(shape.bytes(u32::MAX, volume), u64::MAX);
        assert_eq!(shape.bytes(0, volume), u64::MAX);
    }
}
