//! Tests of a program that links a backend and is started by `fcsp run`: its limits in code do not
//! exceed those of the command.

use std::path::Path;

use fcsp::cuda::hooks::{cuCtxCreate_v2, cuDeviceTotalMem_v2, cuInit, cuMemAlloc_v2};
use fcsp::hook::embedding;
use fcsp::{Config, Quota};

use crate::{CONTEXT, GIB, MIB, Machine, OUT_OF_MEMORY, stderr, stdout};

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
    let name = concat!(module_path!(), "::linked_program");
    let name = name.split_once("::").unwrap().1;
    let output = command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(PROGRAM, "1")
        .output()
        .unwrap();
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
