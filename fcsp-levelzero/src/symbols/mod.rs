//! Every function of Level Zero, and what each means for a quota or a share.
//!
//! The tables next to this file name all functions that the headers of version 1.4 declare,
//! including the getters of dispatch tables, and later functions that matter. The test `headers`
//! fails if a header declares a name that they lack. A version is the API's: 1004 is 1.4.
//!
//! ```
//! use fcsp_levelzero::symbols::{self, Role};
//!
//! let symbol = symbols::find("zeMemAllocDevice").unwrap();
//! assert_eq!(symbol.role, Role::Allocates);
//! assert_eq!(symbol.since, 1000);
//! ```

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static ZE: Table = Table::new(include_str!("ze.tsv"));
static ZES: Table = Table::new(include_str!("zes.tsv"));
static ZET: Table = Table::new(include_str!("zet.tsv"));

/// Returns every function of the core, by role and then by name.
pub fn ze() -> &'static [Symbol] {
    &ZE
}

/// Returns every management function, by role and then by name.
pub fn zes() -> &'static [Symbol] {
    &ZES
}

/// Returns every function for tools, by role and then by name.
pub fn zet() -> &'static [Symbol] {
    &ZET
}

/// Finds the entry of an exported name. Returns `None` for a name newer than the tables.
pub fn find(name: &str) -> Option<&'static Symbol> {
    ZE.find(name)
        .or_else(|| ZES.find(name))
        .or_else(|| ZET.find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_no_faults() {
        assert_eq!(
            fcsp_hook::symbols::faults(&[(ze(), "ze"), (zes(), "zes"), (zet(), "zet")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn nothing_that_obtains_memory_by_its_name_is_waved_through() {
        for symbol in ze() {
            let name = symbol.name;
            let obtains = name.starts_with("zeMemAlloc")
                || name.starts_with("zeMemOpen")
                || name == "zePhysicalMemCreate"
                || name.starts_with("zeImage") && name.contains("Create");
            if obtains && name != "zeMemAllocHost" {
                assert_eq!(symbol.role, Role::Allocates, "{name}");
            }
            if name.contains("Launch") {
                assert_eq!(symbol.role, Role::Launches, "{name}");
            }
        }
    }
}
