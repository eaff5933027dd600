//! Arguments of the outer cargo that the inner cargo of the build script needs, too.

use std::env;
use std::path::{Path, PathBuf};

/// Tables of cargo's configuration that name the sources of crates. Other keys, such as compiler
/// flags, must not reach libraries that tenants load.
const SOURCES: [&str; 7] = [
    "http.",
    "net.",
    "patch.",
    "registries.",
    "registry.",
    "source.",
    "paths",
];

/// The cargo that runs this script, as its own arguments and environment describe it. Cargo tells a
/// build script nothing of either flag.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outer {
    /// No network: `--offline`, `--frozen` or `CARGO_NET_OFFLINE=true`.
    pub offline: bool,
    /// Values of `--config` that say where crates come from, and files, by their whole paths.
    pub configuration: Vec<String>,
}

impl Outer {
    /// Reads the parent process's arguments, if the parent is cargo. Other programs that run build
    /// scripts are ignored.
    pub fn of_this_build() -> Self {
        let parent = PathBuf::from(format!("/proc/{}", std::os::unix::process::parent_id()));
        let line = std::fs::read(parent.join("cmdline")).unwrap_or_default();
        let words: Vec<String> = line
            .split(|&byte| byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let folder = std::fs::read_link(parent.join("cwd")).unwrap_or_default();
        let mut outer = Self::default();
        let is_cargo = |word: &String| {
            Path::new(word)
                .file_stem()
                .is_some_and(|name| name == "cargo")
        };
        if words.first().is_some_and(is_cargo) {
            outer = Self::of(&words[1..], &folder);
        }
        outer.offline |= env::var("CARGO_NET_OFFLINE").is_ok_and(|value| value == "true");
        outer
    }

    /// Reads the arguments `words` as given in `folder`.
    pub fn of(words: &[String], folder: &Path) -> Self {
        let mut outer = Self::default();
        let mut words = words.iter().take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            let value = match word.as_str() {
                "--offline" | "--frozen" => {
                    outer.offline = true;
                    continue;
                }
                "--config" => words.next().map(String::as_str),
                other => other.strip_prefix("--config="),
            };
            let Some(value) = value else { continue };
            // As cargo does: a file, or else a key and its value.
            let file = folder.join(value);
            if file.is_file() {
                outer.configuration.push(file.display().to_string());
            } else if SOURCES
                .iter()
                .any(|table| value.trim_start().starts_with(table))
            {
                outer.configuration.push(value.to_owned());
            }
        }
        outer
    }

    /// Returns the same settings as arguments of another cargo.
    pub fn arguments(self) -> Vec<String> {
        let offline = self.offline.then(|| "--offline".to_owned());
        let pair = |value| ["--config".to_owned(), value];
        offline
            .into_iter()
            .chain(self.configuration.into_iter().flat_map(pair))
            .collect()
    }
}
