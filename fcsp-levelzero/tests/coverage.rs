//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv`
//! with the reason why not.

use fcsp_levelzero::hooks::HOOKS;
use fcsp_levelzero::symbols::{self, Role, Symbol};

const UNWRAPPED: &str = include_str!("../src/symbols/unwrapped.tsv");

fn tables() -> [(&'static str, &'static [Symbol]); 3] {
    [
        ("ze", symbols::ze()),
        ("zes", symbols::zes()),
        ("zet", symbols::zet()),
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

/// Checks that the functions which start work, copy, allocate or free memory have few exceptions. A
/// longer list would be a list of ways around the limits.
#[test]
fn roles_that_decide_have_no_exception_but_these() {
    let unwrapped = |role: Role| -> Vec<&str> {
        let all = tables().into_iter().flat_map(|(_, table)| table);
        all.filter(|symbol| symbol.role == role && !is_wrapped(symbol.name))
            .map(|symbol| symbol.name)
            .collect()
    };
    assert_eq!(unwrapped(Role::Launches), [""; 0]);
    assert_eq!(
        unwrapped(Role::Copies),
        ["zeCommandListAppendMemoryPrefetch"]
    );
    assert_eq!(
        unwrapped(Role::Allocates),
        [
            "zeImageViewCreateExp",
            "zeImageViewCreateExt",
            "zeMemOpenIpcHandle"
        ]
    );
    assert_eq!(unwrapped(Role::Frees), ["zeMemCloseIpcHandle"]);
}
