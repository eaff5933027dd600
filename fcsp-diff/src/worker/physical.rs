//! Operations on physical memory and ranges of addresses.

use super::objects::{Form, Object, PROCESS};
use super::{Done, Thread, code};
use crate::record::{Outcome, checksum};
use fcsp_cuda::ffi::cuda::{CUmemAccessDesc, CUmemAllocationProp, CUmemLocation};

impl Thread<'_> {
    fn properties(&self, exportable: bool) -> CUmemAllocationProp {
        CUmemAllocationProp {
            type_: 1,
            requestedHandleTypes: u32::from(exportable),
            location: CUmemLocation {
                type_: 1,
                id: self.device() as i32,
            },
            win32HandleMetaData: std::ptr::null_mut(),
            compressionType: 0,
            gpuDirectRDMACapable: 0,
            usage: 0,
            reserved: [0; 4],
        }
    }

    fn granularity(&self) -> u64 {
        let (mut bytes, properties) = (0u64, self.properties(false));
        self.call(
            "cuMemGetAllocationGranularity",
            &[&raw mut bytes as u64, &raw const properties as u64, 0],
        );
        bytes.max(1 << 16)
    }

    pub(super) fn physical_create(&mut self, id: u64, choice: u64, kind: u64) -> Done {
        let properties = self.properties(kind % 2 == 1);
        let bytes = self.granularity() * (1 + choice % 3);
        let mut handle = 0u64;
        let made = self.call(
            "cuMemCreate",
            &[
                &raw mut handle as u64,
                bytes,
                &raw const properties as u64,
                0,
            ],
        );
        let object = Object {
            kind: 'y',
            handle,
            bytes,
            form: if kind % 2 == 1 {
                Form::Exportable
            } else {
                Form::Plain
            },
            context: PROCESS,
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    /// Releases; memory that is mapped stays until it is unmapped.
    pub(super) fn physical_release(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'y')?;
        let ended = self.call("cuMemRelease", &[object.handle]);
        self.end(id, ended)
    }

    pub(super) fn physical_ask(&mut self, id: u64) -> Done {
        let object = self.usable(id, 'y')?;
        let mut properties = self.properties(false);
        properties.type_ = 0;
        let got = self.call(
            "cuMemGetAllocationPropertiesFromHandle",
            &[&raw mut properties as u64, object.handle],
        );
        Some(
            Outcome::new(got)
                .exact(properties.type_)
                .exact(properties.requestedHandleTypes)
                .exact(properties.location.type_)
                .exact(properties.location.id as u64),
        )
    }

    pub(super) fn physical_import(&mut self, id: u64, from: u64) -> Done {
        let object = self.usable(from, 'y')?;
        let shared = self.is_shared(&object);
        let mut descriptor = -1i32;
        let exported = self.call(
            "cuMemExportToShareableHandle",
            &[&raw mut descriptor as u64, object.handle, 1, 0],
        );
        if exported != 0 {
            return code(exported);
        }
        let mut handle = 0u64;
        let made = self.call(
            "cuMemImportFromShareableHandle",
            &[&raw mut handle as u64, descriptor as u64, 1],
        );
        // SAFETY: a descriptor that the driver has just given to this process.
        unsafe { libc::close(descriptor) };
        let object = Object {
            kind: 'y',
            handle,
            bytes: object.bytes,
            form: Form::Exportable,
            context: PROCESS,
            more: u64::from(shared),
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    /// Returns true if other threads may write physical memory as well.
    fn is_shared(&self, memory: &Object) -> bool {
        self.world.threads > 0 && (memory.owner != self.number || memory.more == 1)
    }

    pub(super) fn range_reserve(&mut self, id: u64, choice: u64) -> Done {
        let bytes = self.granularity() * (1 + choice % 4);
        let mut handle = 0u64;
        let made = self.call(
            "cuMemAddressReserve",
            &[&raw mut handle as u64, bytes, 0, 0, 0],
        );
        let object = Object {
            kind: 'r',
            handle,
            bytes,
            context: PROCESS,
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    pub(super) fn range_free(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'r')?;
        if object.extra != 0 && self.range_unmap(id)?.code != 0 {
            return None;
        }
        let ended = self.call("cuMemAddressFree", &[object.handle, object.bytes]);
        self.end(id, ended)
    }

    pub(super) fn range_map(&mut self, id: u64, physical: u64) -> Done {
        let range = self.ending(id, 'r')?;
        let memory = self.usable(physical, 'y')?;
        if range.extra != 0 || memory.bytes > range.bytes {
            return None;
        }
        let mapped = self.call(
            "cuMemMap",
            &[range.handle, memory.bytes, 0, memory.handle, 0],
        );
        if mapped == 0 {
            let mut range = self.world.objects.lock(id as u32);
            (range.extra, range.more) = (memory.bytes, 0);
            range.tainted = self.is_shared(&memory);
        }
        code(mapped)
    }

    pub(super) fn range_access(&mut self, id: u64, choice: u64) -> Done {
        let range = self.ending(id, 'r').filter(|object| object.extra != 0)?;
        let description = CUmemAccessDesc {
            location: CUmemLocation {
                type_: 1,
                id: self.device() as i32,
            },
            flags: [3, 3, 3, 1, 7][choice as usize % 5],
        };
        let set = self.call(
            "cuMemSetAccess",
            &[range.handle, range.extra, &raw const description as u64, 1],
        );
        if set == 0 {
            self.world.objects.lock(id as u32).more = u64::from(description.flags == 3);
        }
        let (mut flags, location) = (0u64, description.location);
        let got = self.call(
            "cuMemGetAccess",
            &[
                &raw mut flags as u64,
                &raw const location as u64,
                range.handle,
            ],
        );
        Some(Outcome::new(set).and(got).exact(flags))
    }

    pub(super) fn range_unmap(&mut self, id: u64) -> Done {
        let range = self.ending(id, 'r').filter(|object| object.extra != 0)?;
        if !self.captures.is_empty() || self.quiet() != 0 {
            return None;
        }
        let unmapped = self.call("cuMemUnmap", &[range.handle, range.extra]);
        if unmapped == 0 {
            let mut range = self.world.objects.lock(id as u32);
            (range.extra, range.more) = (0, 0);
        }
        code(unmapped)
    }

    /// Fills the start of mapped memory and reads it back.
    pub(super) fn range_use(&mut self, id: u64, value: u64) -> Done {
        let range = self.ending(id, 'r').filter(|object| object.more == 1)?;
        if !self.captures.is_empty() || self.current().is_none() {
            return None;
        }
        let filled = self.call("cuMemsetD32_v2", &[range.handle, value & 0xffff_ffff, 256]);
        let mut back = [0u8; 1024];
        let read = self.call(
            "cuMemcpyDtoH_v2",
            &[back.as_mut_ptr() as u64, range.handle, 1024],
        );
        let sum = if range.tainted { 0 } else { checksum(&back) };
        Some(Outcome::new(filled).and(read).exact(sum))
    }

    pub(super) fn range_retain(&mut self, id: u64) -> Done {
        let range = self.ending(id, 'r').filter(|object| object.extra != 0)?;
        let mut handle = 0u64;
        let retained = self.call(
            "cuMemRetainAllocationHandle",
            &[&raw mut handle as u64, range.handle],
        );
        if retained != 0 {
            return code(retained);
        }
        Some(Outcome::new(retained).and(self.call("cuMemRelease", &[handle])))
    }
}
