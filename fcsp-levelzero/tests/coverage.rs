//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv` with the reason why
//! not.

use std::collections::{BTreeMap, BTreeSet};

use fcsp_levelzero::hooks::HOOKS;
use fcsp_levelzero::symbols::{self, Role, Symbol};

fn wrapped() -> BTreeSet<&'static str> {
    HOOKS.hooks().map(|hook| hook.name.to_str().unwrap()).collect()
}

/// The exceptions: a name and the reason.
fn exceptions() -> BTreeMap<&'static str, &'static str> {
    let mut all = BTreeMap::new();
    for line in include_str!("../src/symbols/unwrapped.tsv").lines() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (name, reason) = line
            .split_once('\t')
            .unwrap_or_else(|| panic!("no reason in {line:?}"));
        assert!(reason.len() > 10, "no reason to speak of in {line:?}");
        assert!(all.insert(name, reason).is_none(), "{name} stands twice");
    }
    all
}

fn matter() -> impl Iterator<Item = &'static Symbol> {
    [symbols::ze(), symbols::zes(), symbols::zet()]
        .into_iter()
        .flatten()
        .filter(|symbol| symbol.role != Role::Passes)
}

#[test]
fn what_matters_is_wrapped_or_has_a_reason() {
    let (wrapped, exceptions) = (wrapped(), exceptions());
    let missing: Vec<_> = matter()
        .filter(|symbol| !wrapped.contains(symbol.name))
        .filter(|symbol| !exceptions.contains_key(symbol.name))
        .map(|symbol| format!("{} ({})", symbol.name, symbol.role))
        .collect();
    assert!(missing.is_empty(), "neither wrapped nor excepted: {missing:#?}");
}

#[test]
fn no_exception_is_stale() {
    let (wrapped, exceptions) = (wrapped(), exceptions());
    for name in exceptions.keys() {
        assert!(
            matter().any(|symbol| symbol.name == *name),
            "{name} excepts nothing"
        );
        assert!(!wrapped.contains(name), "{name} is wrapped by now");
    }
}

/// What starts work, copies, or takes and gives back memory of its own accord, allows few exceptions; a list that grew
/// long here would be a list of ways around.
#[test]
fn roles_that_decide_have_no_exception_but_these() {
    let wrapped = wrapped();
    let unwrapped = |role: Role| -> Vec<&str> {
        matter()
            .filter(|symbol| symbol.role == role && !wrapped.contains(symbol.name))
            .map(|symbol| symbol.name)
            .collect()
    };
    assert_eq!(unwrapped(Role::Launches), [""; 0]);
    assert_eq!(unwrapped(Role::Copies), ["zeCommandListAppendMemoryPrefetch"]);
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
