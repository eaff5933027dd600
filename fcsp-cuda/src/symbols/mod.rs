//! Every entry point of the CUDA driver library and of NVML, and what each means for a quota or a share.
//!
//! An interposer is only as good as its list: an allocation that it has never heard of passes it by. The tables
//! beside this file (`cuda.tsv`, `nvml.tsv`) therefore name everything, also what needs no attention, and the test
//! `headers` fails when NVIDIA's headers declare a name that they lack. `fcsp doctor` compares them with the
//! libraries of the machine at hand.
//!
//! ```
//! use fcsp_cuda::symbols::{self, Role};
//!
//! let symbol = symbols::find("cuMemAllocAsync_ptsz").unwrap();
//! assert_eq!(symbol.role, Role::Allocates);
//! assert_eq!(symbol.base, "cuMemAllocAsync");
//! assert!(symbol.since >= 11020);
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// What a call does that FCSP must know about.
///
/// A symbol has one role, the one that decides how it is wrapped; notes in the tables carry what else is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Hands out driver entry points, or starts the driver: where wrappers are put in place.
    Resolves,
    /// Creates, destroys or resizes contexts, which hold device memory of their own.
    Contexts,
    /// Loads or unloads device code, which lives in device memory.
    Modules,
    /// Obtains device memory, or a further hold on it, imports included.
    Allocates,
    /// Gives device memory back, or lets go of a hold on it.
    Frees,
    /// Hands memory or driver tables to somebody outside this process's wrappers.
    Exports,
    /// Answers about the device, which must describe the tenant's part of it.
    Informs,
    /// Starts kernels or graphs: what a compute share governs.
    Launches,
    /// Puts device work on a stream that is not a kernel: copies, fills, migrations.
    Copies,
    /// Creates, orders, records or waits for streams and events.
    Streams,
    /// Has no effect on quota or share.
    Passes,
}

impl Role {
    /// Every role, in the order of the tables.
    pub const ALL: [Role; 11] = [
        Role::Resolves,
        Role::Contexts,
        Role::Modules,
        Role::Allocates,
        Role::Frees,
        Role::Exports,
        Role::Informs,
        Role::Launches,
        Role::Copies,
        Role::Streams,
        Role::Passes,
    ];

    /// The word that the tables use.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Resolves => "resolves",
            Role::Contexts => "contexts",
            Role::Modules => "modules",
            Role::Allocates => "allocates",
            Role::Frees => "frees",
            Role::Exports => "exports",
            Role::Informs => "informs",
            Role::Launches => "launches",
            Role::Copies => "copies",
            Role::Streams => "streams",
            Role::Passes => "passes",
        }
    }

    fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Name that the library exports (or that a newer library will).
    pub name: &'static str,
    /// What it means for a quota or a share.
    pub role: Role,
    /// Name without version and stream suffix; for CUDA, the one that `cuGetProcAddress` takes.
    pub base: &'static str,
    /// Driver API version (12030 is 12.3) from which `cuGetProcAddress` answers `base` with this symbol; 0 when
    /// unknown.
    pub since: u32,
    /// What the role alone does not say; often empty.
    pub note: &'static str,
}

impl Symbol {
    /// Whether this is the variant in which stream 0 means the calling thread's own stream.
    pub fn per_thread_stream(&self) -> bool {
        self.name.ends_with("_ptsz") || self.name.ends_with("_ptds")
    }
}

/// Every symbol of the CUDA driver library, by role and then by name.
pub fn cuda() -> &'static [Symbol] {
    static TABLE: LazyLock<Vec<Symbol>> = LazyLock::new(|| parse(include_str!("cuda.tsv")));
    &TABLE
}

/// Every symbol of NVML, by role and then by name.
pub fn nvml() -> &'static [Symbol] {
    static TABLE: LazyLock<Vec<Symbol>> = LazyLock::new(|| parse(include_str!("nvml.tsv")));
    &TABLE
}

/// The entry of an exported name, in either library; `None` for a name newer than the tables.
pub fn find(name: &str) -> Option<&'static Symbol> {
    static INDEX: LazyLock<HashMap<&'static str, &'static Symbol>> = LazyLock::new(|| {
        cuda()
            .iter()
            .chain(nvml())
            .map(|symbol| (symbol.name, symbol))
            .collect()
    });
    INDEX.get(name).copied()
}

/// How many symbols of a table have each role, in the order of [`Role::ALL`].
pub fn counts(table: &[Symbol]) -> [(Role, usize); Role::ALL.len()] {
    Role::ALL.map(|role| (role, table.iter().filter(|symbol| symbol.role == role).count()))
}

/// Reads a table.
///
/// # Panics
///
/// On a malformed line. The tables are part of the crate and a unit test reads them, so a release cannot.
fn parse(text: &'static str) -> Vec<Symbol> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(parse_line)
        .collect()
}

fn parse_line(line: &'static str) -> Symbol {
    let mut columns = line.split('\t');
    let mut column = |what: &str| columns.next().unwrap_or_else(|| panic!("no {what} in {line:?}"));
    let name = column("symbol");
    let role = column("role");
    let base = column("base");
    let since = column("since");
    Symbol {
        name,
        role: Role::from_word(role).unwrap_or_else(|| panic!("no role {role:?} in {line:?}")),
        base,
        since: since
            .parse()
            .unwrap_or_else(|_| panic!("no version {since:?} in {line:?}")),
        note: columns.next().unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_stands_once_with_its_own_prefix() {
        for (table, prefix) in [(cuda(), "cu"), (nvml(), "nvml")] {
            let mut seen = HashSet::new();
            for symbol in table {
                assert!(symbol.name.starts_with(prefix), "{}", symbol.name);
                assert!(
                    symbol.name.starts_with(symbol.base),
                    "{} is not a version of {}",
                    symbol.name,
                    symbol.base
                );
                assert!(seen.insert(symbol.name), "{} stands twice", symbol.name);
            }
        }
    }

    #[test]
    fn variants_of_one_function_share_its_role() {
        // A role that is right for the plain name and forgotten for its per-thread-stream twin would be an escape.
        for symbol in cuda().iter().filter(|symbol| symbol.per_thread_stream()) {
            let plain = &symbol.name[..symbol.name.len() - "_ptsz".len()];
            let plain = find(plain).unwrap_or_else(|| panic!("{} without {plain}", symbol.name));
            assert_eq!(symbol.role, plain.role, "{}", symbol.name);
            assert_eq!(symbol.base, plain.base, "{}", symbol.name);
        }
        // And likewise for versions.
        let mut roles: HashMap<&str, Role> = HashMap::new();
        for symbol in cuda().iter().chain(nvml()) {
            let role = *roles.entry(symbol.base).or_insert(symbol.role);
            assert_eq!(role, symbol.role, "{} and its other versions", symbol.name);
        }
    }

    #[test]
    fn counts_add_up() {
        for table in [cuda(), nvml()] {
            assert_eq!(counts(table).iter().map(|(_, n)| n).sum::<usize>(), table.len());
        }
    }

    #[test]
    fn nothing_that_obtains_memory_by_its_name_is_waved_through() {
        let host = ["cuMemAllocHost", "cuMemHostAlloc"];
        for symbol in cuda() {
            let name = symbol.base;
            let obtains = name.starts_with("cuMemAlloc")
                || name == "cuMemCreate"
                || name.contains("ArrayCreate")
                || name.contains("Array3DCreate")
                || name.contains("GraphAddNode")
                || name.contains("Import") && !name.contains("Semaphore")
                || name.contains("IpcOpenMem");
            if obtains && !host.contains(&name) {
                assert_eq!(symbol.role, Role::Allocates, "{}", symbol.name);
            }
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        assert!(find("cuMemAllocFromTheFuture").is_none());
        assert_eq!(find("nvmlDeviceGetMemoryInfo").unwrap().role, Role::Informs);
    }
}
