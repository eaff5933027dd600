//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv`
//! with the reason why not.

use fcsp_ascend::hooks::HOOKS;
use fcsp_ascend::symbols::{self, Role, Symbol};

const UNWRAPPED: &str = include_str!("../src/symbols/unwrapped.tsv");

fn tables() -> [(&'static str, &'static [Symbol]); 4] {
    [
        ("acl", symbols::acl()),
        ("hccl", symbols::hccl()),
        ("rt", symbols::rt()),
        ("dcmi", symbols::dcmi()),
    ]
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

/// Checks that the deciding roles have no unwrapped function but these. Unwrapped launches call the
/// runtime for their work; unwrapped allocations import memory. A longer list would be a list of
/// ways around the limits.
#[test]
fn roles_that_decide_have_no_exception_but_these() {
    let unwrapped = |role: Role| -> Vec<&str> {
        let all = tables().into_iter().flat_map(|(_, table)| table);
        all.filter(|symbol| symbol.role == role && !is_wrapped(symbol.name))
            .map(|symbol| symbol.name)
            .collect()
    };
    let mut launches = unwrapped(Role::Launches);
    launches.retain(|name| {
        !["aclblas", "aclmdlExecute", "aclop"]
            .iter()
            .any(|beginning| name.starts_with(beginning))
    });
    assert_eq!(launches, ["aclrtRandomNumAsync"]);
    let mut allocates = unwrapped(Role::Allocates);
    allocates.retain(|name| !name.contains("Import"));
    assert_eq!(allocates, ["aclrtMemP2PMap"]);
}
