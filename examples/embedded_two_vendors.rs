//! Cache of an inference server on the accelerators of two vendors in one process, limited on both
//! without a preload library.
//!
//! The backends are linked in. The server sets its limits once, and calls a backend's wrapper where
//! it called that vendor's driver. Memory beyond the quota is refused with the driver's own code,
//! memory information shows the quota as the device, and launches wait for their turn.
//!
//! A router puts each sequence where most is free, turns to the other vendor on a refusal, and
//! evicts when both refuse. Each device then decodes for as long as its share allows.
//!
//! The example runs on the simulated drivers. It builds them on first use and loads them as a
//! machine with both vendors' drivers would.
//!
//!  ```text
//!  cargo run -p fcsp --example embedded_two_vendors --features cuda,hip
//!  ```

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io, ptr, thread};

use fcsp::hook::backend::Devices;
use fcsp::hook::embedding;
use fcsp::{Bytes, Config, DeviceIdentity, Quota, STATE_DIR_VARIABLE, Share, StateDir};
use fcsp_core::share::files;

const TENANT: &str = "server";
const MIB: usize = 1 << 20;
/// Bytes of one block of the cache; a sequence has several.
const BLOCK: usize = 4 * MIB;
/// Time for which the devices decode.
const DECODE: Duration = Duration::from_secs(2);
/// Device time of one decode step on the simulated devices, ns.
const STEP_NS: u64 = 200_000;
/// Code that the simulated drivers take for an image with a kernel of any name.
const IMAGE: [u8; 64] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xe0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Operations that the server needs of an accelerator, the same for all vendors. Addresses and
/// functions are numbers.
trait Accelerator: Sync {
    fn name(&self) -> &'static str;
    fn identity(&self) -> DeviceIdentity;
    /// Makes the device the calling thread's.
    fn enter(&self);
    /// `None` where the vendor's call says that there is no memory.
    fn allocate(&self, bytes: usize) -> Option<u64>;
    fn free(&self, block: u64);
    /// Returns the free and total bytes that a program sees.
    fn memory(&self) -> (usize, usize);
    /// Returns the free and total bytes that the driver reports, past the wrappers.
    fn real_memory(&self) -> (usize, usize);
    /// Starts a decode step.
    fn step(&self);
    /// Waits for all steps.
    fn wait(&self);
}

/// Unwraps a vendor's status: anything but success is a mistake of this program.
fn done(what: &str, status: impl Into<i64>) {
    let status = status.into();
    assert_eq!(status, 0, "{what}");
}

mod nvidia {
    use super::*;
    use fcsp::cuda::driver::real;
    use fcsp::cuda::ffi::cuda::{CUDA_ERROR_OUT_OF_MEMORY, CUDA_SUCCESS};
    use fcsp::cuda::hooks::*;
    use fcsp::cuda::vendor::Cuda;

    pub struct Device {
        context: usize,
        step: usize,
        identity: DeviceIdentity,
    }

    impl Device {
        /// Returns the device's identity, before any wrapper is called.
        pub fn identify() -> DeviceIdentity {
            let init = real::cuInit.get().expect("a CUDA driver");
            // SAFETY: cuInit may be called any number of times.
            done("cuInit", unsafe { init(0) });
            Cuda::identify(0).expect("a CUDA device")
        }

        pub fn open(identity: DeviceIdentity) -> Self {
            let (mut context, mut module, mut step) =
                (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            // SAFETY: results go to locals; the image and the name outlive the calls.
            unsafe {
                done("cuInit", cuInit(0));
                done("cuCtxCreate", cuCtxCreate_v2(&mut context, 0, 0));
                done(
                    "cuModuleLoadData",
                    cuModuleLoadData(&mut module, IMAGE.as_ptr().cast()),
                );
                done(
                    "cuModuleGetFunction",
                    cuModuleGetFunction(&mut step, module, c"fcsp_spin".as_ptr()),
                );
            }
            Self {
                context: context as usize,
                step: step as usize,
                identity,
            }
        }
    }

    impl Accelerator for Device {
        fn name(&self) -> &'static str {
            "nvidia"
        }

        fn identity(&self) -> DeviceIdentity {
            self.identity
        }

        fn enter(&self) {
            let push = real::cuCtxPushCurrent_v2
                .get()
                .expect("part of every driver");
            // SAFETY: a context that lives as long as the process.
            done("cuCtxPushCurrent", unsafe {
                push(self.context as *mut c_void)
            });
        }

        fn allocate(&self, bytes: usize) -> Option<u64> {
            let mut block = 0;
            // SAFETY: the result goes to a local.
            match unsafe { cuMemAlloc_v2(&mut block, bytes) } {
                CUDA_SUCCESS => Some(block),
                CUDA_ERROR_OUT_OF_MEMORY => None,
                other => panic!("cuMemAlloc: {other}"),
            }
        }

        fn free(&self, block: u64) {
            // SAFETY: a block of this device that nothing uses any more.
            done("cuMemFree", unsafe { cuMemFree_v2(block) });
        }

        fn memory(&self) -> (usize, usize) {
            let (mut free, mut total) = (0, 0);
            // SAFETY: the results go to locals.
            done("cuMemGetInfo", unsafe {
                cuMemGetInfo_v2(&mut free, &mut total)
            });
            (free, total)
        }

        fn real_memory(&self) -> (usize, usize) {
            let (mut free, mut total) = (0, 0);
            let ask = real::cuMemGetInfo_v2.get().expect("part of every driver");
            // SAFETY: the results go to locals.
            done("cuMemGetInfo", unsafe { ask(&mut free, &mut total) });
            (free, total)
        }

        fn step(&self) {
            let mut ns = STEP_NS;
            let mut arguments = [(&raw mut ns).cast::<c_void>()];
            let (function, none) = (self.step as *mut c_void, ptr::null_mut());
            // SAFETY: the kernel takes one number, which is read before the call returns.
            done("cuLaunchKernel", unsafe {
                cuLaunchKernel(
                    function,
                    1,
                    1,
                    1,
                    1,
                    1,
                    1,
                    0,
                    none,
                    arguments.as_mut_ptr(),
                    ptr::null_mut(),
                )
            });
        }

        fn wait(&self) {
            // SAFETY: no arguments.
            done("cuCtxSynchronize", unsafe { cuCtxSynchronize() });
        }
    }
}

mod amd {
    use super::*;
    use fcsp::hip::driver::real;
    use fcsp::hip::ffi::hip::{hipErrorOutOfMemory, hipSuccess};
    use fcsp::hip::hooks::*;
    use fcsp::hip::vendor::Hip;

    pub struct Device {
        step: usize,
        identity: DeviceIdentity,
    }

    impl Device {
        /// Returns the device's identity, before any wrapper is called.
        pub fn identify() -> DeviceIdentity {
            Hip::device_count().expect("a HIP runtime");
            Hip::identify(0).expect("a HIP device")
        }

        pub fn open(identity: DeviceIdentity) -> Self {
            let (mut module, mut step) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: results go to locals; the image and the name outlive the calls.
            unsafe {
                done("hipInit", hipInit(0));
                done(
                    "hipModuleLoadData",
                    hipModuleLoadData(&mut module, IMAGE.as_ptr().cast()),
                );
                done(
                    "hipModuleGetFunction",
                    hipModuleGetFunction(&mut step, module, c"fcsp_spin".as_ptr()),
                );
            }
            Self {
                step: step as usize,
                identity,
            }
        }
    }

    impl Accelerator for Device {
        fn name(&self) -> &'static str {
            "amd"
        }

        fn identity(&self) -> DeviceIdentity {
            self.identity
        }

        /// Does nothing: device 0 is current on every thread.
        fn enter(&self) {}

        fn allocate(&self, bytes: usize) -> Option<u64> {
            let mut block = ptr::null_mut();
            // SAFETY: the result goes to a local.
            match unsafe { hipMalloc(&mut block, bytes) } {
                status if status == hipSuccess => Some(block as u64),
                status if status == hipErrorOutOfMemory => None,
                other => panic!("hipMalloc: {other}"),
            }
        }

        fn free(&self, block: u64) {
            // SAFETY: a block of this device that nothing uses any more.
            done("hipFree", unsafe { hipFree(block as *mut c_void) });
        }

        fn memory(&self) -> (usize, usize) {
            let (mut free, mut total) = (0, 0);
            // SAFETY: the results go to locals.
            done("hipMemGetInfo", unsafe {
                hipMemGetInfo(&mut free, &mut total)
            });
            (free, total)
        }

        fn real_memory(&self) -> (usize, usize) {
            let (mut free, mut total) = (0, 0);
            let ask = real::hipMemGetInfo.get().expect("part of every runtime");
            // SAFETY: the results go to locals.
            done("hipMemGetInfo", unsafe { ask(&mut free, &mut total) });
            (free, total)
        }

        fn step(&self) {
            let mut ns = STEP_NS;
            let mut arguments = [(&raw mut ns).cast::<c_void>()];
            let (function, none) = (self.step as *mut c_void, ptr::null_mut());
            // SAFETY: the kernel takes one number, which is read before the call returns.
            done("hipModuleLaunchKernel", unsafe {
                hipModuleLaunchKernel(
                    function,
                    1,
                    1,
                    1,
                    1,
                    1,
                    1,
                    0,
                    none,
                    arguments.as_mut_ptr(),
                    ptr::null_mut(),
                )
            });
        }

        fn wait(&self) {
            // SAFETY: no arguments.
            done("hipDeviceSynchronize", unsafe { hipDeviceSynchronize() });
        }
    }
}

/// A sequence's blocks, all on one device.
struct Sequence {
    at: usize,
    blocks: Vec<u64>,
}

/// The cache over all devices; the oldest sequence first.
struct Cache<'a> {
    devices: [&'a dyn Accelerator; 2],
    sequences: VecDeque<Sequence>,
    spilled: u32,
    evicted: u32,
}

impl Cache<'_> {
    /// Allocates all blocks of a sequence on one device, or none.
    fn try_on(&self, at: usize, count: usize) -> Option<Vec<u64>> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            match self.devices[at].allocate(BLOCK) {
                Some(block) => blocks.push(block),
                None => {
                    blocks
                        .into_iter()
                        .for_each(|block| self.devices[at].free(block));
                    return None;
                }
            }
        }
        Some(blocks)
    }

    /// Finds room for a sequence; `false` if no device could hold it even when empty.
    fn admit(&mut self, count: usize) -> bool {
        let mut order = [0, 1];
        order.sort_by_key(|&at| std::cmp::Reverse(self.devices[at].memory().0));
        loop {
            for at in order {
                if let Some(blocks) = self.try_on(at, count) {
                    self.spilled += u32::from(at != order[0]);
                    self.sequences.push_back(Sequence { at, blocks });
                    return true;
                }
            }
            match self.sequences.pop_front() {
                Some(oldest) => {
                    self.evicted += 1;
                    self.end(oldest);
                }
                None => return false,
            }
        }
    }

    fn end(&self, sequence: Sequence) {
        let device = self.devices[sequence.at];
        sequence
            .blocks
            .into_iter()
            .for_each(|block| device.free(block));
    }
}

/// Builds the simulated drivers and loads them by path. A later open of a driver by its name finds
/// it loaded.
fn load_drivers() -> io::Result<()> {
    let program = env::current_exe()?;
    // <target>/<profile>/examples/<program>
    let target = program
        .ancestors()
        .nth(3)
        .ok_or(io::ErrorKind::NotFound)?
        .join("embed");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--profile", "preload", "--target-dir"])
        .arg(&target);
    let libraries = ["cuda", "nvml", "hip", "rocm-smi"];
    for library in libraries {
        cargo.args(["-p", &format!("fcsp-sim-{library}")]);
    }
    if !cargo.status()?.success() {
        return Err(io::Error::other("the simulated drivers did not build"));
    }
    for library in libraries {
        let file = format!("libfcsp_sim_{}.so", library.replace('-', "_"));
        open(&target.join("preload").join(file))?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a C string and plain flags; the simulated drivers have no constructors that mind.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    match handle.is_null() {
        true => Err(io::Error::other(format!(
            "{} cannot be loaded",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// Sets a variable of this process.
fn set(name: &str, value: impl AsRef<std::ffi::OsStr>) {
    // SAFETY: called before there is any other thread.
    unsafe { env::set_var(name, value) };
}

/// Sets the variables that a device's simulated driver reads at initialisation: its machine, and
/// the folder of that machine's state.
fn machine(folder: &Path, model: &str) {
    set("FCSP_SIM", format!("{model},memory=1GiB,context=64MiB"));
    set("FCSP_SIM_STATE", folder.join(model));
}

/// Removes the folder of this run's shared files.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder(env::temp_dir().join(format!("fcsp-two-vendors-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let state = StateDir::at(folder.0.join("state"));
    set(STATE_DIR_VARIABLE, state.path());
    load_drivers()?;

    machine(&folder.0, "h100");
    let nvidia = nvidia::Device::identify();
    machine(&folder.0, "mi300x");
    let amd = amd::Device::identify();

    // One tenant over both: 256 MiB and 40 % of one device, half of the memory and 20 % of the time
    // of the other.
    let config = Config::builder()
        .tenant(TENANT)?
        .memory_of(nvidia.uuid.into(), Quota::Bytes(256 << 20))
        .compute_of(nvidia.uuid.into(), Share::strict_percent(40)?)
        .memory_of(amd.uuid.into(), Quota::percent(50)?)
        .compute_of(amd.uuid.into(), Share::strict_percent(20)?)
        .build();
    embedding::configure(config).map_err(|_| "a backend has looked already")?;

    // Opened on their machines again: the management libraries, asked by the backends, read the
    // variables as well.
    machine(&folder.0, "h100");
    let nvidia = nvidia::Device::open(nvidia);
    machine(&folder.0, "mi300x");
    let amd = amd::Device::open(amd);
    let devices: [&dyn Accelerator; 2] = [&nvidia, &amd];
    for device in devices {
        let (free, total) = device.memory();
        println!(
            "{:<7} {:>9} of {} free, as the server sees it",
            device.name(),
            Bytes(free as u64).to_string(),
            Bytes(total as u64)
        );
    }

    let mut cache = Cache {
        devices,
        sequences: VecDeque::new(),
        spilled: 0,
        evicted: 0,
    };
    for request in 0..120 {
        assert!(
            cache.admit(1 + request % 7),
            "a sequence of some blocks fits"
        );
    }
    assert!(!cache.admit(1 << 10), "4 GiB fit on no device");
    for request in 0..60 {
        assert!(cache.admit(1 + request % 5));
    }
    println!(
        "cache   {} sequences, {} on the device with less left, {} evicted",
        cache.sequences.len(),
        cache.spilled,
        cache.evicted
    );
    assert!(cache.evicted > 0, "the quotas were felt");

    let until = Instant::now() + DECODE;
    let steps = thread::scope(|scope| {
        devices
            .map(|device| {
                scope.spawn(move || {
                    device.enter();
                    let mut steps = 0u32;
                    while Instant::now() < until {
                        device.step();
                        steps += 1;
                    }
                    device.wait();
                    steps
                })
            })
            .map(|thread| thread.join().expect("a device's thread"))
    });

    for ((path, region), device) in state.regions(TENANT)?.into_iter().flat_map(|entry| {
        let uuid = entry
            .0
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned());
        let owner = devices
            .into_iter()
            .find(|device| uuid == Some(device.identity().uuid.to_string()));
        owner.map(|device| (entry, device))
    }) {
        let region = region.map_err(|error| format!("{}: {error}", path.display()))?;
        let limit = region.limit_bytes.ok_or("every device has a quota")?;
        let (free, total) = device.real_memory();
        let taken = (total - free) as u64;
        let time = files::read(&state, &device.identity().uuid, TENANT)
            .ok_or("every device has a share")?;
        println!(
            "{:<7} {:>9} of {} held, {} taken of the device; {} refusals; {} steps, {} ms of device time",
            device.name(),
            Bytes(region.used_bytes).to_string(),
            Bytes(limit),
            Bytes(taken),
            region.refused,
            steps[usize::from(device.name() == "amd")],
            time.counters.consumed / 1_000_000
        );
        assert!(
            region.peak_bytes <= limit && taken <= limit,
            "no quota was passed"
        );
        assert!(region.refused > 0, "and each was reached");
        assert!(time.counters.consumed > 0, "work on each was charged");
    }

    while let Some(sequence) = cache.sequences.pop_front() {
        cache.end(sequence);
    }
    for device in devices {
        let (free, total) = device.memory();
        assert!(
            total - free < 2 * 64 * MIB,
            "all that is left is the context"
        );
    }
    Ok(())
}
