//! Operations that write and read memory.

use super::objects::{Form, NOWHERE, Object};
use super::{Done, Thread, code};
use crate::program::NULL_STREAM;
use crate::record::{Outcome, checksum};
use fcsp_cuda::ffi::cuda::CUDA_MEMCPY2D;

/// Most bytes of an object that are ever written or read: a simulated device moves them by
/// processor.
pub(super) const WINDOW: u64 = 64 << 10;

/// Returns bytes that are derived from a value.
pub(super) fn pattern(value: u64, bytes: u64) -> Vec<u8> {
    (0..bytes)
        .map(|at| {
            (value
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(at.wrapping_mul(0x85eb_ca6b))
                >> 11) as u8
        })
        .collect()
}

impl Thread<'_> {
    /// Returns memory that can be used in a stream now.
    pub(super) fn memory(&self, id: u64) -> Option<Object> {
        self.here(id, 'm').filter(|object| object.bytes > 0)
    }

    /// Returns true if memory may be touched here. Recorded allocations belong to recorded work
    /// alone, and other threads' memory is excluded.
    pub(super) fn fits(&self, object: &Object, recorded: bool) -> bool {
        (object.form != Form::Recorded || recorded)
            && !(self.world.threads > 0 && object.owner != self.number)
    }

    /// Returns true if memory may be touched in a stream: memory in stream order exists only after
    /// its allocation.
    pub(super) fn reaches(&self, object: &Object, recorded: bool, stream: u64) -> bool {
        self.fits(object, recorded)
            && (object.form != Form::Ordered
                || !recorded && self.in_order(object.pending, stream as u32))
    }

    /// Notes that work of a stream has used memory; whether it came in order after what was there.
    pub(super) fn used(&mut self, id: u64, stream: u64, recorded: bool) -> bool {
        if recorded {
            for capture in &mut self.captures {
                capture.parts.push((id as u32, stream as u32));
            }
            return false;
        }
        let (last, racing) = {
            let object = self.world.objects.lock(id as u32);
            (object.pending, object.racing)
        };
        let ordered = !racing && self.in_order(last, stream as u32);
        self.world.objects.lock(id as u32).pending = stream as u32;
        if !ordered {
            // Whatever work in flight writes may come of what it reads here before or after.
            self.world.objects.each(|_, object| {
                if object.owner == self.number && object.pending != NOWHERE {
                    (object.tainted, object.racing) = (true, true);
                    object.known = 0;
                }
            });
        }
        ordered
    }

    /// Records a write after which the first bytes of memory are determined.
    pub(super) fn wrote(&mut self, id: u64, stream: u64, recorded: bool, bytes: u64) {
        if self.used(id, stream, recorded) {
            let mut object = self.world.objects.lock(id as u32);
            if bytes >= object.bytes.min(WINDOW) {
                object.tainted = false;
            }
            object.known = object.known.max(bytes);
        }
    }

    /// Records a copy of `bytes` from other memory.
    fn copied(&mut self, to: u64, from: u64, stream: u64, recorded: bool, bytes: u64) {
        let source = self.used(from, stream, recorded);
        let determined = {
            let object = self.world.objects.lock(from as u32);
            source && !object.tainted && object.known >= bytes
        };
        if determined {
            self.wrote(to, stream, recorded, bytes);
        } else if self.used(to, stream, recorded) || !recorded {
            self.world.objects.lock(to as u32).known = 0;
        }
    }

    pub(super) fn fill(&mut self, id: u64, value: u64, choice: u64, stream: Option<u64>) -> Done {
        let object = self.memory(id)?;
        let at = stream.unwrap_or(u64::from(NULL_STREAM));
        let handle = self.stream(at)?;
        let recorded = stream.is_some() && self.recording(at, handle);
        if !self.reaches(&object, recorded, at) {
            return None;
        }
        let window = object.bytes.min(WINDOW);
        let (width, plain, with_stream) = match choice % 3 {
            0 => (1, "cuMemsetD8_v2", "cuMemsetD8Async"),
            1 => (2, "cuMemsetD16_v2", "cuMemsetD16Async"),
            _ => (4, "cuMemsetD32_v2", "cuMemsetD32Async"),
        };
        let value = value & (0xffff_ffff >> (32 - 8 * width));
        let done = match stream {
            None => self.call(plain, &[object.handle, value, window / width]),
            Some(_) => self.call(with_stream, &[object.handle, value, window / width, handle]),
        };
        if done == 0 {
            self.wrote(id, at, recorded, window / width * width);
        }
        code(done)
    }

    pub(super) fn fill_2d(&mut self, id: u64, value: u64, width: u64, height: u64) -> Done {
        let object = self
            .memory(id)
            .filter(|object| self.reaches(object, false, u64::from(NULL_STREAM)))?;
        let (width, height) = (width % 256, height % 64);
        let pitch = width.next_multiple_of(64) + 64;
        if pitch * height > object.bytes.min(WINDOW) {
            return None;
        }
        let done = self.call(
            "cuMemsetD2D8_v2",
            &[object.handle, pitch, value & 0xff, width, height],
        );
        if done == 0 {
            self.used(id, u64::from(NULL_STREAM), false);
        }
        code(done)
    }

    pub(super) fn write(&mut self, id: u64, value: u64, bytes: u64) -> Done {
        let object = self
            .memory(id)
            .filter(|object| self.reaches(object, false, u64::from(NULL_STREAM)))?;
        let bytes = bytes.min(WINDOW).min(object.bytes);
        let source = pattern(value, bytes);
        let done = self.call(
            "cuMemcpyHtoD_v2",
            &[object.handle, source.as_ptr() as u64, bytes],
        );
        if done == 0 && bytes > 0 {
            self.wrote(id, u64::from(NULL_STREAM), false, bytes);
        }
        code(done)
    }

    pub(super) fn copy(&mut self, to: u64, from: u64, bytes: u64, stream: Option<u64>) -> Done {
        let (target, source) = (self.memory(to)?, self.memory(from)?);
        let at = stream.unwrap_or(u64::from(NULL_STREAM));
        let handle = self.stream(at)?;
        let recorded = stream.is_some() && self.recording(at, handle);
        if to == from
            || !self.reaches(&target, recorded, at)
            || !self.reaches(&source, recorded, at)
        {
            return None;
        }
        let bytes = bytes.min(WINDOW).min(target.bytes).min(source.bytes);
        let done = match stream {
            None => self.call("cuMemcpyDtoD_v2", &[target.handle, source.handle, bytes]),
            Some(_) => self.call(
                "cuMemcpyDtoDAsync_v2",
                &[target.handle, source.handle, bytes, handle],
            ),
        };
        if done == 0 && bytes > 0 {
            self.copied(to, from, at, recorded, bytes);
        }
        code(done)
    }

    pub(super) fn copy_2d(&mut self, to: u64, from: u64, width: u64, height: u64) -> Done {
        let (target, source) = (self.memory(to)?, self.memory(from)?);
        let null = u64::from(NULL_STREAM);
        if to == from || !self.reaches(&target, false, null) || !self.reaches(&source, false, null)
        {
            return None;
        }
        let (width, height) = (width % 256 + 1, height % 64 + 1);
        let pitch = 256u64;
        if pitch * height > target.bytes.min(source.bytes).min(WINDOW) {
            return None;
        }
        // SAFETY: a struct of integers and addresses, for which zero is a value.
        let mut copy: CUDA_MEMCPY2D = unsafe { std::mem::zeroed() };
        (copy.srcMemoryType, copy.srcDevice, copy.srcPitch) = (2, source.handle, pitch as usize);
        (copy.dstMemoryType, copy.dstDevice, copy.dstPitch) = (2, target.handle, pitch as usize);
        (copy.WidthInBytes, copy.Height) = (width as usize, height as usize);
        let done = self.call("cuMemcpy2D_v2", &[&raw const copy as u64]);
        if done == 0 {
            let known = self.world.objects.lock(from as u32).known;
            self.used(from, null, false);
            self.used(to, null, false);
            if known < pitch * height || self.world.objects.lock(from as u32).tainted {
                self.world.objects.lock(to as u32).known = 0;
            }
        }
        code(done)
    }

    pub(super) fn read(&mut self, id: u64) -> Done {
        let object = self.memory(id).filter(|object| self.fits(object, false))?;
        if !self.captures.is_empty() {
            return None;
        }
        let quiet = self.quiet();
        let bytes = if object.tainted { 0 } else { object.known };
        let mut into = vec![0u8; bytes.max(8).min(object.bytes) as usize];
        let done = self.call(
            "cuMemcpyDtoH_v2",
            &[into.as_mut_ptr() as u64, object.handle, into.len() as u64],
        );
        into.truncate(bytes as usize);
        Some(Outcome::new(done).and(quiet).exact(checksum(&into)))
    }

    pub(super) fn host_write(&mut self, id: u64, value: u64) -> Done {
        let object = self
            .usable(id, 'h')
            .filter(|object| object.owner == self.number)?;
        if object.pending != NOWHERE || object.racing || object.bytes == 0 {
            return None;
        }
        let bytes = object.bytes.min(WINDOW);
        let source = pattern(value, bytes);
        // SAFETY: host memory that the driver allocated with at least as many bytes, and that no
        // stream uses.
        unsafe {
            std::ptr::copy_nonoverlapping(source.as_ptr(), object.handle as *mut u8, bytes as usize)
        };
        let mut object = self.world.objects.lock(id as u32);
        object.known = bytes;
        object.tainted = false;
        Some(Outcome::new(0))
    }

    /// Copies between device and host memory in a stream.
    pub(super) fn with_host(
        &mut self,
        id: u64,
        host: u64,
        bytes: u64,
        stream: u64,
        to_device: bool,
    ) -> Done {
        let device = self.memory(id)?;
        let memory = self.here(host, 'h').filter(|object| object.bytes > 0)?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        if !self.reaches(&device, recorded, stream) || !self.fits(&memory, recorded) {
            return None;
        }
        let bytes = bytes.min(WINDOW).min(device.bytes).min(memory.bytes);
        let done = if to_device {
            self.call(
                "cuMemcpyHtoDAsync_v2",
                &[device.handle, memory.handle, bytes, handle],
            )
        } else {
            self.call(
                "cuMemcpyDtoHAsync_v2",
                &[memory.handle, device.handle, bytes, handle],
            )
        };
        if done == 0 && bytes > 0 {
            let (to, from) = if to_device { (id, host) } else { (host, id) };
            self.copied(to, from, stream, recorded, bytes);
        }
        code(done)
    }

    pub(super) fn host_read(&mut self, id: u64) -> Done {
        let object = self
            .here(id, 'h')
            .filter(|object| object.owner == self.number)?;
        if !self.captures.is_empty() || self.quiet() != 0 || object.bytes == 0 {
            return None;
        }
        let object = self.world.objects.get(id as u32);
        let bytes = if object.tainted { 0 } else { object.known };
        // SAFETY: host memory that the driver allocated with more bytes, of which these are
        // written; no stream uses it.
        let contents =
            unsafe { std::slice::from_raw_parts(object.handle as *const u8, bytes as usize) };
        Some(Outcome::new(0).exact(checksum(contents)))
    }

    /// `cuStreamWriteValue32` to the first word.
    pub(super) fn stream_write(&mut self, stream: u64, id: u64, value: u64) -> Done {
        let object = self.memory(id).filter(|object| object.bytes >= 4)?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        if !self.reaches(&object, recorded, stream) {
            return None;
        }
        let done = self.call(
            "cuStreamWriteValue32_v2",
            &[handle, object.handle, value & 0xffff_ffff, 0],
        );
        if done == 0 {
            self.used(id, stream, recorded);
        }
        code(done)
    }
}
