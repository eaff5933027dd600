//! `fcsp gc`: removes the state of dead tenants.

use std::process::ExitCode;

use anyhow::Context as _;

use fcsp_tenancy::{Scope, collect};

use super::{Context, output, sim};

const HELP: &str = "\
Dead tenants hold no memory: the kernel tells their processes' death at once. What is left is a few kilobytes of files, \
with their highest use and refusals. `fcsp run` removes those of unnamed tenants by itself. The state of simulated \
machines goes, too, once nobody lives.

JSON keys: schema, removed (names), simulated_machines (count).";

/// Options of `fcsp gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `fcsp gc`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let (mut removed, machines) = collect(&context.state, Scope::All)
        .and_then(|removed| Ok((removed, sim::collect(&context.state)?)))
        .with_context(|| format!("state folder {}", context.state.path().display()))?;
    if args.json {
        output::json(&serde_json::json!({
            "schema": "fcsp.gc/1",
            "removed": removed,
            "simulated_machines": machines,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match machines {
        0 => {}
        1 => removed.push("the state of a simulated machine".into()),
        many => removed.push(format!("the state of {many} simulated machines")),
    }
    if removed.is_empty() {
        output::line("nothing to remove")?;
    } else {
        output::line(&format!("removed {}", removed.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}
