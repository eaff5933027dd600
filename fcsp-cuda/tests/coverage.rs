//! Whatever has a role that FCSP must know about is wrapped, or stands in `symbols/unwrapped.tsv` with the reason why
//! not.

use std::collections::{BTreeMap, BTreeSet};

use fcsp_cuda::hooks::HOOKS;
use fcsp_cuda::symbols::{self, Role, Symbol};

fn wrapped() -> BTreeSet<&'static str> {
    HOOKS.hooks().map(|hook| hook.name.to_str().unwrap()).collect()
}

/// The exceptions: a name, or a base name with a star, and the reason.
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

fn covers(exception: &str, symbol: &Symbol) -> bool {
    match exception.strip_suffix('*') {
        Some(base) => symbol.base == base,
        None => symbol.name == exception,
    }
}

fn matter() -> impl Iterator<Item = &'static Symbol> {
    symbols::cuda()
        .iter()
        .chain(symbols::nvml())
        .filter(|symbol| symbol.role != Role::Passes)
}

#[test]
fn what_matters_is_wrapped_or_has_a_reason() {
    let (wrapped, exceptions) = (wrapped(), exceptions());
    let missing: Vec<_> = matter()
        .filter(|symbol| !wrapped.contains(symbol.name))
        .filter(|symbol| !exceptions.keys().any(|name| covers(name, symbol)))
        .map(|symbol| format!("{} ({})", symbol.name, symbol.role))
        .collect();
    assert!(missing.is_empty(), "neither wrapped nor excepted: {missing:#?}");
}

#[test]
fn no_exception_is_stale() {
    let (wrapped, exceptions) = (wrapped(), exceptions());
    for name in exceptions.keys() {
        let covered: Vec<_> = matter().filter(|symbol| covers(name, symbol)).collect();
        assert!(!covered.is_empty(), "{name} excepts nothing");
        for symbol in covered {
            assert!(
                !wrapped.contains(symbol.name),
                "{} is wrapped by now",
                symbol.name
            );
        }
    }
}

/// What starts work, or takes and gives back memory of its own accord, allows few exceptions; a list that grew long
/// here would be a list of ways around.
#[test]
fn roles_that_decide_have_no_exception_but_these() {
    let wrapped = wrapped();
    let launches: Vec<_> = matter()
        .filter(|symbol| symbol.role == Role::Launches && !wrapped.contains(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    assert_eq!(launches, [""; 0], "launches");
    let allocates: BTreeSet<_> = matter()
        .filter(|symbol| symbol.role == Role::Allocates && !wrapped.contains(symbol.name))
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
