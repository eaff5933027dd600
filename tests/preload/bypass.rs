//! The ways around that are known of comparable software, one test each. What is closed is shown to
//! be; what no library inside the process can close is shown to be open, and SECURITY.md must say
//! so.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lookup::{linked_finder, refuse};
use crate::{
    CONTEXT, Client, GIB, MIB, Machine, OUT_OF_MEMORY, compiled, is_root, libraries, program,
    shared, stderr,
};

/// Returns the state that SECURITY.md gives for a bypass: the second cell of the row whose first
/// cell contains `way`.
fn state(way: &str) -> String {
    let text = std::fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("SECURITY.md"),
    )
    .unwrap();
    let row = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .find(|cells| cells[0].contains(way))
        .unwrap_or_else(|| panic!("SECURITY.md does not list \"{way}\""));
    row[1].to_owned()
}

/// Says that a way is open, and checks that SECURITY.md does.
fn open(way: &str) {
    let state = state(way);
    assert!(
        ["node agent only", "open", "ignores it"]
            .iter()
            .any(|word| state.contains(word)),
        "SECURITY.md calls \"{way}\" {state}, and it is open"
    );
    println!("OPEN: {way}: {state}");
}

fn closed(way: &str) {
    let state = state(way);
    assert!(
        state.contains("closed"),
        "SECURITY.md calls \"{way}\" {state}, and it is closed"
    );
}

/// Collects the names of test functions in the Rust sources below `folder`.
fn tests_below(folder: &Path, names: &mut std::collections::HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                tests_below(&path, names);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            // Other attributes may stand between `#[test]` and the function.
            let tests = text.split("#[test]\n").skip(1);
            names.extend(tests.filter_map(|rest| {
                let (_, function) = rest.split_once("fn ")?;
                let (name, _) = function.split_once('(')?;
                Some(name.to_owned())
            }));
        }
    }
}

#[test]
fn every_test_that_this_page_names_exists() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut tests = std::collections::HashSet::new();
    tests_below(root, &mut tests);
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let is_promise = |line: &&str| {
        let number = line.strip_prefix("| P");
        number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let promises: Vec<&str> = text.lines().filter(is_promise).collect();
    assert!(promises.len() >= 11, "{} promises", promises.len());
    for promise in promises {
        let shown_by = promise.trim_end_matches('|').rsplit('|').next().unwrap();
        let quoted = shown_by.split('`').skip(1).step_by(2);
        let names: Vec<&str> = quoted.filter(|name| !name.contains(['/', '.'])).collect();
        assert!(!names.is_empty(), "no test shows {promise}");
        for name in names {
            assert!(
                tests.contains(name),
                "SECURITY.md names {name}, which is no test"
            );
        }
    }
}

/// Checks that the quota holds for a client with these variables.
fn holds_with(variables: &[(&str, &str)]) {
    let machine = Machine::new();
    let mut command = machine.governed(program("client"), "t", "1GiB");
    command.envs(variables.iter().copied());
    let mut client = Client::start(command);
    client.ok("open 0");
    client.refused(&format!("alloc {}", 2 * GIB));
    assert_eq!(
        client.fill(64 * MIB).len() as u64,
        (GIB - CONTEXT) / (64 * MIB)
    );
}

// A. Environment and files

/// Runs a script in a mount namespace whose /etc is empty but for what the script puts there;
/// `None`, with a note, where that is not allowed.
fn with_own_etc(machine: &Machine, script: &str) -> Option<i32> {
    let can = is_root()
        && Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "fcsp-test", "/etc"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !can {
        println!("SKIPPED: this needs root and a mount namespace");
        return None;
    }
    let mut command = machine.bare("unshare");
    command.args(["-m", "sh", "-c"]).arg(format!(
        "mount -t tmpfs fcsp-test /etc && mkdir /etc/fcsp && {script}"
    ));
    let output = command.env("FCSP_LOG", "1").output().unwrap();
    Some(
        output
            .status
            .code()
            .unwrap_or_else(|| panic!("{}", stderr(&output))),
    )
}

const AUTHORITY: &str = "printf 'tenant = \"t\"\\nmemory = \"1GiB\"\\n' > /etc/fcsp/tenant.toml";

#[test]
fn a_unset_the_limit_variables() {
    closed("unset the limit variables");
    let machine = Machine::new();
    let client = program("client").display().to_string();
    let preload = libraries().preload.display().to_string();
    let big = format!("-c 'open 0;alloc {}'", 2 * GIB);
    // Unset, or set to more: the file decides.
    for variables in [
        "",
        "FCSP_MEMORY_LIMIT=6GiB",
        "FCSP_MEMORY_LIMIT=unlimited FCSP_TENANT=other",
    ] {
        let script = format!("{AUTHORITY} && {variables} LD_PRELOAD={preload} {client} {big}");
        if let Some(code) = with_own_etc(&machine, &script) {
            assert_eq!(code, OUT_OF_MEMORY, "{variables}");
        }
    }
    // A file that others may write says nothing; without one, the variables are the user's own to
    // unset.
    let script = format!(
        "{AUTHORITY} && chmod 666 /etc/fcsp/tenant.toml && LD_PRELOAD={preload} {client} {big}"
    );
    if let Some(code) = with_own_etc(&machine, &script) {
        assert_eq!(code, 0);
    }
    let status = machine
        .bare(program("client"))
        .env("LD_PRELOAD", preload)
        .args(["-c", big.trim_start_matches("-c ").trim_matches('\'')])
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
    println!("OPEN: the limit variables can be unset where there is no root-owned file");
}

#[test]
fn a_shared_state_elsewhere() {
    open("point the shared state elsewhere");
    let machine = Machine::new();
    let elsewhere = machine.path().join("elsewhere");
    holds_with(&[("FCSP_STATE_DIR", elsewhere.to_str().unwrap())]);
}

#[test]
fn a_switches_that_turn_enforcement_off() {
    closed("a switch that turns enforcement off");
    holds_with(&[
        ("GPU_CORE_UTILIZATION_POLICY", "disable"),
        ("CUDA_DISABLE_CONTROL", "true"),
    ]);
    holds_with(&[
        ("FCSP_DISABLE", "1"),
        ("FCSP_ENABLED", "0"),
        ("FCSP_MODE", "none"),
        ("ACTIVE_OOM_KILLER", "0"),
    ]);
    holds_with(&[
        ("CUDA_DEVICE_MEMORY_LIMIT", "0"),
        ("CUDA_DEVICE_MEMORY_LIMIT_0", "8g"),
        ("BUD_MEMORY_LIMIT", "8G"),
    ]);
}

#[test]
fn a_another_driver_library_by_a_variable() {
    closed("a variable that names another driver library");
    let driver = libraries().sim.join("libcuda.so.1");
    holds_with(&[("CUDA_REDIRECT", driver.to_str().unwrap())]);
}

#[test]
fn a_another_driver_library_in_front() {
    open("`LD_LIBRARY_PATH` with another `libcuda.so.1`");
    let machine = Machine::new();
    // A copy in front of the driver is the driver to the library as it is to the program: the quota
    // holds.
    let front = machine.path().join("front");
    std::fs::create_dir(&front).unwrap();
    std::fs::copy(
        libraries().sim.join("libcuda.so.1"),
        front.join("libcuda.so.1"),
    )
    .unwrap();
    let with_front = |driver: Option<&Path>| {
        let mut command = machine.governed(program("client"), "t", "1GiB");
        let path = format!("{}:{}", front.display(), machine.sim.display());
        command.env("LD_LIBRARY_PATH", path);
        if let Some(driver) = driver {
            command.env("CLIENT_DRIVER", driver);
        }
        let mut client = Client::start(command);
        client.ok("open 0");
        client
    };
    with_front(None).refused(&format!("alloc {}", 2 * GIB));
    // Nor does another file name help while the library says its name.
    let renamed = front.join("libother.so");
    std::fs::copy(libraries().sim.join("libcuda.so.1"), &renamed).unwrap();
    with_front(Some(&renamed)).refused(&format!("alloc {}", 2 * GIB));
    // One that was edited to say another is not known for the driver: what is asked of it is not
    // seen.
    let mut bytes = std::fs::read(&renamed).unwrap();
    let name = b"libcuda.so.1\0";
    while let Some(at) = bytes.windows(name.len()).position(|part| part == name) {
        bytes[at..at + 8].copy_from_slice(b"libother");
    }
    std::fs::write(&renamed, bytes).unwrap();
    let mut client = with_front(Some(&renamed));
    client.ok(&format!("alloc {}", 2 * GIB));
    // The management library, however, shows each process's memory.
    assert!(machine.observer().held(client.pid()) >= 2 * GIB);
}

#[test]
fn a_an_empty_environment() {
    open("`env -i`");
    let machine = Machine::new();
    // Plain preload goes with the environment.
    let status = machine
        .governed("env", "t", "1GiB")
        .arg("-i")
        .arg(program("own_walk"))
        .arg("loaded")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    // What /etc/ld.so.preload names, and a root-owned file limits, stays.
    let client = program("client").display().to_string();
    let script = format!(
        "{AUTHORITY} && echo {} > /etc/ld.so.preload && \
         exec env -i LD_LIBRARY_PATH={} FCSP_SIM={} FCSP_SIM_STATE={} FCSP_STATE_DIR={} {client} -c 'open 0;alloc {}'",
        libraries().preload.display(),
        machine.sim.display(),
        crate::SPEC,
        machine.path().join("device").display(),
        machine.state().display(),
        2 * GIB
    );
    if let Some(code) = with_own_etc(&machine, &script) {
        assert_eq!(code, OUT_OF_MEMORY);
    }
}

#[test]
fn a_edit_the_shared_file() {
    open("edit the shared file");
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    let dir = machine.state().join("tenants/t");
    assert_eq!(
        std::fs::metadata(&dir).unwrap().permissions().mode() & 0o077,
        0,
        "others cannot even look"
    );
    let region = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "region")
        })
        .unwrap();
    assert_eq!(
        std::fs::metadata(&region).unwrap().permissions().mode() & 0o077,
        0
    );
    // The limit in the region is for display: raising it raises nothing.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&region)
        .unwrap();
    file.write_all_at(&u64::MAX.to_le_bytes(), 128 + 24)
        .unwrap();
    client.refused(&format!("alloc {}", 2 * GIB));
    let mut second = machine.open("t", "1GiB");
    second.refused(&format!("alloc {}", 2 * GIB));
    // A neighbour is out of reach of all that.
    let mut neighbour = machine.open("n", "1GiB");
    assert_eq!(
        neighbour.fill(64 * MIB).len() as u64,
        (GIB - CONTEXT) / (64 * MIB)
    );
}

#[test]
fn a_subsets_and_orders_of_devices() {
    closed("`CUDA_VISIBLE_DEVICES`");
    let machine = Machine::with("h100x2,memory=8GiB,context=64MiB");
    // One process knows the first device as 0, the other as 1: they are charged to one account.
    let with = |list: &str| {
        let mut command = machine.governed(program("client"), "t", "1GiB");
        command.env("CUDA_VISIBLE_DEVICES", list);
        let mut client = Client::start(command);
        client.ok("init");
        client
    };
    let (mut plain, mut turned, mut alone) = (with("0,1"), with("1,0"), with("1"));
    plain.ok("use 0");
    plain.ok(&format!("alloc {}", 512 * MIB));
    turned.ok("use 1");
    turned.refused(&format!("alloc {}", 512 * MIB));
    turned.ok(&format!("alloc {}", 256 * MIB));
    // The second device has an account of its own, whatever its number.
    alone.ok("use 0");
    alone.ok(&format!("alloc {}", 512 * MIB));
    turned.ok("use 0");
    turned.refused(&format!("alloc {}", 512 * MIB));
}

#[test]
fn a_more_processes() {
    closed("start more processes, fork");
    let machine = Machine::new();
    let mut client = machine.open("t", "1GiB");
    client.ok(&format!("alloc {}", 768 * MIB));
    for how in ["spawn", "vfork"] {
        assert_eq!(
            client.code(&format!("{how} open 0;alloc {}", 256 * MIB)),
            OUT_OF_MEMORY,
            "{how}"
        );
    }
    let mut parent = machine.client("t", "1GiB");
    assert_eq!(
        parent.code(&format!("fork open 0;alloc {}", 256 * MIB)),
        OUT_OF_MEMORY
    );
}

// B. Linker and loader

#[test]
fn b_next_and_default() {
    closed("`dlsym(RTLD_NEXT, ...)`");
    let machine = Machine::new();
    let (routes, finder) = (program("routes"), shared("finder"));
    for (route, library) in [
        ("next", None),
        ("default", None),
        ("library-next", Some(&finder)),
        ("library-default", Some(&finder)),
    ] {
        assert_eq!(
            refuse(&machine, &routes, route, library),
            OUT_OF_MEMORY,
            "{route}"
        );
    }
}

#[test]
fn b_handles_and_get_proc_address() {
    closed("`dlopen` and `dlsym` on the handle");
    let machine = Machine::new();
    for route in ["handle", "proc", "proc1"] {
        assert_eq!(
            refuse(&machine, &program("routes"), route, None),
            OUT_OF_MEMORY,
            "{route}"
        );
    }
}

#[test]
fn b_static_runtime_in_a_dynamic_program() {
    closed("static `libcudart`");
    // What such a program does: it opens the driver itself, asks for the resolver by name and for
    // all else by it.
    let machine = Machine::new();
    let whole = compiled(
        "routes.c",
        "routes-static-libgcc",
        &["-static-libgcc".as_ref()],
    );
    assert_eq!(refuse(&machine, &whole, "proc", None), OUT_OF_MEMORY);
}

#[test]
fn b_dlvsym() {
    open("`dlvsym`");
    assert_eq!(
        refuse(&Machine::new(), &program("routes"), "dlvsym", None),
        0
    );
}

#[test]
fn b_dlmopen() {
    open("`dlmopen`");
    let status = Machine::new()
        .governed(program("own_walk"), "t", "1GiB")
        .arg("dlmopen")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn b_own_walk_of_the_symbol_table() {
    open("own ELF walk");
    let status = Machine::new()
        .governed(program("own_walk"), "t", "1GiB")
        .arg("walk")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn b_deep_binding() {
    open("`RTLD_DEEPBIND`");
    let (machine, finder) = (Machine::new(), linked_finder());
    for route in ["deep-linked", "deep-handle-of-its-own"] {
        assert_eq!(
            refuse(&machine, &program("routes"), route, Some(&finder)),
            0,
            "{route}"
        );
    }
    // Without that flag the same library is caught.
    assert_eq!(
        refuse(
            &machine,
            &program("routes"),
            "library-linked",
            Some(&finder)
        ),
        OUT_OF_MEMORY
    );
}

#[test]
fn b_export_tables() {
    open("`cuGetExportTable`");
    // The simulator has no private tables; what can be shown is that the question goes to the
    // driver unchanged.
    assert_eq!(
        refuse(&Machine::new(), &program("routes"), "export-table", None),
        104
    );
    assert!(!crate::lookup::wrapped().contains("cuGetExportTable"));
}

#[test]
fn b_static_programs() {
    open("static programs");
    let source =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("tests/clients/own_walk.c");
    let machine = Machine::new();
    let result = machine.path().join("static");
    let built = Command::new("cc")
        .args(["-static", "-DSTATIC", "-o"])
        .args([&result, &source])
        .output()
        .unwrap();
    if !built.status.success() {
        println!("SKIPPED: no static C library here");
        return;
    }
    assert_eq!(
        machine
            .governed(&result, "t", "1GiB")
            .arg("loaded")
            .status()
            .unwrap()
            .code(),
        Some(1)
    );
}

#[test]
fn b_setuid_programs() {
    open("setuid");
    let machine = Machine::new();
    let plain = machine
        .governed(program("own_walk"), "t", "1GiB")
        .arg("loaded")
        .status()
        .unwrap();
    assert_eq!(plain.code(), Some(0));
    let copy: PathBuf = machine.path().join("setuid");
    std::fs::copy(program("own_walk"), &copy).unwrap();
    std::fs::set_permissions(machine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let owned = is_root() && std::os::unix::fs::chown(&copy, Some(65534), Some(65534)).is_ok();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let allowed = !Command::new("findmnt")
        .args(["-no", "OPTIONS", "-T"])
        .arg(&copy)
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("nosuid"));
    if !owned || !allowed {
        println!("SKIPPED: a setuid program needs root and a file system that allows it");
        return;
    }
    assert_eq!(
        machine
            .governed(&copy, "t", "1GiB")
            .arg("loaded")
            .status()
            .unwrap()
            .code(),
        Some(1)
    );
}

#[test]
fn b_musl_programs() {
    open("musl programs");
}

// C. Driver API: one request above the quota, or several that together exceed it. The same commands
// without a quota do get their memory.

fn past_the_quota(way: &str, commands: &str) {
    closed(way);
    let machine = Machine::new();
    let run = |mut client: Client| {
        let (mut last, mut code) = (0, 0);
        client.ok("open 0");
        for command in commands.split(';') {
            let (answer, values) = client.call(&command.replace('$', &last.to_string()));
            code = answer;
            last = values.first().copied().unwrap_or(last);
        }
        code
    };
    let governed = run(machine.client("t", "1GiB"));
    assert_eq!(governed, OUT_OF_MEMORY, "{commands}");
    let free = run(Client::start(machine.bare(program("client"))));
    assert_eq!(free, 0, "{commands}");
}

#[test]
fn c_create_map_release() {
    past_the_quota(
        "`cuMemCreate`, map, release",
        "create 671088640 0;maphandle 671088640 $;hrelease $;create 671088640 0",
    );
}

#[test]
fn c_pools() {
    past_the_quota(
        "pools, `cuMemAllocAsync`",
        "async 671088640;async 671088640",
    );
    past_the_quota(
        "pools, `cuMemAllocAsync`",
        "async_ptsz 671088640;async_ptsz 671088640",
    );
    past_the_quota("pools, `cuMemAllocAsync`", "pool;pooled 1342177280 $");
}

#[test]
fn c_arrays_and_mipmaps() {
    past_the_quota("arrays, mipmaps", "array 8192 6000;array 8192 4000");
    past_the_quota("arrays, mipmaps", "array3d 512 512 512");
    past_the_quota("arrays, mipmaps", "mipmap 8192 8192 8");
}

#[test]
fn c_graph_memory_nodes() {
    for node in ["node", "node2", "node2_v2"] {
        past_the_quota(
            "graph memory nodes",
            &format!("graphnode_{node} 1342177280;instantiate $;launch $"),
        );
    }
    past_the_quota(
        "graph memory nodes",
        "capture;async 1342177280;captured;instantiate $;launch $",
    );
}

#[test]
fn c_pitch() {
    // One byte a row, 2 100 000 rows of 512.
    past_the_quota("pitch", "pitch 1 2100000");
}

#[test]
fn c_heap_and_stack_limits() {
    past_the_quota("malloc heap, stack and printf limits", "heap 2147483648");
    past_the_quota("malloc heap, stack and printf limits", "stack 8192");
}

#[test]
fn c_module_globals() {
    past_the_quota("module globals", "module 671088640;module 671088640");
    past_the_quota("module globals", "library 1342177280;libload $");
}

#[test]
fn c_imports() {
    assert!(state("IPC and external imports").contains("exporter pays once"));
    let machine = Machine::new();
    let mut judge = machine.observer();
    let (mut exporter, mut importer) = (machine.open("t", "1GiB"), machine.open("t", "1GiB"));
    let address = exporter.ok(&format!("alloc {}", 512 * MIB));
    let (code, handle) = exporter.call(&format!("ipc {address}"));
    assert_eq!(code, 0);
    let words: Vec<String> = handle.iter().map(u64::to_string).collect();
    let mapped = importer.ok(&format!("unipc {}", words.join(" ")));
    importer.ok("info");
    exporter.ok("info");
    assert_eq!(
        machine.used("t"),
        2 * CONTEXT + 512 * MIB,
        "not charged twice"
    );
    assert_eq!(judge.sum(), 2 * CONTEXT + 512 * MIB);
    importer.ok(&format!("fill {mapped} 4096"));
    importer.ok(&format!("ipcclose {mapped}"));
    importer.ok("info");
    assert_eq!(machine.used("t"), 2 * CONTEXT + 512 * MIB);
}

#[test]
fn c_every_abi_and_stream_variant() {
    closed("per-thread-stream and old ABI names");
    let names = crate::lookup::wrapped();
    for symbol in fcsp_cuda::symbols::cuda() {
        // What takes memory under one name takes it under all of them.
        let base_is_wrapped = names.contains(symbol.base);
        let takes = symbol.role == fcsp_cuda::symbols::Role::Allocates;
        assert!(
            !takes || !base_is_wrapped || names.contains(symbol.name),
            "{} is not wrapped",
            symbol.name
        );
    }
}

// D. Other stacks are not CUDA's: only listed.

#[test]
fn d_other_stacks() {
    for way in ["Vulkan", "NVENC", "raw `ioctl`"] {
        open(way);
    }
}
