//! The simulated accelerator as `libSynapse.so`, Gaudi's runtime.
//!
//! A card belongs to one process at a time, as the kernel driver has it: whoever acquires it holds
//! its device file, `<state>.accel<N>`, open and locked, and anybody else is told that there is no
//! device. A process holds one card, number
//! 0. Launches of recipes are queued and take time on the device model; a copy or a fill waits for
//! what is before it in its stream, and is done when its call returns.
//!
//! Recipes come from a compiler that is the vendor's alone. This one knows two nodes: `memcpy`,
//! which is Synapse's own, and `fcsp_spin`, which takes as long as its parameter says (nanoseconds,
//! 8 bytes). Any other node takes the time to read and write its tensors, and leaves what it writes
//! as it was.

#![allow(non_snake_case, non_camel_case_types)]

mod card;
mod event;
mod graph;
mod info;
mod launch;
mod memory;
mod recipe;
mod stream;

use fcsp_sim::faults::{around, check_environment};
use fcsp_sim::host::Mapping;
use fcsp_sim::process::Process;
use fcsp_sim::region::{Region, path_from_env};
use fcsp_sim::spec::{DeviceSpec, Topology};
use fcsp_sim::stream::Timeline;
use fcsp_sim::table::{Stale, Table};
use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::fs::File;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// `synStatus`.
type Status = i32;
/// The result of an exported function's body.
type Reply<T = ()> = Result<T, Status>;

const INVALID_ARGUMENT: Status = 1;
const OUT_OF_HOST_MEMORY: Status = 3;
const OBJECT_NOT_INITIALIZED: Status = 6;
const NO_DEVICE_FOUND: Status = 8;
const DEVICE_TYPE_MISMATCH: Status = 9;
const FAILED_TO_ALLOCATE_DEVICE_MEMORY: Status = 14;
const FAILED_TO_FREE_DEVICE_MEMORY: Status = 15;
const UNSUPPORTED: Status = 18;
const DEVICE_ALREADY_ACQUIRED: Status = 20;
const NAME_IS_ALREADY_USED: Status = 21;
const BUSY: Status = 22;
const FAIL: Status = 26;
const UNINITIALIZED: Status = 28;
const INVALID_EVENT_HANDLE: Status = 33;

/// The number of the one card that a process can hold.
const DEVICE: u32 = 0;

/// The use of the machine by this process.
#[derive(Debug)]
struct Driver {
    process: Arc<Process>,
    /// The card that it holds.
    card: Mutex<Option<Card>>,
    /// Host memory by address.
    host: Mutex<HashMap<u64, Mapping>>,
    /// Graphs and what belongs to them.
    graphs: Table<Mutex<graph::Graph>>,
    /// Sections of graphs.
    sections: Table<graph::Section>,
    /// Tensors of graphs.
    tensors: Table<Mutex<graph::Tensor>>,
    /// What graphs were compiled to.
    recipes: Table<recipe::Recipe>,
    /// Events of the card.
    events: Table<event::EventObject>,
    /// Streams of the card.
    streams: Table<stream::Stream>,
}

/// Answers a wrong handle of a recipe or a graph, which Synapse follows as a pointer. Any but the
/// null handle ends the program before it comes here, unless the rule is off. Handles of streams,
/// events, sections and tensors are looked up.
fn stale(_: Stale) -> Status {
    INVALID_ARGUMENT
}

/// Returns a handle as the table of its objects knows it.
fn number(handle: Handle) -> u64 {
    handle.addr() as u64
}

/// Returns a handle as programs know it.
fn opaque(number: u64) -> Handle {
    core::ptr::without_provenance_mut(number as usize)
}

/// An opaque handle.
type Handle = *mut core::ffi::c_void;

/// A card in this process's hands.
#[derive(Debug)]
struct Card {
    index: usize,
    /// Locked for as long as it is open.
    file: File,
    /// Device memory by address, with the bytes counted for it.
    memory: HashMap<u64, (Mapping, u64)>,
    /// What is queued on it.
    timeline: Arc<Timeline>,
}

impl Card {
    /// Returns true if the bytes from `address` are inside one buffer.
    fn holds(&self, address: u64, bytes: u64) -> bool {
        self.memory.iter().any(|(&base, (_, size))| {
            address >= base
                && address
                    .checked_add(bytes)
                    .is_some_and(|end| end <= base.saturating_add(*size))
        })
    }
}

/// Null before `synInitialize` and after `synDestroy`. Leaked: threads may be using it.
static DRIVER: AtomicPtr<Driver> = AtomicPtr::new(core::ptr::null_mut());

/// The card's file stays open in the child, as the kernel driver's would.
extern "C" fn in_child() {
    let parents = DRIVER.swap(core::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: leaked, never freed.
    if let Some(driver) = unsafe { parents.as_ref() } {
        driver.process.region.abandon_in_child();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log(text: &str) {
    if std::env::var_os("FCSP_SIM_LOG").is_some_and(|v| !v.is_empty()) {
        eprintln!("fcsp-sim: {text}");
    }
}

fn start() -> Reply {
    static STARTING: Mutex<()> = Mutex::new(());
    static FORKS: Once = Once::new();
    let _one = lock(&STARTING);
    if !DRIVER.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    let fail = |text: String| {
        log(&text);
        FAIL
    };
    // There is no list of this library's names to compare with.
    check_environment(&["syn"], |_| true).map_err(|_| FAIL)?;
    let topology = Topology::from_env().map_err(|e| fail(e.to_string()))?;
    let region =
        Region::open(&path_from_env(&topology), &topology).map_err(|e| fail(e.to_string()))?;
    let driver = Driver {
        process: Arc::new(
            Process::join(topology, Arc::new(region)).map_err(|e| fail(format!("{e:?}")))?,
        ),
        card: Mutex::new(None),
        host: Mutex::default(),
        graphs: Table::new("graph", 0x50),
        sections: Table::new("section", 0x51),
        tensors: Table::new("tensor", 0x52),
        recipes: Table::new("recipe", 0x53),
        events: Table::new("event", 0x54),
        streams: Table::new("stream", 0x55),
    };
    // SAFETY: a plain function; the library is never unloaded.
    FORKS.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
    // Release: whole before it shows.
    DRIVER.store(Box::into_raw(Box::new(driver)), Ordering::Release);
    Ok(())
}

fn driver() -> Reply<&'static Driver> {
    // SAFETY: leaked, never freed. Acquire pairs with the Release in `start`.
    unsafe { DRIVER.load(Ordering::Acquire).as_ref() }.ok_or(UNINITIALIZED)
}

impl Driver {
    fn spec(&self, index: usize) -> &DeviceSpec {
        &self.process.topology.devices[index]
    }

    /// Works on the card that a caller means by `device`.
    fn with_card<T>(&self, device: u32, work: impl FnOnce(&mut Card) -> Reply<T>) -> Reply<T> {
        match lock(&self.card).as_mut() {
            Some(card) if device == DEVICE => work(card),
            Some(_) => Err(INVALID_ARGUMENT),
            // As Synapse's `GET_DEV_INTERFACE_RTN_IF_ERR`.
            None => Err(FAIL),
        }
    }

    /// Returns the card's queues, without its lock: what waits for them must not keep them from
    /// being emptied.
    fn timeline(&self, device: u32) -> Reply<Arc<Timeline>> {
        self.with_card(device, |card| Ok(card.timeline.clone()))
    }
}

/// Returns a text that a caller passes; none for null.
fn text(at: *const c_char) -> Option<String> {
    // SAFETY: null or a C string, by the API's contract.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned())
}

/// Runs an exported function's body, with the faults asked for before and after it.
fn call(name: &'static str, body: impl FnOnce() -> Reply) -> Status {
    around(name, || {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
            Ok(reply) => reply.err().unwrap_or(0),
            Err(_) => FAIL,
        }
    })
}

/// Stores a result in a caller's place.
fn put<T>(place: *mut T, value: T) -> Reply {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so by the API's contract a place for a value of this type.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Stores a text in a caller's buffer, cut short if need be and always terminated.
fn put_text(place: *mut u8, len: i32, text: &str) -> Reply {
    let len = usize::try_from(len).unwrap_or(0);
    if place.is_null() || len == 0 {
        return Err(INVALID_ARGUMENT);
    }
    let n = text.len().min(len - 1);
    // SAFETY: by the API's contract `len` bytes, of which at most `len` are written.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), place, n);
        place.add(n).write(0);
    }
    Ok(())
}

/// Exports functions. Each body is a closure that may use `?`.
macro_rules! api {
    ($( $(#[$m:meta])* fn $name:ident ($($a:ident : $t:ty),* $(,)?) $body:block )*) => { $(
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($a: $t),*) -> i32 {
            $crate::call(stringify!($name), || -> $crate::Reply { $body })
        }
    )* };
}
use api;
