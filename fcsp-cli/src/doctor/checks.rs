//! One function a thing that can be wrong with a machine.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fcsp_core::control::{Control, Limits};
use fcsp_core::state::{SetupGuard, StateDir, layout};
use fcsp_core::units::Bytes;
use fcsp_tenancy::{Vendor, inventory};

use super::Findings;
use crate::Context;
use crate::devices;
use crate::probe::Probe;
use crate::ps;

/// Runs a program that does nothing under a preload library.
pub fn loads(library: &Path, findings: &mut Findings) {
    let shown = library.display();
    let program = ["/bin/true", "/usr/bin/true"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(program) = program else {
        findings.note(
            "preload",
            format!("{shown} was not tried: there is no /bin/true"),
            None,
        );
        return;
    };
    let result = Command::new(program)
        .env("LD_PRELOAD", library)
        .stdin(Stdio::null())
        .output();
    match result {
        Ok(result) if result.status.success() && result.stderr.is_empty() => {
            findings.ok("preload", format!("{shown} loads"));
        }
        Ok(result) => {
            let said = String::from_utf8_lossy(&result.stderr);
            findings.problem(
                "preload",
                format!(
                    "{program} under {shown}: {} {}",
                    result.status,
                    said.lines().next().unwrap_or("")
                ),
                "the library does not fit this system's C library or processor; build fcsp here",
            );
        }
        Err(error) => findings.problem(
            "preload",
            format!("{program}: {error}"),
            "mend the system's own programs",
        ),
    }
}

fn space(path: &Path) -> io::Result<(u64, bool)> {
    const TMPFS: u64 = 0x0102_1994;
    let text = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: statfs is plain data for which all zeroes is valid; the kernel fills it.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statfs(text.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((
        stat.f_bavail.saturating_mul(stat.f_bsize as u64),
        stat.f_type as u64 == TMPFS,
    ))
}

/// Makes and removes a tenant, as `fcsp run` would.
pub fn state(context: &Context, findings: &mut Findings) {
    if !context.is_chosen {
        for passed in StateDir::find(false).1 {
            findings.note(
                "state",
                format!("{} was passed by: {}", passed.path.display(), passed.reason),
                Some("FCSP_STATE_DIR or --state-dir names a folder that serves"),
            );
        }
    }
    let path = context.state.path().to_owned();
    let shown = path.display();
    let name = format!("doctor-{}", std::process::id());
    let attempt = || -> io::Result<()> {
        let dir = context.state.create_tenant(&name)?;
        let setup = SetupGuard::acquire(&dir)?;
        Control::create(&setup)?.write(&Limits::default())
    };
    let result = attempt();
    let _ = context.state.remove_if_dead(&name);
    if let Err(error) = result {
        findings.problem(
            "state",
            format!("no tenant can be set up in {shown}: {error}"),
            "make it writable, free space there, or choose another folder with FCSP_STATE_DIR",
        );
        return;
    }
    match space(&path) {
        Ok((free, _)) if free < 1 << 20 => findings.problem(
            "state",
            format!("{shown} has only {} free", Bytes(free)),
            "free space there: a tenant needs 40 KiB and more with many processes",
        ),
        Ok((free, true)) => findings.ok(
            "state",
            format!("{shown} is in memory, {} free", Bytes(free)),
        ),
        Ok((free, false)) => findings.note(
            "state",
            format!(
                "{shown} is on a disk, {} free: it works, and outlives a restart",
                Bytes(free)
            ),
            Some("a folder on tmpfs (/run, /dev/shm) starts programs faster"),
        ),
        Err(error) => findings.warning(
            "state",
            format!("{shown}: {error}"),
            "check the file system",
        ),
    }
    let tenants = inventory::all(&context.state).unwrap_or_default();
    for text in tenants.iter().flat_map(ps::not_coordinated) {
        findings.warning(
            "shares",
            text,
            "run all of a tenant's processes with one version of fcsp and as one user; until then its share is strict",
        );
    }
    for problem in tenants.iter().flat_map(|tenant| &tenant.problems) {
        findings.problem(
            "state",
            problem.clone(),
            "stop that tenant's programs, then `fcsp gc`; until then its allocations are refused",
        );
    }
}

/// Libraries that wrap the same functions: two layers of quotas, or none that works.
const RIVALS: [&str; 4] = [
    "libvgpu.so",
    "libcuda-control.so",
    "libgemhook.so",
    "libxpushim.so",
];

/// Variables by which MPS limits its clients.
const MPS_LIMITS: [&str; 2] = [
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT",
];

/// Finds devices of which more is promised than they have.
pub fn promises(context: &Context, driver: Option<&Probe>, findings: &mut Findings) {
    let devices = driver.map_or(&[][..], |driver| &driver.devices);
    for text in devices::over_promised(context, devices) {
        findings.warning(
            "promises",
            text,
            "lower the quotas with `fcsp limit`; until then the last to ask is refused by the device itself",
        );
    }
}

/// Finds other libraries between a program and the driver.
pub fn conflicts(driver: Option<&Probe>, findings: &mut Findings) {
    let mut lists: Vec<(String, Vec<PathBuf>)> = Vec::new();
    let split = |text: &[u8]| -> Vec<PathBuf> {
        text.split(|b| b" :\n\t".contains(b))
            .filter(|entry| !entry.is_empty())
            .map(|entry| PathBuf::from(OsStr::from_bytes(entry)))
            .collect()
    };
    if let Some(text) = std::env::var_os("LD_PRELOAD") {
        lists.push(("LD_PRELOAD".into(), split(text.as_bytes())));
    }
    if let Ok(text) = std::fs::read("/etc/ld.so.preload") {
        lists.push(("/etc/ld.so.preload".into(), split(&text)));
    }
    for (place, entries) in &lists {
        for entry in entries {
            let name = entry.file_name().and_then(OsStr::to_str).unwrap_or("");
            let shown = entry.display();
            let ours = Vendor::ALL.iter().any(|vendor| vendor.library() == name);
            let names_a_file = entry.as_os_str().as_bytes().contains(&b'/');
            if names_a_file && !entry.exists() && !RIVALS.contains(&name) {
                findings.warning(
                    "conflicts",
                    format!("{place} names {shown}, which is not there: the loader complains and goes on without it"),
                    "take it out",
                );
            } else if RIVALS.contains(&name) {
                findings.problem(
                    "conflicts",
                    format!("{place} loads {shown}, which wraps the same functions"),
                    "use one of the two: take it out, fcsp reads its variables too",
                );
            } else if ours && place != "LD_PRELOAD" {
                findings.ok(
                    "conflicts",
                    format!("{place} loads {shown} into every program"),
                );
            } else if ours {
                findings.note(
                    "conflicts",
                    format!("{place} loads {shown} already: this shell's programs are governed"),
                    Some("`fcsp run` puts its own library in front, which then counts alone"),
                );
            } else {
                findings.note(
                    "conflicts",
                    format!("{place} also loads {shown}"),
                    Some("`fcsp run` keeps it, behind its own library"),
                );
            }
        }
    }
    let pipe = std::env::var_os("CUDA_MPS_PIPE_DIRECTORY")
        .map_or_else(|| PathBuf::from("/tmp/nvidia-mps"), PathBuf::from);
    if pipe.join(layout::CONTROL).exists() {
        findings.note(
            "conflicts",
            format!("an MPS daemon has its pipes in {}", pipe.display()),
            Some("memory quotas hold under MPS; a fault of one program can end its neighbours"),
        );
    }
    for variable in MPS_LIMITS {
        if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            findings.note(
                "conflicts",
                format!("{variable} is set: MPS keeps a limit of its own beside FCSP's"),
                Some("unset it if only one of the two should hold"),
            );
        }
    }
    let devices = driver.map_or(0, |driver| driver.devices.len());
    if devices > 0 && std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|list| list.trim().is_empty())
    {
        findings.warning(
            "devices",
            "CUDA_VISIBLE_DEVICES is set and empty: programs see no device",
            "unset it",
        );
    }
}
