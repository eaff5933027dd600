//! The record of a run, as a table for people and as JSON.

use std::process::Command;

use serde_json::{Value, json};

use crate::measure::{Effort, Figures, OPERATIONS};

/// Results of a run.
pub struct Record {
    about: Value,
    vendors: Vec<(&'static str, Vec<Figures>)>,
    skipped: Vec<(&'static str, &'static str)>,
}

/// Returns a program's output, in one line; empty if there is none.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    let count = std::thread::available_parallelism().map_or(1, |count| count.get());
    format!("{model}, {count} processors")
}

fn rounded(ns: f64) -> Value {
    json!((ns * 10.0).round() / 10.0)
}

impl Record {
    pub fn new(effort: &Effort) -> Self {
        let words: Vec<String> = std::env::args()
            .skip(1)
            .filter(|word| word != "--bench")
            .collect();
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let about = json!({
            "schema": "fcsp.bench.vendors/1",
            "driver": "simulated: these figures compare vendors with each other and are no device's",
            "command": format!("cargo bench --bench vendors -- {}", words.join(" ")).trim_end_matches([' ', '-']),
            "date": said("date", &["-u", "+%F"]),
            "commit": format!("{}{}", said("git", &["rev-parse", "--short", "HEAD"]), if changed { "+" } else { "" }),
            "processor": processor(),
            "system": said("uname", &["-sm"]),
            "starts": effort.starts,
            "rounds": effort.rounds,
            "calls_a_turn": effort.calls,
            "operations": OPERATIONS.map(|operation| json!({"name": operation.name, "what": operation.what})),
        });
        Self {
            about,
            vendors: Vec::new(),
            skipped: Vec::new(),
        }
    }

    pub fn add(&mut self, vendor: &'static str, figures: Vec<Figures>) {
        self.vendors.push((vendor, figures));
    }

    pub fn skip(&mut self, vendor: &'static str, why: &'static str) {
        self.skipped.push((vendor, why));
    }

    /// Returns the difference between the library's own work and CUDA's, by the fastest runs.
    /// Returns `None` if CUDA was not measured.
    fn to_cuda_least(&self, figures: &Figures) -> Option<f64> {
        let (_, all) = self.vendors.iter().find(|(vendor, _)| *vendor == "cuda")?;
        let cuda = all
            .iter()
            .find(|cuda| cuda.operation == figures.operation)?;
        Some(figures.own_least() - cuda.own_least())
    }

    pub fn json(&self) -> String {
        let vendors = self.vendors.iter().map(|(vendor, figures)| {
            let operations = figures.iter().map(|f| {
                json!({
                    "operation": f.operation,
                    "native_ns": rounded(f.native),
                    "hooked_ns": rounded(f.hooked),
                    "added_ns": rounded(f.added),
                    "added_lowest_start_ns": rounded(f.added_range[0]),
                    "added_highest_start_ns": rounded(f.added_range[1]),
                    "added_least_ns": rounded(f.added_least()),
                    "noise_ns": rounded(f.noise),
                    "noise_least_ns": rounded(f.noise_least()),
                    "ratio": (f.hooked / f.native * 1000.0).round() / 1000.0,
                    "native_p99_ns": rounded(f.native_p99),
                    "hooked_p99_ns": rounded(f.hooked_p99),
                    "added_instructions": f.instructions.map(rounded),
                    "minus_cuda_ns": f.to_cuda.map(rounded),
                    "minus_cuda_least_ns": self.to_cuda_least(f).map(rounded),
                })
            });
            json!({"vendor": vendor, "operations": operations.collect::<Vec<_>>()})
        });
        let mut record = self.about.clone();
        record["vendors"] = vendors.collect();
        let skipped = self
            .skipped
            .iter()
            .map(|(vendor, why)| json!({"vendor": vendor, "why": why}));
        record["skipped"] = skipped.collect();
        format!("{record:#}\n")
    }

    pub fn table(&self) -> String {
        let text = |name: &str| self.about[name].as_str().unwrap_or_default().to_owned();
        let mut lines = vec![
            format!(
                "ns that the preload library adds to a call, on the simulated driver, {}",
                text("date")
            ),
            format!("{}, commit {}", text("processor"), text("commit")),
        ];
        for operation in OPERATIONS {
            lines.push(format!("\n{}: {}", operation.name, operation.what));
            lines.push(format!(
                "  {:<10} {:>8} {:>8} {:>8} {:>17} {:>6} {:>8} {:>6} {:>8} {:>8} {:>7} {:>8} {:>8}",
                "VENDOR",
                "NATIVE",
                "HOOKED",
                "ADDED",
                "(STARTS)",
                "NOISE",
                "LEAST",
                "RATIO",
                "P99",
                "ITS P99",
                "INSTR",
                "TO CUDA",
                "BY LEAST",
            ));
            for (vendor, figures) in &self.vendors {
                let Some(f) = figures.iter().find(|f| f.operation == operation.name) else {
                    lines.push(format!("  {vendor:<10} {:>8}", "none"));
                    continue;
                };
                let count = f
                    .instructions
                    .map_or("-".into(), |count| format!("{count:.0}"));
                let signed = |ns: Option<f64>| ns.map_or("-".into(), |ns| format!("{ns:+.1}"));
                let (cuda, by_least) = (signed(f.to_cuda), signed(self.to_cuda_least(f)));
                lines.push(format!(
                    "  {vendor:<10} {:>8.1} {:>8.1} {:>8.1} {:>17} {:>6.1} {:>8.1} {:>6.3} {:>8.0} {:>8.0} {count:>7} {cuda:>8} {by_least:>8}",
                    f.native,
                    f.hooked,
                    f.added,
                    format!("({:.1} to {:.1})", f.added_range[0], f.added_range[1]),
                    f.noise,
                    f.added_least(),
                    f.hooked / f.native,
                    f.native_p99,
                    f.hooked_p99,
                ));
            }
        }
        for (vendor, why) in &self.skipped {
            lines.push(format!("\n{vendor}: not measured: {why}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}
