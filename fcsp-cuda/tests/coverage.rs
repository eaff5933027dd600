//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv`
//! with the reason why not.

use std::collections::BTreeSet;

use fcsp_cuda::hooks::HOOKS;
use fcsp_cuda::symbols::{self, Role, Symbol};

const UNWRAPPED: &str = include_str!("../src/symbols/unwrapped.tsv");

fn tables() -> [(&'static str, &'static [Symbol]); 2] {
    [("cuda", symbols::cuda()), ("nvml", symbols::nvml())]
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

fn matter() -> impl Iterator<Item = &'static Symbol> {
    tables()
        .into_iter()
        .flat_map(|(_, table)| table)
        .filter(|symbol| symbol.role != Role::Passes)
}

/// Checks that the functions which start work or allocate memory have few exceptions. A longer list
/// would be a list of ways around the limits.
#[test]
fn roles_that_decide_have_no_exception_but_these() {
    let launches: Vec<_> = matter()
        .filter(|symbol| symbol.role == Role::Launches && !is_wrapped(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    assert_eq!(launches, [""; 0], "launches");
    let allocates: BTreeSet<_> = matter()
        .filter(|symbol| symbol.role == Role::Allocates && !is_wrapped(symbol.name))
        .filter(|symbol| {
            let note = symbol.note;
            !["import", "fabric", "multicast", "holds the bound memory"]
                .iter()
                .any(|word| note.contains(word))
        })
        .map(|symbol| symbol.name)
        .collect();
    assert_eq!(
        allocates.into_iter().collect::<Vec<_>>(),
        ["cuCheckpointProcessRestore", "cuMemPoolCreate"]
    );
}
