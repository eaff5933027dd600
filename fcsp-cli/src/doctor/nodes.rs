//! The device nodes that each vendor's driver opens: whether this user may.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Findings;
use fcsp_tenancy::Vendor;

/// Finds the vendor's device nodes that exist.
fn present(vendor: Vendor, dev: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in vendor.nodes() {
        let Some(beginning) = pattern.strip_suffix('#') else {
            let path = dev.join(pattern);
            if path.exists() {
                found.push(path);
            }
            continue;
        };
        let pattern = dev.join(beginning);
        let (Some(folder), Some(beginning)) = (pattern.parent(), pattern.file_name()) else {
            continue;
        };
        let mut numbered: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let rest = name.as_bytes().strip_prefix(beginning.as_bytes());
                rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
            })
            .map(|entry| entry.path())
            .collect();
        numbered.sort();
        found.append(&mut numbered);
    }
    found
}

/// Returns whether this process may read and write the file.
fn may_open(path: &Path) -> bool {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the name ends with a zero byte and outlives the call.
    unsafe { libc::access(name.as_ptr(), libc::R_OK | libc::W_OK) == 0 }
}

/// Looks at a vendor's nodes.
pub fn look(vendor: Vendor, findings: &mut Findings) {
    examine(vendor, Path::new("/dev"), may_open, findings);
}

fn examine(vendor: Vendor, dev: &Path, may_open: impl Fn(&Path) -> bool, findings: &mut Findings) {
    let present = present(vendor, dev);
    let names = |paths: &[&PathBuf]| {
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        names.join(", ")
    };
    let closed: Vec<&PathBuf> = present.iter().filter(|path| !may_open(path)).collect();
    if !closed.is_empty() {
        findings.problem(
            "nodes",
            format!("this user may not open {}", names(&closed)),
            vendor.nodes_advice(),
        );
    } else if !present.is_empty() {
        let all: Vec<&PathBuf> = present.iter().collect();
        findings.ok("nodes", format!("this user may open {}", names(&all)));
    }
    let is = |name: &str| present.iter().any(|path| path.ends_with(name));
    if vendor == Vendor::Cuda && is("nvidiactl") && !is("nvidia-uvm") {
        findings.problem(
            "nodes",
            "/dev/nvidiactl is there and /dev/nvidia-uvm is not: cuInit fails with 999",
            "nvidia-modprobe -u -c=0; in a container, add the device",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn nodes_that_may_not_be_opened_are_a_problem() {
        let dev = tempfile::tempdir().unwrap();
        for name in [
            "nvidiactl",
            "nvidia0",
            "nvidia12",
            "nvidia-modeset",
            "nvidia-uvm",
        ] {
            std::fs::write(dev.path().join(name), "").unwrap();
        }
        let levels = |may: &dyn Fn(&Path) -> bool| {
            let mut findings = Findings::default();
            examine(Vendor::Cuda, dev.path(), may, &mut findings);
            let found: Vec<(Level, String)> = findings
                .0
                .into_iter()
                .map(|finding| (finding.level, finding.text))
                .collect();
            found
        };
        let fine = levels(&|_| true);
        assert_eq!(fine.len(), 1);
        assert!(
            fine[0].0 == Level::Ok
                && fine[0].1.contains("nvidia12")
                && !fine[0].1.contains("modeset")
        );
        let closed = levels(&|path| !path.ends_with("nvidia0"));
        assert!(
            closed[0].0 == Level::Problem && closed[0].1.ends_with("/nvidia0"),
            "{closed:?}"
        );
        std::fs::remove_file(dev.path().join("nvidia-uvm")).unwrap();
        assert!(
            levels(&|_| true)
                .iter()
                .any(|(level, text)| *level == Level::Problem && text.contains("999"))
        );
        let mut findings = Findings::default();
        examine(Vendor::Hip, dev.path(), |_| true, &mut findings);
        assert!(findings.0.is_empty(), "no nodes, nothing to say");
    }
}
