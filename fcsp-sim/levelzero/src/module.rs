//! Modules: program images in the intermediate language, of which the entry points are read and no
//! instruction, or in a device's own language, which have a kernel of every name.

use crate::abi::{In, Out, Text};
use crate::codes::{
    INVALID_ENUMERATION, INVALID_GLOBAL_NAME, INVALID_KERNEL_NAME, INVALID_NATIVE_BINARY,
    INVALID_SIZE, MODULE_BUILD_FAILURE, Reply,
};
use crate::driver::{Context, device, driver};
use crate::export::api;
use crate::structs::{ModuleDesc, ModuleProperties};
use fcsp_sim::memory::Kind;
use fcsp_sim::program::{Kernel, Program};
use fcsp_sim::strict::{Rule, fatal, is_on};
use std::ffi::CString;
use std::sync::Arc;

/// One module.
#[derive(Debug)]
pub struct Module {
    /// Its context.
    pub context: Arc<Context>,
    /// The device's position on the machine.
    pub device: usize,
    program: Program,
    image: Vec<u8>,
    names: Vec<CString>,
    /// Where its code is on the device.
    code: u64,
}

const SPIRV: u32 = 0x0723_0203;
const ENTRY_POINT: u32 = 15;

/// Returns the names of a SPIR-V module's entry points, or nothing if it is none. A module that
/// declares none has a kernel of any name, so that a header alone is a module for tests.
fn spirv(image: &[u8]) -> Option<Vec<String>> {
    let words: Vec<u32> = image
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    if words.len() < 5 || words[0] != SPIRV {
        return None;
    }
    let mut names = Vec::new();
    let mut at = 5;
    while at < words.len() {
        let (length, code) = ((words[at] >> 16) as usize, words[at] & 0xffff);
        if length == 0 || at + length > words.len() {
            return None;
        }
        if code == ENTRY_POINT && length > 3 {
            let bytes: Vec<u8> = words[at + 3..at + length]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .take_while(|b| *b != 0)
                .collect();
            names.push(String::from_utf8(bytes).ok()?);
        }
        at += length;
    }
    Some(names)
}

impl Module {
    /// Returns the kernel of a name.
    pub fn kernel(&self, name: &str) -> Reply<Kernel> {
        self.program.kernel(name).map_err(|_| INVALID_KERNEL_NAME)
    }
}

fn load(desc: &ModuleDesc) -> Reply<(Program, Vec<u8>, Vec<CString>)> {
    if desc.input_size == 0 {
        return Err(INVALID_SIZE);
    }
    let image =
        In::<u8>::from_raw(desc.input_module as *const u8).list(desc.input_size as usize)?;
    let mut program = Program::binary();
    let mut names = Vec::new();
    match desc.format {
        0 => {
            let entries = spirv(&image).ok_or(MODULE_BUILD_FAILURE)?;
            program.open = entries.is_empty();
            for name in entries {
                // What the model knows of a kernel of this name, declared by this image.
                let k = Program::binary()
                    .kernel(&name)
                    .map_err(|_| MODULE_BUILD_FAILURE)?;
                program.kernels.push(k);
                names.push(CString::new(name).map_err(|_| MODULE_BUILD_FAILURE)?);
            }
        }
        1 if image.len() >= 4 => {}
        1 => return Err(INVALID_NATIVE_BINARY),
        _ => return Err(INVALID_ENUMERATION),
    }
    Ok((program, image, names))
}

fn create(context: u64, on: u64, desc: In<ModuleDesc>, place: Out<u64>) -> Reply {
    let (d, device) = device(on)?;
    let c = d.contexts.get(context)?;
    place.need()?;
    let (program, image, names) = load(&desc.get()?)?;
    let size = image.len() as u64;
    c.on(device)?;
    // Code lives in device memory, in whole pages.
    let code = d.memory.alloc_pages(
        device,
        c.handle,
        size,
        crate::memory::SMALL_PAGE,
        Kind::Device,
    )?;
    place.put(d.modules.add(Module {
        context: c,
        device,
        program,
        image,
        names,
        code,
    }))
}

api! {
    fn zeModuleCreate(context: u64, on: u64, desc: In<ModuleDesc>, place: Out<u64>, log: Out<u64>) {
        let done = create(context, on, desc, place);
        if !log.is_null() {
            let text = if done.is_err() { "the module cannot be read" } else { "" };
            log.put(driver()?.logs.add(text.to_string()))?;
        }
        done
    }
    fn zeModuleDestroy(handle: u64) {
        let d = driver()?;
        let m = d.modules.remove(handle)?;
        // "The application must destroy all kernel handles created from the module before
        // destroying the module itself."
        if let Some(k) = d.kernels.handle_of(|k| Arc::ptr_eq(&k.module, &m))
            && is_on(Rule::Handles)
        {
            fatal(&format!("module {handle:#x} still has kernel {k:#x}"));
        }
        m.context.settle()?;
        Ok(d.memory.free(m.code, false)?)
    }
    /// Modules are whole here: nothing is left open between them.
    fn zeModuleDynamicLink(count: u32, modules: In<u64>, log: Out<u64>) {
        let d = driver()?;
        for h in modules.list(count as usize)? {
            d.modules.get(h)?;
        }
        if !log.is_null() {
            log.put(d.logs.add(String::new()))?;
        }
        Ok(())
    }
    fn zeModuleGetNativeBinary(handle: u64, size: Out<u64>, place: Out<u8>) {
        let m = driver()?.modules.get(handle)?;
        if !place.is_null() {
            let n = (size.get()? as usize).min(m.image.len());
            m.image.iter().take(n).enumerate().for_each(|(i, b)| place.set_at(i, *b));
        }
        size.put(m.image.len() as u64)
    }
    fn zeModuleGetKernelNames(handle: u64, count: Out<u32>, place: Out<u64>) {
        let m = driver()?.modules.get(handle)?;
        let all: Vec<u64> = m.names.iter().map(|n| n.as_ptr() as u64).collect();
        crate::abi::put_list(count, place, &all)
    }
    fn zeModuleGetProperties(handle: u64, place: Out<ModuleProperties>) {
        driver()?.modules.get(handle)?;
        let mut p = place.get()?;
        p.flags = 0;
        place.put(p)
    }
    fn zeModuleGetGlobalPointer(handle: u64, _name: Text, _size: Out<u64>, _place: Out<u64>) {
        driver()?.modules.get(handle)?;
        let none: Reply = Err(INVALID_GLOBAL_NAME);
        none
    }
    fn zeModuleBuildLogDestroy(handle: u64) {
        driver()?.logs.remove(handle)?;
        Ok(())
    }
    fn zeModuleBuildLogGetString(handle: u64, size: Out<u64>, place: Out<u8>) {
        let log = driver()?.logs.get(handle)?;
        if !place.is_null() {
            let n = (size.get()? as usize).min(log.len() + 1);
            let bytes = log.bytes().chain([0]);
            bytes.take(n).enumerate().for_each(|(i, b)| place.set_at(i, b));
        }
        size.put(log.len() as u64 + 1)
    }
}
