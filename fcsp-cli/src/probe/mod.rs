//! Facts about the installed driver and its devices, asked in a child process: a driver that hangs
//! or crashes takes down the child only.

pub mod codes;
mod vendors;

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use fcsp_core::device::{DeviceIdentity, DeviceUuid, PciAddress};
use fcsp_cuda::ffi::{cuda, nvml};
use serde::{Deserialize, Serialize};

use super::{output, sim, spatial};
use fcsp_tenancy::{Vendor, VisibleDevice};

/// A driver library as the dynamic linker found it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Library {
    /// The file.
    pub path: Option<String>,
    /// Reason why the library cannot be used.
    pub error: Option<String>,
    /// The code of the call that failed.
    #[serde(default)]
    pub code: Option<i32>,
}

impl Library {
    fn failed(&mut self, failure: Failure, known: fn(i32) -> Option<&'static codes::Code>) {
        match failure {
            Failure::Text(text) => self.error = Some(text),
            Failure::Call(call, code) => {
                self.error = Some(codes::sentence(call, code, known(code)));
                self.code = Some(code);
            }
        }
    }
}

/// Reason why a library could not be asked.
enum Failure {
    /// It lacks something.
    Text(String),
    /// This call gave this code.
    Call(&'static str, i32),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn check(call: &'static str, code: i32) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(Failure::Call(call, code)),
    }
}

/// A device that does not tell its identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unidentified {
    /// Its number as the compute library counts.
    pub index: u32,
    /// The code that it answered.
    pub code: i32,
}

/// A device as the driver describes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Device {
    /// Its number in the management library's order, that of the PCI bus.
    pub index: u32,
    /// Marketing name.
    pub name: String,
    /// `GPU-...`.
    pub uuid: String,
    /// `0000:3b:00.0`.
    pub pci: Option<String>,
    /// Bytes of memory.
    pub total_bytes: u64,
    /// Bytes in use by everybody; unknown where only the compute API could be asked.
    pub used_bytes: Option<u64>,
    /// True if the device is partitioned by MIG.
    pub mig: bool,
}

impl Device {
    /// Returns the identity that rules are matched against.
    pub fn identity(&self) -> DeviceIdentity {
        DeviceIdentity {
            index: Some(self.index),
            uuid: self.uuid.parse().unwrap_or(DeviceUuid([0; 16])),
            pci: self
                .pci
                .as_ref()
                .and_then(|pci| pci.parse::<PciAddress>().ok()),
        }
    }

    /// Returns the device as the tenancy library knows it.
    pub fn visible(&self) -> VisibleDevice {
        VisibleDevice {
            identity: self.identity(),
            label: format!("device {} ({})", self.index, self.uuid),
            total_bytes: self.total_bytes,
        }
    }
}

/// Everything the driver said.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Probe {
    /// The compute library.
    pub cuda: Library,
    /// The management library.
    pub nvml: Library,
    /// The driver's release, such as "580.159.03".
    pub driver: Option<String>,
    /// The newest CUDA the driver speaks, such as 13000 for 13.0.
    pub cuda_version: Option<i32>,
    /// The devices.
    pub devices: Vec<Device>,
    /// UUIDs as the compute library counts devices, in this environment; empty unless it was asked.
    #[serde(default)]
    pub order: Vec<String>,
    /// Devices that do not tell their identity, without which no quota holds.
    #[serde(default)]
    pub unidentified: Vec<Unidentified>,
}

/// Options of the hidden child.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask the compute library, too: initialising it takes a tenth of a second on a real driver.
    #[arg(long)]
    full: bool,
    /// Ask AMD's runtime for its devices instead.
    #[arg(long)]
    hip: bool,
    /// Only load this library, and say why it cannot be loaded.
    #[arg(long)]
    load: Option<PathBuf>,
    /// Ask this vendor's driver for its devices instead.
    #[arg(long)]
    vendor: Option<Vendor>,
}

/// A simulated machine to ask instead of the real one.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Folder of the simulated libraries.
    pub libraries: PathBuf,
    /// Its description.
    pub text: String,
    /// Its state file, where that is not the user's choice.
    pub state: Option<PathBuf>,
}

/// Returns the command that starts the hidden child with these options.
pub fn child_command(options: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("fcsp")
        .arg("__probe")
        .args(options)
        // The driver itself is asked, not what a tenant would be shown.
        .env_remove("LD_PRELOAD")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Asks the driver, in a child that is given `patience`.
pub fn ask(simulated: Option<&Simulated>, full: bool, patience: Duration) -> Result<Probe, String> {
    let mut command = child_command(if full { &["--full"] } else { &[] });
    if let Some(machine) = simulated {
        command
            .env(
                "LD_LIBRARY_PATH",
                fcsp_tenancy::injection::prepended("LD_LIBRARY_PATH", &machine.libraries),
            )
            .env("FCSP_SIM", &machine.text);
        if let Some(path) = &machine.state {
            command.env(sim::STATE_VARIABLE, path);
        }
    }
    serde_json::from_str(&answer(command, patience)?).map_err(|error| error.to_string())
}

/// Asks for the devices of a vendor other than NVIDIA, in a child that has `patience` to answer.
pub fn of_vendor(vendor: Vendor, patience: Duration) -> Result<Vec<Device>, String> {
    let mut command = child_command(&["--vendor", vendor.name()]);
    if vendor == Vendor::LevelZero {
        // Says how much memory is in use.
        command.env("ZES_ENABLE_SYSMAN", "1");
    }
    let found: Result<Vec<Device>, String> =
        serde_json::from_str(&answer(command, patience)?).map_err(|error| error.to_string())?;
    found
}

/// Checks that the loader takes the library. A child tries, because the library's initialisers run.
pub fn loads(path: &Path) -> Result<(), String> {
    let mut command = child_command(&["--load"]);
    command.arg(path);
    let answer: Result<(), String> = serde_json::from_str(&answer(command, LOAD_PATIENCE)?)
        .map_err(|error| error.to_string())?;
    answer
}

/// Time limit for loading a library.
const LOAD_PATIENCE: Duration = Duration::from_secs(20);

/// Runs the child and returns its output.
pub fn answer(mut command: Command, patience: Duration) -> Result<String, String> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start: {error}"))?;
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                // SIGKILL, then collected: a driver stuck in the kernel may keep it, which is not
                // waited for.
                let _ = child.kill();
                return Err(format!("the driver did not answer within {patience:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut text).map_err(|error| error.to_string())?;
    }
    if !status.success() {
        return Err(format!(
            "the driver ended the process that asked it ({status})"
        ));
    }
    Ok(text)
}

/// Runs as the child.
pub fn child(args: &Args) -> anyhow::Result<ExitCode> {
    if args.hip {
        output::json(&spatial::devices())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &args.load {
        let loaded = Handle::open_path(path).map(drop);
        output::json(&loaded)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(vendor) = args.vendor {
        output::json(&vendors::devices(vendor))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut probe = Probe::default();
    match Handle::open(c"libnvidia-ml.so.1", c"nvmlInit_v2") {
        Ok(library) => {
            probe.nvml.path = library.path.clone();
            if let Err(failure) = ask_nvml(&library, &mut probe) {
                probe.nvml.failed(failure, codes::nvml);
            }
        }
        Err(error) => probe.nvml.error = Some(error),
    }
    if args.full {
        match Handle::open(c"libcuda.so.1", c"cuInit") {
            Ok(library) => {
                probe.cuda.path = library.path.clone();
                if let Err(failure) = ask_cuda(&library, &mut probe) {
                    probe.cuda.failed(failure, codes::cuda);
                }
            }
            Err(error) => probe.cuda.error = Some(error),
        }
    }
    output::json(&probe)?;
    Ok(ExitCode::SUCCESS)
}

/// A library that stays loaded: drivers are not made to be unloaded.
struct Handle {
    handle: *mut c_void,
    path: Option<String>,
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a string that lives until the next call of this thread, and
    // is copied here.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            return "unknown reason".into();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

impl Handle {
    /// Loads `name`; `symbol` is one it must have, by which its file is found.
    fn open(name: &CStr, symbol: &CStr) -> Result<Self, String> {
        // SAFETY: loading runs the library's initialisers, in this child, which exists to run them.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(last_error());
        }
        let mut this = Self { handle, path: None };
        let address = this.address(symbol)?;
        // SAFETY: Dl_info is plain data for which all zeroes is valid.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: the address came from dlsym; `info` outlives the call; the name lives as long as
        // the library.
        unsafe {
            if libc::dladdr(address, &mut info) != 0 && !info.dli_fname.is_null() {
                this.path = Some(
                    CStr::from_ptr(info.dli_fname)
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
        Ok(this)
    }

    /// Loads the library at `path`.
    fn open_path(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: as in `open`.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        match handle.is_null() {
            true => Err(last_error()),
            false => Ok(Self { handle, path: None }),
        }
    }

    fn address(&self, symbol: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the handle is open, the name ends with a zero byte.
        let address = unsafe { libc::dlsym(self.handle, symbol.as_ptr()) };
        if address.is_null() {
            return Err(format!("has no {}", symbol.to_string_lossy()));
        }
        Ok(address)
    }

    /// Returns the function called `symbol`.
    ///
    ///  # Safety
    /// `F` is the function pointer type of that symbol.
    unsafe fn function<F: Copy>(&self, symbol: &CStr) -> Result<F, String> {
        let address = self.address(symbol)?;
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
        // SAFETY: same size, and the caller vouches that F is a function pointer of the symbol's
        // type.
        Ok(unsafe { std::mem::transmute_copy(&address) })
    }
}

/// Looks a function up under its own name, with its own type.
macro_rules! function {
    ($library:expr, $module:ident :: $name:ident) => {
        // SAFETY: the alias in the FFI module has the name and the type of the symbol.
        unsafe {
            $library.function::<$module::$name>(
                CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes())
                    .unwrap_or(c""),
            )
        }
    };
}

fn text(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .map(|&c| c as u8)
        .take_while(|&b| b != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ask_nvml(library: &Handle, probe: &mut Probe) -> Result<(), Failure> {
    let init = function!(library, nvml::nvmlInit_v2)?;
    let version = function!(library, nvml::nvmlSystemGetDriverVersion)?;
    let count = function!(library, nvml::nvmlDeviceGetCount_v2)?;
    let by_index = function!(library, nvml::nvmlDeviceGetHandleByIndex_v2)?;
    let name = function!(library, nvml::nvmlDeviceGetName)?;
    let uuid = function!(library, nvml::nvmlDeviceGetUUID)?;
    let pci = function!(library, nvml::nvmlDeviceGetPciInfo_v3)?;
    let memory = function!(library, nvml::nvmlDeviceGetMemoryInfo)?;
    let mig = function!(library, nvml::nvmlDeviceGetMigMode).ok();
    // SAFETY: every function has its header's type. Buffers are passed with their sizes and outlive
    // the calls. Structs are plain data for which all zeroes is valid. Devices come from the
    // library.
    unsafe {
        check("nvmlInit_v2", init())?;
        let mut buffer = [0 as c_char; 96];
        if version(buffer.as_mut_ptr(), buffer.len() as u32) == 0 {
            probe.driver = Some(text(&buffer));
        }
        let mut devices = 0;
        check("nvmlDeviceGetCount_v2", count(&mut devices))?;
        for index in 0..devices {
            let mut device = std::mem::zeroed();
            check(
                "nvmlDeviceGetHandleByIndex_v2",
                by_index(index, &mut device),
            )?;
            let mut found = Device {
                index,
                ..Device::default()
            };
            let mut buffer = [0 as c_char; 96];
            check(
                "nvmlDeviceGetName",
                name(device, buffer.as_mut_ptr(), buffer.len() as u32),
            )?;
            found.name = text(&buffer);
            let mut buffer = [0 as c_char; 96];
            check(
                "nvmlDeviceGetUUID",
                uuid(device, buffer.as_mut_ptr(), buffer.len() as u32),
            )?;
            found.uuid = text(&buffer);
            let mut address: nvml::nvmlPciInfo_t = std::mem::zeroed();
            if pci(device, &mut address) == 0 {
                found.pci = Some(format!(
                    "{:04x}:{:02x}:{:02x}.0",
                    address.domain, address.bus, address.device
                ));
            }
            let mut amounts: nvml::nvmlMemory_t = std::mem::zeroed();
            check("nvmlDeviceGetMemoryInfo", memory(device, &mut amounts))?;
            found.total_bytes = amounts.total;
            found.used_bytes = Some(amounts.used);
            if let Some(mig) = mig {
                let (mut current, mut pending) = (0, 0);
                found.mig = mig(device, &mut current, &mut pending) == 0 && current == 1;
            }
            probe.devices.push(found);
        }
    }
    Ok(())
}

/// Asks the compute library. No context is made: it would take half a gigabyte of the device.
fn ask_cuda(library: &Handle, probe: &mut Probe) -> Result<(), Failure> {
    let version = function!(library, cuda::cuDriverGetVersion)?;
    let init = function!(library, cuda::cuInit)?;
    let count = function!(library, cuda::cuDeviceGetCount)?;
    let get = function!(library, cuda::cuDeviceGet)?;
    let name = function!(library, cuda::cuDeviceGetName)?;
    let total = function!(library, cuda::cuDeviceTotalMem_v2)?;
    let pci = function!(library, cuda::cuDeviceGetPCIBusId)?;
    // The second version tells MIG instances apart; the first is all that drivers before 11.4 have.
    let uuid = match function!(library, cuda::cuDeviceGetUuid_v2) {
        Ok(uuid) => uuid,
        Err(_) => function!(library, cuda::cuDeviceGetUuid)?,
    };
    // SAFETY: as in `ask_nvml`.
    unsafe {
        let mut number = 0;
        if version(&mut number) == 0 {
            probe.cuda_version = Some(number);
        }
        check("cuInit", init(0))?;
        let mut devices = 0;
        check("cuDeviceGetCount", count(&mut devices))?;
        let managed = !probe.devices.is_empty();
        for index in 0..devices {
            let mut device = 0;
            check("cuDeviceGet", get(&mut device, index))?;
            let mut id: cuda::CUuuid = std::mem::zeroed();
            let code = uuid(&mut id, device);
            let known = code == 0;
            if known {
                probe.order.push(DeviceUuid(id.bytes).to_string());
            } else {
                let index = index as u32;
                probe.unidentified.push(Unidentified { index, code });
            }
            if managed {
                continue;
            }
            let mut buffer = [0 as c_char; 96];
            check(
                "cuDeviceGetName",
                name(buffer.as_mut_ptr(), buffer.len() as i32, device),
            )?;
            let mut found = Device {
                index: index as u32,
                name: text(&buffer),
                ..Device::default()
            };
            let mut bytes = 0;
            check("cuDeviceTotalMem_v2", total(&mut bytes, device))?;
            found.total_bytes = bytes as u64;
            let mut buffer = [0 as c_char; 32];
            if pci(buffer.as_mut_ptr(), buffer.len() as i32, device) == 0 {
                found.pci = Some(text(&buffer).to_lowercase());
            }
            if known {
                found.uuid = DeviceUuid(id.bytes).to_string();
            }
            probe.devices.push(found);
        }
    }
    Ok(())
}
