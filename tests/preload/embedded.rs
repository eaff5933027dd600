//! Tests of programs that link the crates. A linked backend keeps the limits of the command that
//! started it, and its forked children hold nothing of its own. Two rate limiters of one tenant
//! have one share.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fcsp::cuda::hooks::{cuCtxCreate_v2, cuDeviceTotalMem_v2, cuInit, cuMemAlloc_v2};
use fcsp::hook::embedding;
use fcsp::{Config, Quota};
use fcsp_core::classify::Class;
use fcsp_core::device::DeviceUuid;
use fcsp_core::limiter::{Position, Work};
use fcsp_core::share::cost::kernel_key;
use fcsp_core::share::files::OwnPage;
use fcsp_core::share::params::Params;
use fcsp_core::state::StateDir;
use fcsp_core::submitter::{Markers, Submitter};

use crate::{CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, stderr, stdout};

/// Set for the program below alone.
const PROGRAM: &str = "TEST_LINKED_PROGRAM";

/// Runs the program: it sets a limit of 2 GiB in code, then allocates blocks of 64 MiB until it is
/// refused. It prints the device's size, the number of blocks and the code of the refusal.
#[test]
#[ignore = "the program of the tests below"]
fn linked_program() {
    if std::env::var_os(PROGRAM).is_none() {
        return;
    }
    let config = Config::builder()
        .tenant("embedded")
        .unwrap()
        .memory(Quota::Bytes(2 * GIB))
        .build();
    embedding::configure(config).unwrap();
    let (mut context, mut total, mut block) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: results go to locals.
    unsafe {
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuDeviceTotalMem_v2(&mut total, 0), 0);
        assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
    }
    let mut blocks = 0;
    let code = loop {
        // SAFETY: as above.
        match unsafe { cuMemAlloc_v2(&mut block, 64 << 20) } {
            0 => blocks += 1,
            code => break code,
        }
    };
    println!("linked: {total} {blocks} {code}");
}

/// Makes a program of this file out of a command: the ignored test of this name.
fn becomes(command: &mut Command, name: &str) {
    let path = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    command
        .args(["--exact", &path, "--ignored", "--nocapture"])
        .env(PROGRAM, "1");
}

/// Returns what the program prints, under these words of `fcsp` or by itself.
fn linked(machine: &Machine, around: &[&str]) -> [u64; 3] {
    let program = std::env::current_exe().unwrap();
    let mut command = match around.is_empty() {
        true => machine.bare(&program),
        false => {
            let mut command = machine.bare(env!("CARGO_BIN_EXE_fcsp"));
            command.args(around).arg("--").arg(&program);
            command
        }
    };
    becomes(&mut command, "linked_program");
    let output = command.output().unwrap();
    let said = stdout(&output);
    let line = said
        .lines()
        .find_map(|line| line.split_once("linked: "))
        .unwrap_or_else(|| panic!("{said}{}", stderr(&output)))
        .1;
    let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
    words.try_into().unwrap()
}

#[test]
fn a_linked_backend_does_not_pass_the_limits_that_it_was_started_with() {
    let machine = Machine::new();
    let block = 64 * MIB;
    let outer = ["run", "--tenant", "op", "--memory", "1GiB"];
    let within = [GIB, (GIB - CONTEXT) / block, OUT_OF_MEMORY as u64];
    assert_eq!(linked(&machine, &outer), within);
    assert!(machine.peak() <= GIB, "{}", machine.peak());
    // The tenant whose name stands in the code was never made.
    assert!(!Path::exists(&machine.state().join("tenants/embedded")));
    // By itself it has what it asks for.
    let alone = [2 * GIB, (2 * GIB - CONTEXT) / block, OUT_OF_MEMORY as u64];
    assert_eq!(linked(&machine, &[]), alone);
}

/// Runs the program: it takes 512 MiB of a quota of 1 GiB and forks. The child asks for memory, and
/// then both wait. The program prints the child's number and the child's code.
#[test]
#[ignore = "the program of the tests below"]
fn forking_program() {
    if std::env::var_os(PROGRAM).is_none() {
        return;
    }
    let config = Config::builder()
        .tenant("embedded")
        .unwrap()
        .memory(Quota::Bytes(GIB))
        .build();
    embedding::configure(config).unwrap();
    let (mut context, mut block, mut pipe) = (std::ptr::null_mut(), 0, [0; 2]);
    // SAFETY: results go to locals. The child makes driver calls and system calls only.
    unsafe {
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
        assert_eq!(cuMemAlloc_v2(&mut block, 512 << 20), 0);
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            let code = cuMemAlloc_v2(&mut block, 64 << 20);
            libc::write(pipe[1], (&raw const code).cast(), 4);
            loop {
                libc::pause();
            }
        }
        let mut code = 0i32;
        assert_eq!(libc::read(pipe[0], (&raw mut code).cast(), 4), 4);
        println!("forked: {child} {code}");
    }
    std::thread::park();
}

/// Checks that a program with a linked backend holds its memory alone. A forked child takes none on
/// its account, and when the program dies before its child, everything it held is free.
#[test]
fn a_forked_child_of_a_linked_backend_holds_nothing_of_its_parents() {
    struct Child(i32);
    impl Drop for Child {
        fn drop(&mut self) {
            // SAFETY: sends a signal to the process that the program has named.
            unsafe { libc::kill(self.0, libc::SIGKILL) };
        }
    }
    let machine = Machine::new();
    let mut command = machine.bare(std::env::current_exe().unwrap());
    becomes(&mut command, "forking_program");
    let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let words = lines.find_map(|line| {
        let line = line.unwrap();
        let words = line.split_once("forked: ")?.1.split_once(' ')?;
        Some((words.0.parse().unwrap(), words.1.parse::<i32>().unwrap()))
    });
    let (child, code) = words.expect("the program forks");
    let child = Child(child);
    assert_ne!(code, 0, "a forked child has no device");
    assert_eq!(machine.used("embedded"), CONTEXT + 512 * MIB);

    program.kill().unwrap();
    program.wait().unwrap();
    // SAFETY: asks whether the process is there.
    assert_eq!(unsafe { libc::kill(child.0, 0) }, 0, "the child lives");
    assert_eq!(machine.used("embedded"), 0);
    // Another process of the tenant has all of it.
    let mut next: Client = machine.open("embedded", "1GiB");
    next.ok(&format!("alloc {}", GIB - CONTEXT));
}

/// Duration of a kernel of the program below.
const KERNEL: Duration = Duration::from_millis(1);

/// A device that runs one kernel after the other; the instant at which its queue is empty.
struct Engine(Mutex<Instant>);

/// The queue of one thread on it.
struct Queue<'a> {
    engine: &'a Engine,
    /// Instant at which its last kernel ends.
    ends: Instant,
    markers: VecDeque<(Position, Instant)>,
    launches: u32,
}

impl Queue<'_> {
    fn launch(&mut self) {
        let mut empty = self.engine.0.lock().unwrap();
        *empty = Instant::now().max(*empty) + KERNEL;
        self.ends = *empty;
        self.launches += 1;
    }
}

impl Markers for Queue<'_> {
    fn put(&mut self, at: Position) {
        self.markers.push_back((at, self.ends));
    }

    fn passed(&mut self) -> Option<Position> {
        let now = Instant::now();
        let mut last = None;
        while self.markers.front().is_some_and(|(_, ends)| *ends <= now) {
            last = self.markers.pop_front().map(|(marker, _)| marker);
        }
        last
    }
}

/// Runs the program: two threads, each with a rate limiter of its own on one claim page, submit as
/// much work as they may for three seconds. It prints the milliseconds that each had.
#[test]
#[ignore = "the program of the test below"]
fn program_with_two_limiters() {
    if std::env::var_os(PROGRAM).is_none() {
        return;
    }
    let page = OwnPage::open(&StateDir::locate(), &DeviceUuid([7; 16]), "t").unwrap();
    let engine = Engine(Mutex::new(Instant::now()));
    let until = Instant::now() + Duration::from_secs(3);
    let work = Work {
        key: kernel_key(0x7000, 64),
        blocks: 64,
        class: Class::Gemm,
    };
    let submits = || {
        let submitter = Submitter::new(&page, Params::strict(200_000)).unwrap();
        for _ in 0..32 {
            submitter.measured(&work, KERNEL, false);
        }
        let mut queue = Queue {
            engine: &engine,
            ends: Instant::now(),
            markers: VecDeque::new(),
            launches: 0,
        };
        while Instant::now() < until {
            submitter.submit(&work, &mut queue, Queue::launch);
        }
        queue.launches
    };
    let had = std::thread::scope(|scope| {
        let threads = [scope.spawn(submits), scope.spawn(submits)];
        threads.map(|thread| thread.join().unwrap())
    });
    println!("had: {} {}", had[0], had[1]);
}

#[test]
fn two_limiters_on_one_page_have_one_share() {
    let Some(machine) = Machine::timed(crate::SPEC) else {
        return;
    };
    let mut command = machine.bare(std::env::current_exe().unwrap());
    becomes(&mut command, "program_with_two_limiters");
    let output = machine.output(&mut command);
    let said = stdout(&output);
    let line = said.lines().find_map(|line| line.split_once("had: "));
    let line = line.unwrap_or_else(|| panic!("{said}{}", stderr(&output)));
    let had: Vec<u32> = line
        .1
        .split(' ')
        .map(|word| word.parse().unwrap())
        .collect();
    println!("{had:?} of 3000");
    // A fifth of three seconds, and the ten milliseconds that a bucket begins with. Chance divides
    // it between the two.
    let sum = had[0] + had[1];
    assert!((580..=620).contains(&sum), "{had:?}");
}
