//! Traps in the folders of tenants: pipes, links, devices, files without end, names that are no
//! names. A tenant owns its folder and puts into it what it likes; every command of root's must go
//! on.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Machine, stderr, stdout};

const DEVICE: &str = "GPU-a0415400-0000-4000-8000-000000000000";
/// Address space that a command may take, in bytes: a file without end must not be read to its end.
const ROOM: u64 = 4 << 30;
/// The longest wait for a command; a setup lock that somebody holds is waited for 5 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// A user that is not this one.
const ANOTHER: u32 = 65_534;

fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Returns a command's output, within bounds of time and memory; fails the test if it hangs or dies
/// of a signal.
fn bounded(machine: &Machine, args: &[&str], what: &str) -> Output {
    let mut command = machine.command(args);
    // SAFETY: setrlimit is async-signal-safe, and the record lives through the call.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: ROOM,
                rlim_max: ROOM,
            };
            match libc::setrlimit(libc::RLIMIT_AS, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what}: {args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.signal(),
        None,
        "{what}: {args:?}: {}",
        stderr(&output)
    );
    let code = output.status.code().unwrap();
    assert!(
        [0, 1, 125].contains(&code),
        "{what}: {args:?}: {code}: {}",
        stderr(&output)
    );
    output
}

#[derive(Debug, Clone, Copy)]
enum Trap {
    Pipe,
    Folder,
    Dangling,
    Zero,
    Noise,
    Giant,
    Socket,
}

const TRAPS: [Trap; 7] = [
    Trap::Pipe,
    Trap::Folder,
    Trap::Dangling,
    Trap::Zero,
    Trap::Noise,
    Trap::Giant,
    Trap::Socket,
];

impl Trap {
    fn set(self, path: &Path) {
        match self {
            Self::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Self::Folder => std::fs::create_dir(path).unwrap(),
            Self::Dangling => symlink("written-through", path).unwrap(),
            Self::Zero => symlink("/dev/zero", path).unwrap(),
            Self::Noise => {
                let noise: Vec<u8> = (0..20_000u32)
                    .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect();
                std::fs::write(path, noise).unwrap();
            }
            Self::Giant => std::fs::File::create(path)
                .unwrap()
                .set_len(1 << 42)
                .unwrap(),
            Self::Socket => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        }
    }
}

fn all_commands(machine: &Machine, what: &str) {
    for args in [
        &["ps", "--all", "--json"][..],
        &["top", "--once", "--all"],
        &["limit", "evil"],
        &["limit", "evil", "--memory", "2GiB"],
        &["pause", "evil"],
        &["run", "--tenant", "evil", "--memory", "1GiB", "--", "true"],
        &["gc"],
    ] {
        bounded(machine, args, what);
    }
    let other = bounded(
        machine,
        &["run", "--tenant", "good", "--memory", "1GiB", "--", "true"],
        what,
    );
    assert_eq!(other.status.code(), Some(0), "{what}: {}", stderr(&other));
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_dir_all(path);
}

#[test]
fn traps_in_a_tenants_folder_hang_and_end_no_command() {
    let machine = Machine::new();
    let folder = machine.path().join("state/tenants/evil");
    let files = [
        "control",
        "root",
        "managed",
        "outer",
        "setup.lock",
        "devices",
        &format!("{DEVICE}.region"),
    ];
    for file in files {
        for trap in TRAPS {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
            trap.set(&folder.join(file));
            all_commands(&machine, &format!("{trap:?} as {file}"));
            assert!(!folder.join("written-through").exists(), "{file}");
            remove(&folder);
        }
    }
}

/// Checks that `fcsp run` collects what dead processes have left, under automatic names.
#[test]
fn traps_in_a_dead_tenants_folder_keep_nobody_from_starting() {
    let machine = Machine::new();
    for file in ["control", "root", "setup.lock", &format!("{DEVICE}.region")] {
        for trap in TRAPS {
            let folder = machine.path().join("state/tenants/run-1");
            std::fs::create_dir_all(&folder).unwrap();
            trap.set(&folder.join(file));
            let what = format!("{trap:?} as {file}");
            let run = bounded(&machine, &["run", "--memory", "1GiB", "--", "true"], &what);
            assert_eq!(run.status.code(), Some(0), "{what}: {}", stderr(&run));
            // Without its lock nobody can say that nobody joins at this moment.
            let is_unusable = file == "setup.lock" && !matches!(trap, Trap::Noise | Trap::Giant);
            assert_eq!(folder.exists(), is_unusable, "{what}");
            remove(&folder);
        }
    }
}

#[test]
fn traps_in_a_devices_folder_hang_and_end_no_command() {
    let machine = Machine::new();
    let sleeper = machine.sleeper("evil", &["--memory", "1GiB", "--compute", "10%"]);
    let folder = machine.path().join("state/devices").join(DEVICE);
    for file in [
        "evil.page",
        "evil.units",
        "x.page",
        "x.units",
        "queue",
        "units.lock",
    ] {
        for trap in TRAPS {
            std::fs::create_dir_all(&folder).unwrap();
            // It has a share here, so its claim is looked at.
            std::fs::write(folder.join("evil.page"), [0; 4096]).unwrap();
            let _ = std::fs::remove_file(folder.join(file));
            trap.set(&folder.join(file));
            let what = format!("{trap:?} as {file}");
            for args in [
                &["ps", "--json"][..],
                &["top", "--once"],
                &["limit", "evil"],
                &["gc"],
            ] {
                let output = bounded(&machine, args, &what);
                assert_eq!(
                    output.status.code(),
                    Some(0),
                    "{what}: {args:?}: {}",
                    stderr(&output)
                );
            }
            assert!(!folder.join("written-through").exists(), "{file}");
            remove(&folder);
        }
    }
    drop(sleeper);
}

/// Checks that names which no tenant has reach no terminal: it obeys escape sequences, and a line
/// break fakes a tenant.
#[test]
fn names_that_no_tenant_has_reach_no_terminal() {
    let machine = Machine::new();
    let tenants = machine.path().join("state/tenants");
    let evil = tenants.join("evil");
    std::fs::create_dir_all(&evil).unwrap();
    for name in [
        "\u{1b}[31mred",
        "two\nlines",
        "run-\u{7}bell",
        "\u{202e}nur",
    ] {
        std::fs::create_dir(tenants.join(name)).unwrap();
        std::fs::write(evil.join(format!("{name}.region")), "no region").unwrap();
        std::fs::write(tenants.join(name).join("control"), "no page").unwrap();
        let folder = machine.path().join("state/devices").join(DEVICE);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.page")), "no page").unwrap();
        std::fs::write(folder.join(format!("{name}.units")), "no claim").unwrap();
    }
    std::fs::write(evil.join("outer"), "/x/\u{1b}]0;title\u{7}\n").unwrap();
    for args in [
        &["ps", "--all"][..],
        &["top", "--once", "--all"],
        &["doctor"],
        &["limit", "evil"],
        &["run", "--memory", "1GiB", "--", "true"],
        &["gc"],
    ] {
        let output = machine.command(args).output().unwrap();
        let said = stdout(&output) + &stderr(&output);
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(odd), "{args:?}: {said:?}");
        assert!(!said.contains("\nlines"), "{args:?}: {said:?}");
    }
}

/// A state folder of root's in which every user makes tenants, as a platform might set it up.
struct Shared {
    machine: Machine,
    precious: PathBuf,
}

impl Shared {
    fn new() -> Option<Self> {
        if !is_root() {
            println!("SKIPPED: only root can make folders of another user's");
            return None;
        }
        let machine = Machine::new();
        let state = machine.path().join("state");
        for (folder, mode) in [("", 0o755), ("tenants", 0o1777), ("devices", 0o1777)] {
            std::fs::create_dir_all(state.join(folder)).unwrap();
            std::fs::set_permissions(state.join(folder), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
        let precious = machine.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("file"), "root's own").unwrap();
        Some(Self { machine, precious })
    }

    fn tenants(&self) -> PathBuf {
        self.machine.path().join("state/tenants")
    }

    /// Creates a tenant's folder of another user.
    fn theirs(&self, name: &str) -> PathBuf {
        let folder = self.tenants().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        chown(&folder, Some(ANOTHER), Some(ANOTHER)).unwrap();
        folder
    }

    fn link(&self, target: &Path, path: &Path) {
        symlink(target, path).unwrap();
        std::os::unix::fs::lchown(path, Some(ANOTHER), Some(ANOTHER)).unwrap();
    }

    fn nothing_happened(&self, what: &str) {
        let names: Vec<_> = std::fs::read_dir(&self.precious)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"], "{what}");
        let file = self.precious.join("file");
        assert_eq!(std::fs::read(&file).unwrap(), b"root's own", "{what}");
        assert_eq!(
            std::fs::metadata(&file).unwrap().mode() & 0o777,
            0o644,
            "{what}"
        );
    }
}

#[test]
fn root_writes_nothing_through_another_users_links() {
    let Some(shared) = Shared::new() else { return };
    let file = shared.precious.join("file");
    let evil = shared.theirs("evil");
    for name in [
        "control",
        "root",
        "managed",
        "outer",
        "devices",
        "setup.lock",
        &format!("{DEVICE}.region"),
    ] {
        for hard in [false, true] {
            match hard {
                false => shared.link(&file, &evil.join(name)),
                true => std::fs::hard_link(&file, evil.join(name)).unwrap(),
            }
            let what = format!(
                "{name} is a {} link",
                if hard { "second" } else { "symbolic" }
            );
            all_commands(&shared.machine, &what);
            shared.nothing_happened(&what);
            if !evil.exists() {
                shared.theirs("evil");
            }
            let _ = std::fs::remove_file(evil.join(name));
        }
    }
    let run = bounded(
        &shared.machine,
        &["run", "--tenant", "evil", "--memory", "1GiB", "--", "true"],
        "run",
    );
    // A dead tenant's folder was removed and made anew as root's; one that stays is refused.
    let owner = std::fs::symlink_metadata(&evil).map(|meta| meta.uid());
    assert!(
        owner.is_err() || owner.unwrap() == 0 || run.status.code() == Some(125),
        "{}",
        stderr(&run)
    );
}

#[test]
fn root_goes_into_no_folder_that_anothers_link_leads_to() {
    let Some(shared) = Shared::new() else { return };
    shared.link(&shared.precious, &shared.tenants().join("evil"));
    shared.link(&shared.precious, &shared.tenants().join("run-1"));
    shared.link(
        Path::new("../open/../precious"),
        &shared.tenants().join("tree-1"),
    );
    let devices = shared.machine.path().join("state/devices");
    shared.link(&shared.precious, &devices.join(DEVICE));
    all_commands(&shared.machine, "a link for a folder");
    shared.nothing_happened("a link for a folder");
    for name in ["evil", "run-1", "tree-1"] {
        let _ = bounded(&shared.machine, &["limit", name, "--memory", "1GiB"], name);
    }
    shared.nothing_happened("limit");
    assert!(shared.machine.path().join("state/tenants").is_dir());
}

/// Starts another user's program in the tenant of this folder. Returns `None`, with a note, if none
/// can be started.
fn living(folder: &Path) -> Option<crate::Sleeper> {
    let command = "--reuid 65534 --regid 65534 --clear-groups sleep 600";
    let sleeper = match Command::new("setpriv").args(command.split(' ')).spawn() {
        Ok(child) => crate::Sleeper(child),
        Err(error) => {
            println!("SKIPPED: no setpriv: {error}");
            return None;
        }
    };
    let pid = sleeper.0.id();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let start = after.split_whitespace().nth(19).unwrap();
    std::fs::write(folder.join("root"), format!("{pid} {start}\n")).unwrap();
    chown(folder.join("root"), Some(ANOTHER), Some(ANOTHER)).unwrap();
    Some(sleeper)
}

/// Checks a second name for root's own file in a tenant's folder. If the kernel lets users make one
/// (`protected_hardlinks`), a change of that tenant's limits would change root's tenant.
#[test]
fn roots_own_limits_are_not_written_by_a_second_name() {
    let Some(shared) = Shared::new() else { return };
    let own = shared.tenants().join("own");
    std::fs::create_dir(&own).unwrap();
    let setup = fcsp_core::state::SetupGuard::acquire(&own).unwrap();
    let page = fcsp_core::control::Control::create(&setup).unwrap();
    page.write(&fcsp_core::control::Limits::default()).unwrap();
    drop(setup);
    let before = std::fs::read(own.join("control")).unwrap();
    let evil = shared.theirs("evil");
    let Some(_sleeper) = living(&evil) else {
        return;
    };
    std::fs::hard_link(own.join("control"), evil.join("control")).unwrap();
    for args in [
        &["limit", "evil", "--memory", "2GiB"][..],
        &["pause", "evil"],
    ] {
        let output = bounded(&shared.machine, args, "a second name");
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        assert!(
            stderr(&output).contains("more than one name"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(std::fs::read(own.join("control")).unwrap(), before);
}

/// Checks that another user's tenant is changed by root, and stays its user's.
#[test]
fn what_root_makes_in_a_tenants_folder_is_the_tenants() {
    let Some(shared) = Shared::new() else { return };
    let folder = shared.theirs("evil");
    let Some(_sleeper) = living(&folder) else {
        return;
    };
    let output = bounded(
        &shared.machine,
        &["limit", "evil", "--memory", "2GiB"],
        "limit",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(
            entry.metadata().unwrap().uid(),
            ANOTHER,
            "{:?}",
            entry.file_name()
        );
    }
    let output = bounded(
        &shared.machine,
        &["run", "--tenant", "evil", "--", "true"],
        "run",
    );
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("belongs to another user"),
        "{}",
        stderr(&output)
    );
}
