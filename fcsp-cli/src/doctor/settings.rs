//! Sources of a program's limits: the authority's file, and the variables of this environment.

use fcsp_core::config::{env, file, names, text};
use fcsp_sim::faults::Faults;
use fcsp_sim::spec::Topology;
use fcsp_tenancy::Vendor;
use fcsp_tenancy::injection::is_setting;
use serde::Serialize;

use super::Findings;
use crate::vendors::wrong_settings;

/// A variable that is set.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// The quantity that it sets.
    pub quantity: &'static str,
    /// Its name.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// True if it takes effect, false if another setting overrules it.
    pub counts: bool,
}

/// Quantities with the beginnings of the variables that set them, strongest first. The same order
/// as the readers': a test compares the two.
const QUANTITIES: [(&str, &[&str]); 9] = [
    ("tenant", &["FCSP_TENANT"]),
    (
        "memory",
        &[
            "FCSP_MEMORY_LIMIT",
            "BUD_MEMORY_LIMIT",
            "CUDA_DEVICE_MEMORY_LIMIT",
        ],
    ),
    (
        "compute",
        &[
            "FCSP_COMPUTE_LIMIT",
            "BUD_SM_LIMIT",
            "BUD_COMPUTE_LIMIT",
            "CUDA_DEVICE_SM_LIMIT",
        ],
    ),
    ("mode", &["FCSP_MODE", "BUD_ISOLATION_MODE"]),
    ("priority", &["FCSP_PRIORITY", "CUDA_TASK_PRIORITY"]),
    ("floor", &["FCSP_FLOOR", "BUD_TENANT_FLOOR_PCT"]),
    ("pool", &["FCSP_SHARED_POOL", "BUD_SHARED_POOL_PCT"]),
    ("burst", &["FCSP_BURST", "BUD_BURST_MAX_PCT"]),
    ("spatial", &["FCSP_SPATIAL"]),
];

/// Looks at the root-owned file.
pub fn authority(findings: &mut Findings) {
    if let Some(reason) = file::passed_over() {
        findings.problem(
            "authority",
            reason,
            format!("chown root {0}; chmod 644 {0}", file::AUTHORITY),
        );
        return;
    }
    match file::read_authority() {
        Ok(Some(config)) => findings.ok(
            "authority",
            format!(
                "{} beats every variable: tenant {}, memory {}, compute {}",
                file::AUTHORITY,
                config
                    .tenant
                    .as_deref()
                    .unwrap_or("(one for all users, by the file)"),
                text::memory(&config.memory),
                text::compute(&config.compute)
            ),
        ),
        Ok(None) => {}
        Err(error) => findings.problem(
            "authority",
            error.to_string(),
            "mend the file: until then every allocation under the preload library is refused",
        ),
    }
}

/// Lists the variables that are set and says which of them count.
pub fn variables(findings: &mut Findings) -> Vec<Setting> {
    let set: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        })
        .filter(|(name, value)| is_setting(name) && !value.trim().is_empty())
        .collect();
    let settings = ranked(&set);
    if let Err(error) = env::read(set) {
        findings.problem(
            "settings",
            error.to_string(),
            format!("correct or unset {}", error.field),
        );
    }
    simulator(findings);
    for wrong in wrong_settings() {
        let name = wrong.split(':').next().unwrap_or_default().to_owned();
        findings.problem("settings", wrong, format!("correct or unset {name}"));
    }
    let overruled: Vec<&str> = settings
        .iter()
        .filter(|setting| !setting.counts)
        .map(|setting| setting.variable.as_str())
        .collect();
    if !overruled.is_empty() {
        findings.note(
            "settings",
            format!("stronger names overrule {}", overruled.join(", ")),
            Some("unset the ones that should not count"),
        );
    }
    for (name, _) in std::env::vars_os() {
        if let Some(unknown) = name.to_str().and_then(names::wrong) {
            findings.problem(
                "settings",
                unknown.to_string(),
                format!("correct or unset {}: `fcsp run` refuses it", unknown.name),
            );
        }
    }
    environment(findings);
    if let Ok(tenant) = std::env::var("FCSP_TENANT") {
        findings.note(
            "settings",
            format!("this shell itself runs in the tenant {tenant}"),
            None,
        );
    }
    settings
}

/// Checks that a preload library can read the environment that a program was started with, for
/// programs that clear it.
fn environment(findings: &mut Findings) {
    match std::fs::read("/proc/self/environ") {
        Ok(_) => findings.ok(
            "settings",
            "a program that clears its environment keeps its limits (by /proc); what it then starts has them only by \
             `fcsp run` or /etc/ld.so.preload",
        ),
        Err(error) => findings.warning(
            "settings",
            format!("/proc/self/environ: {error}: a program that clears its environment loses its limits"),
            "mount /proc, or let /etc/fcsp/tenant.toml decide",
        ),
    }
}

/// Checks the simulator's own variables. The simulator does not start with one that it cannot read;
/// programs then see a machine without devices.
fn simulator(findings: &mut Findings) {
    let value = |name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    };
    if let Some(text) = value("FCSP_SIM")
        && let Err(error) = text.parse::<Topology>()
    {
        findings.problem(
            "settings",
            error.to_string(),
            "correct or unset FCSP_SIM; docs/simulator.md has the form",
        );
    }
    let Some(text) = value("FCSP_SIM_FAULTS") else {
        return;
    };
    if let Err(error) = Faults::parse(&text) {
        findings.problem(
            "settings",
            format!("{error}: no simulated device is visible until then"),
            "correct or unset FCSP_SIM_FAULTS; docs/simulator.md has the form",
        );
        return;
    }
    for name in fault_names(&text) {
        let known = Vendor::ALL
            .into_iter()
            .any(|vendor| vendor.symbol(name).is_some());
        if !known {
            findings.problem(
                "settings",
                format!(
                    "FCSP_SIM_FAULTS names {name}, which no vendor's library has: no simulated device is visible until then"
                ),
                "correct the name of the function",
            );
        }
    }
}

/// Returns the functions that a text of faults names.
fn fault_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(';')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
        .filter_map(|rule| rule.split(['=', '~', '!']).next())
}

fn ranked(set: &[(String, String)]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (quantity, beginnings) in QUANTITIES {
        let belongs = |name: &str, beginning: &str| {
            name.strip_prefix(beginning)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        let mut decided = false;
        for beginning in beginnings {
            let mut any = false;
            for (name, value) in set.iter().filter(|(name, _)| belongs(name, beginning)) {
                any = true;
                settings.push(Setting {
                    quantity,
                    variable: name.clone(),
                    value: value.clone(),
                    counts: !decided,
                });
            }
            decided |= any;
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_that_is_said_to_count_is_the_one_that_the_reader_takes() {
        // Each quantity has one value a spelling, all different; what the reader takes must be the
        // first.
        for (quantity, beginnings) in QUANTITIES {
            let value = |index: usize| match quantity {
                "tenant" => "t".to_owned(),
                "mode" => ["strict", "adaptive"][index].to_owned(),
                "priority" => ["low", "0"][index].to_owned(),
                "memory" => format!("{}g", index + 1),
                "spatial" => "auto".to_owned(),
                _ => format!("{}%", 10 * (index + 1)),
            };
            let set: Vec<(String, String)> = beginnings
                .iter()
                .enumerate()
                .map(|(index, name)| ((*name).to_owned(), value(index)))
                .collect();
            let counts: Vec<bool> = ranked(&set).iter().map(|setting| setting.counts).collect();
            assert_eq!(counts.len(), beginnings.len());
            assert_eq!(counts.iter().filter(|&&counts| counts).count(), 1);
            assert!(counts[0]);
            // A burst is above a share, so there must be one.
            let read = |count: usize| {
                let share = (quantity == "burst")
                    .then(|| ("FCSP_COMPUTE_LIMIT".to_owned(), "5%".to_owned()));
                env::read(share.into_iter().chain(set.iter().take(count).cloned())).unwrap()
            };
            let (all, first) = (read(set.len()), read(1));
            assert_eq!(
                (all.memory, all.compute, all.tenant),
                (first.memory, first.compute, first.tenant),
                "{quantity}"
            );
        }
    }
}
