//! Tests of the processes that share a quota: unnamed trees of processes whatever their parents do,
//! containers, users, and programs that rewrite their environment.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{
    Client, GIB, MIB, Machine, OUT_OF_MEMORY, clean, is_root, libraries, program, stderr, wait_for,
};

/// Programs that each take memory and keep it until they are told to end.
struct Crowd {
    child: Child,
    release: PathBuf,
}

/// Returns a line of a script: a client that allocates `bytes` and keeps them until the pipe at
/// `$RELEASE` is opened.
fn worker(bytes: u64) -> String {
    format!("(echo 'open 0'; echo 'alloc {bytes}'; cat $RELEASE) | $CLIENT")
}

impl Crowd {
    /// Runs `command`, whose script has `$CLIENT` and `$RELEASE`, and hears the driver's codes of
    /// `count` workers: opening the device, then the allocation, where the device was opened.
    fn start(machine: &Machine, mut command: Command, count: usize) -> (Self, Vec<i32>) {
        let release = machine.path().join("release");
        let _ = std::fs::remove_file(&release);
        let made = Command::new("mkfifo").arg(&release).status().unwrap();
        assert!(made.success());
        let mut child = command
            .env("CLIENT", program("client"))
            .env("RELEASE", &release)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Two lines a worker: each answers both commands, the second with an error where the first
        // failed.
        let codes = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(2 * count)
            .map(|line| line.unwrap().split(' ').next().unwrap().parse().unwrap())
            .collect();
        (Self { child, release }, codes)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Each reader that waits for a writer gets one, and then the end.
        for _ in 0..2 {
            let _ = Command::new("timeout")
                .args(["1", "sh", "-c", "true > \"$0\""])
                .arg(&self.release)
                .status();
        }
        let _ = self.child.wait();
    }
}

/// Returns the command of a script under the plain library, with a quota and without a tenant's
/// name.
fn unnamed(machine: &Machine, program: impl AsRef<std::ffi::OsStr>, quota: &str) -> Command {
    let mut command = machine.governed(program, "", quota);
    command.env_remove("FCSP_TENANT");
    command
}

/// Returns the tenants that hold memory, by `fcsp ps`: their names and bytes.
fn holders(machine: &Machine) -> Vec<(String, u64)> {
    let listing = machine.ps();
    listing["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| {
            (
                tenant["name"].as_str().unwrap().to_owned(),
                tenant["used_bytes"].as_u64().unwrap(),
            )
        })
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}

/// Checks one quota of 1 GiB for three workers that request 600 MiB each: one gets them.
fn one_quota(what: &str, machine: &Machine, command: Command) {
    let (_crowd, codes) = Crowd::start(machine, command, 3);
    let granted = codes.iter().filter(|&&code| code == 0).count();
    assert_eq!(
        granted,
        3 + 1,
        "{what}: all open the device, one has its memory: {codes:?}"
    );
    let holders = holders(machine);
    assert_eq!(holders.len(), 1, "{what}: {holders:?}");
    assert!(holders[0].0.starts_with("tree-"), "{what}: {holders:?}");
}

#[test]
fn a_tree_has_one_quota_whatever_its_branches_are_told() {
    for (what, variable) in [
        ("siblings", "UNRELATED=$i"),
        ("priorities of HAMi", "CUDA_TASK_PRIORITY=$((i % 2))"),
        ("a name that nobody reads", "FCSP_MODE_X=$i"),
    ] {
        let machine = Machine::new();
        let script = format!(
            "for i in 1 2 3; do export {variable}; ({}) & done; wait",
            worker(600 * MIB)
        );
        let mut command = unnamed(&machine, "sh", "1GiB");
        command.args(["-c", &script]);
        one_quota(what, &machine, command);
    }
}

#[test]
fn a_tree_has_one_quota_whatever_becomes_of_its_parents() {
    for habit in ["title", "detach"] {
        let machine = Machine::new();
        let mut command = unnamed(&machine, program("parent"), "1GiB");
        command.args([habit, "3", &worker(600 * MIB)]);
        one_quota(habit, &machine, command);
    }
}

#[test]
fn two_trees_with_one_set_of_limits_have_two_quotas() {
    let machine = Machine::new();
    let mut first = Client::start(unnamed(&machine, program("client"), "1GiB"));
    let mut second = Client::start(unnamed(&machine, program("client"), "1GiB"));
    for client in [&mut first, &mut second] {
        client.ok("open 0");
        client.ok(&format!("alloc {}", 600 * MIB));
    }
    assert_eq!(holders(&machine).len(), 2);
}

#[test]
fn an_environment_that_is_cleared_before_the_first_call_sets_no_program_free() {
    let machine = Machine::new();
    let big = format!("clearenv;open 0;alloc {}", 2 * GIB);
    let named = machine
        .governed(program("client"), "t", "1GiB")
        .args(["-c", &big])
        .status()
        .unwrap();
    assert_eq!(named.code(), Some(OUT_OF_MEMORY));
    let run = machine
        .bare(env!("CARGO_BIN_EXE_fcsp"))
        .args(["run", "--memory", "1GiB", "--"])
        .arg(program("client"))
        .args(["-c", &big])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(OUT_OF_MEMORY), "{}", stderr(&run));
    // It is one of its tenant, and not one of a tenant of its own.
    let mut other = machine.open("t", "1GiB");
    other.ok(&format!("alloc {}", 600 * MIB));
    let some = format!("clearenv;open 0;alloc {}", 600 * MIB);
    let status = machine
        .governed(program("client"), "t", "1GiB")
        .args(["-c", &some])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(OUT_OF_MEMORY));
}

#[test]
fn without_a_descriptor_memory_is_refused_with_a_code() {
    let machine = Machine::new();
    let commands = format!("nofile;open 0;alloc {}", 64 * MIB);
    let output = machine
        .governed(program("client"), "t", "1GiB")
        .env("FCSP_LOG", "1")
        .args(["-c", &commands])
        .output()
        .unwrap();
    assert!(
        output.status.code().is_some_and(|code| code != 0),
        "{:?}",
        output.status
    );
    assert_eq!(machine.observer().sum(), 0);
    // After set-up none is needed.
    let commands = format!("open 0;nofile;alloc {};alloc {}", 64 * MIB, 2 * GIB);
    let status = machine
        .governed(program("client"), "t", "1GiB")
        .args(["-c", &commands])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(OUT_OF_MEMORY));
}

#[test]
fn a_small_stack_is_enough_to_be_set_up_on() {
    let machine = Machine::new();
    for kib in [64, 32] {
        let commands = format!(
            "small {kib} open 0;use 0;alloc {};alloc {}",
            64 * MIB,
            2 * GIB
        );
        let output = machine
            .governed(program("client"), "t", "1GiB")
            .args(["-c", &commands])
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(OUT_OF_MEMORY),
            "{kib} KiB: {:?} {}",
            output.status,
            stderr(&output)
        );
    }
}

#[test]
fn a_name_that_nobody_reads_is_said_under_the_log() {
    let machine = Machine::new();
    let output = machine
        .governed(program("client"), "t", "1GiB")
        .env("FCSP_LOG", "1")
        .env("FCSP_COMPUTE", "25%")
        .args(["-c", "open 0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(
        said.contains("FCSP_COMPUTE: ") && said.contains("FCSP_COMPUTE_LIMIT"),
        "{said}"
    );
}

// Containers: a PID namespace with a /proc of its own, and variables that are its own.

/// Returns true if this process may make namespaces.
fn may_make_containers() -> bool {
    let can = is_root()
        && Command::new("unshare")
            .args(["-pf", "--mount-proc", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !can {
        println!("SKIPPED: this needs root and namespaces");
    }
    can
}

/// Returns the variables of a container of this machine, as arguments of env(1).
fn variables(quota: &str) -> Vec<String> {
    vec![
        format!("LD_PRELOAD={}", libraries().preload.display()),
        format!("FCSP_MEMORY_LIMIT={quota}"),
    ]
}

fn container(machine: &Machine, quota: &str) -> Client {
    let mut command = machine.bare("unshare");
    command
        .args(["-pf", "--mount-proc", "--kill-child", "env"])
        .args(variables(quota))
        .arg(program("client"));
    Client::start(command)
}

/// Returns the outside number of a container's first process.
fn first_process(container: &Client) -> u32 {
    let path = format!("/proc/{0}/task/{0}/children", container.pid());
    let mut pid = None;
    wait_for("the container's first process", || {
        pid = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn containers_with_one_state_folder_are_tenants_of_their_own() {
    if !may_make_containers() {
        return;
    }
    let machine = Machine::with("h100,memory=32GiB,context=64MiB");
    let (mut small, mut large, mut twin) = (
        container(&machine, "3GiB"),
        container(&machine, "4GiB"),
        container(&machine, "3GiB"),
    );
    // Far from the quotas, as the first processes of all three have one number, which the
    // measurement is not to mix up.
    for (client, quota) in [(&mut small, 3), (&mut large, 4), (&mut twin, 3)] {
        client.ok("open 0");
        assert_eq!(client.ok("total 0"), quota * GIB);
        client.ok(&format!("alloc {GIB}"));
    }
    assert_eq!(holders(&machine).len(), 3);
}

#[test]
fn what_enters_a_container_later_shares_its_quota() {
    if !may_make_containers() {
        return;
    }
    let machine = Machine::new();
    let mut first = container(&machine, "1GiB");
    first.ok("open 0");
    first.ok(&format!("alloc {}", 600 * MIB));
    let mut command = machine.bare("nsenter");
    command
        .args(["-t", &first_process(&first).to_string(), "-p", "-m", "env"])
        .args(variables("1GiB"))
        .arg(program("client"));
    let mut second = Client::start(command);
    second.ok("open 0");
    second.refused(&format!("alloc {}", 600 * MIB));
    second.ok(&format!("alloc {}", 200 * MIB));
    assert_eq!(holders(&machine).len(), 1);
}

// Users: programs that are started as root and become somebody else.

/// Creates a folder that every user can read, with copies of the files that another user's program
/// needs.
fn public(machine: &Machine) -> Option<PathBuf> {
    if !may_make_containers() {
        return None;
    }
    let dir = machine.path().join("public");
    std::fs::create_dir_all(dir.join("sim")).unwrap();
    for path in [machine.path(), &dir, &dir.join("sim")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = |from: &Path, to: &str| std::fs::copy(from, dir.join(to)).map(drop).unwrap();
    copy(&program("client"), "client");
    copy(Path::new(env!("CARGO_BIN_EXE_fcsp")), "fcsp");
    copy(&libraries().preload, "libfcsp_cuda.so");
    for entry in std::fs::read_dir(&libraries().sim).unwrap() {
        let path = entry.unwrap().path();
        copy(
            &path,
            &format!("sim/{}", path.file_name().unwrap().to_str().unwrap()),
        );
    }
    // The machine itself belongs to everybody.
    std::fs::create_dir(dir.join("device")).unwrap();
    std::fs::set_permissions(dir.join("device"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    Some(dir)
}

/// Runs a script in a mount namespace with a /dev/shm, /run and /etc of its own and no settings.
/// `$P` is the public folder, and `$NOBODY` starts a program as another user.
fn as_root(machine: &Machine, public: &Path, script: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("unshare");
    clean(&mut command);
    for variable in ["XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR"] {
        command.env_remove(variable);
    }
    let output = command
        .args(["-m", "sh", "-c"])
        .arg(format!(
            "mount --make-rprivate / && for at in /dev/shm /run /var/cache; do mount -t tmpfs -o mode=1777 t $at; done && \
             mount -t tmpfs t /etc && mkdir /etc/fcsp && {script}"
        ))
        .env("P", public)
        .env("NOBODY", "setpriv --reuid 65534 --regid 65534 --clear-groups")
        .env("LD_LIBRARY_PATH", public.join("sim"))
        .env("FCSP_SIM", &machine.spec)
        .env("FCSP_SIM_STATE", public.join("device/state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        output.status.code(),
        crate::stdout(&output),
        stderr(&output),
    )
}

#[test]
fn a_program_that_becomes_another_user_keeps_its_tenants_quota() {
    let machine = Machine::new();
    let Some(public) = public(&machine) else {
        return;
    };
    // The simulated machine's file is made by the first program, for whom it may be.
    let script = "umask 0; $P/client -c 'open 0' || exit 9; umask 022; mkfifo $P/pipe; \
        $P/fcsp run --memory 1GiB -- sh -c '\
            $NOBODY $P/client -c \"open 0;alloc 2097152000\"; echo whole $?; \
            $P/client < $P/pipe > $P/answers & \
            exec 3> $P/pipe; echo open 0 >&3; echo alloc 629145600 >&3; \
            for i in $(seq 200); do [ $(wc -l < $P/answers) = 2 ] && break; sleep 0.05; done; \
            $NOBODY $P/client -c \"open 0;alloc 629145600\"; echo second $?; \
            $NOBODY $P/client -c \"open 0;alloc 209715200\"; echo third $?; \
            exec 3>&-; wait'; \
        ls -d /run/fcsp";
    let (code, said, errors) = as_root(&machine, &public, script);
    assert_eq!(code, Some(0), "{said} {errors}");
    for line in ["whole 2", "second 2", "third 0"] {
        assert!(
            said.lines().any(|said| said == line),
            "{line}: {said} {errors}"
        );
    }
    assert!(!errors.contains("cannot be preloaded"), "{errors}");
}

/// Checks that a program that became another user makes a part of its tenant, joins it, and joins
/// the tenant itself. The outer quota limits them all.
#[test]
fn a_program_that_became_another_user_makes_a_part_of_its_tenant() {
    let machine = Machine::new();
    let Some(public) = public(&machine) else {
        return;
    };
    let inside = r#"
        run() { $NOBODY $P/fcsp run "$@"; }
        part() { run --tenant part --memory 1GiB -- $P/client -c "open 0;alloc $1"; }
        part 629145600; echo part $?
        part 1258291200; echo beyond $?
        run --memory 1GiB -- $P/client -c 'open 0;alloc 1258291200'; echo unnamed $?
        run -- $P/client -c 'open 0;alloc 1677721600'; echo same $?
        run --tenant outer -- $P/client -c 'open 0;alloc 2147483648'; echo all $?
        run --tenant large --memory 3GiB -- $P/client -c 'open 0'; echo large $?
        mkfifo $P/pipe; $P/client < $P/pipe > $P/answers &
        exec 3> $P/pipe; echo open 0 >&3; echo alloc 1677721600 >&3
        for i in $(seq 200); do [ $(wc -l < $P/answers) = 2 ] && break; sleep 0.05; done
        part 629145600; echo bounded $?
        part 209715200; echo within $?
        run --tenant part --memory 1GiB -- sh -c 'stat -c %u $FCSP_STATE_DIR/tenants/part'
        exec 3>&-; wait"#;
    std::fs::write(public.join("inside"), inside).unwrap();
    let script = "umask 0; $P/client -c 'open 0' || exit 9; umask 022; \
        $P/fcsp run --tenant outer --memory 2GiB -- sh $P/inside";
    let (code, said, errors) = as_root(&machine, &public, script);
    assert_eq!(code, Some(0), "{said} {errors}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "part 0",
            "beyond 2",
            "unnamed 2",
            "same 0",
            "all 2",
            "large 125",
            "bounded 2",
            "within 0",
            "65534",
        ],
        "{errors}"
    );
}

/// Starts programs by plain preload where default folders do not serve: the quota holds everywhere.
#[test]
fn plain_preload_finds_a_folder_wherever_one_serves() {
    let machine = Machine::new();
    let Some(public) = public(&machine) else {
        return;
    };
    let script = "umask 0; $P/client -c 'open 0' || exit 9; umask 022; \
        export LD_PRELOAD=$P/libfcsp_cuda.so FCSP_MEMORY_LIMIT=1GiB; \
        try() { what=$1; shift; \
            \"$@\" $P/client -c 'open 0;alloc 629145600'; echo $what within $?; \
            \"$@\" $P/client -c 'open 0;alloc 2097152000'; echo $what beyond $?; }; \
        mkdir -m 700 /run/xdg; \
        try root env; \
        try nobody $NOBODY env; \
        try foreign $NOBODY env XDG_RUNTIME_DIR=/run/xdg; \
        try homeless $NOBODY env HOME=/nonexistent XDG_RUNTIME_DIR=/nonexistent; \
        mount -o remount,ro /run; mount -o remount,ro /var/cache; mount -o remount,bind,ro /etc; \
        try readonly env; \
        try readonly-nobody $NOBODY env; \
        mount -o remount,noexec /dev/shm; \
        try noexec env";
    let (code, said, errors) = as_root(&machine, &public, script);
    assert_eq!(code, Some(0), "{said} {errors}");
    let users = [
        "root",
        "nobody",
        "foreign",
        "homeless",
        "readonly",
        "readonly-nobody",
        "noexec",
    ];
    let expected: Vec<String> = users
        .iter()
        .flat_map(|user| [format!("{user} within 0"), format!("{user} beyond 2")])
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{errors}");
}

/// Checks the same on a machine of the command's own, which root's command makes and others reach
/// only by its key.
#[test]
fn a_simulated_machine_is_there_for_a_program_that_becomes_another_user() {
    let machine = Machine::new();
    let Some(public) = public(&machine) else {
        return;
    };
    let script = "unset FCSP_SIM FCSP_SIM_STATE LD_LIBRARY_PATH; \
        run() { $P/fcsp run --sim tiny,memory=4GiB,context=64MiB --tenant t --memory 1GiB -- sh -c \"$1\"; }; \
        run '$NOBODY $P/client -c \"open 0;alloc 629145600\"; echo small $?; \
            $NOBODY $P/client -c \"open 0;alloc 2097152000\"; echo large $?; \
            mkfifo $P/pipe; $P/client < $P/pipe > $P/answers & \
            exec 3> $P/pipe; echo open 0 >&3; echo alloc 629145600 >&3; \
            for i in $(seq 200); do [ $(wc -l < $P/answers) = 2 ] && break; sleep 0.05; done; \
            $NOBODY $P/client -c \"open 0;alloc 629145600\"; echo second $?; \
            exec 3>&-; wait'; \
        $NOBODY ls /run/fcsp/sim > $P/list 2>&1 || echo hidden; \
        ls /run/fcsp/sim | grep -c '^[0-9a-f]*$'; find /run/fcsp/sim -type f -perm -o+w | wc -l; \
        $P/fcsp gc > $P/list; find /run/fcsp/sim -type f -perm -o+w | wc -l";
    let (code, said, errors) = as_root(&machine, &public, script);
    assert_eq!(code, Some(0), "{said} {errors}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        ["small 0", "large 2", "second 2", "hidden", "1", "1", "0"],
        "{errors}"
    );
}

#[test]
fn a_root_owned_file_gives_one_quota_to_all_users() {
    let machine = Machine::new();
    for (first, second) in [("", "$NOBODY"), ("$NOBODY", "")] {
        let Some(public) = public(&machine) else {
            return;
        };
        let script = format!(
            "umask 0; $P/client -c 'open 0' || exit 9; umask 022; printf 'memory = \"1GiB\"\\n' > /etc/fcsp/tenant.toml; \
             export LD_PRELOAD=$P/libfcsp_cuda.so; mkfifo $P/pipe; chmod 666 $P/pipe; \
             {first} $P/client < $P/pipe > $P/answers & \
             exec 3> $P/pipe; echo open 0 >&3; echo alloc 629145600 >&3; \
             for i in $(seq 200); do [ $(wc -l < $P/answers) = 2 ] && break; sleep 0.05; done; \
             {second} $P/client -c 'open 0;alloc 629145600'; echo second $?; \
             {second} $P/client -c 'open 0;alloc 209715200'; echo third $?; \
             FCSP_MEMORY_LIMIT=7GiB FCSP_MODE_X=3 {second} $P/client -c 'open 0;alloc 629145600'; echo other $?; \
             exec 3>&-; wait; ls /dev/shm/fcsp-common/tenants; rm $P/pipe"
        );
        let (code, said, errors) = as_root(&machine, &public, &script);
        assert_eq!(code, Some(0), "{said} {errors}");
        for line in ["second 2", "third 0", "other 2"] {
            assert!(
                said.lines().any(|said| said == line),
                "{line}: {said} {errors}"
            );
        }
        assert_eq!(said.matches("container-").count(), 1, "{said}");
        assert_eq!(said.lines().count(), 4, "one tenant: {said}");
        std::fs::remove_dir_all(public).unwrap();
    }
}
