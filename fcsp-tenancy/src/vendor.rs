//! The vendors: the one table of them, their preload libraries, and the search for their drivers.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(feature = "symbols")]
use fcsp_hook::symbols::Symbol;

/// Declares the vendors. A new vendor is a row here, a backend crate, and a simulator.
macro_rules! vendors {
    ($(
        $(#[$doc:meta])*
        $variant:ident($krate:ident) {
            name: $name:literal,
            library: $library:literal,
            drivers: [$($driver:literal),+],
            prefixes: [$($prefix:literal),+],
            nodes: [$($node:literal),+],
            nodes_advice: $advice:literal,
            tables: [$($table:ident),+],
        }
    )+) => {
        /// A vendor whose accelerators have a backend.
        ///
        /// ```
        /// use fcsp_tenancy::Vendor;
        ///
        /// let vendor: Vendor = "hip".parse()?;
        /// assert_eq!(vendor.library(), "libfcsp_hip.so");
        /// # Ok::<(), fcsp_tenancy::UnknownVendor>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Vendor {
            $($(#[$doc])* $variant,)+
        }

        impl Vendor {
            /// All of them, CUDA first.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Returns the name that options and answers use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the file name of its preload library.
            pub const fn library(self) -> &'static str {
                match self {
                    $(Self::$variant => $library,)+
                }
            }

            /// Returns the file names of its driver. One that ends with `*` is a beginning.
            pub const fn drivers(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($driver),+],)+
                }
            }

            /// Returns the beginnings of its entry points' names, before a letter.
            pub const fn prefixes(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($prefix),+],)+
                }
            }

            /// Returns the names of its nodes below `/dev`. In a name that ends with `#`, digits
            /// follow.
            pub const fn nodes(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($node),+],)+
                }
            }

            /// Returns advice for a user who may not open its nodes.
            pub const fn nodes_advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)+
                }
            }

            /// Returns the row of an entry point in its tables.
            #[cfg(feature = "symbols")]
            pub fn symbol(self, name: &str) -> Option<&'static Symbol> {
                match self {
                    $(Self::$variant => $krate::symbols::find(name),)+
                }
            }

            /// Returns its tables, one a library: the role of each function for a quota or a share.
            #[cfg(feature = "symbols")]
            pub fn tables(self) -> Vec<(&'static str, &'static [Symbol])> {
                match self {
                    $(Self::$variant => {
                        vec![$((stringify!($table), $krate::symbols::$table())),+]
                    })+
                }
            }
        }
    };
}

vendors! {
    /// NVIDIA CUDA.
    Cuda(fcsp_cuda) {
        name: "cuda",
        library: "libfcsp_cuda.so",
        drivers: ["libcuda.so.1"],
        prefixes: ["cu"],
        nodes: ["nvidiactl", "nvidia-uvm", "nvidia#"],
        nodes_advice: "nvidia-modprobe -u -c=0 makes them for everybody; in a container, add the devices",
        tables: [cuda, nvml],
    }
    /// AMD HIP.
    Hip(fcsp_hip) {
        name: "hip",
        library: "libfcsp_hip.so",
        drivers: ["libamdhip64.so*"],
        prefixes: ["hip"],
        nodes: ["kfd", "dri/renderD#"],
        nodes_advice: "add this user to the groups render and video; in a container, add --device /dev/kfd --device /dev/dri",
        tables: [hip, rocm_smi, amd_smi],
    }
    /// oneAPI Level Zero.
    LevelZero(fcsp_levelzero) {
        name: "levelzero",
        library: "libfcsp_levelzero.so",
        drivers: ["libze_loader.so.1", "libze_intel_gpu.so.1"],
        prefixes: ["ze", "zes", "zet"],
        nodes: ["dri/renderD#"],
        nodes_advice: "add this user to the group render; in a container, add --device /dev/dri",
        tables: [ze, zes, zet],
    }
    /// Huawei Ascend.
    Ascend(fcsp_ascend) {
        name: "ascend",
        library: "libfcsp_ascend.so",
        drivers: ["libascendcl.so"],
        prefixes: ["acl"],
        nodes: ["davinci_manager", "devmm_svm", "davinci#"],
        nodes_advice: "add this user to the group HwHiAiUser; in a container, add the devices",
        tables: [acl, rt, hccl, dcmi],
    }
    /// Intel Gaudi.
    Gaudi(fcsp_gaudi) {
        name: "gaudi",
        library: "libfcsp_gaudi.so",
        drivers: ["libSynapse.so"],
        prefixes: ["syn"],
        nodes: ["accel/accel#"],
        nodes_advice: "in a container, use the habana runtime, or add the devices",
        tables: [synapse, hlml],
    }
}

impl Vendor {
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

    /// Returns the file that would be its driver, usable or not; one that is usable before one that
    /// is not.
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

    /// Returns the files of a folder that have its driver's name.
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

    /// Finds the driver in the loader's cache, which has the whole path of every library between
    /// zero bytes. The hardware of a line does not matter here.
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
    /// Fault of it, as the end of a sentence; `None` if it is a library of this machine.
    pub fault: Option<String>,
}

/// Returns what is wrong with a file that is no library of this machine.
fn fault_of(path: &Path) -> String {
    let mut start = [0; 5];
    match std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "is no library".into(),
        Err(error) => format!("cannot be read: {error}"),
        Ok(()) if start.starts_with(b"\x7fELF") => "is a library of another word size".into(),
        Ok(()) => "is no library".into(),
    }
}

/// Returns whether the file is an ELF object with this command's word size; of a multilib pair,
/// only that one can be loaded.
fn is_native(path: &Path) -> bool {
    let mut start = [0; 5];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && start == *b"\x7fELF\x02"
}

/// A name that no vendor has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown vendor; there are {}", Vendor::ALL.map(Vendor::name).join(", "))]
#[non_exhaustive]
pub struct UnknownVendor;

impl FromStr for Vendor {
    type Err = UnknownVendor;

    fn from_str(text: &str) -> Result<Self, UnknownVendor> {
        Vendor::ALL
            .into_iter()
            .find(|vendor| vendor.name() == text)
            .ok_or(UnknownVendor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
