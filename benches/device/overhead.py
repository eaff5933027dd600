#!/usr/bin/env python3
"""What the preload adds to single driver calls, to contexts and to process start, against the budgets of the design.

Every case runs in child processes that alternate between native, a memory quota (accounting only) and a compute quota with nothing to
wait for. Two readings are taken. "in process": the hooked call and libcuda's own function in turn inside one preloaded process, which
resolves nanoseconds; the same pair without a preload gives the method's noise. "across": the preloaded processes' median less the
native ones', which also catches what a preload might do to the whole process, and resolves tens of nanoseconds at best. A budget is
met when the in-process median is within it and the across interval does not lie wholly beyond it.
"""
import glob, os, shutil, subprocess
from common import *

CALLS = ["launch", "graph_launch_1", "graph_launch_32", "alloc_4K", "free_4K", "alloc_2M", "free_2M", "alloc_64M", "free_64M", "async_pair_4K", "mem_create_2M", "mem_release_2M"]
QUOTA = 8 * GIB


def linked_flags():
    for d in ["/usr/local/cuda/lib64/stubs", "/usr/local/cuda/targets/x86_64-linux/lib/stubs", *glob.glob("/usr/local/cuda-*/lib64/stubs")]:
        if os.path.exists(d + "/libcuda.so"):
            return ["-DROUTE_LINKED", "-L" + d, "-lcuda"]
    out = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    for l in out.splitlines():
        if "libcuda.so.1 " in l and "x86-64" in l:
            return ["-DROUTE_LINKED", l.split("=>")[1].strip()]
    for d in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if d and os.path.exists(d + "/libcuda.so.1"):
            return ["-DROUTE_LINKED", d + "/libcuda.so.1"]
    raise RuntimeError("no libcuda to link with")


def suites(a, r, binary, route, configs, rounds, scale, label):
    """Alternates suite runs. {config: [{bench: line}]}, failures recorded."""
    got, failures = {c: [] for c in configs}, []
    for i in range(rounds):
        order = list(configs) if i % 2 == 0 else list(configs)[::-1]
        for c in order:
            refused = (200 if c == "native" else 16) * GIB
            x = run([binary, "--route", route, "suite", refused, scale], configs[c](), timeout=90)
            lines = {l["bench"]: l for l in x["json"]}
            got[c].append(lines)
            if x["rc"] != 0:
                failures.append({"config": c, "round": i, "rc": x["rc"], "got": list(lines), "stderr_tail": x["stderr_tail"]})
            elif c != "native" and not lines["launch"]["hooked"]:
                failures.append({"config": c, "round": i, "rc": 0, "stderr_tail": "the launch entry point was not intercepted"})
    r.case(label, {"runs": got, "failures": failures})
    return got, failures


def pairs(got, bench, config, q, own=False):
    """Per process: hooked less real; or, with own, the hooked value alone."""
    v = []
    for lines in got.get(config, []):
        l = lines.get(bench)
        if l and l.get("api") and (own or l.get("real")):
            v.append(l["api"][q] if own else l["api"][q] - l["real"][q])
    return v


def across(got, bench, config, q):
    w, n = pairs(got, bench, config, q, True), pairs(got, bench, "native", q, True)
    if not w or not n:
        return None
    k = min(len(w), len(n))
    d = [x - y for x, y in zip(w[:k], n[:k])]
    return {"preload": median(w), "native": median(n), "difference": median(w) - median(n), "interval": median_interval(d)}


def call_checks(r, got, failures, config, benches, budget, label):
    for b in benches:
        d = pairs(got, b, config, "p50")
        x = across(got, b, config, "p50")
        if not d or not x:
            r.check(f"{label} {b}", None, f"<= {budget} ns", None, "no data: see failures in the record")
            continue
        noise = pairs(got, b, "native", "p50")
        ok = median(d) <= budget and x["interval"][0] <= budget
        r.check(f"{label} {b}", median(d), f"<= {budget} ns", ok,
                f"native {show(x['native'])} ns; across {show(x['difference'])} {show(x['interval'])}; noise {show(median(noise)) if noise else '-'}")


def tail_check(r, got, config, bench, bound, label):
    ratio = []
    for lines in got[config]:
        l = lines.get(bench)
        if l and l.get("api") and l.get("real"):
            ratio.append(l["api"]["p99"] / l["real"]["p99"])
    noise = [l[bench]["api"]["p99"] / l[bench]["real"]["p99"] for l in got["native"] if l.get(bench) and l[bench].get("real")]
    x = across(got, bench, config, "p99")
    if not ratio or not x:
        r.check(label, None, f"<= {bound}", None)
        return
    r.check(label, median(ratio), f"<= {bound} x native", median(ratio) <= bound, f"per process {show(sorted(ratio))}; across {show(x['preload'] / x['native'])}; noise {show(median(noise))}")


def main():
    a = arguments(__doc__.splitlines()[0], lambda p: p.add_argument("--only", default="suite,linked,refused,context,init,start", help="comma-separated parts"))
    r, d, parts = Record(a, "overhead"), scratch(), a.only.split(",")
    exe = compile_c("overhead.c", d + "/overhead")
    configs = {"native": clean_env,
               "memory": lambda: preload_env(a.preload, tenant_name("mem"), memory=QUOTA, mode="none"),
               "compute": lambda: preload_env(a.preload, tenant_name("cmp"), memory=QUOTA, compute=90, mode="balanced")}
    if "suite" in parts:
        rounds = 3 if a.quick else 9
        got, bad = suites(a, r, exe, "proc", configs, rounds, 0.5 if a.quick else 1, "suite")
        print(f"suite: {rounds} alternations, {len(bad)} failures", flush=True)
        call_checks(r, got, bad, "memory", ["launch", "graph_launch_1", "graph_launch_32"], 10, "no compute quota:")
        # Some launches under a compute quota are timed or take the next credit slice. The median is
        # of single calls; the means of batches below contain the average cost of those launches.
        call_checks(r, got, bad, "compute", ["launch_single", "graph_launch_1_single", "graph_launch_32_single"], 40, "compute quota:")
        r.data["mean_added_compute_ns"] = {b: median(pairs(got, b, "compute", "p50") or [0]) for b in ("launch", "graph_launch_1", "graph_launch_32")}
        tail_check(r, got, "compute", "launch_single", 1.02, "compute quota: launch p99")
        for c in ("memory", "compute"):
            call_checks(r, got, bad, c, ["alloc_4K", "free_4K", "alloc_2M", "free_2M", "alloc_64M", "free_64M", "mem_create_2M", "mem_release_2M"], 200, f"{c} quota:")
            call_checks(r, got, bad, c, ["async_pair_4K"], 100, f"{c} quota:")
        refused = [l["refused"]["api"] for l in got["memory"] + got["compute"] if "refused" in l]
        native = [l["refused"]["api"]["p50"] for l in got["native"] if "refused" in l]
        batch = [l["refused_batch"]["api"]["p50"] for l in got["memory"] + got["compute"] if "refused_batch" in l]
        note = f"native {show(median(native) / 1e6)} ms; batches of 100: {show(median(batch))} ns" if native and batch else ""
        r.check("refused allocation, median", median([x["p50"] for x in refused]) if refused else None, "<= 100 ns", bool(refused) and median([x["p50"] for x in refused]) <= 100 if refused else None, note)
        r.check("refused allocation, p99", median([x["p99"] for x in refused]) if refused else None, "<= 1000 ns", median([x["p99"] for x in refused]) <= 1000 if refused else None)
        for c in ("memory", "compute"):
            rat = [l["threads8_alloc_1M"]["api"]["p95"] / l["threads8_alloc_1M"]["real"]["p95"] for l in got[c] if "threads8_alloc_1M" in l]
            x = across(got, "threads8_alloc_1M", c, "p95")
            y = across(got, "threads8_alloc_1M", c, "p50")
            ok = rat and x and median(rat) <= 1.05 and x["preload"] / x["native"] <= 1.05
            r.check(f"8 threads allocating, p95, {c} quota", [median(rat), x["preload"] / x["native"]] if rat and x else None, "<= 1.05 x native", ok if rat and x else None,
                    f"[in process, across]; p50 across {show(y['preload'] / y['native'])}; native p95 {show(x['native'])} ns" if x and y else "")
        r.data["informational"] = {b: {c: across(got, b, c, "p50") for c in ("memory", "compute")} for b in ("mem_get_info", "dlsym_miss", "dlsym_other", "threads8_free_1M", "async_alloc_4K_single", "async_free_4K_single")}
        r.check("suite runs that failed", len(bad), "0", not bad, bad[0]["stderr_tail"].strip().splitlines()[-1][:90] if bad and bad[0]["stderr_tail"].strip() else "")
    if "linked" in parts:
        # the other two routes only have to be intercepted and no dearer: fewer repeats
        for route in ("dlsym", "linked"):
            try:
                e = exe if route == "dlsym" else compile_c("overhead.c", d + "/overhead-linked", *linked_flags())
                got, bad = suites(a, r, e, route, {k: configs[k] for k in ("native", "compute")}, 2 if a.quick else 3, 0.25, "route-" + route)
                call_checks(r, got, bad, "compute", ["launch_single"], 40, f"route {route}:")
                r.check(f"route {route}: runs that failed", len(bad), "0", not bad, bad[0]["stderr_tail"][-90:] if bad else "")
            except RuntimeError as x:
                r.case("route-" + route, {"error": str(x)})
                r.check(f"route {route}", None, "runs", None, str(x)[-90:])
        print("routes done", flush=True)
    if "context" in parts:
        n, reps, runs = (10, 1, []) if a.quick else (20, 3, [])
        for i in range(reps):
            for c in (("native", "memory") if i % 2 == 0 else ("memory", "native")):
                x = run([exe, "context", n], configs[c](), timeout=120)
                runs.append({"config": c, "rc": x["rc"], "out": x["json"], "stderr_tail": x["stderr_tail"]})
        r.case("context", runs)
        sets = {}
        for x in runs:
            for o in x["out"]:
                for kind, create, reset in o["series"]:
                    sets.setdefault((x["config"], kind), []).append(create / 1e3)
                if o["active_before_create"]:
                    r.check("context: real resets", o["active_before_create"], "0 still active", False)
        api, real, nat = sets.get(("memory", "api"), []), sets.get(("memory", "real"), []), sets.get(("native", "api"), []) + sets.get(("native", "real"), [])
        if api and real:
            diff = [x - y for x, y in zip(api, real)]
            iv = median_interval(diff)
            noise = [x - y for x, y in zip(sets.get(("native", "api"), []), sets.get(("native", "real"), []))]
            r.check("context creation added, median", median(api) - median(real), "<= 78 us", median(api) - median(real) <= 78 or iv[0] <= 78 and median(diff) <= 78,
                    f"pairs {show(median(diff))} {show(iv)}; native {show(median(nat) / 1e3)} ms, its own pairs {show(median(noise))} {show(median_interval(noise))}")
            r.check("context creation, slowest", max(api) - max(real + nat), "<= 78 us over native's slowest", max(api) - max(real + nat) <= 78, f"{len(api)} creations; slowest {show(max(api) / 1e3)} ms, native {show(max(real + nat) / 1e3)} ms")
        else:
            r.check("context creation added", None, "<= 78 us", None, (runs[-1]["stderr_tail"] or "no data")[-90:])
        print("contexts done", flush=True)
    if "init" in parts:
        vals = {"native": [], "memory": []}
        whole = {"native": [], "memory": []}
        n = 6 if a.quick else 20
        for i in range(n):
            for c in (("native", "memory") if i % 2 == 0 else ("memory", "native")):
                x = run([exe, "init"], configs[c](), timeout=30)
                if x["rc"] == 0 and x["json"]:
                    vals[c].append(x["json"][0]["value"] / 1e3)
        env = preload_env("", tenant_name("init"), memory=QUOTA, mode="none")
        del env["LD_PRELOAD"]  # the spawn loop adds it to every second start
        x = run([exe, "spawn", n, a.preload, exe, "init"], env, timeout=150)
        r.case("init", {"cuInit_us": vals, "process": x})
        if vals["native"] and vals["memory"]:
            k = min(map(len, vals.values()))
            dif = [p - q for p, q in zip(vals["memory"][:k], vals["native"][:k])]
            r.check("cuInit added", median(vals["memory"]) - median(vals["native"]), "<= 1000 us", median(vals["memory"]) - median(vals["native"]) <= 1000, f"native {show(median(vals['native']) / 1e3)} ms; pairs {show(median(dif))} {show(median_interval(dif))}")
        else:
            r.check("cuInit added", None, "<= 1000 us", None)
        sp = next((o for o in x["json"] if o["bench"] == "spawn"), None)
        if sp:
            added = (sp["with"]["p50"] - sp["without"]["p50"]) / 1e3
            r.check("process with cuInit, start to exit, added", added, "<= 1000 us", added <= 1000, f"native {show(sp['without']['p50'] / 1e6)} ms; pairs p25..p75 {show(sp['difference']['p25'] / 1e3)}..{show(sp['difference']['p75'] / 1e3)} us")
        else:
            r.check("process with cuInit, start to exit, added", None, "<= 1000 us", None, x["stderr_tail"][-90:])
    if "start" in parts:
        env = preload_env("", tenant_name("true"), memory=QUOTA)
        del env["LD_PRELOAD"]
        x = run([exe, "spawn", 300 if a.quick else 600, a.preload, "/bin/true"], env, timeout=60)
        r.case("true", x)
        sp = next((o for o in x["json"] if o["bench"] == "spawn"), None)
        added = (sp["with"]["p50"] - sp["without"]["p50"]) / 1e3 if sp else None
        r.check("/bin/true, start to exit, added", added, "<= 1000 us", added <= 1000 if sp else None, f"native {show(sp['without']['p50'] / 1e3)} us, {sp['with']['n']} pairs" if sp else x["stderr_tail"][-90:])
    return r.finish()


if __name__ == "__main__":
    raise SystemExit(main())
