//! Every function of Synapse and HLML that is known, with its role. The vendor's packages bring no
//! headers, so the lists follow its published sources, its framework's bridge and its Python
//! package, and cannot be called complete for versions to come.

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static SYNAPSE: Table = Table::new(include_str!("synapse.tsv"));
static HLML: Table = Table::new(include_str!("hlml.tsv"));

/// Returns every symbol of Synapse, by role and then by name.
pub fn synapse() -> &'static [Symbol] {
    &SYNAPSE
}

/// Returns every symbol of HLML, by role and then by name.
pub fn hlml() -> &'static [Symbol] {
    &HLML
}

/// Finds the entry of an exported name.
pub fn find(name: &str) -> Option<&'static Symbol> {
    SYNAPSE.find(name).or_else(|| HLML.find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_no_faults() {
        assert_eq!(
            fcsp_hook::symbols::faults(&[(synapse(), "syn"), (hlml(), "hlml_")]),
            Vec::<String>::new()
        );
    }
}
