//! Every function of the driver, with its role.

pub use fcsp_hook::symbols::{Role, Symbol, Table, counts};

static EMPTY: Table = Table::new(include_str!("empty.tsv"));

/// Returns every symbol of the driver, by role and then by name.
pub fn empty() -> &'static [Symbol] {
    &EMPTY
}

/// Finds the entry of an exported name.
pub fn find(name: &str) -> Option<&'static Symbol> {
    EMPTY.find(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_no_faults_and_everything_that_the_header_declares() {
        assert_eq!(
            fcsp_hook::symbols::faults(&[(empty(), "empty")]),
            Vec::<String>::new()
        );
        let header = include_str!("../../../fcsp-sim/empty/empty.h");
        let declared: BTreeSet<&str> = header
            .lines()
            .filter_map(|line| line.strip_prefix("emptyStatus ")?.split('(').next())
            .collect();
        let known: BTreeSet<&str> = empty().iter().map(|symbol| symbol.name).collect();
        assert_eq!(declared, known);
    }

    #[test]
    fn what_has_a_role_is_wrapped() {
        let wrapped: BTreeSet<&str> = crate::hooks::HOOKS
            .hooks()
            .map(|hook| hook.name.to_str().unwrap())
            .collect();
        let due: BTreeSet<&str> = empty()
            .iter()
            .filter(|symbol| !matches!(symbol.role, Role::Passes | Role::Copies))
            .map(|symbol| symbol.name)
            .collect();
        assert_eq!(wrapped, due);
    }
}
