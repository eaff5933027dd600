//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv`
//! with the reason why not.

use fcsp_gaudi::hooks::HOOKS;
use fcsp_gaudi::symbols::{self, Role, Symbol};

const UNWRAPPED: &str = include_str!("../src/symbols/unwrapped.tsv");

fn tables() -> [(&'static str, &'static [Symbol]); 2] {
    [("synapse", symbols::synapse()), ("hlml", symbols::hlml())]
}

fn is_wrapped(name: &str) -> bool {
    HOOKS
        .hooks()
        .any(|hook| hook.name.to_bytes() == name.as_bytes())
}

#[test]
fn what_matters_is_wrapped_or_has_a_reason() {
    for (library, table) in tables() {
        println!(
            "{}",
            fcsp_hook::symbols::summary(library, table, &is_wrapped)
        );
    }
    let gaps = fcsp_hook::symbols::gaps(&tables().map(|(_, table)| table), &is_wrapped, UNWRAPPED);
    assert!(gaps.is_empty(), "{gaps:#?}");
}

/// Checks that every function which starts work, allocates or frees memory is wrapped.
#[test]
fn roles_that_decide_have_no_exception() {
    let decides = [
        Role::Contexts,
        Role::Modules,
        Role::Allocates,
        Role::Frees,
        Role::Exports,
        Role::Informs,
        Role::Launches,
    ];
    let unwrapped: Vec<&str> = tables()
        .into_iter()
        .flat_map(|(_, table)| table)
        .filter(|symbol| decides.contains(&symbol.role) && !is_wrapped(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    assert_eq!(unwrapped, [""; 0]);
}
