//! The tester on the simulated driver: fixed seeds and kept programs agree in every configuration,
//! and a fault that is planted is found and made small.

use fcsp_diff::campaign::{self, Account, Plan};
use fcsp_diff::desk::{Bench, Verdict};
use fcsp_diff::place::{self, Configuration, Place, Sizes};
use fcsp_diff::process::Process;
use fcsp_diff::program::Program;
use fcsp_diff::{fault, hang};
use fcsp_diff::{progress, report};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const MACHINE: &str = "h100,memory=8GiB,context=64MiB";
const SIZES: Sizes = Sizes {
    ample: 6 << 30,
    tight: 160 << 20,
    context: 64 << 20,
};

/// Returns the preload library, and a folder with the simulated driver under its real names.
fn libraries() -> &'static (PathBuf, PathBuf) {
    static BUILT: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    BUILT.get_or_init(|| {
        let runner = Path::new(env!("CARGO_BIN_EXE_fcsp-diff"));
        let profile = runner.parent().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        for package in ["fcsp-sim-cuda", "fcsp-sim-nvml", "fcsp-cuda-preload"] {
            cargo.args(["--package", package]);
        }
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().unwrap().success(),
            "the libraries do not build"
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential-driver");
        std::fs::create_dir_all(&folder).unwrap();
        for (built, name) in [
            ("libfcsp_sim_cuda.so", "libcuda.so.1"),
            ("libfcsp_sim_nvml.so", "libnvidia-ml.so.1"),
        ] {
            std::fs::copy(profile.join(built), folder.join(name)).unwrap();
        }
        (profile.join("libfcsp_cuda.so"), folder)
    })
}

/// Returns a place with state of its own, which is removed with the folder.
fn here(scratch: &Path) -> Place {
    let (preload, driver) = libraries();
    Place {
        runner: env!("CARGO_BIN_EXE_fcsp-diff").into(),
        preload: preload.clone(),
        simulator: Some((driver.clone(), MACHINE.into())),
        scratch: scratch.to_owned(),
        without: Vec::new(),
        environment: Vec::new(),
    }
}

fn run(
    place: &Place,
    configurations: &[Configuration],
    seeds: std::ops::Range<u64>,
    chunk: u64,
) -> Account {
    let plan = Plan {
        seeds,
        chunk,
        slice: chunk,
        lanes: 1,
        turns: false,
        deadline: None,
        trials: 80,
        shrinking: None,
        sizes: SIZES,
    };
    campaign::run(place, configurations, &plan, &|_| {})
}

#[test]
fn fixed_seeds_agree_in_every_configuration() {
    let scratch = tempfile::tempdir().unwrap();
    let configurations = place::configurations(SIZES);
    let account = run(&here(scratch.path()), &configurations, 0..300, 100);
    assert!(account.findings.is_empty(), "{}", report::text(&account));
    assert!(
        account.native_deaths.is_empty(),
        "{}",
        report::text(&account)
    );
    for configuration in &configurations {
        assert_eq!(account.compared[configuration.name], 300);
    }
    // Programs that did nothing would agree as well.
    let done = |name: &str| {
        account
            .operations
            .iter()
            .any(|((other, code), _)| *other == name && *code >= 0)
    };
    for name in [
        "mem_alloc",
        "launch_fill",
        "read",
        "graph_launch",
        "capture_end",
        "mem_pool",
        "fork",
    ] {
        assert!(done(name), "{name} never ran");
    }
}

#[test]
fn kept_programs_agree_in_every_configuration() {
    let scratch = tempfile::tempdir().unwrap();
    let place = here(scratch.path());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let (mut found, mut programs) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let program = Program::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        programs.push((path, program));
    }
    assert!(programs.len() > 8);
    // One worker a route and configuration runs them all.
    for turn in 0..3 {
        let route = place::route(turn);
        for configuration in place::configurations(SIZES) {
            let mut bench = Bench::new(&place, &configuration, route, SIZES);
            for (path, program) in &programs {
                let verdict = bench.verdict(program);
                if !matches!(verdict, Verdict::Agrees) {
                    let (path, name) = (path.display(), configuration.name);
                    found.push(format!("{path} [{name}] {route:?}: {verdict:?}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Checks that a driver that answers wrongly only under the preload library passes for a fault of
/// the library.
#[test]
fn a_planted_fault_is_found_and_made_small() {
    let scratch = tempfile::tempdir().unwrap();
    let mut broken = place::configurations(SIZES).swap_remove(1);
    broken.variables.push((
        "FCSP_SIM_FAULTS",
        "cuMemsetD8Async=1;cuMemsetD16Async=1;cuMemsetD32Async=1".into(),
    ));
    let account = run(&here(scratch.path()), &[broken], 0..30, 10);
    let finding = account
        .findings
        .values()
        .find(|finding| finding.difference.kind == "fill_async: differs 0 -> 1")
        .unwrap_or_else(|| panic!("not found: {}", report::text(&account)));
    assert!(!finding.unstable);
    assert_eq!(finding.repeats, 3);
    assert!(finding.program.operations.len() <= 2, "{}", finding.program);
}

/// Checks that a process that ends is a difference, and that the campaign goes on with another.
#[test]
fn a_worker_that_dies_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let mut broken = place::configurations(SIZES).swap_remove(0);
    broken
        .variables
        .push(("FCSP_SIM_FAULTS", "cuStreamCreate!kill@3".into()));
    let account = run(&here(scratch.path()), &[broken], 0..20, 10);
    assert!(
        account
            .findings
            .values()
            .any(|finding| finding.difference.kind.contains("signal: 9")),
        "{}",
        report::text(&account)
    );
}

/// Checks the last words: the signal, whether a driver call was in progress, and the frames as
/// module and offset.
#[test]
fn a_worker_that_crashes_says_where() {
    let scratch = tempfile::tempdir().unwrap();
    let place = here(scratch.path());
    let mut worker = place
        .worker(None, place::route(0), false)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An answer: the handlers are there.
    worker
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"settle\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    // SAFETY: a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(worker.id() as i32, libc::SIGSEGV) }, 0);
    let out = worker.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.signal(), Some(libc::SIGSEGV), "{words}");
    assert!(words.contains("signal 11"), "{words}");
    assert!(words.contains("in no driver call"), "{words}");
    assert!(words.contains("fcsp-diff+0x"), "{words}");
}

/// Checks a worker that hangs in the driver: every thread's frames appear, with those frames of the
/// library only if it is loaded.
#[test]
fn a_worker_that_hangs_says_where() {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = here(scratch.path());
    place
        .environment
        .push(("FCSP_SIM_FAULTS".into(), "cuCtxSynchronize~600s".into()));
    let library = place
        .preload
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let program = Program::parse("0 ctx_sync").unwrap();
    let governed = place::configurations(SIZES).swap_remove(2);
    for (configuration, ours) in [(None, false), (Some(&governed), true)] {
        let file = scratch.path().join(format!("progress-{ours}"));
        let command = place.worker(configuration, place::route(0), false);
        let mut process = Process::start(command, file.clone()).unwrap();
        process.send(&program);
        let deadline = Instant::now() + Duration::from_secs(60);
        while progress::read(&file) != [Some(0)] {
            assert!(Instant::now() < deadline, "the program did not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        // The call comes right after the note, and does not come back.
        process.patience = Duration::from_secs(1);
        let death = process.answer(None).unwrap().unwrap_err();
        assert_eq!(death.how, "hangs");
        assert!(
            death.stderr.contains("in cuCtxSynchronize; at "),
            "{}",
            death.stderr
        );
        assert!(death.stderr.contains("#0 fcsp-diff+0x"), "{}", death.stderr);
        assert!(death.stderr.contains("waits in "), "{}", death.stderr);
        assert_eq!(
            hang::has_frame(&death.stderr, &library),
            Some(ours),
            "{}",
            death.stderr
        );
    }
}

/// Checks that a dying thread asks the others for their frames.
#[test]
fn a_worker_that_crashes_shows_every_thread() {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = here(scratch.path());
    place
        .environment
        .push(("FCSP_SIM_FAULTS".into(), "cuStreamQuery~600s".into()));
    let file = scratch.path().join("progress");
    let mut process =
        Process::start(place.worker(None, place::route(0), false), file.clone()).unwrap();
    process.send(&Program::parse("0 stream_query s0").unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while progress::read(&file) != [Some(0)] {
        assert!(Instant::now() < deadline, "the program did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: a child that has not been waited for. Its main thread takes the signal, and waits for
    // the program's.
    assert_eq!(unsafe { libc::kill(process.id() as i32, libc::SIGSEGV) }, 0);
    let death = process.answer(None).unwrap().unwrap_err();
    assert!(death.how.contains("signal: 11"), "{}", death.how);
    assert!(
        death.stderr.contains("in no driver call"),
        "{}",
        death.stderr
    );
    assert!(
        death.stderr.contains("in cuStreamQuery"),
        "{}",
        death.stderr
    );
}

/// Checks that a death in the driver's own code is the driver's if native workers die there too,
/// and the library's otherwise.
#[test]
fn a_death_beneath_a_wrapper_is_repeated_natively() {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = here(scratch.path());
    let mut broken = place::configurations(SIZES).swap_remove(2);
    let crash = ("FCSP_SIM_FAULTS", "cuStreamSynchronize!crash".to_owned());
    broken.variables.push(crash.clone());
    let account = run(&place, &[broken], 0..60, 20);
    let dead = |finding: &&campaign::Finding| finding.difference.kind.contains("signal: 11");
    let finding = account
        .findings
        .values()
        .find(dead)
        .unwrap_or_else(|| panic!("not found: {}", report::text(&account)));
    let governed = finding
        .natively
        .as_ref()
        .unwrap_or_else(|| panic!("not repeated: {finding:?}"));
    assert_eq!((governed.runs, governed.alike), (20, 0));
    assert!(!finding.is_drivers());
    let kind = &finding.difference.kind;
    assert!(kind.ends_with("with a frame of the library"), "{kind}");
    assert!(
        governed
            .frames
            .last()
            .unwrap()
            .contains("cuStreamSynchronize"),
        "{:?}",
        governed.frames
    );
    // The same fault natively, behind another program.
    place.environment.push((crash.0.into(), crash.1));
    let before = [Program::parse("0 ctx_sync").unwrap()];
    let program = Program::parse("0 stream_sync s0").unwrap();
    let frames = governed.frames.clone();
    let runs = fault::natively(
        &place,
        finding.route,
        &before,
        &program,
        frames.clone(),
        None,
    );
    assert_eq!((runs.runs, runs.alike), (3, 3), "{runs:?}");
    let other = Program::parse("0 ctx_sync").unwrap();
    let runs = fault::natively(&place, finding.route, &before, &other, frames, None);
    assert_eq!((runs.runs, runs.alike), (20, 0));
}

/// Checks the memory that a native worker still holds after programs. On a device it is subtracted
/// from that under the preload library.
#[test]
fn what_a_native_worker_keeps_is_measured() {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = here(scratch.path());
    let kept = |place: &Place| campaign::kept_natively(place, place::route(0), 0..20, None);
    assert_eq!(kept(&place), Some(0));
    // No page is given back.
    place
        .environment
        .push(("FCSP_SIM_FAULTS".into(), "cuMemFree_v2=1".into()));
    let leaking = kept(&place).expect("every program is answered");
    assert!(leaking >= 2 << 20, "{leaking}");
    let over = Some(Instant::now());
    assert_eq!(
        campaign::kept_natively(&place, place::route(0), 0..20, over),
        None
    );
}
