//! Tenants inside a tenant: `fcsp run` in a program that `fcsp run` started.

use std::process::{Command, Output};

use crate::{CONTEXT, Client, GIB, MIB, Machine, program, stderr, stdout, wait_for};

const FCSP: &str = env!("CARGO_BIN_EXE_fcsp");
const BLOCK: u64 = 64 * MIB;

/// `fcsp run` with these options around `fcsp run` with those, and so on, around `program`.
fn nested(machine: &Machine, runs: &[&[&str]], program: &[&str]) -> Command {
    let mut words = Vec::new();
    for options in runs {
        words.extend([FCSP, "run"]);
        words.extend(*options);
        words.push("--");
    }
    words.extend(program);
    let mut command = machine.bare(words[0]);
    command.args(&words[1..]);
    command
}

fn client(machine: &Machine, runs: &[&[&str]]) -> Client {
    Client::start(nested(
        machine,
        runs,
        &[program("client").to_str().unwrap()],
    ))
}

fn output(machine: &Machine, runs: &[&[&str]], program: &[&str]) -> Output {
    nested(machine, runs, program).output().unwrap()
}

fn refuses(output: &Output, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

const OUTER: &[&str] = &["--tenant", "outer", "--memory", "4GiB"];
const PART: &[&str] = &["--tenant", "part", "--memory", "1GiB"];

#[test]
fn a_part_has_its_own_quota_and_counts_in_the_outer_one() {
    let machine = Machine::new();
    let mut part = client(&machine, &[OUTER, PART]);
    part.ok("open 0");
    assert_eq!(part.ok("total 0"), GIB);
    let blocks = part.fill(BLOCK);
    assert_eq!(blocks.len() as u64, (GIB - CONTEXT) / BLOCK);
    assert_eq!((machine.used("part"), machine.used("outer")), (GIB, GIB));
    assert_eq!(machine.tenant("part")["outer"], "outer");
    assert_eq!(machine.tenant("outer")["outer"], serde_json::Value::Null);
    // What is left of the outer tenant is its own programs', and they see no more than that.
    let mut beside = client(&machine, &[&["--tenant", "outer"]]);
    beside.ok("open 0");
    assert_eq!(beside.call("info").1, vec![3 * GIB - CONTEXT, 4 * GIB]);
    assert_eq!(beside.fill(BLOCK).len() as u64, (3 * GIB - CONTEXT) / BLOCK);
    assert_eq!(machine.used("outer"), 4 * GIB);
    assert_eq!(machine.peak(), 4 * GIB);
    // What a part gives back is the outer tenant's again; now the outer quota stands in the part's
    // way.
    for block in &blocks {
        part.ok(&format!("free {block}"));
    }
    assert_eq!(machine.used("part"), CONTEXT);
    assert_eq!(beside.fill(BLOCK).len(), blocks.len());
    part.refused(&format!("alloc {BLOCK}"));
    assert_eq!(part.call("info").1, vec![0, GIB]);
    assert_eq!(
        (machine.used("part"), machine.used("outer")),
        (CONTEXT, 4 * GIB)
    );
    assert_eq!(machine.peak(), 4 * GIB);
}

/// Allocations of every kind, code and further contexts go through both ledgers.
#[test]
fn everything_that_a_part_takes_counts_in_both() {
    let machine = Machine::new();
    let mut part = client(&machine, &[OUTER, PART]);
    part.ok("open 0");
    let both = |part: &mut Client| {
        part.ok("info");
        let used = machine.used("part");
        assert_eq!(machine.used("outer"), used);
        used
    };
    let mut last = both(&mut part);
    for (take, least) in [
        ("alloc 100", 2 * MIB),
        ("async 1048576", 32 * MIB),
        ("create 2097152 0", 2 * MIB),
        ("managed 4194304", 4 * MIB),
        ("module 8388608", 8 * MIB),
        ("ctx 0", CONTEXT),
    ] {
        part.ok(take);
        let used = both(&mut part);
        assert!(used >= last + least, "{take}: {last} {used}");
        last = used;
    }
    let (code, _) = part.call(&format!("alloc {GIB}"));
    assert_eq!(code, crate::OUT_OF_MEMORY);
    assert_eq!(both(&mut part), last);
    for tenant in ["part", "outer"] {
        assert_eq!(machine.tenant(tenant)["refused"], 1, "{tenant}");
    }
}

#[test]
fn a_part_that_is_killed_leaves_nothing_in_either() {
    let machine = Machine::new();
    let keep = machine.path().join("keep");
    assert!(
        Command::new("mkfifo")
            .arg(&keep)
            .status()
            .unwrap()
            .success()
    );
    // The outer tenant's own program lives on.
    let mut outer = nested(&machine, &[OUTER], &["sleep", "1000"])
        .spawn()
        .unwrap();
    wait_for("the outer tenant", || {
        machine.ps()["tenants"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    let within = |name: &str| {
        let mut command = nested(&machine, &[PART], &[program("client").to_str().unwrap()]);
        command.env("FCSP_TENANT", name);
        Client::start(command)
    };
    for _ in 0..3 {
        let mut part = within("outer");
        part.ok("open 0");
        assert_eq!(part.fill(BLOCK).len() as u64, (GIB - CONTEXT) / BLOCK);
        assert_eq!((machine.used("part"), machine.used("outer")), (GIB, GIB));
        part.kill();
        assert_eq!((machine.used("part"), machine.used("outer")), (0, 0));
    }
    assert!(
        machine
            .bare(FCSP)
            .arg("gc")
            .output()
            .unwrap()
            .status
            .success()
    );
    let names = |machine: &Machine| -> Vec<String> {
        let listing = machine.ps();
        let all = listing["tenants"].as_array().unwrap().iter();
        all.map(|tenant| tenant["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&machine), ["outer"]);
    outer.kill().unwrap();
    outer.wait().unwrap();
    assert!(
        machine
            .bare(FCSP)
            .arg("gc")
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(names(&machine), [""; 0]);
    // Nobody to be a part of: a tenant by itself.
    let mut alone = within("outer");
    alone.ok("open 0");
    assert_eq!(machine.tenant("part")["outer"], serde_json::Value::Null);
}

/// Checks that the outer tenant lives as long as its parts do, and limits them to the end.
#[test]
fn a_part_outlives_the_program_that_started_it() {
    let machine = Machine::new();
    let pipe = machine.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    // Both ways: neither end waits for the other.
    let mut input = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    std::io::Write::write_all(&mut input, format!("open 0\nalloc {BLOCK}\n").as_bytes()).unwrap();
    let answers = machine.path().join("answers");
    // The outer tenant's program ends once the part has memory.
    let script = format!(
        "{FCSP} run --tenant part --memory 1GiB -- {} < {} > {answers} 2> /dev/null & \
         for i in $(seq 600); do [ $(wc -l < {answers}) = 2 ] && exit 0; sleep 0.05; done; exit 1",
        program("client").display(),
        pipe.display(),
        answers = answers.display()
    );
    let done = output(&machine, &[OUTER], &["sh", "-c", &script]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(
        machine
            .bare(FCSP)
            .arg("gc")
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(machine.used("outer"), CONTEXT + BLOCK);
    let limited = machine
        .bare(FCSP)
        .args(["limit", "outer", "--memory", "128MiB"])
        .output()
        .unwrap();
    assert!(limited.status.success(), "{}", stderr(&limited));
    std::io::Write::write_all(&mut input, b"alloc 2097152\n").unwrap();
    let mut said = String::new();
    wait_for("the refusal", || {
        said = std::fs::read_to_string(&answers).unwrap();
        said.lines().count() == 3
    });
    assert!(said.lines().last().unwrap().starts_with("2 "), "{said}");
}

#[test]
fn parts_of_parts_are_bounded_by_all() {
    let machine = Machine::new();
    let inner: &[&str] = &["--tenant", "inner", "--memory", "512MiB"];
    let mut innermost = client(&machine, &[OUTER, PART, inner]);
    innermost.ok("open 0");
    assert_eq!(
        innermost.fill(BLOCK).len() as u64,
        (512 * MIB - CONTEXT) / BLOCK
    );
    for tenant in ["inner", "part", "outer"] {
        assert_eq!(machine.used(tenant), 512 * MIB, "{tenant}");
    }
    let mut middle = client(&machine, &[&["--tenant", "part"]]);
    middle.ok("open 0");
    assert_eq!(
        middle.fill(BLOCK).len() as u64,
        (512 * MIB - CONTEXT) / BLOCK
    );
    assert_eq!((machine.used("part"), machine.used("outer")), (GIB, GIB));
}

/// Checks a part without a name, a part that is joined, and options that no part can have.
#[test]
fn what_a_part_may_ask_for() {
    let machine = Machine::new();
    let name: &[&str] = &["sh", "-c", "echo $FCSP_TENANT $FCSP_MEMORY_LIMIT"];
    let unnamed = output(&machine, &[OUTER, &["--memory", "1GiB"]], name);
    let said = stdout(&unnamed);
    assert!(
        said.starts_with("run-") && said.trim().ends_with(" 1073741824"),
        "{said}{}",
        stderr(&unnamed)
    );
    // The same limits, or none, are the tenant's own.
    for options in [&["--memory", "4GiB"][..], &[], &["--tenant", "outer"]] {
        let joined = output(&machine, &[OUTER, options], name);
        assert_eq!(stdout(&joined), "outer 4294967296\n", "{}", stderr(&joined));
    }
    let more = output(
        &machine,
        &[OUTER, &["--tenant", "big", "--memory", "6GiB"]],
        &["true"],
    );
    refuses(&more, &["--memory: 6 GiB is more than"]);
    let share = output(
        &machine,
        &[OUTER, &["--memory", "1GiB", "--compute", "10%"]],
        &["true"],
    );
    refuses(
        &share,
        &["--compute: ", "tenant outer", "memory limit only"],
    );
    let nothing = output(&machine, &[OUTER, &["--tenant", "other"]], &["true"]);
    refuses(&nothing, &["no tenant other runs"]);
    let unlike = output(
        &machine,
        &[OUTER, &["--tenant", "outer", "--memory", "1GiB"]],
        &["true"],
    );
    refuses(&unlike, &["tenant outer lives"]);
    let _stranger = {
        let mut stranger = client(&machine, &[&["--tenant", "stranger", "--memory", "1GiB"]]);
        stranger.ok("open 0");
        let foreign = output(&machine, &[OUTER, &["--tenant", "stranger"]], &["true"]);
        refuses(
            &foreign,
            &["this runs in tenant outer", "stranger is no part of it"],
        );
        stranger
    };
    let mut part = client(&machine, &[OUTER, PART]);
    part.ok("open 0");
    for (words, reason) in [
        (
            &["limit", "part", "--compute", "10%"][..],
            "memory limit only",
        ),
        (&["pause", "part"], "pause or resume outer"),
    ] {
        let refused = machine.bare(FCSP).args(words).output().unwrap();
        refuses(&refused, &["part of outer", reason]);
    }
    let smaller = machine
        .bare(FCSP)
        .args(["limit", "part", "--memory", "256MiB"])
        .output()
        .unwrap();
    assert!(stdout(&smaller).contains("256 MiB"), "{}", stderr(&smaller));
    assert_eq!(part.fill(BLOCK).len() as u64, (256 * MIB - CONTEXT) / BLOCK);
}

/// Checks that a part's work counts in the outer tenant's share, and is paused with it.
#[test]
fn the_share_of_a_part_is_the_outer_tenants() {
    let machine = Machine::new();
    let outer: &[&str] = &["--tenant", "outer", "--memory", "4GiB", "--compute", "50%"];
    let mut part = client(&machine, &[outer, PART]);
    part.ok("open 0");
    let memory = part.ok(&format!("alloc {BLOCK}"));
    let charged = || machine.tenant("outer")["devices"][0]["compute"]["consumed_ns"].as_u64();
    let before = charged();
    part.ok(&format!("fill {memory} {BLOCK}"));
    assert!(charged() > before, "{before:?} {:?}", charged());
    assert_eq!(
        machine.tenant("part")["devices"][0]["compute"],
        serde_json::Value::Null
    );
    let command = |word: &str| {
        let done = machine.bare(FCSP).args([word, "outer"]).output().unwrap();
        assert!(done.status.success(), "{}", stderr(&done));
    };
    wait_for("a launch of the part to wait", || {
        command("pause");
        part.tell(&format!("fill {memory} {BLOCK}"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        command("resume");
        assert_eq!(part.hear().unwrap().0, 0);
        machine.tenant("outer")["devices"][0]["compute"]["waits"].as_u64() > Some(0)
    });
}

/// Checks that a part without its outer tenant's folder has no memory, since nothing would limit
/// it.
#[test]
fn a_part_of_nobody_fails_closed() {
    let machine = Machine::new();
    let mut part = client(&machine, &[OUTER, PART]);
    part.ok("open 0");
    std::fs::write(
        machine.state().join("tenants/part/outer"),
        "/nowhere/tenants/x\n",
    )
    .unwrap();
    let mut second = client(&machine, &[&["--tenant", "part"]]);
    assert_ne!(second.code("open 0"), 0);
}
