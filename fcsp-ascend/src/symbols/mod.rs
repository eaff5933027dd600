//! Every entry point of ACL and of HCCL, what is known of the runtime's and of the management
//! library's, and what each means for a quota or a share.
//!
//! An interposer is only as good as its list: an allocation that it has never heard of passes it
//! by. The tables beside this file therefore name everything, also what needs no attention, and the
//! test `headers` fails when Huawei's headers of ACL and HCCL declare a name that they lack. Of the
//! runtime (`rt.tsv`) and DCMI (`dcmi.tsv`) no header is published with those, so their lists
//! follow the published sources and reference and cannot be called complete.
//!
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

/// Every symbol that ACL's headers declare, by role and then by name.
pub fn acl() -> &'static [Symbol] {
    &ACL
}

/// Every symbol that HCCL's header declares, by role and then by name.
pub fn hccl() -> &'static [Symbol] {
    &HCCL
}

/// What is known of the runtime's symbols, by role and then by name.
pub fn rt() -> &'static [Symbol] {
    &RT
}

/// What is known of DCMI's symbols, by role and then by name.
pub fn dcmi() -> &'static [Symbol] {
    &DCMI
}

/// The entry of an exported name, in any of the libraries; `None` for a name newer than the tables.
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
            // Questions about allocations, and identities of those that may import.
            let asks = name.contains("Granularity")
                || name.contains("ImportPid")
                || name.contains("Notify");
            if obtains && !asks && !host.contains(&name) {
                assert_eq!(symbol.role, Role::Allocates, "{name}");
            }
        }
    }
}
