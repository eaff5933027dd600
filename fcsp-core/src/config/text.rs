//! Limits as text: for people, and as variables for a program.

use super::{Parameter, Quota, Rules};
use crate::control::Limits;
use crate::device::Selector;
use crate::share::params::{DEFAULT_FLOOR, Params};
use crate::units::{Percent, WHOLE, lacks_its_unit};

/// Writes a quota exactly, for a program to read back. (The form for people rounds.)
fn exact(quota: Quota) -> String {
    match quota {
        // So few bytes without a unit would be taken for a slip.
        Quota::Bytes(bytes) if lacks_its_unit(&bytes.to_string()).is_some() => format!("{bytes}B"),
        Quota::Bytes(bytes) => bytes.to_string(),
        other => other.to_string(),
    }
}

fn join<T: Copy>(rules: &Rules<T>, text: impl Fn(T) -> String) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(selector, value)| match selector {
            Selector::All => text(value),
            selector => format!("{selector}={}", text(value)),
        })
        .collect();
    parts.join(",")
}

/// Writes memory rules for people: "8 GiB" or "0=8 GiB, 1=40%".
pub fn memory(rules: &Rules<Quota>) -> String {
    match rules.is_empty() {
        true => "unlimited".into(),
        false => join(rules, |quota| quota.to_string()).replace(',', ", "),
    }
}

/// Writes compute rules for people: "25% balanced" or "0=25% strict; 1=50% strict"; "unlimited"
/// without any.
pub fn compute(rules: &Rules<Params>) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(selector, params)| match selector {
            Selector::All => share(&params),
            selector => format!("{selector}={}", share(&params)),
        })
        .collect();
    match parts.is_empty() {
        true => "unlimited".into(),
        false => parts.join("; "),
    }
}

/// Writes a share for people; "unlimited" if nothing is guaranteed and nothing throttled.
pub fn share(params: &Params) -> String {
    match params.is_unlimited() {
        true => "unlimited".into(),
        false => params.to_string(),
    }
}

/// Returns the variables that make a tenant with these limits, should its shared files be removed
/// while a program of it runs. A parameter that differs between devices follows the first rule.
pub fn variables(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if !limits.memory.is_empty() {
        variables.push((Parameter::Memory.variable(), join(&limits.memory, exact)));
    }
    // A device without a share says nothing of the other parameters; alone it is `--mode none`.
    let limited = limits
        .compute
        .iter()
        .find(|(_, params)| !params.is_unlimited());
    if let Some((_, first)) = limited.or(limits.compute.iter().next()) {
        let part = |params: Params| match params.is_unlimited() && limited.is_some() {
            true => "unlimited".to_owned(),
            false => Percent(params.guarantee).to_string(),
        };
        variables.push((Parameter::Compute.variable(), join(&limits.compute, part)));
        variables.push((Parameter::Mode.variable(), first.mode.to_string()));
        variables.push((Parameter::Priority.variable(), first.priority.to_string()));
        if first.floor != first.guarantee.min(DEFAULT_FLOOR) {
            variables.push((
                Parameter::Floor.variable(),
                Percent(first.floor).to_string(),
            ));
        }
        if first.pool != WHOLE {
            variables.push((
                Parameter::SharedPool.variable(),
                Percent(first.pool).to_string(),
            ));
        }
        if first.burst != 0 {
            variables.push((
                Parameter::Burst.variable(),
                Percent(first.burst).to_string(),
            ));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::env;
    use super::*;

    #[test]
    fn variables_read_back_as_the_same_limits() {
        let read = |variables: &[(&str, &str)]| {
            let owned = variables
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()));
            env::read(owned).unwrap()
        };
        let original = read(&[
            ("FCSP_MEMORY_LIMIT", "0=1.3GiB,1=40%,*=7MiB,2=1KiB"),
            ("FCSP_COMPUTE_LIMIT", "2=unlimited,12.5%"),
            ("FCSP_MODE", "adaptive"),
            ("FCSP_PRIORITY", "low"),
            ("FCSP_FLOOR", "3%"),
            ("FCSP_SHARED_POOL", "10%"),
            ("FCSP_BURST", "60%"),
        ]);
        let limits = Limits {
            memory: original.memory,
            compute: original.compute,
            ..Limits::default()
        };
        let written = variables(&limits);
        let written: Vec<(&str, &str)> = written
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let again = read(&written);
        assert_eq!(
            (again.memory, again.compute),
            (limits.memory, limits.compute)
        );
    }
}
