//! Each vendor: whether its driver is installed, whether our library is there and loads, and what it wraps.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::coverage::{self, Coverage};
use super::{Findings, checks};
use crate::cli::libraries::Libraries;
use crate::cli::probe::Simulated;
use crate::cli::vendors::Vendor;

/// One vendor.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name, as `fcsp run --vendor` takes it.
    pub name: &'static str,
    /// Its driver library; `None` where the loader would find none.
    pub driver: Option<PathBuf>,
    /// Our library for it; `None` where there is none.
    pub preload: Option<PathBuf>,
    /// Entry points of the vendor's libraries that ours stands in for.
    pub wrapped: usize,
}

impl Section {
    /// A line for people. The libraries lie in one folder, which is said elsewhere.
    pub fn text(&self) -> String {
        let driver = self.driver.as_ref().map(|path| path.display().to_string());
        let library = self
            .preload
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|name| format!("{} wraps {} entry points", name.to_string_lossy(), self.wrapped));
        format!(
            "vendor   {}: {}, {}",
            self.name,
            driver.as_deref().unwrap_or("no driver"),
            library.as_deref().unwrap_or("no library")
        )
    }
}

/// Looks at every vendor; where a machine is simulated, CUDA's driver is its. CUDA's own driver, library and entry points have
/// findings of their own already: here it is only listed.
pub fn look(
    libraries: Option<&Libraries>,
    simulated: Option<&Simulated>,
    coverage: &mut Vec<Coverage>,
    findings: &mut Findings,
) -> Vec<Section> {
    let driver = |vendor: Vendor| match simulated {
        Some(simulated) if vendor == Vendor::Cuda => Some(simulated.libraries.join("libcuda.so.1")),
        _ => vendor.driver(),
    };
    Vendor::ALL
        .into_iter()
        .map(|vendor| section(vendor, driver(vendor), libraries, coverage, findings))
        .collect()
}

fn section(
    vendor: Vendor,
    driver: Option<PathBuf>,
    libraries: Option<&Libraries>,
    coverage: &mut Vec<Coverage>,
    findings: &mut Findings,
) -> Section {
    let preload = libraries.and_then(|libraries| libraries.of(vendor));
    let names = preload
        .as_deref()
        .and_then(|path| coverage::definitions(path).ok())
        .unwrap_or_default();
    let wrapped: HashSet<String> = names
        .into_iter()
        .filter(|name| vendor.symbol(name).is_some())
        .collect();
    if vendor != Vendor::Cuda {
        match (&driver, &preload) {
            (Some(driver), None) => findings.problem(
                "vendors",
                format!(
                    "{} is there and {} is not: no limit holds on {}",
                    driver.display(),
                    vendor.library(),
                    vendor.name()
                ),
                "reinstall fcsp, or write its libraries anew with `fcsp lib --to`",
            ),
            // Where there are none at all, that is a finding of its own.
            (None, None) if libraries.is_none() => {}
            (None, None) => findings.note(
                "vendors",
                format!("there is no {}", vendor.library()),
                Some("`fcsp lib --to` writes every vendor's library"),
            ),
            (_, Some(preload)) => checks::loads(preload, findings),
        }
        if let (Some(driver), Some(_)) = (&driver, &preload) {
            coverage.extend(covered(vendor, driver, &wrapped, findings));
        }
    }
    Section {
        name: vendor.name(),
        driver,
        preload,
        wrapped: wrapped.len(),
    }
}

/// The entry points of an installed driver. One that cannot be read is a finding.
fn covered(
    vendor: Vendor,
    driver: &Path,
    wrapped: &HashSet<String>,
    findings: &mut Findings,
) -> Option<Coverage> {
    let path = driver.display().to_string();
    match coverage::exported(driver, vendor.prefixes()) {
        Ok(names) => Some(coverage::compared(vendor, &path, names, wrapped, findings)),
        Err(error) => {
            coverage::unreadable(&path, &error, findings);
            None
        }
    }
}
