//! Every entry point of the CUDA driver library and of NVML, and what each means for a quota or a
//! share.
//!
//! An interposer is only as good as its list: an allocation that it has never heard of passes it
//! by. The tables beside this file (`cuda.tsv`, `nvml.tsv`) therefore name everything, also what
//! needs no attention, and the test `headers` fails when NVIDIA's headers declare a name that they
//! lack. `fcsp doctor` compares them with the libraries of the machine at hand. A symbol's base is
//! the name that `cuGetProcAddress` takes; the version from which that answers with the symbol is
//! the driver API's (12030 is 12.3).
//!
//! ```
//! use fcsp_cuda::symbols::{self, Role};
//!
//! let symbol = symbols::find("cuMemAllocAsync_ptsz").unwrap();
//! assert_eq!(symbol.role, Role::Allocates);
//! assert_eq!(symbol.base, "cuMemAllocAsync");
//! assert!(symbol.since >= 11020);
//! ```

pub mod versions;

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static CUDA: Table = Table::new(include_str!("cuda.tsv"));
static NVML: Table = Table::new(include_str!("nvml.tsv"));

/// Returns every symbol of the CUDA driver library, by role and then by name.
pub fn cuda() -> &'static [Symbol] {
    &CUDA
}

/// Returns every symbol of NVML, by role and then by name.
pub fn nvml() -> &'static [Symbol] {
    &NVML
}

/// Finds the entry of an exported name, in either library. Returns `None` for a name newer than the
/// tables.
pub fn find(name: &str) -> Option<&'static Symbol> {
    CUDA.find(name).or_else(|| NVML.find(name))
}

/// Returns true if this is the variant in which stream 0 means the calling thread's own stream.
pub fn per_thread_stream(symbol: &Symbol) -> bool {
    symbol.name.ends_with("_ptsz") || symbol.name.ends_with("_ptds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_no_faults() {
        assert_eq!(
            fcsp_hook::symbols::faults(&[(cuda(), "cu"), (nvml(), "nvml")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn variants_for_streams_of_threads_are_those_of_a_plain_name() {
        for symbol in cuda().iter().filter(|symbol| per_thread_stream(symbol)) {
            let plain = &symbol.name[..symbol.name.len() - "_ptsz".len()];
            let plain = find(plain).unwrap_or_else(|| panic!("{} without {plain}", symbol.name));
            assert_eq!(symbol.role, plain.role, "{}", symbol.name);
            assert_eq!(symbol.base, plain.base, "{}", symbol.name);
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
