//! What a kernel launch does: how long it takes and what it leaves in memory.

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::program::Kernel;
use crate::spec::DeviceSpec;
use crate::stream::{Effect, Op};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Launches of `fcsp_vary` so far, in this process.
static VARIED: AtomicU64 = AtomicU64::new(0);

/// A kernel's launch, with its parameters as bytes.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The driver library's own name for the kernel; not used by the model.
    pub tag: u64,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads a block in each direction.
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub shared: u32,
    /// The parameters, laid out as the kernel declares them.
    pub params: Vec<u8>,
}

impl Launch {
    fn u64(&self, i: usize) -> u64 {
        let mut b = [0; 8];
        if let Some((at, n)) = self.kernel.params.as_ref().and_then(|p| p.get(i)).copied()
            && let Some(part) = self.params.get(at..at + n.min(8))
        {
            b[..part.len()].copy_from_slice(part);
        }
        u64::from_le_bytes(b)
    }

    /// Device time in nanoseconds. `fcsp_vary` takes its second parameter in one launch of as many
    /// as its third says, and its first in the others, as work that depends on data does. A kernel
    /// that the simulator does not know takes 2 us and 5 us a wave of blocks, one block a
    /// multiprocessor.
    pub fn duration(&self, device: &DeviceSpec) -> u64 {
        let moved = |bytes: u64| 2_000 + bytes.saturating_mul(1000) / device.bandwidth;
        match self.kernel.name.as_str() {
            "fcsp_spin" => self.u64(0),
            "fcsp_vary" => {
                // Relaxed: a count; which launch is the long one is nobody's to rely on.
                let nth = VARIED.fetch_add(1, Ordering::Relaxed) + 1;
                self.u64(if nth.is_multiple_of(self.u64(2).max(1)) {
                    1
                } else {
                    0
                })
            }
            "fcsp_fill" => moved(self.u64(2).saturating_mul(4)),
            "fcsp_saxpy" => moved(self.u64(3).saturating_mul(12)),
            "fcsp_trap" => 1_000,
            _ => {
                let blocks: u64 = self.grid.iter().map(|n| u64::from(*n)).product();
                2_000 + blocks.div_ceil(u64::from(device.sm)) * 5_000
            }
        }
    }

    fn effect(&self, memory: &Memory) -> Result {
        let reach = |at: u64, bytes: Option<u64>| match bytes {
            Some(0) => Ok(()),
            Some(n) if memory.covers(at, n) => {
                memory.touch(at, n);
                Ok(())
            }
            _ => Err(Error::IllegalAddress),
        };
        match self.kernel.name.as_str() {
            "fcsp_fill" => {
                let (p, value, n) = (self.u64(0), self.u64(1) as u32, self.u64(2));
                reach(p, n.checked_mul(4))?;
                for i in 0..n {
                    // SAFETY: inside live device memory, checked above; freeing waits for the work
                    // in flight.
                    unsafe { ((p + 4 * i) as *mut u32).write_unaligned(value) };
                }
            }
            "fcsp_saxpy" => {
                let (y, x, n) = (self.u64(0), self.u64(1), self.u64(3));
                let a = f32::from_bits(self.u64(2) as u32);
                reach(y, n.checked_mul(4))?;
                reach(x, n.checked_mul(4))?;
                for i in 0..n {
                    // SAFETY: as above, for both arrays.
                    unsafe {
                        let py = (y + 4 * i) as *mut f32;
                        py.write_unaligned(
                            a * ((x + 4 * i) as *const f32).read_unaligned() + py.read_unaligned(),
                        );
                    }
                }
            }
            "fcsp_trap" => return Err(Error::IllegalAddress),
            _ => {}
        }
        Ok(())
    }

    /// Returns the launch as an operation of a stream.
    pub fn op(&self, device: &DeviceSpec, memory: &Arc<Memory>) -> Op {
        let (me, memory) = (self.clone(), memory.clone());
        let effect: Effect = Box::new(move || me.effect(&memory));
        match self.duration(device) {
            // No time on the engine: it may happen on the caller's thread.
            0 => Op::Instant(effect),
            ns => Op::Engine(ns, effect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;
    use crate::spec::Topology;

    #[test]
    fn durations_follow_the_grid_or_the_declaration() {
        let d = "h100".parse::<Topology>().unwrap().devices[0].clone();
        let launch = |name: &str, grid, params: &[u8]| Launch {
            tag: 0,
            kernel: Arc::new(Program::binary().kernel(name).unwrap()),
            grid,
            block: [32, 1, 1],
            shared: 0,
            params: params.to_vec(),
        };
        assert_eq!(launch("any", [132, 1, 1], &[]).duration(&d), 7_000);
        assert_eq!(launch("any", [133, 2, 1], &[]).duration(&d), 17_000);
        assert_eq!(
            launch("fcsp_spin", [1, 1, 1], &123_456u64.to_le_bytes()).duration(&d),
            123_456
        );
        assert_eq!(
            launch("fcsp_spin", [1, 1, 1], &[]).duration(&d),
            0,
            "a parameter that was not given is zero"
        );
        let params: Vec<u8> = [100u64, 7000, 4]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let vary = launch("fcsp_vary", [1, 1, 1], &params);
        let times: Vec<u64> = (0..9).map(|_| vary.duration(&d)).collect();
        assert_eq!(times, [100, 100, 100, 7000, 100, 100, 100, 7000, 100]);
    }
}
