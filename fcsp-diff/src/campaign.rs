//! Many programs, run natively and in every configuration, and what came of it.

use crate::compare::Difference;
use crate::desk::{Bench, Desk, Verdict, judge};
use crate::driver::Route;
use crate::fault::{Natively, drivers_frames, natively};
use crate::generate::generate;
use crate::place::{Configuration, Place, Scratch, Sizes, route};
use crate::process::Answer;
use crate::program::{OPERATIONS, Program};
use crate::shrink::shrink;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A difference, made as small as it gets.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The configuration.
    pub configuration: &'static str,
    /// The seed that first showed it; `None` for a kept program.
    pub seed: Option<u64>,
    /// First difference between the runs.
    pub difference: Difference,
    /// Number of programs that showed it.
    pub count: u64,
    /// The smallest program found that shows it.
    pub program: Program,
    /// Of three fresh repeats of the seed's program, how many showed it.
    pub repeats: u32,
    /// True if two native runs of the program differ: then the tester is at fault, not the library.
    pub unstable: bool,
    /// Route by which functions were looked up.
    pub route: Route,
    /// Other deaths of this kind: the seed, and what the worker left. Each has its own stacks.
    pub more: Vec<(u64, String)>,
    /// The frames of the driver in which every worker died that is counted; `None` if one died
    /// otherwise.
    pub frames: Option<Vec<String>>,
    /// Results of native runs, if the worker died in the driver's own code.
    pub natively: Option<Natively>,
}

impl Finding {
    /// Returns true if the death is the driver's own: native workers die in the same frames of the
    /// driver.
    pub fn is_drivers(&self) -> bool {
        self.natively
            .as_ref()
            .is_some_and(|natively| natively.alike > 0)
    }
}

/// Most seeds before one that died which are run before it natively.
const BEFORE: u64 = 30;

/// Deaths of one kind whose stacks are kept, beside the first.
const DEATHS: usize = 9;

/// Seeds of one worker, and how functions are looked up.
type Group = (std::ops::Range<u64>, Route);

/// A campaign's account.
#[derive(Debug, Default)]
pub struct Account {
    /// Programs compared, by configuration.
    pub compared: BTreeMap<&'static str, u64>,
    /// Operations that were carried out natively, by name and code.
    pub operations: BTreeMap<(&'static str, i32), u64>,
    /// Differences by configuration and kind.
    pub findings: BTreeMap<(&'static str, String), Finding>,
    /// Seeds whose native run died, with how.
    pub native_deaths: BTreeMap<String, (u64, u64)>,
    /// Wrong calls over which a native worker died.
    pub fatal: BTreeSet<String>,
    /// Amounts in use that did not come back, by configuration: beyond those of the native worker,
    /// where they are known.
    pub kept: BTreeMap<&'static str, i64>,
    /// Seeds of the group whose worker kept most, by configuration.
    keepers: BTreeMap<&'static str, Group>,
    /// Bytes that a native worker kept after such groups, if measured.
    pub kept_natively: BTreeMap<&'static str, i64>,
    /// Nanoseconds that operations took natively and in the last configuration, by name.
    pub times: BTreeMap<&'static str, [u64; 2]>,
    /// Programs run and the time they took, natively and by configuration.
    pub speed: BTreeMap<&'static str, (u64, Duration)>,
    /// Groups of seeds under way: the first seed, and the first that was not run.
    open: BTreeMap<u64, u64>,
    /// The end of the last group of seeds that was begun.
    begun: u64,
}

impl Account {
    /// Returns the first seed that was not run.
    pub fn next(&self) -> u64 {
        self.open.values().min().copied().unwrap_or(self.begun)
    }
}

/// Tasks of a campaign.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seeds.
    pub seeds: std::ops::Range<u64>,
    /// Seeds of one worker.
    pub chunk: u64,
    /// Seeds between two comparisons.
    pub slice: u64,
    /// Workers of each kind that run at once.
    pub lanes: u64,
    /// True if the workers of a lane run one after the other and not at once. A device divides its
    /// time among processes in slices of milliseconds, and every synchronisation would wait for
    /// them.
    pub turns: bool,
    /// Instant at which to stop, in the middle of a program if necessary.
    pub deadline: Option<Instant>,
    /// Trials that shrinking one finding may take.
    pub trials: u32,
    /// Time limit for shrinking; `None` for no limit.
    pub shrinking: Option<Duration>,
    /// Quotas.
    pub sizes: Sizes,
}

/// Runs a campaign. `progress` is told after each slice.
pub fn run(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    progress: &(dyn Fn(&Account) + Sync),
) -> Account {
    let next = AtomicU64::new(plan.seeds.start);
    let account = Mutex::new(Account {
        begun: plan.seeds.start,
        ..Account::default()
    });
    std::thread::scope(|scope| {
        for _ in 0..plan.lanes.max(1) {
            scope.spawn(|| {
                while !plan.over() {
                    let from = next.fetch_add(plan.chunk, Relaxed);
                    if from >= plan.seeds.end {
                        return;
                    }
                    let to = (from + plan.chunk).min(plan.seeds.end);
                    chunk(place, configurations, plan, from..to, &account, progress);
                }
            });
        }
    });
    let mut account = account.into_inner().unwrap_or_default();
    let deadline = plan.shrinking.map(|time| Instant::now() + time);
    if place.simulator.is_none() {
        measure_natively(place, deadline, &mut account);
    }
    settle_findings(place, configurations, plan, deadline, &mut account);
    account
}

/// Runs the groups whose workers kept most once more, by native workers, now that nothing else
/// runs: a device's memory information is then that of one worker.
fn measure_natively(place: &Place, deadline: Option<Instant>, account: &mut Account) {
    let mut done: Vec<(Group, Option<i64>)> = Vec::new();
    for (name, group) in &account.keepers {
        let known = done
            .iter()
            .find(|known| known.0 == *group)
            .map(|known| known.1);
        let kept =
            known.unwrap_or_else(|| kept_natively(place, group.1, group.0.clone(), deadline));
        if known.is_none() {
            done.push((group.clone(), kept));
        }
        if let Some(kept) = kept {
            account.kept_natively.insert(*name, kept);
        }
    }
}

/// Returns the bytes that a native worker holds after the programs of some seeds, beyond what it
/// held before. Returns `None` without an answer in time, or if the worker had to be restarted.
pub fn kept_natively(
    place: &Place,
    route: Route,
    seeds: std::ops::Range<u64>,
    deadline: Option<Instant>,
) -> Option<i64> {
    let programs: Vec<Program> = seeds
        .map(|seed| generate(seed).without(&place.without))
        .collect();
    let mut desk = Desk::new(place, None, route);
    let answers = desk.run_all(&programs, deadline);
    let whole = answers.len() == programs.len() && answers.iter().all(Result::is_ok);
    let (base, now) = desk.settled().filter(|_| whole)?;
    Some(now as i64 - base as i64)
}

impl Plan {
    fn over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() > deadline)
    }
}

/// Runs the seeds of one group of workers, slice by slice.
fn chunk(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    seeds: std::ops::Range<u64>,
    account: &Mutex<Account>,
    progress: &(dyn Fn(&Account) + Sync),
) {
    let route = route(seeds.start / plan.chunk);
    // Tenants of one state are neighbours and wait for each other's work: those of one group are,
    // as on any host, and not those of every lane.
    let place = &Place {
        scratch: place.scratch.join(format!("from-{}", seeds.start)),
        ..place.clone()
    };
    if std::fs::create_dir_all(&place.scratch).is_err() {
        return;
    }
    let _removed = Scratch(place.scratch.clone());
    let mut desks: Vec<Desk> = std::iter::once(None)
        .chain(configurations.iter().map(Some))
        .map(|configuration| Desk::new(place, configuration, route))
        .collect();
    let mut from = seeds.start;
    if let Ok(mut account) = account.lock() {
        account.open.insert(from, from);
        account.begun = account.begun.max(seeds.end);
    }
    while from < seeds.end {
        if plan.over() {
            return;
        }
        let to = (from + plan.slice).min(seeds.end);
        slice(
            place,
            configurations,
            plan,
            from..to,
            route,
            &mut desks,
            account,
        );
        if let Ok(mut account) = account.lock() {
            account.open.insert(seeds.start, to);
            if to < seeds.end && !plan.over() {
                progress(&account);
            }
        }
        from = to;
    }
    let settled: Vec<Option<(u64, u64)>> = desks.iter_mut().map(Desk::settled).collect();
    let Ok(mut account) = account.lock() else {
        return;
    };
    account.open.remove(&seeds.start);
    // Natively, and without a quota, a device's memory information shows what all workers hold.
    let alone = place.simulator.is_some();
    if let Some((base, now)) = settled[0] {
        let native = if alone { now as i64 - base as i64 } else { 0 };
        for (configuration, settled) in configurations.iter().zip(&settled[1..]) {
            if let Some((base, now)) = settled.filter(|_| alone || configuration.total.is_some()) {
                let more = now as i64 - base as i64 - native;
                let kept = account.kept.entry(configuration.name).or_default();
                if more > *kept {
                    *kept = more;
                    let group = (seeds.clone(), route);
                    account.keepers.insert(configuration.name, group);
                }
            }
        }
    }
    progress(&account);
}

/// Runs some seeds by every desk and compares.
fn slice(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    seeds: std::ops::Range<u64>,
    route: Route,
    desks: &mut [Desk],
    account: &Mutex<Account>,
) {
    // What ends a native process is left out from then on: a restart costs a second on a device.
    let mut without = place.without.clone();
    if let Ok(account) = account.lock() {
        without.extend(account.fatal.iter().cloned());
    }
    let programs: Vec<Program> = seeds
        .clone()
        .map(|seed| generate(seed).without(&without))
        .collect();
    let before: Vec<Duration> = desks.iter().map(|desk| desk.spent).collect();
    let answers: Vec<Vec<Answer>> = if plan.turns {
        desks
            .iter_mut()
            .map(|desk| desk.run_all(&programs, plan.deadline))
            .collect()
    } else {
        std::thread::scope(|scope| {
            let programs = &programs;
            let running: Vec<_> = desks
                .iter_mut()
                .map(|desk| scope.spawn(move || desk.run_all(programs, plan.deadline)))
                .collect();
            running
                .into_iter()
                .map(|desk| desk.join().unwrap_or_default())
                .collect()
        })
    };
    let times: Vec<Vec<u64>> = desks.iter_mut().map(Desk::times).collect();
    if let Ok(mut account) = account.lock() {
        for (at, row) in OPERATIONS.iter().enumerate() {
            let entry = account.times.entry(row.1).or_default();
            for (sum, all) in entry.iter_mut().zip([times.first(), times.last()]) {
                *sum += all.and_then(|all| all.get(at)).copied().unwrap_or(0);
            }
        }
        let names = std::iter::once("native").chain(
            configurations
                .iter()
                .map(|configuration| configuration.name),
        );
        for ((name, desk), (before, answers)) in names.zip(&*desks).zip(before.iter().zip(&answers))
        {
            let entry = account.speed.entry(name).or_default();
            entry.0 += answers.len() as u64;
            entry.1 += desk.spent - *before;
        }
        for (program, answer) in programs.iter().zip(&answers[0]) {
            for record in answer.iter().flatten() {
                if let Some(operation) = program.operations.get(record.at) {
                    *account
                        .operations
                        .entry((operation.code.name(), record.outcome.code))
                        .or_default() += 1;
                }
            }
        }
    }
    for (at, seed) in seeds.enumerate() {
        let governed = configurations.iter().zip(&desks[1..]).zip(&answers[1..]);
        for (place, ((configuration, desk), governed)) in governed.enumerate() {
            if let (Some(native), Some(governed)) = (answers[0].get(at), governed.get(at)) {
                // The native run is one for all configurations, and counts once.
                if place > 0 && native.is_err() {
                    break;
                }
                let verdict = judge(&programs[at], native, governed, &desk.rules(plan.sizes));
                note(configuration, seed, route, &programs[at], verdict, account);
            }
        }
    }
}

/// Enters a verdict.
fn note(
    configuration: &Configuration,
    seed: u64,
    route: Route,
    program: &Program,
    verdict: Verdict,
    account: &Mutex<Account>,
) {
    let Ok(mut account) = account.lock() else {
        return;
    };
    match verdict {
        Verdict::NativeDied { how, over } => {
            if over.starts_with("wrong ") && !over.contains(',') {
                account.fatal.insert(over);
            }
            let entry = account.native_deaths.entry(how).or_insert((seed, 0));
            entry.1 += 1;
        }
        Verdict::Agrees => {
            *account.compared.entry(configuration.name).or_default() += 1;
        }
        Verdict::Differs(difference) => {
            *account.compared.entry(configuration.name).or_default() += 1;
            let key = (configuration.name, difference.kind.clone());
            let ended = difference.operation.is_none();
            let frames = ended
                .then(|| drivers_frames(&difference.governed))
                .flatten();
            if let Some(known) = account.findings.get_mut(&key) {
                known.count += 1;
                known.frames.take_if(|known| frames.as_ref() != Some(known));
                if ended && known.more.len() < DEATHS {
                    known.more.push((seed, difference.governed));
                }
                return;
            }
            let finding = Finding {
                configuration: configuration.name,
                seed: Some(seed),
                difference,
                count: 1,
                program: program.clone(),
                repeats: 0,
                unstable: false,
                route,
                more: Vec::new(),
                frames,
                natively: None,
            };
            account.findings.insert(key, finding);
        }
    }
}

/// Makes the findings' programs small: repeats each, and shrinks one of each kind. Until
/// `deadline`.
fn settle_findings(
    place: &Place,
    configurations: &[Configuration],
    plan: &Plan,
    deadline: Option<Instant>,
    account: &mut Account,
) {
    let mut done: BTreeMap<String, Finding> = BTreeMap::new();
    for finding in account.findings.values_mut() {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return;
        }
        if let (Some(frames), Some(seed)) = (finding.frames.clone(), finding.seed) {
            // One worker has run the programs of its group.
            let group = seed - (seed - plan.seeds.start) % plan.chunk;
            let before: Vec<Program> = (group.max(seed.saturating_sub(BEFORE))..seed)
                .map(|seed| generate(seed).without(&place.without))
                .collect();
            let runs = natively(
                place,
                finding.route,
                &before,
                &finding.program,
                frames,
                deadline,
            );
            finding.natively = Some(runs);
            if finding.is_drivers() {
                continue;
            }
        }
        // What is refused with a quota is refused with both: one program stands for all.
        let simple = finding
            .difference
            .kind
            .replace("wrong arguments", "differs");
        if let Some(known) = done.get(&simple).filter(|known| known.repeats > 0) {
            finding.program.clone_from(&known.program);
            finding.difference = known.difference.clone();
            (finding.repeats, finding.unstable) = (known.repeats, known.unstable);
            continue;
        }
        let Some(configuration) = configurations
            .iter()
            .find(|other| other.name == finding.configuration)
        else {
            continue;
        };
        let mut bench = Bench::new(place, configuration, finding.route, plan.sizes);
        let kind = finding.difference.kind.clone();
        let program = finding.program.clone();
        finding.repeats = (0..3)
            .filter(|_| {
                bench
                    .shows(&program)
                    .is_some_and(|found| found.kind == kind)
            })
            .count() as u32;
        finding.unstable = bench.unstable(&program);
        if finding.repeats > 0 && !finding.unstable {
            finding.program = shrink(&program, plan.trials, deadline, |smaller| {
                bench.shows(smaller).is_some_and(|found| found.kind == kind)
            });
            if let Some(found) = bench.shows(&finding.program) {
                finding.difference = found;
            }
        }
        done.insert(simple, finding.clone());
    }
}

/// Returns the instant that many seconds from now.
pub fn after(seconds: Option<u64>) -> Option<Instant> {
    seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds))
}
