//! Environment, libraries and mounts that make a program one of a tenant's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use fcsp_core::config::env::PREFIXES;
use fcsp_core::config::text;
use fcsp_core::control::Limits;
use fcsp_core::state::{STATE_DIR_VARIABLE, StateDir};
use fcsp_core::tree;

use crate::vendor::Vendor;

/// The variable by which Level Zero's loader makes its management functions answer.
const SYSMAN_VARIABLE: &str = "ZES_ENABLE_SYSMAN";
/// The variable of the loader that names preload libraries.
const PRELOAD_VARIABLE: &str = "LD_PRELOAD";
/// The variable that names the tenant.
const TENANT_VARIABLE: &str = "FCSP_TENANT";

/// A folder that a program in a container must see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// The folder, under the same path inside and outside.
    pub path: PathBuf,
    /// True if the program must not change anything in it.
    pub read_only: bool,
}

/// Data that makes a program one of a tenant's: variables, preload libraries, and mounts for a
/// program in a container. `fcsp run` applies it to a command; an agent writes it into a container.
///
/// ```
/// use std::process::Command;
///
/// use fcsp_core::control::Limits;
/// use fcsp_core::state::StateDir;
/// use fcsp_tenancy::{Injection, Vendor};
///
/// let injection = Injection::new()
///     .preload(Vendor::Cuda, "/usr/lib/fcsp/libfcsp_cuda.so")
///     .tenant("team-a", &StateDir::at("/run/fcsp"), &Limits::default());
/// assert_eq!(injection.get("FCSP_TENANT").unwrap(), "team-a");
/// let mounts: Vec<_> = injection.mounts.iter().map(|mount| mount.path.display()).collect();
/// assert_eq!(mounts.len(), 2);
///
/// let mut command = Command::new("python3");
/// injection.apply(&mut command);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injection {
    /// Variables to set, without the loader's.
    pub env: Vec<(OsString, OsString)>,
    /// Preload libraries, in the loader's order.
    pub preload: Vec<PathBuf>,
    /// Folders that the program must see.
    pub mounts: Vec<Mount>,
}

impl Injection {
    /// Makes an injection that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable. A later value replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.into()));
        self
    }

    /// Adds a vendor's preload library.
    #[must_use]
    pub fn preload(mut self, vendor: Vendor, library: impl Into<PathBuf>) -> Self {
        let library = library.into();
        if let Some(folder) = library.parent() {
            self.mount(folder.to_owned(), true);
        }
        self.preload.push(library);
        // Without it a driver of Level Zero tells nobody how much of a device's memory is in use.
        match vendor {
            Vendor::LevelZero => self.env(SYSMAN_VARIABLE, "1"),
            _ => self,
        }
    }

    /// Names the state folder. Always name it: a child in another user namespace, or with another
    /// `XDG_RUNTIME_DIR`, would look elsewhere.
    #[must_use]
    pub fn state(mut self, state: &StateDir) -> Self {
        self.mount(state.path().to_owned(), false);
        self.env(STATE_DIR_VARIABLE, state.path())
    }

    /// Names the tenant, its state folder, and its limits, should its shared files be removed while
    /// the program runs.
    #[must_use]
    pub fn tenant(self, name: &str, state: &StateDir, limits: &Limits) -> Self {
        let named = self
            .state(&state.for_programs(name))
            .env(TENANT_VARIABLE, name);
        text::variables(limits)
            .into_iter()
            .fold(named, |injection, (variable, value)| {
                injection.env(variable, value)
            })
    }

    fn mount(&mut self, path: PathBuf, read_only: bool) {
        if read_only {
            if !self.mounts.iter().any(|mount| mount.path == path) {
                self.mounts.push(Mount { path, read_only });
            }
            return;
        }
        // There is one state folder; the last one named counts.
        self.mounts.retain(|mount| mount.read_only);
        self.mounts.push(Mount { path, read_only });
    }

    /// Returns the value of a variable that this sets.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_os_str())
    }

    /// Returns the value for `LD_PRELOAD` where it is `inherited` so far: these libraries first,
    /// and no other copy of any vendor's.
    pub fn preload_value(&self, inherited: &OsStr) -> OsString {
        let is_ours = |entry: &&[u8]| {
            let file = Path::new(OsStr::from_bytes(entry)).file_name();
            Vendor::ALL
                .iter()
                .any(|vendor| file == Some(OsStr::new(vendor.library())))
        };
        let others = inherited
            .as_bytes()
            .split(|&byte| byte == b':' || byte == b' ')
            .filter(|entry| !entry.is_empty() && !is_ours(entry));
        let all: Vec<&[u8]> = self
            .preload
            .iter()
            .map(|path| path.as_os_str().as_bytes())
            .chain(others)
            .collect();
        OsString::from_vec(all.join(&b':'))
    }

    /// Applies it to a command that inherits this process's environment. Variables that set limits
    /// or name a tenant are removed first. A user's own `ZES_ENABLE_SYSMAN` stays.
    pub fn apply(&self, command: &mut Command) {
        for (variable, _) in std::env::vars_os() {
            if variable.to_str().is_some_and(is_setting) {
                command.env_remove(&variable);
            }
        }
        let inherited = std::env::var_os(PRELOAD_VARIABLE).unwrap_or_default();
        command
            .env(PRELOAD_VARIABLE, self.preload_value(&inherited))
            .env_remove(tree::VARIABLE)
            .envs(self.env.iter().filter_map(|(name, value)| {
                let is_users = name == SYSMAN_VARIABLE && std::env::var_os(name).is_some();
                (!is_users).then_some((name, value))
            }));
    }
}

/// Returns whether a variable sets limits or names a tenant.
pub fn is_setting(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns a list variable's value with `first` put before the rest.
pub fn prepended(variable: &str, first: &Path) -> OsString {
    let mut value = first.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os(variable).filter(|rest| !rest.is_empty()) {
        value.push(":");
        value.push(rest);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_library_is_preloaded_twice() {
        let injection = Injection::new()
            .preload(Vendor::Hip, "/a/libfcsp_hip.so")
            .preload(Vendor::Cuda, "/a/libfcsp_cuda.so");
        let inherited = OsStr::new("/b/libfcsp_cuda.so other.so:/c/libfcsp_gaudi.so");
        assert_eq!(
            injection.preload_value(inherited),
            "/a/libfcsp_hip.so:/a/libfcsp_cuda.so:other.so"
        );
        assert_eq!(injection.mounts.len(), 1);
    }

    #[test]
    fn a_tenant_has_one_state_folder() {
        let injection = Injection::new().state(&StateDir::at("/one")).tenant(
            "t",
            &StateDir::at("/two"),
            &Limits::default(),
        );
        assert_eq!(injection.get(STATE_DIR_VARIABLE).unwrap(), "/two");
        let folders: Vec<&Path> = injection
            .mounts
            .iter()
            .map(|mount| mount.path.as_path())
            .collect();
        assert_eq!(folders, [Path::new("/two")]);
    }
}
