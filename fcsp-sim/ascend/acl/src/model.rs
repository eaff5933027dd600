//! Offline models. The simulated format is a line of text, `fcsp-model weights=N work=N ns=N`:
//! bytes of weights, bytes of working memory, nanoseconds of one execution. As in the original,
//! loading takes memory and binds a stream to a model of the runtime, whose work is recorded then
//! and runs at each execution.

use crate::data::Dataset;
use crate::{INVALID_PARAM, rt};
use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const INVALID_FILE: i32 = 100_003;
const INVALID_MODEL_ID: i32 = 100_011;
const PARSE_MODEL: i32 = 100_013;
/// What the executor of models tells the runtime it is.
const EXECUTOR: u16 = 45;

#[derive(Debug, Clone, Copy, Default)]
struct Image {
    weights: u64,
    work: u64,
    ns: u64,
}

impl Image {
    fn parse(bytes: &[u8]) -> Result<Self, i32> {
        let text = std::str::from_utf8(bytes).map_err(|_| PARSE_MODEL)?;
        let mut words = text.trim_end_matches('\0').split_whitespace();
        if words.next() != Some("fcsp-model") {
            return Err(PARSE_MODEL);
        }
        let mut image = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or(PARSE_MODEL)?;
            let value = value.parse().map_err(|_| PARSE_MODEL)?;
            match key {
                "weights" => image.weights = value,
                "work" => image.work = value,
                "ns" => image.ns = value,
                _ => return Err(PARSE_MODEL),
            }
        }
        Ok(image)
    }
}

#[derive(Debug)]
struct Loaded {
    model: u64,
    stream: u64,
    binary: u64,
    own: Vec<u64>,
}

impl Loaded {
    fn unload(self) {
        // SAFETY: handles and addresses that the runtime gave to `load`.
        unsafe {
            rt::rtModelDestroy(self.model);
            rt::rtStreamDestroy(self.stream);
            rt::rtBinaryUnLoad(self.binary);
            for at in self.own {
                rt::rtFree(at);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Models {
    last: u32,
    live: HashMap<u32, Loaded>,
}

fn models() -> MutexGuard<'static, Models> {
    static MODELS: LazyLock<Mutex<Models>> = LazyLock::new(Mutex::default);
    MODELS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ok(code: i32) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Nothing but the first bytes of an image is looked at.
static CODE: [u8; 15] = *b"\x7fELF fcsp model";

fn load(image: Image, given: Option<(u64, u64, u64, u64)>) -> Result<u32, i32> {
    let mut own = Vec::new();
    let mut loaded = Loaded {
        model: 0,
        stream: 0,
        binary: 0,
        own: Vec::new(),
    };
    let sizes = match given {
        Some((_, work, _, weights)) if work < image.work || weights < image.weights => {
            return Err(INVALID_PARAM);
        }
        Some(_) => [0, 0],
        None => [image.weights, image.work],
    };
    let result = (|| {
        for size in sizes.into_iter().filter(|n| *n > 0) {
            let mut at = 0;
            // SAFETY: writes one address that outlives the call.
            ok(unsafe { rt::rtMalloc(&mut at, size, 0, EXECUTOR) })?;
            own.push(at);
        }
        let mut function = 0;
        let args = image.ns;
        // SAFETY: every place outlives its call; the launch reads its arguments before it returns.
        unsafe {
            ok(rt::rtBinaryLoadWithoutTilingKey(
                CODE.as_ptr() as u64,
                CODE.len() as u64,
                &mut loaded.binary,
            ))?;
            ok(rt::rtsFuncGetByName(
                loaded.binary,
                c"fcsp_spin".as_ptr() as u64,
                &mut function,
            ))?;
            ok(rt::rtStreamCreate(&mut loaded.stream, 0))?;
            ok(rt::rtModelCreate(&mut loaded.model, 0))?;
            ok(rt::rtModelBindStream(loaded.model, loaded.stream, 0))?;
            ok(rt::rtsLaunchKernelWithHostArgs(
                function,
                1,
                loaded.stream,
                0,
                (&raw const args) as u64,
                8,
                0,
                0,
            ))?;
            ok(rt::rtModelLoadComplete(loaded.model))
        }
    })();
    loaded.own = own;
    if let Err(code) = result {
        loaded.unload();
        return Err(code);
    }
    let mut models = models();
    models.last += 1;
    let id = models.last;
    models.live.insert(id, loaded);
    Ok(id)
}

fn put(place: *mut u32, id: Result<u32, i32>) -> i32 {
    match id {
        Ok(_) if place.is_null() => INVALID_PARAM,
        Ok(id) => {
            // SAFETY: not null, so by the API's contract a place for an integer.
            unsafe { *place = id };
            0
        }
        Err(code) => code,
    }
}

fn memory(image: *const u8, size: usize) -> Result<Image, i32> {
    if image.is_null() || size == 0 {
        return Err(INVALID_PARAM);
    }
    // SAFETY: by the API's contract `size` bytes.
    Image::parse(unsafe { std::slice::from_raw_parts(image, size) })
}

fn file(path: *const c_char) -> Result<Image, i32> {
    if path.is_null() {
        return Err(INVALID_PARAM);
    }
    // SAFETY: not null, so by the API's contract a string.
    let path = unsafe { CStr::from_ptr(path) }
        .to_str()
        .map_err(|_| INVALID_FILE)?;
    Image::parse(&std::fs::read(path).map_err(|_| INVALID_FILE)?)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlLoadFromMem(image: *const u8, size: usize, id: *mut u32) -> i32 {
    put(id, memory(image, size).and_then(|i| load(i, None)))
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlLoadFromFile(path: *const c_char, id: *mut u32) -> i32 {
    put(id, file(path).and_then(|i| load(i, None)))
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlLoadFromMemWithMem(
    image: *const u8,
    size: usize,
    id: *mut u32,
    work: u64,
    work_size: u64,
    weights: u64,
    weights_size: u64,
) -> i32 {
    let given = Some((work, work_size, weights, weights_size));
    put(id, memory(image, size).and_then(|i| load(i, given)))
}

fn sizes(image: Result<Image, i32>, work: *mut u64, weights: *mut u64) -> i32 {
    match image {
        Ok(_) if work.is_null() || weights.is_null() => INVALID_PARAM,
        Ok(i) => {
            // SAFETY: not null, so by the API's contract places for sizes.
            unsafe { (*work, *weights) = (i.work, i.weights) };
            0
        }
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlQuerySize(path: *const c_char, work: *mut u64, weights: *mut u64) -> i32 {
    sizes(file(path), work, weights)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlQuerySizeFromMem(
    image: *const u8,
    size: usize,
    work: *mut u64,
    weights: *mut u64,
) -> i32 {
    sizes(memory(image, size), work, weights)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlUnload(id: u32) -> i32 {
    let gone = models().live.remove(&id);
    match gone {
        Some(loaded) => {
            loaded.unload();
            0
        }
        None => INVALID_MODEL_ID,
    }
}

fn handles(id: u32) -> Result<(u64, u64), i32> {
    models()
        .live
        .get(&id)
        .map(|l| (l.model, l.stream))
        .ok_or(INVALID_MODEL_ID)
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlExecute(id: u32, _input: *const Dataset, _output: *mut Dataset) -> i32 {
    match handles(id) {
        // SAFETY: handles that the runtime gave.
        Ok((model, stream)) => unsafe {
            match rt::rtModelExecute(model, stream, 0) {
                0 => rt::rtStreamSynchronize(stream),
                code => code,
            }
        },
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn aclmdlExecuteAsync(
    id: u32,
    _input: *const Dataset,
    _output: *mut Dataset,
    stream: u64,
) -> i32 {
    match handles(id) {
        // SAFETY: a handle that the runtime gave, and one that it checks.
        Ok((model, _)) => unsafe { rt::rtModelExecute(model, stream, 0) },
        Err(code) => code,
    }
}
