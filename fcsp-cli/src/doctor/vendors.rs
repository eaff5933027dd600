//! Each vendor: whether its driver is installed, whether our library is there and loads, and what
//! it wraps.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::coverage::{self, Coverage};
use super::{Findings, checks, nodes};
use crate::libraries::Libraries;
use crate::probe::{self, Simulated};
use fcsp_tenancy::{Present, Vendor};

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
    /// Formats a line for people. The folder of the libraries is printed elsewhere.
    pub fn text(&self) -> String {
        let driver = self.driver.as_ref().map(|path| path.display().to_string());
        let library = self
            .preload
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|name| {
                format!(
                    "{} wraps {} entry points",
                    name.to_string_lossy(),
                    self.wrapped
                )
            });
        format!(
            "vendor   {}: {}, {}",
            self.name,
            driver.as_deref().unwrap_or("no driver"),
            library.as_deref().unwrap_or("no library")
        )
    }
}

/// Looks at every vendor; where a machine is simulated, CUDA's driver is its. CUDA's own driver,
/// library and entry points have findings of their own already: here it is only listed.
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
        .map(|vendor| {
            let simulated = simulated.is_some();
            section(
                vendor,
                driver(vendor),
                simulated,
                libraries,
                coverage,
                findings,
            )
        })
        .collect()
}

fn section(
    vendor: Vendor,
    driver: Option<PathBuf>,
    simulated: bool,
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
    let wanted = driver.is_some() || vendor == Vendor::Cuda;
    if wanted && !simulated {
        nodes::look(vendor, findings);
    }
    if vendor != Vendor::Cuda {
        usable(vendor, driver.as_deref(), findings);
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

/// Checks that the loader takes the driver, and names a file in its place that is no library of
/// this machine.
fn usable(vendor: Vendor, driver: Option<&Path>, findings: &mut Findings) {
    let Some(path) = driver else {
        if let Some(Present {
            path,
            fault: Some(fault),
        }) = vendor.present()
        {
            findings.problem(
                "vendors",
                format!("{} is there and {fault}", path.display()),
                format!(
                    "install {}'s 64-bit driver, readable by everybody",
                    vendor.name()
                ),
            );
        }
        return;
    };
    if let Err(error) = probe::loads(path) {
        findings.problem(
            "vendors",
            format!("{} is there and cannot be loaded: {error}", path.display()),
            format!(
                "`ldd {}` says what it lacks; reinstall the driver",
                path.display()
            ),
        );
    }
}

/// Compares the entry points of an installed driver with the wrappers. A driver that cannot be read
/// is a finding.
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
