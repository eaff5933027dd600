"""Random programs of driver calls, natively and under the preload library in four configurations, on the device at hand.

    python3 benches/device/differential.py --preload libfcsp_cuda.so --runner fcsp-diff --out differential.json --seconds 480

The runner is `cargo build --release -p fcsp-diff`. Sizes fit the device: the tight quota is what a process with a context
holds, and 160 MiB. A record that exists is continued from its first seed that was not run, unless --fresh is given.
"""
import json, os, shutil, subprocess, sys, tempfile, threading, time

import common
from common import GIB, MIB

CONFIGURATIONS = ("quota", "share", "both", "tight")
# Ends the kind of a death or hang that has no frame of the library on any stack.
NO_FRAME = "without a frame of the library"
# A death without a frame of the library is the driver's own if it is at most this many times as
# frequent as natively.
SIMILAR = 4


def extra(p):
    p.add_argument("--runner", required=True, help="path of fcsp-diff")
    p.add_argument("--sequences", type=int, default=10_000, help="programs a configuration")
    p.add_argument("--from", dest="first", type=int, default=0, help="first seed")
    p.add_argument("--seconds", type=int, default=480, help="begin nothing new after so long")
    p.add_argument("--chunk", type=int, default=500, help="programs of one worker process")
    p.add_argument("--lanes", type=int, default=1, help="groups of five workers, of which one runs at a time")
    p.add_argument("--shrinking", type=int, default=60, help="seconds after that to make differences small")
    # After a reset of the primary context, driver 580 dies sooner or later, natively too. It dies
    # in cuDevicePrimaryCtxRelease, in cuStreamCreate, or in a thread of its own. lifetimes.py has
    # resets, in processes of their own.
    p.add_argument("--without", default="primary_reset", help="operations to leave out, separated by commas")
    p.add_argument("--fresh", action="store_true", help="do not continue a record that exists")
    p.add_argument("--sim", help="a folder with the simulated driver: for a trial of this script without a device")


def held_by_a_worker(args, folder):
    """Bytes that a governed process with a context and nothing else holds, by its own memory information."""
    env = common.preload_env(args.preload, common.tenant_name("diff"), memory=8 * GIB if not args.sim else 6 * GIB, **simulated(args, folder))
    r = subprocess.run([args.runner, "worker"], input="settle\n", env=env, capture_output=True, text=True, timeout=120)
    if r.returncode or not r.stdout.strip().isdigit():
        raise RuntimeError(f"the worker did not answer: {r.stdout[-200:]} {r.stderr[-500:]}")
    return int(r.stdout)


def simulated(args, folder):
    if not args.sim:
        return {"FCSP_STATE_DIR": folder}
    return {"FCSP_STATE_DIR": folder, "FCSP_SIM": "h100,memory=8GiB,context=64MiB", "LD_LIBRARY_PATH": args.sim, "FCSP_SIM_STATE": os.path.join(folder, "machine")}


def sort_of_death(text):
    """How a worker ended, without the place: a signal, a status, or a hang."""
    return text.removeprefix("worker ").split(" over ")[0]


def drivers_own(p):
    """The findings that are deaths of the driver's own.

    Either there is no frame of the library on any stack, and workers end so natively, about as often. Or the runner has
    repeated the programs natively, and workers died in the same frames of the driver.
    """
    run = {name: programs for name, (programs, _) in p.get("programs_and_seconds", {}).items()}
    native, governed = {}, {}
    for death in p["native_deaths"]:
        sort = sort_of_death(death["how"])
        native[sort] = native.get(sort, 0) + death["programs"]
    bare = [f for f in p["findings"] if f["kind"].endswith(NO_FRAME)]
    for f in bare:
        sort = sort_of_death(f["kind"])
        governed[sort] = governed.get(sort, 0) + f["programs"]
    all_governed = sum(run.get(name, 0) for name in CONFIGURATIONS)
    alike = {sort for sort, count in governed.items() if count * run.get("native", 0) <= SIMILAR * native.get(sort, 0) * all_governed}
    return [f for f in p["findings"] if dies_natively(f) or f in bare and sort_of_death(f["kind"]) in alike]


def dies_natively(finding):
    """Whether the runner has repeated a death natively, and native workers died in the same frames of the driver."""
    return (finding.get("natively") or {}).get("died_alike", 0) > 0


def both_natively(one, other):
    """The native runs of two findings of one kind as one; nothing unless both died in the same frames of the driver."""
    if not one or not other or one["frames"] != other["frames"] or not one["died_alike"] or not other["died_alike"]:
        return None
    return one | {name: one[name] + other[name] for name in ("runs", "died_alike")}


def used_now():
    try:
        return common.Nvml().used()
    except Exception:  # a machine without the management library: nothing to compare
        return None


def merged(old, new):
    """Two records of the runner as one."""
    for name, count in new["compared"].items():
        old["compared"][name] = old["compared"].get(name, 0) + count
    known = {(f["configuration"], f["kind"]): f for f in old["findings"]}
    for f in new["findings"]:
        seen = known.get((f["configuration"], f["kind"]))
        if seen:
            seen["programs"] += f["programs"]
            seen["natively"] = both_natively(seen.get("natively"), f.get("natively"))
            seen["more"] = (seen.get("more", []) + [{"seed": f["seed"], "governed": f.get("governed")}] + f.get("more", []))[:20]
        else:
            old["findings"].append(f)
    deaths = {d["how"]: d for d in old["native_deaths"]}
    for d in new["native_deaths"]:
        seen = deaths.get(d["how"])
        if seen:
            seen["programs"] += d["programs"]
        else:
            old["native_deaths"].append(d)
    for name, codes in new["operations"].items():
        mine = old["operations"].setdefault(name, {})
        for code, count in codes.items():
            mine[code] = mine.get(code, 0) + count
    for name, bytes_kept in new["kept_bytes"].items():
        if bytes_kept > old["kept_bytes"].get(name, -1):
            old["kept_bytes"][name] = bytes_kept
            natively = old.setdefault("kept_bytes_natively", {})
            natively.pop(name, None)
            natively |= {k: v for k, v in new.get("kept_bytes_natively", {}).items() if k == name}
    old["left_out_as_fatal_natively"] = sorted({*old.get("left_out_as_fatal_natively", []), *new.get("left_out_as_fatal_natively", [])})
    for name, times in new.get("milliseconds_native_and_governed", {}).items():
        mine = old.setdefault("milliseconds_native_and_governed", {}).setdefault(name, [0, 0])
        old["milliseconds_native_and_governed"][name] = [a + b for a, b in zip(mine, times)]
    for name, spent in new.get("programs_and_seconds", {}).items():
        mine = old.setdefault("programs_and_seconds", {}).setdefault(name, [0, 0])
        old["programs_and_seconds"][name] = [a + b for a, b in zip(mine, spent)]
    old["next_seed"] = new["next_seed"]
    return old


def echo(child):
    """Prints what the runner says as it says it: a line a slice, with sequences a second."""
    at = 0
    while True:
        line = child.later(at)
        if line is None:
            return
        print(line, flush=True)
        at += 1


def campaign(args, folder, first, count, seconds):
    base = held_by_a_worker(args, folder)
    context = -(-base // MIB) + 64
    # The runner writes it next to the record after each slice, so it exists even if this script is
    # ended.
    out = args.out + ".programs.json"
    argv = [args.runner, "run", "--preload", args.preload, "--from", str(first), "--count", str(count), "--chunk", str(args.chunk), "--lanes", str(args.lanes),
            "--seconds", str(seconds), "--trials", "60", "--shrinking", str(args.shrinking), "--out", out, "--tight", str(base // MIB + 160), "--context", str(context)]
    argv += ["--sim", args.sim] if args.sim else ["--ample", "32768"]
    if args.without:
        argv += ["--without", args.without]
    # PTX is compiled once for all workers.
    child = common.Child(argv, common.clean_env() | {"TMPDIR": folder, "CUDA_CACHE_PATH": os.path.join(folder, "cache")})
    child.p.stdin.close()
    threading.Thread(target=echo, args=(child,), daemon=True).start()
    rc = child.wait(seconds + 100)
    if not os.path.exists(out):
        raise RuntimeError(f"the runner ended with {rc}: {child.tail()}")
    with open(out) as f:
        return json.load(f), {"held_by_a_worker": base, "tight_mib": base // MIB + 160, "context_mib": context, "rc": rc}


def main():
    args = common.arguments(__doc__, extra)
    args.runner = os.path.abspath(args.runner)
    args.sim = args.sim and os.path.abspath(args.sim)
    before, first, previous = used_now(), args.first, None
    if os.path.exists(args.out) and not args.fresh:
        with open(args.out) as f:
            previous = json.load(f).get("cases", {}).get("programs")
        if previous:
            first = previous["next_seed"]
    record = common.Record(args, "differential")
    count = args.first + (1000 if args.quick else args.sequences) - first
    if previous:
        record.data["cases"]["programs"] = previous
    folder = tempfile.mkdtemp(prefix="fcsp-differential-")
    try:
        if count > 0:
            new, sizes = campaign(args, folder, first, count, args.seconds)
            record.case("sizes", sizes)
            record.case("programs", merged(previous, new) if previous else new)
    finally:
        shutil.rmtree(folder, True)
    p = record.data["cases"]["programs"]
    for name, (programs, seconds) in p.get("programs_and_seconds", {}).items():
        record.data["cases"].setdefault("programs_a_second", {})[name] = programs / max(seconds, 1e-9)
    wanted = args.first + (1000 if args.quick else args.sequences)
    record.check("first seed not run", p["next_seed"], f">= {wanted}", p["next_seed"] >= wanted)
    excused = drivers_own(p)
    for name in CONFIGURATIONS:
        stable = [f for f in p["findings"] if f["configuration"] == name and not f["native_unstable"] and f not in excused]
        record.check(f"{name}: kinds of difference", len(stable), "0", not stable, "; ".join(f["kind"] for f in stable)[:300])
        kept, natively = p["kept_bytes"].get(name, 0), p.get("kept_bytes_natively", {}).get(name)
        # On a device, a native worker's figure is that of the same programs, run again alone.
        beyond = kept - max(natively or 0, 0)
        note = "" if natively is None else f"{kept / MIB:g}, a native worker {natively / MIB:g}"
        record.check(f"{name}: MiB still counted at the end of a worker, beyond native", beyond / MIB, "<= 64", beyond <= 64 * MIB, note)
    unstable = sorted({f["kind"] for f in p["findings"] if f["native_unstable"]})
    record.check("programs whose native runs differ among themselves, by kind", len(unstable), "any", True, "; ".join(unstable)[:300])
    said = [f"{f['kind']} [{f['configuration']}]" + (f", {f['programs']} governed, natively {f['natively']['died_alike']} of {f['natively']['runs']} runs" if dies_natively(f) else "") for f in excused]
    record.check("deaths of the driver's own: natively in the same frames, or as often without a frame of the library", sum(f["programs"] for f in excused), "any", True, "; ".join(said)[:600])
    deaths = sum(d["programs"] for d in p["native_deaths"])
    record.check("programs that end a native worker", deaths, "any", True, "; ".join(d["how"][:80] for d in p["native_deaths"])[:300])
    if before is not None and not args.sim:
        time.sleep(1)  # the driver gives a dead process's memory back a moment after it
        left = used_now() - before
        record.check("MiB left on the device", left / MIB, "<= 16", left <= 16 * MIB)
    times = sorted(p.get("milliseconds_native_and_governed", {}).items(), key=lambda item: -sum(item[1]))
    print("\nslowest operations, ms natively and with both in all: " + ", ".join(f"{name} {a} {b}" for name, (a, b) in times[:12]))
    for f in p["findings"]:
        print(f"\n{f['kind']} [{f['configuration']}], seed {f['seed']}, {f['programs']} programs, {f['repeats_of_3']} of 3 repeats{', native unstable' if f['native_unstable'] else ''}")
        print(f"  native:   {f['native'][:300]}\n  governed: {f['governed'][:300]}")
        for line in f["program"][:30]:
            print("    " + line)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main())
