//! Report of a campaign, as JSON and as text.

use crate::campaign::{Account, Finding};
use serde_json::{Value, json};

fn finding(found: &Finding) -> Value {
    json!({
        "configuration": found.configuration,
        "kind": found.difference.kind,
        "seed": found.seed,
        "route": format!("{:?}", found.route),
        "programs": found.count,
        "repeats_of_3": found.repeats,
        "native_unstable": found.unstable,
        "at": found.difference.operation.map(|operation| operation.to_string()),
        "native": found.difference.native,
        "governed": found.difference.governed,
        "natively": found.natively.as_ref().map(|natively| json!({
            "runs": natively.runs,
            "died_alike": natively.alike,
            "frames": natively.frames,
        })),
        "more": found.more.iter().map(|(seed, left)| json!({"seed": seed, "governed": left})).collect::<Vec<_>>(),
        "program": found.program.to_string().lines().collect::<Vec<_>>(),
    })
}

/// Returns the whole account.
pub fn json(account: &Account) -> Value {
    let mut operations = serde_json::Map::new();
    for ((name, code), count) in &account.operations {
        let entry = operations.entry(*name).or_insert_with(|| json!({}));
        entry[if *code < 0 {
            "skipped".to_owned()
        } else {
            code.to_string()
        }] = json!(count);
    }
    json!({
        "compared": account.compared,
        "findings": account.findings.values().map(finding).collect::<Vec<_>>(),
        "native_deaths": account
            .native_deaths
            .iter()
            .map(|(how, (seed, count))| json!({"how": how, "seed": seed, "programs": count}))
            .collect::<Vec<_>>(),
        "left_out_as_fatal_natively": account.fatal,
        "kept_bytes": account.kept,
        "kept_bytes_natively": account.kept_natively,
        "operations": operations,
        "milliseconds_native_and_governed": account
            .times
            .iter()
            .map(|(name, times)| ((*name).to_owned(), json!(times.map(|time| time / 1_000_000))))
            .collect::<serde_json::Map<_, _>>(),
        "programs_and_seconds": account
            .speed
            .iter()
            .map(|(name, (count, time))| ((*name).to_owned(), json!([count, time.as_secs_f64()])))
            .collect::<serde_json::Map<_, _>>(),
        "next_seed": account.next(),
    })
}

/// Returns the progress of a campaign, in a line.
pub fn line(account: &Account) -> String {
    let speeds: Vec<String> = account
        .speed
        .iter()
        .map(|(name, (count, time))| {
            format!(
                "{name} {count} at {:.1}/s",
                *count as f64 / time.as_secs_f64().max(1e-9)
            )
        })
        .collect();
    format!(
        "{}; {} kinds of difference, {} native deaths",
        speeds.join(", "),
        account.findings.len(),
        account
            .native_deaths
            .values()
            .map(|entry| entry.1)
            .sum::<u64>(),
    )
}

/// Findings for a reader.
pub fn text(account: &Account) -> String {
    let mut out = String::new();
    for found in account.findings.values() {
        out += &format!(
            "{}{} [{}] seed {}, {} programs, {} of 3 repeats, {:?}\n  native:   {}\n  governed: {}\n",
            if found.unstable {
                "(native runs differ among themselves) "
            } else {
                ""
            },
            found.difference.kind,
            found.configuration,
            found.seed.map_or("kept".into(), |seed| seed.to_string()),
            found.count,
            found.repeats,
            found.route,
            found.difference.native,
            found.difference.governed,
        );
        if let Some(natively) = &found.natively {
            let (runs, alike) = (natively.runs, natively.alike);
            out +=
                &format!("  {alike} of {runs} native runs died in the same frames of the driver\n");
        }
        for line in found.program.to_string().lines() {
            out += &format!("    {line}\n");
        }
    }
    for (how, (seed, count)) in &account.native_deaths {
        out += &format!("native worker died ({count} programs, first seed {seed}): {how}\n");
    }
    out += &format!(
        "compared: {:?}; bytes kept beyond native: {:?}\n",
        account.compared, account.kept
    );
    out
}
