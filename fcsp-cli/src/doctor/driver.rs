//! NVIDIA's driver: whether it is there, can be loaded, works, and tells which device is which.

use std::path::Path;

use super::{Findings, cuda_version};
use crate::probe::{Library, Probe, codes};
use fcsp_tenancy::{Present, Vendor};

/// Looks at the driver as it described itself.
pub fn look(probe: &Probe, simulated: bool, findings: &mut Findings) {
    // What the simulator's own folder holds is asked by loading it.
    let file = if simulated {
        None
    } else {
        Vendor::Cuda.present()
    };
    let nodes = Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists();
    compute(
        &probe.cuda,
        probe.cuda_version,
        file,
        nodes,
        simulated,
        findings,
    );
    management(probe, findings);
    devices(probe, findings);
}

fn compute(
    library: &Library,
    version: Option<i32>,
    file: Option<Present>,
    nodes: bool,
    simulated: bool,
    findings: &mut Findings,
) {
    let error = library.error.as_deref().unwrap_or_default();
    if let Some(path) = &library.path {
        if library.error.is_some() {
            let known = library.code.and_then(codes::cuda);
            findings.problem(
                "driver",
                format!("{path}: {error}"),
                known.map_or(
                    "run nvidia-smi; library and kernel module must be of one release, and this user needs /dev/nvidia*",
                    |code| code.remedy,
                ),
            );
            return;
        }
        let speaks = version.map(|number| format!(" speaks CUDA {}", cuda_version(number)));
        findings.ok("driver", format!("{path}{}", speaks.unwrap_or_default()));
        return;
    }
    match file {
        Some(Present { path, fault: Some(fault) }) => findings.problem(
            "driver",
            format!("{} is there and {fault}", path.display()),
            "install the driver's 64-bit user-space part, readable by everybody",
        ),
        // The loader says which library it misses, or what it does not like.
        Some(Present { path, fault: None }) => findings.problem(
            "driver",
            format!("{} is there and cannot be loaded: {error}", path.display()),
            format!("`ldd {}` says what it lacks; reinstall the driver's user-space part", path.display()),
        ),
        None if nodes => findings.problem(
            "driver",
            "the machine has NVIDIA device nodes and no libcuda.so.1",
            "in a container, ask for the driver's libraries (NVIDIA_DRIVER_CAPABILITIES=compute,utility); on a host, install the driver's user-space part",
        ),
        None if simulated || !error.contains("libcuda.so.1: cannot open shared object file: No such file") => {
            findings.problem(
                "driver",
                format!("libcuda.so.1 cannot be used: {error}"),
                "reinstall that library; `ldd` on it says what it lacks",
            );
        }
        None => findings.note(
            "driver",
            "there is no NVIDIA driver here",
            Some("simulated accelerators work: `fcsp demo`, `fcsp run --sim h100 ...`"),
        ),
    }
}

fn management(probe: &Probe, findings: &mut Findings) {
    let library = &probe.nvml;
    match (&library.path, &library.error) {
        (Some(path), Some(error)) => findings.problem(
            "driver",
            format!("{path}: {error}"),
            library
                .code
                .and_then(codes::nvml)
                .map_or("run nvidia-smi, which uses the same library", |code| code.remedy),
        ),
        (Some(path), None) => findings.ok("driver", format!("{path} answers")),
        (None, _) if probe.cuda.path.is_some() => findings.warning(
            "driver",
            "there is no libnvidia-ml.so.1: what contexts and code take for themselves cannot be measured",
            "in a container, add `utility` to NVIDIA_DRIVER_CAPABILITIES",
        ),
        (None, _) => {}
    }
}

fn devices(probe: &Probe, findings: &mut Findings) {
    let works = probe.cuda.path.is_some() && probe.cuda.error.is_none();
    if works && probe.devices.is_empty() {
        findings.problem(
            "devices",
            "the driver shows no device",
            "check CUDA_VISIBLE_DEVICES, NVIDIA_VISIBLE_DEVICES and the container's device list",
        );
    }
    for nameless in &probe.unidentified {
        findings.problem(
            "devices",
            format!(
                "device {} does not tell its identity ({}): programs with a quota are refused there",
                nameless.index,
                codes::sentence("cuDeviceGetUuid", nameless.code, codes::cuda(nameless.code))
            ),
            codes::cuda(nameless.code).map_or(
                "update the driver; without an identity nobody can say whose quota it is",
                |code| code.remedy,
            ),
        );
    }
    for device in probe.devices.iter().filter(|device| device.mig) {
        findings.note(
            "devices",
            format!(
                "device {} is partitioned by MIG: programs see its instances",
                device.index
            ),
            Some(
                "limits then hold inside the instance that a program uses; name instances by UUID",
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn said(library: &Library, file: Option<Present>) -> (Level, String, Option<String>) {
        let mut findings = Findings::default();
        compute(library, None, file, false, false, &mut findings);
        let finding = findings.0.remove(0);
        (finding.level, finding.text, finding.remedy)
    }

    #[test]
    fn a_driver_that_cannot_be_loaded_is_not_none() {
        let missing = Library {
            error: Some(
                "libcuda.so.1: cannot open shared object file: No such file or directory".into(),
            ),
            ..Library::default()
        };
        assert_eq!(said(&missing, None).0, Level::Note);
        let lacks = Library {
            error: Some(
                "libzz.so: cannot open shared object file: No such file or directory".into(),
            ),
            ..Library::default()
        };
        let there = |fault: Option<&str>| {
            Some(Present {
                path: "/usr/lib/libcuda.so.1".into(),
                fault: fault.map(Into::into),
            })
        };
        let (level, text, _) = said(&lacks, there(None));
        assert!(level == Level::Problem && text.contains("libzz.so") && text.contains("/usr/lib/"));
        let (level, text, _) = said(&missing, there(Some("cannot be read: Permission denied")));
        assert!(
            level == Level::Problem && text.contains("Permission denied"),
            "{text}"
        );
        let old = Library {
            path: Some("/x/libcuda.so.1".into()),
            error: Some("cuInit: ...".into()),
            code: Some(804),
        };
        let (level, _, remedy) = said(&old, None);
        assert!(level == Level::Problem && remedy.unwrap().contains("compat"));
    }
}
