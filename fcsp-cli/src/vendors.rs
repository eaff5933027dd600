//! The vendors: their names, their preload libraries, and whether the loader would find their
//! drivers.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fcsp_cuda::symbols::Symbol;

/// A vendor whose accelerators have a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// NVIDIA CUDA.
    Cuda,
    /// AMD HIP.
    Hip,
    /// oneAPI Level Zero.
    LevelZero,
    /// Huawei Ascend.
    Ascend,
    /// Intel Gaudi.
    Gaudi,
}

impl Vendor {
    /// All of them, CUDA first.
    pub const ALL: [Vendor; 5] = [
        Vendor::Cuda,
        Vendor::Hip,
        Vendor::LevelZero,
        Vendor::Ascend,
        Vendor::Gaudi,
    ];

    /// The name that options and answers use.
    pub const fn name(self) -> &'static str {
        match self {
            Vendor::Cuda => "cuda",
            Vendor::Hip => "hip",
            Vendor::LevelZero => "levelzero",
            Vendor::Ascend => "ascend",
            Vendor::Gaudi => "gaudi",
        }
    }

    /// The file name of its preload library.
    pub const fn library(self) -> &'static str {
        match self {
            Vendor::Cuda => "libfcsp_cuda.so",
            Vendor::Hip => "libfcsp_hip.so",
            Vendor::LevelZero => "libfcsp_levelzero.so",
            Vendor::Ascend => "libfcsp_ascend.so",
            Vendor::Gaudi => "libfcsp_gaudi.so",
        }
    }

    /// The file names of its driver. One that ends with `*` is how they begin.
    pub const fn drivers(self) -> &'static [&'static str] {
        match self {
            Vendor::Cuda => &["libcuda.so.1"],
            Vendor::Hip => &["libamdhip64.so*"],
            Vendor::LevelZero => &["libze_loader.so.1", "libze_intel_gpu.so.1"],
            Vendor::Ascend => &["libascendcl.so"],
            Vendor::Gaudi => &["libSynapse.so"],
        }
    }

    /// How the names of its entry points begin, before a letter.
    pub const fn prefixes(self) -> &'static [&'static str] {
        match self {
            Vendor::Cuda => &["cu"],
            Vendor::Hip => &["hip"],
            Vendor::LevelZero => &["ze", "zes", "zet"],
            Vendor::Ascend => &["acl"],
            Vendor::Gaudi => &["syn"],
        }
    }

    /// What its tables say of an entry point.
    pub fn symbol(self, name: &str) -> Option<&'static Symbol> {
        match self {
            Vendor::Cuda => fcsp_cuda::symbols::find(name),
            Vendor::Hip => fcsp_hip::symbols::find(name),
            Vendor::LevelZero => fcsp_levelzero::symbols::find(name),
            Vendor::Ascend => fcsp_ascend::symbols::find(name),
            Vendor::Gaudi => fcsp_gaudi::symbols::find(name),
        }
    }

    /// Its tables, one a library: what each function of it means for a quota or a share.
    pub fn tables(self) -> Vec<(&'static str, &'static [Symbol])> {
        match self {
            Vendor::Cuda => {
                use fcsp_cuda::symbols::{cuda, nvml};
                vec![("cuda", cuda()), ("nvml", nvml())]
            }
            Vendor::Hip => {
                use fcsp_hip::symbols::{amd_smi, hip, rocm_smi};
                vec![
                    ("hip", hip()),
                    ("rocm_smi", rocm_smi()),
                    ("amd_smi", amd_smi()),
                ]
            }
            Vendor::LevelZero => {
                use fcsp_levelzero::symbols::{ze, zes, zet};
                vec![("ze", ze()), ("zes", zes()), ("zet", zet())]
            }
            Vendor::Ascend => {
                use fcsp_ascend::symbols::{acl, dcmi, hccl, rt};
                vec![
                    ("acl", acl()),
                    ("rt", rt()),
                    ("hccl", hccl()),
                    ("dcmi", dcmi()),
                ]
            }
            Vendor::Gaudi => {
                use fcsp_gaudi::symbols::{hlml, synapse};
                vec![("synapse", synapse()), ("hlml", hlml())]
            }
        }
    }

    /// Its driver library, where the loader would look: `LD_LIBRARY_PATH`, the loader's cache, the
    /// system's folders. A copy that a program brings along (in a Python wheel, by its run path) is
    /// not seen.
    pub fn driver(self) -> Option<PathBuf> {
        let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        std::env::split_paths(&named)
            // An empty entry is the current folder to the loader; a driver there is nobody's
            // installation.
            .filter(|dir| dir.is_absolute())
            .find_map(|dir| self.driver_in(&dir))
            .or_else(|| self.driver_of(&std::fs::read("/etc/ld.so.cache").unwrap_or_default()))
            .or_else(|| SYSTEM.iter().find_map(|dir| self.driver_in(Path::new(dir))))
    }

    /// The file that would be its driver, usable or not; one that is usable before one that is not.
    pub fn present(self) -> Option<Present> {
        if let Some(path) = self.driver() {
            return Some(Present { path, fault: None });
        }
        let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let named: Vec<PathBuf> = std::env::split_paths(&named)
            .filter(|dir| dir.is_absolute())
            .collect();
        let system = SYSTEM.iter().map(PathBuf::from);
        let path = named
            .into_iter()
            .chain(system)
            .find_map(|dir| self.files_in(&dir).into_iter().next())?;
        let fault = Some(fault_of(&path));
        Some(Present { path, fault })
    }

    fn is_driver(self, file: &[u8]) -> bool {
        self.drivers()
            .iter()
            .any(|name| match name.strip_suffix('*') {
                Some(beginning) => file.starts_with(beginning.as_bytes()),
                None => file == name.as_bytes(),
            })
    }

    fn driver_in(self, dir: &Path) -> Option<PathBuf> {
        self.files_in(dir).into_iter().find(|path| is_native(path))
    }

    /// The files of a folder that have its driver's name.
    fn files_in(self, dir: &Path) -> Vec<PathBuf> {
        let mut found: Vec<OsString> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| self.is_driver(name.as_bytes()))
            .collect();
        found.sort();
        found.into_iter().map(|name| dir.join(name)).collect()
    }

    /// In the loader's cache every library stands with its whole path, between zero bytes; which
    /// hardware a line is for does not matter here.
    fn driver_of(self, cache: &[u8]) -> Option<PathBuf> {
        cache
            .split(|&byte| byte == 0)
            .filter(|text| text.first() == Some(&b'/'))
            .map(|text| Path::new(OsStr::from_bytes(text)))
            .filter(|path| {
                path.file_name()
                    .is_some_and(|file| self.is_driver(file.as_bytes()))
            })
            .find(|path| is_native(path))
            .map(Path::to_owned)
    }
}

/// What is wrong with variables that only one vendor's library reads, each in a sentence that
/// begins with its name.
pub fn wrong_settings() -> Vec<String> {
    let value = |name| {
        std::env::var_os(name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let cores = fcsp_ascend::cores::setting().map(drop);
    let wait = fcsp_gaudi::context::read_wait(&value(fcsp_gaudi::context::WAIT_VARIABLE)).map(drop);
    [cores, wait].into_iter().filter_map(Result::err).collect()
}

/// Folders that loaders search without being told, and the one in which Gaudi's backend looks as
/// well.
const SYSTEM: [&str; 7] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/habanalabs",
];

/// A file that has a driver's name.
#[derive(Debug)]
pub struct Present {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, as the end of a sentence; `None` if it is a library of this machine.
    pub fault: Option<String>,
}

/// What is wrong with a file that is no library of this machine.
fn fault_of(path: &Path) -> String {
    let mut start = [0; 5];
    match std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "is no library".into(),
        Err(error) => format!("cannot be read: {error}"),
        Ok(()) if start.starts_with(b"\x7fELF") => "is a library of another word size".into(),
        Ok(()) => "is no library".into(),
    }
}

/// Whether the file is an ELF object with this command's word size; of a multilib pair, only that
/// one can be loaded.
fn is_native(path: &Path) -> bool {
    let mut start = [0; 5];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && start == *b"\x7fELF\x02"
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Vendor::ALL
            .into_iter()
            .find(|vendor| vendor.name() == text)
            .ok_or_else(|| {
                format!(
                    "unknown vendor; there are {}",
                    Vendor::ALL.map(Vendor::name).join(", ")
                )
            })
    }
}

/// What `fcsp run --vendor` takes: one vendor, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    One(Vendor),
    /// Every one.
    All,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Choice::All),
            text => text
                .parse()
                .map(Choice::One)
                .map_err(|error: String| format!("{error}, all")),
        }
    }
}

/// A vendor whose library goes into a program, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// The vendor.
    pub vendor: Vendor,
    /// Asked for by name.
    pub named: bool,
    /// Its driver is installed.
    pub installed: bool,
}

/// CUDA, every vendor that is installed, and every one that was named. Each library answers
/// look-ups for its own vendor and passes the others on to the next, so any order does; what is
/// most likely asked comes first: vendors whose driver is there, then those that were named, and of
/// equals CUDA.
pub fn pick(chosen: &[Choice], installed: impl Fn(Vendor) -> bool) -> Vec<Picked> {
    let mut picked: Vec<Picked> = Vendor::ALL
        .into_iter()
        .map(|vendor| Picked {
            vendor,
            named: chosen.contains(&Choice::All) || chosen.contains(&Choice::One(vendor)),
            installed: installed(vendor),
        })
        .filter(|picked| picked.vendor == Vendor::Cuda || picked.named || picked.installed)
        .collect();
    picked.sort_by_key(|picked| (!picked.installed, !picked.named));
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(chosen: &[&str], installed: &[Vendor]) -> Vec<&'static str> {
        let chosen: Vec<Choice> = chosen.iter().map(|text| text.parse().unwrap()).collect();
        pick(&chosen, |vendor| installed.contains(&vendor))
            .into_iter()
            .map(|picked| picked.vendor.name())
            .collect()
    }

    #[test]
    fn the_vendor_that_is_there_answers_look_ups() {
        assert_eq!(order(&[], &[]), ["cuda"]);
        assert_eq!(order(&[], &[Vendor::Hip]), ["hip", "cuda"]);
        assert_eq!(order(&["hip"], &[Vendor::Cuda]), ["cuda", "hip"]);
        assert_eq!(order(&["hip"], &[]), ["hip", "cuda"]);
        assert_eq!(
            order(&["gaudi", "hip"], &[Vendor::Gaudi]),
            ["gaudi", "hip", "cuda"]
        );
        assert_eq!(order(&["all"], &[]), Vendor::ALL.map(Vendor::name));
        assert!(
            "nvidia"
                .parse::<Choice>()
                .unwrap_err()
                .contains("gaudi, all")
        );
    }

    #[test]
    fn a_driver_is_found_by_file_name_among_the_caches_paths() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, start: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, start).unwrap();
            path
        };
        let old = write("libamdhip64.so.5", b"\x7fELF\x01");
        let right = write("libamdhip64.so.6", b"\x7fELF\x02");
        let other = write("libamdhip65.so", b"\x7fELF\x02");
        let mut cache = b"glibc-ld.so.cache1.1\0\x02\0\0libamdhip64.so.6\0".to_vec();
        for path in [&other, &old, &right] {
            cache.extend_from_slice(path.as_os_str().as_bytes());
            cache.push(0);
        }
        assert_eq!(Vendor::Hip.driver_of(&cache), Some(right.clone()));
        assert_eq!(Vendor::Hip.driver_in(dir.path()), Some(right));
        assert_eq!(fault_of(&old), "is a library of another word size");
        assert_eq!(fault_of(&write("text", b"hello")), "is no library");
        assert!(fault_of(&dir.path().join("none")).starts_with("cannot be read: "));
        assert_eq!(Vendor::Gaudi.driver_of(&cache), None);
        assert_eq!(Vendor::Cuda.driver_in(dir.path()), None);
    }
}
