//! `fcsp doctor --roles`: what this build knows of every vendor's functions, whatever is installed.

use std::collections::HashSet;
use std::process::ExitCode;

use fcsp_cuda::symbols::{Role, Symbol, counts};
use serde::Serialize;

use super::coverage;
use crate::Context;
use crate::libraries::Libraries;
use crate::output::{self, Align, Table};
use fcsp_tenancy::Vendor;

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    version: &'static str,
    vendors: Vec<OfVendor>,
}

#[derive(Debug, Serialize)]
struct OfVendor {
    name: &'static str,
    libraries: Vec<OfLibrary>,
}

#[derive(Debug, Serialize)]
struct OfLibrary {
    library: &'static str,
    functions: usize,
    /// Number of these that the preload library wraps; `None` without a library to ask.
    wrapped: Option<usize>,
    roles: Vec<OfRole>,
}

#[derive(Debug, Serialize)]
struct OfRole {
    role: &'static str,
    functions: usize,
    wrapped: Option<usize>,
}

fn of_library(
    library: &'static str,
    table: &'static [Symbol],
    exported: Option<&HashSet<String>>,
) -> OfLibrary {
    let wrapped = |chosen: &dyn Fn(&Symbol) -> bool| {
        let exported = exported?;
        let these = table.iter().filter(|symbol| chosen(symbol));
        Some(
            these
                .filter(|symbol| exported.contains(symbol.name))
                .count(),
        )
    };
    OfLibrary {
        library,
        functions: table.len(),
        wrapped: wrapped(&|_| true),
        roles: counts(table)
            .into_iter()
            .map(|(role, functions)| OfRole {
                role: role.word(),
                functions,
                wrapped: wrapped(&|symbol| symbol.role == role),
            })
            .collect(),
    }
}

fn of_vendor(vendor: Vendor, libraries: Option<&Libraries>) -> OfVendor {
    let exported: Option<HashSet<String>> = libraries
        .and_then(|libraries| libraries.of(vendor))
        .and_then(|path| coverage::definitions(&path).ok())
        .map(|names| names.into_iter().collect());
    OfVendor {
        name: vendor.name(),
        libraries: vendor
            .tables()
            .into_iter()
            .map(|(library, table)| of_library(library, table, exported.as_ref()))
            .collect(),
    }
}

/// Formats one column a library and one row a role. Each cell has the number of functions and,
/// after the slash, of those the number wrapped.
fn text(vendor: &OfVendor) -> String {
    let cell = |functions: usize, wrapped: Option<usize>| match wrapped {
        _ if functions == 0 => String::new(),
        Some(wrapped) => format!("{functions}/{wrapped}"),
        None => functions.to_string(),
    };
    let mut heads = vec![(vendor.name, Align::Left)];
    heads.extend(vendor.libraries.iter().map(|of| (of.library, Align::Right)));
    let mut table = Table::new(&heads);
    for (at, role) in Role::ALL.iter().enumerate() {
        let counts = vendor.libraries.iter().map(|of| &of.roles[at]);
        let cells = counts.map(|of| cell(of.functions, of.wrapped));
        table.row(std::iter::once(format!("  {}", role.word())).chain(cells));
    }
    let all = vendor
        .libraries
        .iter()
        .map(|of| cell(of.functions, of.wrapped));
    table.row(std::iter::once("  all".to_owned()).chain(all));
    table.to_string()
}

/// Prints the counts.
pub fn run(context: &Context, json: bool) -> anyhow::Result<ExitCode> {
    // Without libraries nothing can be said of what is wrapped, and all the same of what is known.
    let libraries = Libraries::locate(&context.state).ok();
    let vendors = Vendor::ALL.map(|vendor| of_vendor(vendor, libraries.as_ref()));
    if json {
        output::json(&Report {
            schema: "fcsp.roles/1",
            version: env!("CARGO_PKG_VERSION"),
            vendors: vendors.into(),
        })?;
    } else {
        let head = "functions by role / of them wrapped; why the others are not: fcsp-<vendor>/src/symbols/unwrapped.tsv";
        let tables = vendors.iter().map(text).collect::<Vec<_>>().join("\n\n");
        output::line(&format!("{head}\n\n{tables}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
