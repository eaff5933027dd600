//! Green contexts: a part of the multiprocessors, with streams of its own.

use super::launches::{FillArguments, blocks};
use super::transfers::WINDOW;
use super::{Done, Thread, code};
use crate::kernels::BLOCK;
use crate::record::{Outcome, Value};

/// Room for a `CUdevResource` of any version so far.
type Resource = [u64; 32];
/// `CU_DEV_RESOURCE_TYPE_SM`.
const MULTIPROCESSORS: u64 = 1;
/// `CU_GREEN_CTX_DEFAULT_STREAM`.
const DEFAULT_STREAM: u64 = 1;
/// `CU_STREAM_NON_BLOCKING`, which streams of green contexts must be.
const NON_BLOCKING: u64 = 1;

impl Thread<'_> {
    /// Makes a green context, fills memory by a kernel in a stream of it, and destroys both.
    pub(super) fn green_run(&mut self, library: u64, memory: u64, value: u64, choice: u64) -> Done {
        let code_object = self.usable(library, 'l')?;
        let object = self
            .memory(memory)
            .filter(|object| self.fits(object, false) && object.bytes >= 4)?;
        if !self.captures.is_empty() || self.quiet() != 0 {
            return None;
        }
        let mut kernel = 0u64;
        let name = c"fcsp_fill".as_ptr() as u64;
        let found = self.call(
            "cuLibraryGetKernel",
            &[&raw mut kernel as u64, code_object.handle, name],
        );
        if found != 0 {
            return code(found);
        }
        let (mut whole, mut part, mut rest): (Resource, Resource, Resource) =
            ([0; 32], [0; 32], [0; 32]);
        let asked = self.call(
            "cuDeviceGetDevResource",
            &[self.device(), whole.as_mut_ptr() as u64, MULTIPROCESSORS],
        );
        let (mut groups, fewest) = (1u32, [8, 16, 32, 64][choice as usize % 4]);
        let split = self.call(
            "cuDevSmResourceSplitByCount",
            &[
                part.as_mut_ptr() as u64,
                &raw mut groups as u64,
                whole.as_ptr() as u64,
                rest.as_mut_ptr() as u64,
                0,
                fewest,
            ],
        );
        let mut outcome = Outcome::new(asked).and(split).exact(groups);
        let (mut description, mut green) = (0u64, 0u64);
        if asked != 0 || split != 0 || groups == 0 {
            return Some(outcome);
        }
        let described = self.call(
            "cuDevResourceGenerateDesc",
            &[&raw mut description as u64, part.as_ptr() as u64, 1],
        );
        let made = self.call(
            "cuGreenCtxCreate",
            &[
                &raw mut green as u64,
                description,
                self.device(),
                DEFAULT_STREAM,
            ],
        );
        outcome = outcome.and(described);
        outcome.code = made;
        if made != 0 {
            return Some(outcome);
        }
        let (mut context, mut stream) = (0u64, 0u64);
        outcome = outcome
            .and(self.call("cuCtxFromGreenCtx", &[&raw mut context as u64, green]))
            .and(self.call("cuCtxPushCurrent_v2", &[context]))
            .and(self.call(
                "cuGreenCtxStreamCreate",
                &[&raw mut stream as u64, green, NON_BLOCKING, 0],
            ));
        if stream != 0 {
            let words = object.bytes.min(WINDOW) / 4;
            let arguments = FillArguments {
                address: object.handle,
                value: value as u32,
                words,
            };
            let pointers = arguments.pointers();
            let places = pointers.as_ptr() as u64;
            let launched = self.call(
                "cuLaunchKernel",
                &[
                    kernel,
                    blocks(words),
                    1,
                    1,
                    BLOCK,
                    1,
                    1,
                    0,
                    stream,
                    places,
                    0,
                ],
            );
            outcome = outcome
                .and(launched)
                .and(self.call("cuStreamSynchronize", &[stream]))
                .and(self.call("cuStreamDestroy_v2", &[stream]));
            let mut filled = self.world.objects.lock(memory as u32);
            (filled.known, filled.tainted) = if launched == 0 {
                (words * 4, false)
            } else {
                (0, true)
            };
        }
        let mut popped = 0u64;
        outcome = outcome
            .and(self.call("cuCtxPopCurrent_v2", &[&raw mut popped as u64]))
            .and(self.call("cuGreenCtxDestroy", &[green]));
        let failed = |value: &Value| matches!(value, Value::Exact(code) if *code != 0);
        if let Some(Value::Exact(code)) = outcome.values[3..].iter().find(|value| failed(value)) {
            outcome.code = *code as i32;
        }
        Some(outcome.exact(popped == context))
    }
}
