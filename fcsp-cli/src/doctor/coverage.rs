//! The entry points of the driver at hand, beside what the tables know and what the preload library
//! wraps.

use std::collections::HashSet;
use std::path::Path;

use fcsp_cuda::symbols::{Role, Symbol};
use object::{Object, ObjectSymbol};
use serde::Serialize;

use super::Findings;
use crate::output::{Align, Table};
use crate::probe::{Library, Probe};
use fcsp_tenancy::Vendor;

/// One library's entry points.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// "cuda", "nvml" or another vendor's name.
    pub library: &'static str,
    /// The file.
    pub path: String,
    /// Entry points that it exports.
    pub exported: usize,
    /// Number of these that the preload library wraps.
    pub wrapped: usize,
    /// Of these, names that this build has never heard of.
    pub unknown: Vec<String>,
    /// The known ones by what they do.
    pub roles: Vec<RoleCount>,
}

/// The entry points with one role.
#[derive(Debug, Serialize)]
pub struct RoleCount {
    /// The role's word.
    pub role: &'static str,
    /// Exported by the driver.
    pub exported: usize,
    /// Of these, wrapped.
    pub wrapped: usize,
    /// The others by name, except where the role needs no wrapper.
    pub unwrapped: Vec<String>,
}

impl Coverage {
    /// Formats a table for people.
    pub fn text(&self) -> String {
        let mut table = Table::new(&[
            (self.library, Align::Left),
            ("EXPORTED", Align::Right),
            ("WRAPPED", Align::Right),
        ]);
        for role in self.roles.iter().filter(|role| role.exported > 0) {
            table.row([
                format!("  {}", role.role),
                role.exported.to_string(),
                role.wrapped.to_string(),
            ]);
        }
        table.row([
            "  unknown".into(),
            self.unknown.len().to_string(),
            String::new(),
        ]);
        table.row([
            "  all".into(),
            self.exported.to_string(),
            self.wrapped.to_string(),
        ]);
        table.to_string()
    }
}

/// Reads the names of the functions and data that a library exports.
pub fn definitions(path: &Path) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let file = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Reads the exported names that begin with one of `prefixes` and an upper-case letter. After `acl`
/// any letter will do: Ascend's names continue in lower case.
pub fn exported(path: &Path, prefixes: &[&str]) -> Result<Vec<String>, String> {
    let follows = |prefix: &str, rest: &str| {
        rest.starts_with(|c: char| {
            c.is_ascii_uppercase() || (prefix == "acl" && c.is_ascii_lowercase())
        })
    };
    let mut names = definitions(path)?;
    names.retain(|name| {
        prefixes.iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| follows(prefix, rest))
        })
    });
    Ok(names)
}

/// Compares both libraries of NVIDIA's driver with the tables and the preload library.
pub fn of(driver: &Probe, preload: Option<&Path>, findings: &mut Findings) -> Vec<Coverage> {
    let libraries: [(&'static str, &Library, &str); 2] =
        [("cuda", &driver.cuda, "cu"), ("nvml", &driver.nvml, "nvml")];
    let mut all = Vec::new();
    for (name, library, prefix) in libraries {
        let Some(path) = &library.path else { continue };
        let names = match exported(Path::new(path), &[prefix]) {
            Ok(names) => names,
            Err(error) => {
                unreadable(path, &error, findings);
                continue;
            }
        };
        let wrapped: HashSet<String> = preload
            .and_then(|preload| exported(preload, &[prefix]).ok())
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut coverage = compared(Vendor::Cuda, path, names, &wrapped, findings);
        coverage.library = name;
        all.push(coverage);
    }
    all
}

/// Adds a finding for a driver's library whose entry points cannot be listed.
pub fn unreadable(path: &str, error: &str, findings: &mut Findings) {
    findings.warning(
        "coverage",
        format!("cannot read the entry points of {path}: {error}"),
        "give this user read access to the driver's library",
    );
}

/// Compares a library's entry points with the vendor's tables and with what is wrapped, and says
/// what came of it.
pub fn compared(
    vendor: Vendor,
    path: &str,
    names: Vec<String>,
    wrapped: &HashSet<String>,
    findings: &mut Findings,
) -> Coverage {
    let coverage = compare(vendor, path, names, wrapped);
    if coverage.unknown.is_empty() {
        findings.ok(
            "coverage",
            format!(
                "all {} entry points of {path} are known, {} are wrapped",
                coverage.exported, coverage.wrapped
            ),
        );
    } else {
        findings.warning(
            "coverage",
            format!(
                "{path} has {} entry points that this build does not know: {}",
                coverage.unknown.len(),
                shortened(&coverage.unknown)
            ),
            "look for a newer fcsp; memory obtained through them would not be counted",
        );
    }
    coverage
}

fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}

fn compare(vendor: Vendor, path: &str, names: Vec<String>, wrapped: &HashSet<String>) -> Coverage {
    let known: Vec<(&String, &'static Symbol)> = names
        .iter()
        .filter_map(|name| Some((name, vendor.symbol(name)?)))
        .collect();
    let roles = Role::ALL
        .iter()
        .map(|&role| {
            let these: Vec<&String> = known
                .iter()
                .filter(|(_, symbol)| symbol.role == role)
                .map(|&(name, _)| name)
                .collect();
            let (inside, outside): (Vec<&String>, Vec<&String>) =
                these.iter().partition(|name| wrapped.contains(**name));
            RoleCount {
                role: role.word(),
                exported: these.len(),
                wrapped: inside.len(),
                unwrapped: match role {
                    Role::Passes => Vec::new(),
                    _ => outside.into_iter().cloned().collect(),
                },
            }
        })
        .collect();
    Coverage {
        library: vendor.name(),
        path: path.to_owned(),
        exported: names.len(),
        wrapped: names.iter().filter(|name| wrapped.contains(*name)).count(),
        unknown: names
            .iter()
            .filter(|name| vendor.symbol(name).is_none())
            .cloned()
            .collect(),
        roles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_known_wrapped_and_unknown() {
        let names = [
            "cuInit",
            "cuMemAlloc_v2",
            "cuMemAllocHost_v2",
            "cuNewInCuda99",
        ]
        .map(String::from);
        let wrapped = HashSet::from(["cuMemAlloc_v2".to_owned()]);
        let coverage = compare(Vendor::Cuda, "libcuda.so.1", names.to_vec(), &wrapped);
        assert_eq!((coverage.exported, coverage.wrapped), (4, 1));
        assert_eq!(coverage.unknown, ["cuNewInCuda99"]);
        let allocates = coverage
            .roles
            .iter()
            .find(|role| role.role == Role::Allocates.word())
            .unwrap();
        assert_eq!((allocates.exported, allocates.wrapped), (1, 1));
        assert_eq!(
            coverage
                .roles
                .iter()
                .map(|role| role.exported)
                .sum::<usize>(),
            3
        );
    }
}
