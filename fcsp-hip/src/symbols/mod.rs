//! Every entry point of the HIP runtime, of ROCm SMI and of AMD SMI, and what each means for a
//! quota or a share.
//!
//! An interposer is only as good as its list: an allocation that it has never heard of passes it
//! by. The tables beside this file (`hip.tsv`, `rocm_smi.tsv`, `amd_smi.tsv`) therefore name
//! everything, also what needs no attention, and the test `headers` fails when AMD's headers
//! declare a name that they lack. A symbol's base is the name that `hipGetProcAddress` takes; its
//! version is that of the symbol itself (602 is `hip_6.2`).
//!
//! ```
//! use fcsp_hip::symbols::{self, Role};
//!
//! let symbol = symbols::find("hipLaunchKernel_spt").unwrap();
//! assert_eq!(symbol.role, Role::Launches);
//! assert_eq!(symbol.base, "hipLaunchKernel");
//! assert_eq!(symbol.since, 502);
//! ```

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static HIP: Table = Table::new(include_str!("hip.tsv"));
static AMD_SMI: Table = Table::new(include_str!("amd_smi.tsv"));
static ROCM_SMI: Table = Table::new(include_str!("rocm_smi.tsv"));

/// Returns every symbol of the HIP runtime, by role and then by name.
pub fn hip() -> &'static [Symbol] {
    &HIP
}

/// Returns every symbol of ROCm SMI, by role and then by name.
pub fn rocm_smi() -> &'static [Symbol] {
    &ROCM_SMI
}

/// Returns every symbol of AMD SMI, by role and then by name.
pub fn amd_smi() -> &'static [Symbol] {
    &AMD_SMI
}

/// Finds the entry of an exported name, in any of the libraries. Returns `None` for a name newer
/// than the tables.
pub fn find(name: &str) -> Option<&'static Symbol> {
    HIP.find(name)
        .or_else(|| ROCM_SMI.find(name))
        .or_else(|| AMD_SMI.find(name))
}

/// Returns true if this is the variant in which stream 0 means the calling thread's own stream.
pub fn per_thread_stream(symbol: &Symbol) -> bool {
    symbol.name.ends_with("_spt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_no_faults() {
        // Plain names, those of the compiler's registrations, and C++'s.
        assert_eq!(
            fcsp_hook::symbols::faults(&[
                (hip(), ""),
                (rocm_smi(), "rsmi_"),
                (amd_smi(), "amdsmi_")
            ]),
            Vec::<String>::new()
        );
        for symbol in hip() {
            let known = ["hip", "__hip", "_Z"]
                .iter()
                .any(|p| symbol.name.starts_with(p));
            assert!(known, "{}", symbol.name);
        }
    }

    #[test]
    fn variants_for_streams_of_threads_are_those_of_a_plain_name() {
        for symbol in hip().iter().filter(|symbol| per_thread_stream(symbol)) {
            let plain = symbol.name.trim_end_matches("_spt");
            let plain = find(plain).unwrap_or_else(|| panic!("{} without {plain}", symbol.name));
            assert_eq!(symbol.role, plain.role, "{}", symbol.name);
        }
    }

    #[test]
    fn nothing_that_obtains_memory_by_its_name_is_waved_through() {
        let host = ["hipMallocHost", "hipMemAllocHost"];
        for symbol in hip() {
            let name = symbol.base;
            let obtains = name.starts_with("hipMalloc")
                || name.starts_with("hipMemAlloc")
                || name.starts_with("hipExtMalloc")
                || name == "hipMemCreate"
                || name.contains("ArrayCreate")
                || name.contains("Array3DCreate")
                || name == "hipGraphAddNode"
                || name.contains("Import") && !name.contains("Semaphore")
                || name.contains("IpcOpenMem");
            if obtains && !host.contains(&name) {
                assert_eq!(symbol.role, Role::Allocates, "{}", symbol.name);
            }
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        assert!(find("hipMallocFromTheFuture").is_none());
        assert_eq!(
            find("rsmi_dev_memory_total_get").unwrap().role,
            Role::Informs
        );
    }
}
