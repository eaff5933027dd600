//! Every entry point of ACL and of HCCL, the known ones of the runtime and of the management
//! library, and what each means for a quota or a share.
//!
//! An interposer is only as good as its list: an unknown allocation passes it. The tables next to
//! this file therefore name everything, also what needs no attention. The test `headers` fails if
//! Huawei's headers of ACL and HCCL declare a name that they lack. No such header is published for
//! the runtime (`rt.tsv`) and DCMI (`dcmi.tsv`). Their lists follow the published sources and
//! reference, and cannot be called complete.
//! ```
//! use fcsp_ascend::symbols::{self, Role};
//!
//! let symbol = symbols::find("aclrtLaunchKernelV2").unwrap();
//! assert_eq!(symbol.role, Role::Launches);
//! assert_eq!(symbol.base, "aclrtLaunchKernel");
//! ```

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static ACL: Table = Table::new(include_str!("acl.tsv"));
static HCCL: Table = Table::new(include_str!("hccl.tsv"));
static RT: Table = Table::new(include_str!("rt.tsv"));
static DCMI: Table = Table::new(include_str!("dcmi.tsv"));

/// Returns every symbol that ACL's headers declare, by role and then by name.
pub fn acl() -> &'static [Symbol] {
    &ACL
}

/// Returns every symbol that HCCL's header declares, by role and then by name.
pub fn hccl() -> &'static [Symbol] {
    &HCCL
}

/// Returns the known symbols of the runtime, by role and then by name.
pub fn rt() -> &'static [Symbol] {
    &RT
}

/// Returns the known symbols of DCMI, by role and then by name.
pub fn dcmi() -> &'static [Symbol] {
    &DCMI
}

/// Finds the entry of an exported name, in any of the libraries. Returns `None` for a name newer
/// than the tables.
pub fn find(name: &str) -> Option<&'static Symbol> {
    [&ACL, &RT, &HCCL, &DCMI]
        .into_iter()
        .find_map(|table| table.find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_no_faults() {
        assert_eq!(
            fcsp_hook::symbols::faults(&[
                (acl(), "acl"),
                (hccl(), "Hccl"),
                (rt(), "rt"),
                (dcmi(), "dcmi_")
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn nothing_that_obtains_memory_by_its_name_is_waved_through() {
        let host = [
            "aclrtMallocHost",
            "aclrtMallocHostWithCfg",
            "rtMallocHost",
            "rtsMallocHost",
        ];
        for symbol in acl().iter().chain(rt()) {
            let name = symbol.name;
            let obtains =
                name.contains("Malloc") || name.contains("MemAlloc") || name.contains("MemImport");
            // Queries about allocations, and identities of processes that may import.
            let asks = name.contains("Granularity")
                || name.contains("ImportPid")
                || name.contains("Notify");
            if obtains && !asks && !host.contains(&name) {
                assert_eq!(symbol.role, Role::Allocates, "{name}");
            }
        }
    }
}
