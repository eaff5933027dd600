//! Tests of HIP's own features: a runtime that calls itself, launches by host function and in a
//! dozen forms, a last error.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compute::{learned, near};
use crate::machine::{Client, Machine, compile, headers};
use crate::vendors::{GIB, MIB, Vendor};

/// The runtime's name, and one of the same length for the library that does the work beneath
/// another of that name.
const RUNTIME: &str = "libamdhip64.so.6";
const WORKER: &str = "libamdhip64.so.0";

/// Creates a folder of simulated libraries whose runtime calls itself by its public names.
fn recursive(vendor: &Vendor, machine: &Machine) -> PathBuf {
    let dir = machine.path().join("recursive");
    std::fs::create_dir(&dir).unwrap();
    for entry in std::fs::read_dir(machine.sim()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != RUNTIME {
            std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
    }
    // The loader knows libraries by the names inside them.
    let mut bytes = std::fs::read(machine.sim().join(RUNTIME)).unwrap();
    let places: Vec<usize> = bytes
        .windows(RUNTIME.len())
        .enumerate()
        .filter(|(_, window)| *window == RUNTIME.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at..at + WORKER.len()].copy_from_slice(WORKER.as_bytes());
    }
    let worker = dir.join(WORKER);
    std::fs::write(&worker, bytes).unwrap();
    let soname = format!("-Wl,-soname,{RUNTIME}");
    let versions = format!(
        "-Wl,--version-script={}/tests/conformance/clients/recursive_hip.map",
        concat!(env!("CARGO_MANIFEST_DIR"), "/..")
    );
    let arguments = [
        "-shared",
        "-fPIC",
        "-DWORKER=\"libamdhip64.so.0\"",
        "-DDEVICE=(8ull << 30)",
        &soname,
        &versions,
        "-Wl,--no-as-needed",
        worker.to_str().unwrap(),
    ];
    compile(vendor, "recursive_hip.c", &dir.join(RUNTIME), &arguments);
    dir
}

fn start(machine: &Machine, dir: &Path, settings: &[(&str, &str)]) -> Client {
    let own = [
        ("LD_PRELOAD", "{preload}"),
        ("LD_LIBRARY_PATH", dir.to_str().unwrap()),
    ];
    machine.otherwise(&[&own[..], settings].concat())
}

pub fn a_runtime_that_calls_itself_is_governed_once(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let dir = recursive(vendor, &machine);
    let quota = GIB.to_string();
    for route in ["linked", "dlsym", "resolver"] {
        let mut client = start(
            &machine,
            &dir,
            &[("FCSP_TENANT", route), ("FCSP_MEMORY_LIMIT", &quota)],
        );
        client.ok(&format!("route {route}"));
        client.ok("open 0");
        let before = machine.used(route);
        let block = client.ok(&format!("alloc {}", 256 * MIB));
        assert_eq!(
            machine.used(route),
            before + 256 * MIB,
            "{route}: charged once"
        );
        client.refused(vendor, &format!("alloc {}", 800 * MIB));
        assert_eq!(client.values("info")[1], GIB);
        client.ok(&format!("free {block}"));
        assert_eq!(machine.used(route), before);
        client.ok("spin 1000");
        client.ok("sync");
    }
    // A launch that the runtime passes on to another of its launches counts once: the share is a
    // quarter, not an eighth.
    let settings = [
        ("FCSP_TENANT", "strict"),
        ("FCSP_COMPUTE_LIMIT", "25%"),
        ("FCSP_MODE", "strict"),
    ];
    let free = start(&machine, &dir, &[("FCSP_TENANT", "free")]);
    let free = learned(&opened(&machine, free, "free"));
    let strict = start(&machine, &dir, &settings);
    let strict = learned(&opened(&machine, strict, "strict"));
    near("strict of free", strict / free, 0.25);
}

fn opened(machine: &Machine, mut client: Client, name: &str) -> crate::machine::Busy {
    client.ok("open 0");
    machine.keep_busy(client, name, false)
}

/// Compiles a program of `clients/` for this vendor.
pub fn program(vendor: &Vendor, machine: &Machine, source: &str) -> PathBuf {
    let path = machine.path().join(source.trim_end_matches(".c"));
    let libraries: Vec<PathBuf> = vendor
        .linked
        .iter()
        .map(|name| machine.sim().join(name))
        .collect();
    let arguments: Vec<&str> = libraries
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    compile(vendor, source, &path, &arguments);
    path
}

pub fn every_form_of_launch_is_charged(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "forms_hip.c");
    let forms = [
        "host",
        "host_spt",
        "host_ext",
        "cooperative",
        "exc",
        "module",
        "module_cooperative",
        "module_ext",
        "module_ex",
        "several",
        "chevrons",
        "ptr",
    ];
    const COUNT: u64 = 64;
    for form in forms {
        let settings = [
            ("FCSP_TENANT", form),
            ("FCSP_COMPUTE_LIMIT", "90%"),
            ("FCSP_MODE", "strict"),
        ];
        let mut command: Command = machine.program(&program, &settings);
        let mut child = command
            .args([form, &COUNT.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{form}");
        let share = machine.tenant(form)["devices"][0]["compute"].clone();
        // Before a kernel is timed it is charged a guess of some microseconds; what counts is that
        // none went by unseen.
        let consumed = share["consumed_ns"].as_u64().unwrap();
        assert!(
            consumed > COUNT * 1_000 && consumed < COUNT * 4_000_000,
            "{form}: {share}"
        );
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(b"\n");
        assert!(child.wait().unwrap().success(), "{form}");
    }
}

pub fn refusals_are_errors_like_the_runtimes_own(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "errors_hip.c");
    let quota = GIB.to_string();
    let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &quota)];
    let output = machine
        .program(&program, &settings)
        .arg(&quota)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn descriptors_do_not_keep_the_device_for_nothing(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "exports_hip.c");
    let quota = GIB.to_string();
    let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &quota)];
    let output = machine
        .program(&program, &settings)
        .arg(&quota)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Leaves calls by a jump. The quota holds afterwards, and launches are charged as before.
pub fn a_jump_out_of_a_call_leaves_no_flag_up(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "jumps_hip.c");
    let quota = GIB.to_string();
    let settings = [
        ("FCSP_TENANT", "memory"),
        ("FCSP_MEMORY_LIMIT", &*quota),
        ("FCSP_SIM_FAULTS", "hipFree!crash@1"),
    ];
    let mut command = machine.program(&program, &settings);
    let output = command.arg("memory").output().unwrap();
    let blocks: u64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    // The context, and the bytes that the abandoned call had in hand, stay counted.
    let most = (GIB - vendor.context) / (64 * MIB);
    assert!((most - 1..=most).contains(&blocks), "{blocks}");

    let settings = [
        ("FCSP_TENANT", "launch"),
        ("FCSP_ACCOUNT_TIME", "1"),
        ("FCSP_SIM_FAULTS", "hipModuleLaunchKernel!crash@51"),
    ];
    let mut command = machine.program(&program, &settings);
    command
        .arg("launch")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut consumed = |word: &str| {
        assert_eq!(lines.next().unwrap().unwrap(), word);
        let share = machine.tenant("launch")["devices"][0]["compute"].clone();
        input.write_all(b"\n").unwrap();
        share["consumed_ns"].as_u64().unwrap()
    };
    let before = consumed("before");
    let after = consumed("after") - before;
    // 50 launches of 10 ms each time.
    assert!(before > 300_000_000, "{before} ns");
    assert!(after > 300_000_000, "{after} ns");
    assert!(child.wait().unwrap().success());
}

/// Checks AMD's Python bindings to AMD SMI, as its command-line tool uses them, inside a tenant.
pub fn amds_own_bindings_see_the_quota(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let mut inside = machine.open("a", GIB);
    let other = machine.open("b", GIB);
    inside.ok(&format!("alloc {}", 256 * MIB));
    let used = machine.used("a");
    let script = machine.path().join("bindings.py");
    std::fs::write(
        &script,
        "from amdsmi import *\n\
         amdsmi_init()\n\
         gpu, = amdsmi_get_processor_handles()\n\
         vram = AmdSmiMemoryType.VRAM\n\
         usage = amdsmi_get_gpu_vram_usage(gpu)\n\
         print(amdsmi_get_gpu_memory_total(gpu, vram), amdsmi_get_gpu_memory_usage(gpu, vram),\n\
         usage['vram_total'], usage['vram_used'], amdsmi_get_gpu_vram_info(gpu)['vram_size'],\n\
         *[process['pid'] for process in amdsmi_get_gpu_process_list(gpu)])\n",
    )
    .unwrap();
    let quota = GIB.to_string();
    let settings = [("FCSP_TENANT", "a"), ("FCSP_MEMORY_LIMIT", &quota)];
    let mut command = machine.program(Path::new("python3"), &settings);
    let output = command
        .arg(&script)
        .env("PYTHONPATH", headers(vendor).expect("headers were there"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<u64> = text
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            GIB,
            used,
            GIB / MIB,
            used / MIB,
            GIB / MIB,
            u64::from(inside.pid())
        ],
        "{errors}"
    );
    assert!(other.pid() != inside.pid());
}
