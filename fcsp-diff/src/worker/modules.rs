//! Operations on modules, libraries and functions.

use super::objects::{Object, PROCESS};
use super::transfers::pattern;
use super::{Done, Thread, code};
use crate::kernels::{BLOCK, TEXT};
use crate::record::{Outcome, checksum};

const NAMES: [&std::ffi::CStr; 4] = [c"fcsp_fill", c"fcsp_saxpy", c"fcsp_spin", c"no_such_kernel"];

impl Thread<'_> {
    pub(super) fn module_load(&mut self, id: u64, choice: u64) -> Done {
        let mut handle = 0u64;
        let (at, text) = (&raw mut handle as u64, TEXT.as_ptr() as u64);
        let made = match choice % 3 {
            0 => self.call("cuModuleLoadDataEx", &[at, text, 0, 0, 0]),
            1 => self.call("cuModuleLoadFatBinary", &[at, text]),
            _ => self.call("cuModuleLoadData", &[at, text]),
        };
        let object = self.of_here('u', handle);
        self.keep(id, made, object)
    }

    pub(super) fn module_unload(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'u')?;
        // What ends a graph may still look at the functions of its nodes.
        if self.in_graph(id) {
            return None;
        }
        self.end_quietly(id, "cuModuleUnload", object.handle)
    }

    pub(super) fn module_function(&mut self, id: u64, choice: u64) -> Done {
        let module = self.here(id, 'u')?;
        let mut function = 0u64;
        let name = NAMES[choice as usize % NAMES.len()];
        let got = self.call(
            "cuModuleGetFunction",
            &[
                &raw mut function as u64,
                module.handle,
                name.as_ptr() as u64,
            ],
        );
        Some(Outcome::new(got).exact(function != 0))
    }

    /// Finds the module's variable, writes it and reads it back.
    pub(super) fn module_global(&mut self, id: u64, value: u64) -> Done {
        let module = self
            .here(id, 'u')
            .filter(|object| object.owner == self.number)?;
        let (mut address, mut bytes) = (0u64, 0u64);
        let got = self.call(
            "cuModuleGetGlobal_v2",
            &[
                &raw mut address as u64,
                &raw mut bytes as u64,
                module.handle,
                c"table".as_ptr() as u64,
            ],
        );
        if got != 0 || !self.captures.is_empty() {
            return Some(Outcome::new(got).exact(bytes));
        }
        let source = pattern(value, bytes);
        let mut back = vec![0u8; bytes as usize];
        let wrote = self.call("cuMemcpyHtoD_v2", &[address, source.as_ptr() as u64, bytes]);
        let read = self.call(
            "cuMemcpyDtoH_v2",
            &[back.as_mut_ptr() as u64, address, bytes],
        );
        let (mut base, mut size) = (0u64, 0u64);
        let range = self.call(
            "cuMemGetAddressRange_v2",
            &[&raw mut base as u64, &raw mut size as u64, address],
        );
        Some(
            Outcome::new(got)
                .exact(bytes)
                .and(wrote)
                .and(read)
                .exact(checksum(&back))
                .and(range),
        )
    }

    pub(super) fn function_ask(&mut self, id: u64, choice: u64) -> Done {
        let function = self.function(id, NAMES[choice as usize % 3])?;
        let mut word = 0u64;
        let at = &raw mut word as u64;
        Some(match choice / 3 % 6 {
            0 => Outcome::new(self.call("cuFuncGetAttribute", &[at, 0, function])).exact(word),
            1 => Outcome::new(self.call("cuFuncGetAttribute", &[at, 3, function])).exact(word),
            2 => Outcome::new(self.call("cuFuncGetAttribute", &[at, 999, function])).exact(word),
            3 => Outcome::new(self.call(
                "cuOccupancyMaxActiveBlocksPerMultiprocessor",
                &[at, function, BLOCK, 0],
            ))
            .exact(word),
            4 => Outcome::new(self.call("cuFuncGetModule", &[at, function])).exact(word != 0),
            _ => {
                let mut blocks = 0u64;
                let got = self.call(
                    "cuOccupancyMaxPotentialBlockSize",
                    &[&raw mut blocks as u64, at, function, 0, 0, 0],
                );
                Outcome::new(got).exact(blocks).exact(word)
            }
        })
    }

    pub(super) fn library_load(&mut self, id: u64, choice: u64) -> Done {
        let mut handle = 0u64;
        let text = if choice % 6 == 5 {
            c"no image".as_ptr() as u64
        } else {
            TEXT.as_ptr() as u64
        };
        let made = self.call(
            "cuLibraryLoadData",
            &[&raw mut handle as u64, text, 0, 0, 0, 0, 0, 0],
        );
        let object = Object {
            kind: 'l',
            handle,
            context: PROCESS,
            ..Object::default()
        };
        self.keep(id, made, object)
    }

    pub(super) fn library_unload(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'l')?;
        // Its kernels may run in any context that this thread has used.
        if !self.captures.is_empty() || self.in_graph(id) || !self.quiet_everywhere() {
            return None;
        }
        let ended = self.call("cuLibraryUnload", &[object.handle]);
        match self.end(id, ended) {
            Some(outcome) => Some(outcome),
            None => code(ended),
        }
    }
}
