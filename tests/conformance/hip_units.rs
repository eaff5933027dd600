//! Compute units of a tenant's own: `fcsp run --spatial` on a simulated device of 304 units, of
//! which 8 belong together.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::compute::{learned, near};
use crate::hip_only::program;
use crate::machine::{Busy, Machine};
use crate::vendors::Vendor;

/// A program that has said what it sees, and lives.
struct Seen {
    child: Child,
    words: HashMap<String, Vec<u64>>,
}

impl Seen {
    fn start(machine: &Machine, program: &Path, options: &[&str], own: Option<(u32, u32)>) -> Self {
        let mut command = machine.run(options, program);
        if let Some((first, last)) = own {
            command.args([first.to_string(), last.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut words = HashMap::new();
        let mut ready = false;
        for line in output.lines().map(Result::unwrap) {
            if line == "ready" {
                ready = true;
                break;
            }
            let mut parts = line.split(' ');
            let name = parts.next().unwrap().to_owned();
            words.insert(name, parts.map(|word| word.parse().unwrap()).collect());
        }
        assert!(ready, "{options:?}: {:?}", child.wait());
        Self { child, words }
    }

    /// Returns the units of a mask, in order.
    fn units(&self, name: &str) -> Vec<u32> {
        (0..)
            .zip(&self.words[name])
            .flat_map(|(index, word)| {
                (0..32)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| index * 32 + bit)
            })
            .collect()
    }

    /// Ends it as programs end.
    fn exit(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn range(first: u32, last: u32) -> Vec<u32> {
    (first..=last).collect()
}

pub fn tenants_run_on_units_of_their_own(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "masks_hip.c");
    let start = |options: &[&str]| Seen::start(&machine, &program, options, None);
    let free = start(&["--tenant", "free", "--memory", "unlimited"]);
    assert_eq!(free.units("null"), range(0, 303));
    assert_eq!(free.words["processors"], [304, 304]);
    free.exit();

    let a = start(&["--tenant", "a", "--compute", "25%", "--spatial"]);
    let b = start(&["--tenant", "b", "--compute", "50%", "--spatial=auto"]);
    for (tenant, units) in [(&a, range(0, 71)), (&b, range(72, 223))] {
        for stream in ["null", "stream", "every"] {
            assert_eq!(tenant.units(stream), units, "{stream}");
        }
        let count = units.len() as u64;
        assert_eq!(tenant.words["processors"], [count, count]);
        assert_eq!(
            tenant.words["none"],
            [1],
            "a mask of no unit is the runtime's to refuse"
        );
        // Every stream is limited to them, not only streams that were made with a mask.
        let longer = 1_000 * 304 / count;
        for time in ["time_null", "time_stream"] {
            let took = tenant.words[time][0];
            assert!(took >= longer, "{time}: {took} of {longer}");
        }
    }
    for (name, units) in [("a", "0-71"), ("b", "72-223")] {
        assert_eq!(machine.tenant(name)["devices"][0]["units"], units);
    }

    // Who joins has the same, asked for or not.
    let joined = start(&["--tenant", "b"]);
    assert_eq!(joined.units("null"), range(72, 223));
    joined.exit();
    let joined = start(&["--tenant", "b", "--spatial"]);
    assert_eq!(joined.units("null"), range(72, 223));
    joined.exit();

    // One that comes gets what is free; one that goes leaves its units, and nobody else's change.
    let c = start(&["--tenant", "c", "--spatial=224-303"]);
    assert_eq!(c.units("null"), range(224, 303));
    a.exit();
    let d = start(&["--tenant", "d", "--compute", "20%", "--spatial"]);
    assert_eq!(d.units("null"), range(0, 55));
    // Killed, a tenant is gone as well.
    drop(c);
    let e = start(&["--tenant", "e", "--compute", "30%", "--spatial"]);
    assert_eq!(
        e.units("null"),
        [range(56, 71), range(224, 295)].concat(),
        "no run is long enough"
    );
    let sets = [&b, &d, &e].map(|tenant| tenant.units("stream"));
    let all: std::collections::HashSet<u32> = sets.iter().flatten().copied().collect();
    assert_eq!(
        all.len(),
        sets.iter().map(Vec::len).sum::<usize>(),
        "disjoint"
    );
}

pub fn what_cannot_be_kept_is_refused_before_the_start(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "masks_hip.c");
    let holder = Seen::start(
        &machine,
        &program,
        &["--tenant", "holder", "--compute", "50%", "--spatial"],
        None,
    );
    let everywhere = Seen::start(
        &machine,
        &program,
        &["--tenant", "everywhere", "--memory", "unlimited"],
        None,
    );
    let refused = |options: &[&str], variables: &[(&str, &str)]| {
        let output = machine
            .run(options, &program)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{options:?}");
        assert!(output.stdout.is_empty(), "{options:?}: nothing was started");
        String::from_utf8(output.stderr).unwrap()
    };
    for (options, reason) in [
        (
            &["--spatial=half"][..],
            "write first and last, such as 0-71, or auto",
        ),
        (&["--spatial=7-3"], "is no range of compute units"),
        (&["--spatial=160-170"], "splits a group of 8 compute units"),
        (&["--spatial=296-311"], "the device has compute units 0-303"),
        (&["--spatial=144-159"], "which is taken (holder has 0-151)"),
        (&["--spatial"], "give --compute"),
        (&["--spatial=1=0-7"], "shows no device 1"),
        (
            &["--compute", "60%", "--spatial"],
            "176 compute units are wanted and 152 of 304 are free (holder has 0-151)",
        ),
        (
            &["--tenant", "holder", "--spatial=160-167"],
            "it runs on compute units 0-151",
        ),
        (
            &["--tenant", "everywhere", "--spatial=160-167"],
            "it runs on all compute units",
        ),
    ] {
        let said = refused(options, &[]);
        assert!(said.contains(reason), "{options:?}: {said}");
    }
    let said = refused(&["--spatial=160-167"], &[("HSA_CU_MASK", "0:0-7")]);
    assert!(said.contains("HSA_CU_MASK is set already"), "{said}");
    let said = refused(&["--spatial=0-7"], &[("HIP_VISIBLE_DEVICES", "7")]);
    assert!(said.contains("device"), "{said}");
    // A program that was refused leaves no tenant and no units behind.
    let last = Seen::start(&machine, &program, &["--compute", "50%", "--spatial"], None);
    assert_eq!(last.units("null"), range(152, 303));
    drop((holder, everywhere));
}

pub fn a_programs_own_masks_are_narrowed(vendor: &'static Vendor) {
    let Some(machine) = Machine::new(vendor) else {
        return;
    };
    let program = program(vendor, &machine, "masks_hip.c");
    let filler = Seen::start(&machine, &program, &["--spatial=0-71"], None);
    let own = |units| Seen::start(&machine, &program, &["--spatial=72-143"], Some(units));
    // Some of its units: those, and the time is theirs.
    let inside = own((80, 95));
    assert_eq!(inside.units("own"), range(80, 95));
    assert!(inside.words["time_own"][0] >= 19_000, "{:?}", inside.words);
    inside.exit();
    let across = own((0, 95));
    assert_eq!(across.units("own"), range(72, 95));
    across.exit();
    // None of them, or less than belongs together: all that the tenant has.
    for units in [(0, 39), (0, 75)] {
        let outside = own(units);
        assert_eq!(outside.units("own"), range(72, 143), "{units:?}");
        outside.exit();
    }
    // Nobody narrows a mask where nobody divides the device.
    let free = Seen::start(
        &machine,
        &program,
        &["--tenant", "free", "--memory", "unlimited"],
        Some((0, 39)),
    );
    assert_eq!(free.units("own"), range(0, 39));
    filler.exit();
}

pub fn units_are_the_share(vendor: &'static Vendor) {
    let Some(machine) = Machine::timed(vendor) else {
        return;
    };
    let busy = |name: &str, options: &[&str]| -> Busy {
        let all = [&["--tenant", name][..], options].concat();
        machine.keep_busy(machine.run_client(&all), name, false)
    };
    // Side by side at the same time, each with what its units can do: the share is not taken of it
    // once more.
    let free = learned(&busy("free", &["--memory", "unlimited"]));
    let half = ["--compute", "50%", "--mode", "strict", "--spatial"];
    let (a, b) = (busy("a", &half), busy("b", &half));
    let _first = a.rate();
    let both = Busy::rates([&a, &b]);
    for half in both {
        near("half of the units beside the other half", half / free, 0.5);
    }
    drop((a, b));
    // A quarter of the device's time on half of its units is half of the time there.
    let options = ["--compute", "25%", "--mode", "strict", "--spatial=0-151"];
    let quarter = learned(&busy("a", &options));
    near("a quarter on half", quarter / free, 0.25);
}
