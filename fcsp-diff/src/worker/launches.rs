//! Operations that launch kernels.

use super::objects::{NOWHERE, Object};
use super::transfers::WINDOW;
use super::{Done, Thread, code};
use crate::kernels::BLOCK;
use crate::record::Outcome;
use fcsp_cuda::ffi::cuda::{CUlaunchAttribute, CUlaunchAttributeValue, CUlaunchConfig};

/// Blocks that cover as many words.
pub(super) fn blocks(words: u64) -> u64 {
    words.div_ceil(BLOCK).max(1)
}

/// Arguments of `fcsp_fill`, and what a launch takes: pointers to them.
pub(super) struct FillArguments {
    pub address: u64,
    pub value: u32,
    pub words: u64,
}

impl FillArguments {
    pub(super) fn pointers(&self) -> [u64; 3] {
        [
            &raw const self.address as u64,
            &raw const self.value as u64,
            &raw const self.words as u64,
        ]
    }
}

impl Thread<'_> {
    /// Returns a function of a module.
    pub(super) fn function(&self, module: u64, name: &std::ffi::CStr) -> Option<u64> {
        let module = self.here(module, 'u')?;
        let mut function = 0u64;
        let got = self.call(
            "cuModuleGetFunction",
            &[
                &raw mut function as u64,
                module.handle,
                name.as_ptr() as u64,
            ],
        );
        (got == 0).then_some(function)
    }

    /// Returns memory, its stream and whether the work is recorded, for a launch that writes it.
    fn target(&self, id: u64, stream: u64) -> Option<(Object, u64, bool)> {
        let object = self.memory(id)?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        (self.reaches(&object, recorded, stream) && object.bytes >= 4)
            .then_some((object, handle, recorded))
    }

    /// Notes that recorded work needs an object other than memory.
    pub(super) fn needs(&mut self, id: u64, recorded: bool) {
        if recorded {
            for capture in &mut self.captures {
                capture.parts.push((id as u32, NOWHERE));
            }
        }
    }

    /// Launches a fill by whatever call `launch` makes of function, blocks and arguments.
    fn fill_by(
        &mut self,
        code_object: u64,
        function: u64,
        (memory, stream, words): (u64, u64, u64),
        value: u64,
        launch: impl FnOnce(&Self, u64, u64, u64, &[u64; 3]) -> i32,
    ) -> Done {
        let (object, handle, recorded) = self.target(memory, stream)?;
        let words = words.min(object.bytes.min(WINDOW) / 4).max(1);
        let arguments = FillArguments {
            address: object.handle,
            value: value as u32,
            words,
        };
        let done = launch(self, function, blocks(words), handle, &arguments.pointers());
        if done == 0 {
            self.needs(code_object, recorded);
            self.wrote(memory, stream, recorded, words * 4);
        }
        code(done)
    }

    pub(super) fn launch_fill(
        &mut self,
        module: u64,
        memory: u64,
        value: u64,
        bytes: u64,
        stream: u64,
    ) -> Done {
        let function = self.function(module, c"fcsp_fill")?;
        let place = (memory, stream, bytes / 4);
        self.fill_by(
            module,
            function,
            place,
            value,
            |thread, function, blocks, handle, arguments| {
                let arguments = arguments.as_ptr() as u64;
                thread.call(
                    "cuLaunchKernel",
                    &[function, blocks, 1, 1, BLOCK, 1, 1, 0, handle, arguments, 0],
                )
            },
        )
    }

    pub(super) fn launch_cooperative(
        &mut self,
        module: u64,
        memory: u64,
        value: u64,
        stream: u64,
    ) -> Done {
        let function = self.function(module, c"fcsp_fill")?;
        let place = (memory, stream, WINDOW);
        self.fill_by(
            module,
            function,
            place,
            value,
            |thread, function, blocks, handle, arguments| {
                let arguments = arguments.as_ptr() as u64;
                thread.call(
                    "cuLaunchCooperativeKernel",
                    &[function, blocks, 1, 1, BLOCK, 1, 1, 0, handle, arguments],
                )
            },
        )
    }

    pub(super) fn launch_ex(
        &mut self,
        module: u64,
        memory: u64,
        value: u64,
        stream: u64,
        choice: u64,
    ) -> Done {
        let function = self.function(module, c"fcsp_fill")?;
        let place = (memory, stream, WINDOW);
        let mut attribute = CUlaunchAttribute {
            id: [2, 8, 0, 0][choice as usize % 4],
            pad: [0; 4],
            value: CUlaunchAttributeValue { pad: [0; 64] },
        };
        attribute.value.priority = 0;
        self.fill_by(
            module,
            function,
            place,
            value,
            |thread, function, blocks, handle, arguments| {
                let config = CUlaunchConfig {
                    gridDimX: blocks as u32,
                    gridDimY: 1,
                    gridDimZ: 1,
                    blockDimX: BLOCK as u32,
                    blockDimY: 1,
                    blockDimZ: 1,
                    sharedMemBytes: 0,
                    hStream: handle as *mut _,
                    attrs: &raw mut attribute,
                    numAttrs: u32::from(choice % 4 < 2),
                };
                thread.call(
                    "cuLaunchKernelEx",
                    &[
                        &raw const config as u64,
                        function,
                        arguments.as_ptr() as u64,
                        0,
                    ],
                )
            },
        )
    }

    pub(super) fn launch_library(
        &mut self,
        library: u64,
        memory: u64,
        value: u64,
        stream: u64,
    ) -> Done {
        let object = self.usable(library, 'l')?;
        let mut kernel = 0u64;
        let got = self.call(
            "cuLibraryGetKernel",
            &[
                &raw mut kernel as u64,
                object.handle,
                c"fcsp_fill".as_ptr() as u64,
            ],
        );
        if got != 0 {
            return code(got);
        }
        self.fill_by(
            library,
            kernel,
            (memory, stream, WINDOW),
            value,
            |thread, kernel, blocks, handle, arguments| {
                let arguments = arguments.as_ptr() as u64;
                thread.call(
                    "cuLaunchKernel",
                    &[kernel, blocks, 1, 1, BLOCK, 1, 1, 0, handle, arguments, 0],
                )
            },
        )
    }

    pub(super) fn launch_saxpy(
        &mut self,
        module: u64,
        to: u64,
        from: u64,
        value: u64,
        stream: u64,
    ) -> Done {
        let function = self.function(module, c"fcsp_saxpy")?;
        let (target, handle, recorded) = self.target(to, stream)?;
        let (source, ..) = self.target(from, stream)?;
        if to == from {
            return None;
        }
        let words = target.bytes.min(source.bytes).min(WINDOW) / 4;
        // Powers of two: a multiplication that rounds could differ between compilers of the kernel.
        let factor = [0.5f32, 1.0, 2.0, 0.25][value as usize % 4];
        let arguments = [
            &raw const target.handle as u64,
            &raw const source.handle as u64,
            &raw const factor as u64,
            &raw const words as u64,
        ];
        let done = self.call(
            "cuLaunchKernel",
            &[
                function,
                blocks(words),
                1,
                1,
                BLOCK,
                1,
                1,
                0,
                handle,
                arguments.as_ptr() as u64,
                0,
            ],
        );
        if done == 0 {
            self.needs(module, recorded);
            let known = |thread: &Self, id: u64| {
                let object = thread.world.objects.lock(id as u32);
                !object.tainted && object.known >= words * 4
            };
            let determined = known(self, to) && known(self, from);
            let (first, second) = (
                self.used(from, stream, recorded),
                self.used(to, stream, recorded),
            );
            if !(recorded || determined && first && second) {
                self.world.objects.lock(to as u32).known = 0;
            }
        }
        code(done)
    }

    pub(super) fn launch_spin(&mut self, module: u64, choice: u64, stream: u64) -> Done {
        let function = self.function(module, c"fcsp_spin")?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        let nanoseconds = [1_000u64, 5_000, 20_000, 100_000][choice as usize % 4];
        let arguments = [&raw const nanoseconds as u64];
        let done = self.call(
            "cuLaunchKernel",
            &[
                function,
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                handle,
                arguments.as_ptr() as u64,
                0,
            ],
        );
        if done == 0 {
            self.needs(module, recorded);
        }
        Some(Outcome::new(done))
    }
}
