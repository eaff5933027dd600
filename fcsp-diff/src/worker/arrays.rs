//! Operations on arrays and mipmapped arrays.

use super::objects::Object;
use super::transfers::pattern;
use super::{Done, Thread};
use crate::record::{Outcome, checksum};
use fcsp_cuda::ffi::cuda::{CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR};

/// Format, bytes of a channel and channels.
const FORMATS: [(u32, u64, u32); 8] = [
    (0x20, 4, 1),
    (0x20, 4, 4),
    (0x01, 1, 1),
    (0x02, 2, 2),
    (0x03, 4, 2),
    (0x10, 2, 4),
    (0x08, 1, 4),
    (0x20, 4, 3),
];
/// Layers, surface access, texture gather; sparse and deferred ones need memory of their own and
/// are left out.
const FLAGS: [u32; 6] = [0, 0, 2, 1, 3, 8];

impl Thread<'_> {
    pub(super) fn array_create(&mut self, id: u64, width: u64, height: u64, choice: u64) -> Done {
        let (format, bytes, channels) = FORMATS[choice as usize % FORMATS.len()];
        let descriptor = CUDA_ARRAY_DESCRIPTOR {
            Width: width as usize,
            Height: height as usize,
            Format: format,
            NumChannels: channels,
        };
        let mut handle = 0u64;
        let made = self.call(
            "cuArrayCreate_v2",
            &[&raw mut handle as u64, &raw const descriptor as u64],
        );
        let object = Object {
            bytes: width,
            more: bytes * u64::from(channels),
            ..self.of_here('a', handle)
        };
        self.keep(id, made, object)
    }

    fn descriptor(
        width: u64,
        height: u64,
        choice: u64,
        flags: u64,
    ) -> (CUDA_ARRAY3D_DESCRIPTOR, u64) {
        let (format, bytes, channels) = FORMATS[choice as usize % FORMATS.len()];
        let descriptor = CUDA_ARRAY3D_DESCRIPTOR {
            Width: width as usize,
            Height: height as usize,
            Depth: [0, 4, 1, 7][(choice / 8) as usize % 4],
            Format: format,
            NumChannels: channels,
            Flags: FLAGS[flags as usize % FLAGS.len()],
        };
        (descriptor, bytes * u64::from(channels))
    }

    pub(super) fn array_create_3d(
        &mut self,
        id: u64,
        width: u64,
        height: u64,
        choice: u64,
        flags: u64,
    ) -> Done {
        let (descriptor, more) = Self::descriptor(width, height, choice, flags);
        let mut handle = 0u64;
        let made = self.call(
            "cuArray3DCreate_v2",
            &[&raw mut handle as u64, &raw const descriptor as u64],
        );
        let object = Object {
            // Only plain arrays are copied.
            bytes: if descriptor.Flags == 0 { width } else { 0 },
            more,
            ..self.of_here('a', handle)
        };
        self.keep(id, made, object)
    }

    pub(super) fn mipmap_create(
        &mut self,
        id: u64,
        width: u64,
        height: u64,
        choice: u64,
        flags: u64,
    ) -> Done {
        let (descriptor, _) = Self::descriptor(width, height, choice, flags);
        let mut handle = 0u64;
        let levels = 1 + (choice ^ flags) % 4;
        let made = self.call(
            "cuMipmappedArrayCreate",
            &[&raw mut handle as u64, &raw const descriptor as u64, levels],
        );
        let object = Object {
            more: levels,
            ..self.of_here('i', handle)
        };
        self.keep(id, made, object)
    }

    pub(super) fn mipmap_level(&mut self, id: u64, choice: u64) -> Done {
        let object = self.here(id, 'i')?;
        let mut level = 0u64;
        // One beyond the last is an error and not a fault.
        let got = self.call(
            "cuMipmappedArrayGetLevel",
            &[
                &raw mut level as u64,
                object.handle,
                choice % (object.more + 1),
            ],
        );
        Some(Outcome::new(got).exact(level != 0))
    }

    pub(super) fn mipmap_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'i')?;
        self.end_quietly(id, "cuMipmappedArrayDestroy", object.handle)
    }

    pub(super) fn array_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'a')?;
        self.end_quietly(id, "cuArrayDestroy", object.handle)
    }

    pub(super) fn array_ask(&mut self, id: u64) -> Done {
        let object = self.here(id, 'a')?;
        // SAFETY: a struct of integers, for which zero is a value.
        let mut descriptor: CUDA_ARRAY3D_DESCRIPTOR = unsafe { std::mem::zeroed() };
        let got = self.call(
            "cuArray3DGetDescriptor_v2",
            &[&raw mut descriptor as u64, object.handle],
        );
        Some(
            Outcome::new(got)
                .exact(descriptor.Width as u64)
                .exact(descriptor.Height as u64)
                .exact(descriptor.Depth as u64)
                .exact(descriptor.Flags)
                .exact(descriptor.NumChannels),
        )
    }

    /// Writes the first row and reads it back.
    pub(super) fn array_copy(&mut self, id: u64, value: u64) -> Done {
        let object = self
            .here(id, 'a')
            .filter(|object| object.owner == self.number)?;
        if object.bytes == 0 || !self.captures.is_empty() {
            return None;
        }
        let bytes = object.bytes * object.more;
        let source = pattern(value, bytes);
        let mut back = vec![0u8; bytes as usize];
        let wrote = self.call(
            "cuMemcpyHtoA_v2",
            &[object.handle, 0, source.as_ptr() as u64, bytes],
        );
        let read = self.call(
            "cuMemcpyAtoH_v2",
            &[back.as_mut_ptr() as u64, object.handle, 0, bytes],
        );
        Some(Outcome::new(wrote).and(read).exact(checksum(&back)))
    }
}
