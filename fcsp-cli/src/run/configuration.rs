//! The configuration of `fcsp run`: its options, the environment, and the root-owned file.

use anyhow::bail;
use fcsp_core::config::{Config, Rules, check_tenant_name, file, names};
use fcsp_core::spatial::UnitRequest;

use super::Args;

/// Refuses variables that were meant for FCSP and are read by nobody: a misspelt limit is no limit.
fn check_names() -> Result<(), names::Unknown> {
    let mut wrong: Vec<names::Unknown> = std::env::vars_os()
        .filter_map(|(name, _)| names::wrong(name.to_str()?))
        .collect();
    wrong.sort_by(|a, b| a.name.cmp(&b.name));
    match wrong.into_iter().next() {
        Some(wrong) => Err(wrong),
        None => Ok(()),
    }
}

/// Reads the configuration of the options and the environment; an authority leaves nothing to
/// choose.
pub fn configuration(args: &Args) -> anyhow::Result<Config> {
    check_names()?;
    let changes = args.limits.changes();
    if let Some(reason) = file::passed_over() {
        eprintln!("fcsp: warning: {reason}");
    }
    if let Some(fixed) = file::read_authority()? {
        if !changes.is_empty() || args.tenant.is_some() || args.spatial.is_some() {
            bail!(
                "{} sets this machine's limits; options cannot change them, run without",
                file::AUTHORITY
            );
        }
        return Ok(fixed);
    }
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let mut config = changes.read(environment)?;
    if let Some(text) = &args.spatial {
        config.spatial = Rules::parse("--spatial", text, UnitRequest::parse)?;
    }
    if let Some(name) = &args.tenant {
        check_tenant_name("--tenant", name)?;
        config.tenant = Some(name.clone());
    }
    Ok(config)
}
