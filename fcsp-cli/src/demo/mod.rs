//! `fcsp demo`: quotas at work on a simulated GPU, for a machine without one.

mod draw;
mod stage;
pub mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use fcsp_core::units::Bytes;
use serde::Serialize;

use self::stage::{Stage, Tenant};
use self::worker::{Event as Told, Plan};
use super::libraries::Libraries;
use super::output::{self, Align, Table};
use super::screen::{self, End, Event, Session};
use super::{Context, signals};

const HELP: &str = "\
Four tenants share one simulated H100: an inference server, a training job of two processes, one that always asks for \
too much, and one that is killed while it holds memory and started again. Each is a real process under the preload \
library. A judge reads from the device itself what each process holds.

JSON keys: schema, verdict (held, broken), device (name, total_bytes), seconds, seed, reclaim_ms (from the kill to \
no byte held), tenants[]: name, quota, quota_bytes, seen_bytes (the device as the program saw it), peak_bytes (ledger), \
judged_peak_bytes (device), refused, killed, after_exit_bytes, verdict.

Exit codes: 0 every quota held and every byte came back, 1 not so, 125 fcsp itself failed.";

/// Options of `fcsp demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Time that the workloads run, in seconds
    #[arg(long, value_name = "N", default_value_t = 6.0)]
    seconds: f64,
    /// Seed of the workloads' choices
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Print lines instead of a picture
    #[arg(long)]
    plain: bool,
    /// Print one JSON document at the end
    #[arg(long)]
    json: bool,
}

const NOTEBOOK: usize = 3;

/// Something worth a line.
#[derive(Debug)]
struct Note {
    at: Duration,
    tenant: Option<usize>,
    text: String,
}

/// The whole run, as far as it went.
struct Show {
    stage: Stage,
    notes: Vec<Note>,
    length: Duration,
    /// Time of each tenant's last noted refusal; about one note a second is enough.
    noted: Vec<Option<Instant>>,
    reclaim: Option<Duration>,
    restarted: bool,
}

impl Show {
    fn note(&mut self, tenant: Option<usize>, text: String) {
        let at = self.stage.elapsed();
        self.notes.push(Note { at, tenant, text });
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.stage.begin();
        for (seed, (tenant, plan)) in [
            (0, Plan::Serve),
            (1, Plan::Train),
            (1, Plan::Train),
            (2, Plan::Greedy),
            (NOTEBOOK, Plan::Notebook),
        ]
        .into_iter()
        .enumerate()
        {
            self.stage.start(tenant, plan, seed as u64)?;
        }
        Ok(())
    }

    /// Samples the machine once; returns false when all workers have ended.
    fn step(&mut self) -> anyhow::Result<bool> {
        for (tenant, event) in self.stage.look() {
            match event {
                Told::Ready { total } => {
                    self.note(
                        Some(tenant),
                        format!("started: its GPU has {}", Bytes(total)),
                    );
                }
                Told::Refused { asked, held } => {
                    let recently = self.noted[tenant]
                        .is_some_and(|at| at.elapsed() < Duration::from_millis(900));
                    if !recently {
                        self.noted[tenant] = Some(Instant::now());
                        self.note(
                            Some(tenant),
                            format!(
                                "refused {} on top of {}: out of memory",
                                Bytes(asked),
                                Bytes(held)
                            ),
                        );
                    }
                }
                Told::Granted { asked } => {
                    self.note(
                        Some(tenant),
                        format!("started again and got {} at once", Bytes(asked)),
                    );
                }
            }
        }
        let elapsed = self.stage.elapsed();
        if !self.stage.tenants[NOTEBOOK].killed && elapsed > self.length.mul_f64(0.45) {
            self.kill()?;
        } else if self.stage.tenants[NOTEBOOK].killed
            && !self.restarted
            && elapsed > self.length.mul_f64(0.6)
        {
            self.restarted = true;
            self.stage.start(NOTEBOOK, Plan::Restart, 99)?;
        }
        Ok(!self.stage.finished()? && signals::ended().is_none())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        let at = Instant::now();
        let held = self.stage.kill(NOTEBOOK)?;
        // The kernel drops the lock of a process that died, and its bytes are free at once.
        while at.elapsed() < Duration::from_secs(1) {
            self.stage.look();
            let tenant = &self.stage.tenants[NOTEBOOK];
            if tenant.used() == 0 && tenant.judged == 0 {
                self.reclaim = Some(at.elapsed());
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let text = match self.reclaim {
            Some(time) => format!(
                "kill -9 while it held {}: given back {:.1} ms later",
                Bytes(held),
                time.as_secs_f64() * 1e3
            ),
            None => format!("kill -9 while it held {}: not given back", Bytes(held)),
        };
        self.note(Some(NOTEBOOK), text);
        Ok(())
    }

    fn held(&self) -> bool {
        self.stage.tenants.iter().all(Tenant::held)
            && (self.reclaim.is_some() || !self.stage.tenants[NOTEBOOK].killed)
    }
}

/// `fcsp demo`.
pub fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if !(args.seconds.is_finite() && (1.0..=600.0).contains(&args.seconds)) {
        bail!(
            "--seconds: {} is out of range; write 1 to 600",
            args.seconds
        );
    }
    let libraries = Libraries::locate(&context.state)?;
    if !libraries.has_sim() {
        bail!(
            "{} has no simulated accelerator; reinstall fcsp or unset FCSP_LIB_DIR",
            libraries.sim.display()
        );
    }
    let length = Duration::from_secs_f64(args.seconds);
    let stage = Stage::new(libraries, args.seed, length)?;
    let mut show = Show {
        noted: vec![None; stage.tenants.len()],
        stage,
        notes: Vec::new(),
        length,
        reclaim: None,
        restarted: false,
    };
    signals::catch_ending()?;
    let live = !args.json && !args.plain && screen::is_live();
    let end = match (args.json, live) {
        (true, _) => quiet(&mut show)?,
        (false, false) => plain(&mut show)?,
        (false, true) => watch(&mut show)?,
    };
    if end.is_none_or(|end| end == End::Key) {
        match args.json {
            true => output::json(&document(&show, args))?,
            false => output::line(&closing(&show))?,
        }
    }
    let held = show.held();
    // Its files go before the process does.
    drop(show);
    if let Some(end) = end {
        screen::finish(end)?;
    }
    Ok(ExitCode::from(u8::from(!held)))
}

/// Returns the signal that ended a demo without a picture.
fn ended() -> Option<End> {
    signals::ended().map(End::Signal)
}

const SAMPLE: Duration = Duration::from_millis(10);
/// Time between two pictures.
const PICTURE: Duration = Duration::from_millis(100);
/// Time for which the last picture stays.
const LAST_PICTURE: Duration = Duration::from_millis(400);

fn quiet(show: &mut Show) -> anyhow::Result<Option<End>> {
    show.begin()?;
    while show.step()? {
        std::thread::sleep(SAMPLE);
    }
    show.stage.close()?;
    Ok(ended())
}

fn plain(show: &mut Show) -> anyhow::Result<Option<End>> {
    output::line(&format!(
        "one simulated {} with {}; each tenant sees only its quota",
        show.stage.device,
        Bytes(show.stage.total)
    ))?;
    show.begin()?;
    let (mut said, mut next) = (0, Duration::from_millis(500));
    loop {
        let goes_on = show.step()?;
        for note in &show.notes[said..] {
            let name = note
                .tenant
                .map_or("", |tenant| show.stage.tenants[tenant].name);
            output::line(&format!(
                "{:5.2} s  {name:<9} {}",
                note.at.as_secs_f64(),
                note.text
            ))?;
        }
        said = show.notes.len();
        if show.stage.elapsed() >= next {
            next += Duration::from_secs(1);
            let parts: Vec<String> = show
                .stage
                .tenants
                .iter()
                .map(|tenant| {
                    format!(
                        "{} {} {}",
                        tenant.name,
                        output::bar(tenant.used(), tenant.quota, 8),
                        Bytes(tenant.used())
                    )
                })
                .collect();
            output::line(&format!(
                "{:5.2} s  {}",
                show.stage.elapsed().as_secs_f64(),
                parts.join("  ")
            ))?;
        }
        if !goes_on {
            break;
        }
        std::thread::sleep(SAMPLE);
    }
    show.stage.close()?;
    Ok(ended())
}

/// Shows the picture until the end, or until something ends it before. The terminal is given back
/// at the return.
fn watch(show: &mut Show) -> anyhow::Result<Option<End>> {
    let mut session = Session::open()?;
    show.begin()?;
    let mut drawn: Option<Instant> = None;
    let mut early = None;
    while early.is_none() && show.step()? {
        if drawn.is_none_or(|drawn| drawn.elapsed() >= PICTURE) {
            session.draw(|frame| draw::draw(frame, show))?;
            drawn = Some(Instant::now());
        }
        match session.wait(SAMPLE)? {
            Some(Event::End(end)) => early = Some(end),
            Some(Event::Suspend { group }) => {
                show.stage.pause()?;
                let away = session.suspend(group)?;
                show.stage.go_on(away)?;
                drawn = None;
            }
            Some(Event::Redraw) => drawn = None,
            Some(Event::Key(_)) | None => {}
        }
    }
    show.stage.close()?;
    if early.is_none() {
        session.draw(|frame| draw::draw(frame, show))?;
        // Long enough to see that everything came back.
        if let Some(Event::End(end @ (End::Signal(_) | End::Closed))) =
            session.wait(LAST_PICTURE)?
        {
            early = Some(end);
        }
    }
    Ok(early.or_else(ended))
}

#[derive(Debug, Serialize)]
struct TenantResult {
    name: &'static str,
    quota: &'static str,
    quota_bytes: u64,
    seen_bytes: Option<u64>,
    peak_bytes: u64,
    judged_peak_bytes: u64,
    refused: u64,
    killed: bool,
    after_exit_bytes: u64,
    verdict: &'static str,
}

fn verdict(held: bool) -> &'static str {
    if held { "held" } else { "broken" }
}

fn document(show: &Show, args: &Args) -> serde_json::Value {
    let tenants: Vec<TenantResult> = show
        .stage
        .tenants
        .iter()
        .map(|tenant| TenantResult {
            name: tenant.name,
            quota: tenant.rule,
            quota_bytes: tenant.quota,
            seen_bytes: tenant.seen_total,
            peak_bytes: tenant.peak(),
            judged_peak_bytes: tenant.judged_peak,
            refused: tenant.refused,
            killed: tenant.killed,
            after_exit_bytes: tenant.after,
            verdict: verdict(tenant.held()),
        })
        .collect();
    serde_json::json!({
        "schema": "fcsp.demo/1",
        "verdict": verdict(show.held()),
        "device": { "name": show.stage.device, "total_bytes": show.stage.total },
        "seconds": args.seconds,
        "seed": args.seed,
        "reclaim_ms": show.reclaim.map(|time| time.as_secs_f64() * 1e3),
        "tenants": tenants,
    })
}

fn closing(show: &Show) -> String {
    let mut table = Table::new(&[
        ("TENANT", Align::Left),
        ("QUOTA", Align::Right),
        ("SAW", Align::Right),
        ("PEAK", Align::Right),
        ("BY DEVICE", Align::Right),
        ("REFUSED", Align::Right),
        ("LEFT", Align::Right),
        ("QUOTA WAS", Align::Left),
    ]);
    for tenant in &show.stage.tenants {
        table.row([
            tenant.name.into(),
            Bytes(tenant.quota).to_string(),
            tenant
                .seen_total
                .map_or("-".into(), |total| Bytes(total).to_string()),
            Bytes(tenant.peak()).to_string(),
            Bytes(tenant.judged_peak).to_string(),
            tenant.refused.to_string(),
            Bytes(tenant.after).to_string(),
            match tenant.held() {
                true => "held".into(),
                false => "BROKEN".into(),
            },
        ]);
    }
    let end = if show.held() {
        "Every quota held, and every byte came back."
    } else {
        "A QUOTA WAS BROKEN."
    };
    let killed = show.reclaim.map_or(String::new(), |time| {
        format!(
            " The killed process's memory was free {:.1} ms later.",
            time.as_secs_f64() * 1e3
        )
    });
    format!(
        "\n{table}\n\n{end}{killed}\nPEAK: by FCSP's ledger. BY DEVICE: by the simulated device itself. LEFT: after the end.\nThe same for a program of your own: fcsp run --memory 8GiB -- PROGRAM"
    )
}
