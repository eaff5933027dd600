#!/usr/bin/env python3
"""Memory quotas on real programs: same results, the quota seen as the device, a normal out-of-memory, and nothing above the quota by NVML.

Each program runs twice natively (their difference is the spread a result is allowed), then under the preload without limits, under a
quota, and under the quota with 25 % of the compute, strict. A judge outside every preload samples what the driver says each process
holds. Then: the largest total usable under a quota, two processes of one tenant racing to it, and kill -9 in the middle.
"""
import concurrent.futures, json, os, random, re, sys, time
from common import *

QUOTA = 4 * GIB
TORCH, CUPY, JAX, TRITON = ("torch_program.py", "cupy_program.py", "jax_program.py", "triton_program.py")
ASYNC = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync", "PYTORCH_ALLOC_CONF": "backend:cudaMallocAsync"}
EXPAND = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
# name: (file, mode, environment, environment of settings in which the program sees the whole
# device)
PROGRAMS = {
    "torch-train": (TORCH, "train", {}, {}), "torch-infer": (TORCH, "infer", {}, {}), "torch-compile": (TORCH, "compile", {}, {}), "torch-graph": (TORCH, "graph", {}, {}),
    "torch-expandable": (TORCH, "train", EXPAND, {}), "torch-async": (TORCH, "train", ASYNC, {}), "torch-loader": (TORCH, "loader", {}, {}),
    "cupy": (CUPY, "default", {}, {}), "cupy-async": (CUPY, "async", {}, {}),
    # on a whole device a preallocating JAX would take three quarters of it from the jobs beside it
    "jax-preallocate": (JAX, "run", {"XLA_PYTHON_CLIENT_PREALLOCATE": "true"}, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.06"}),
    "jax-platform": (JAX, "run", {"XLA_PYTHON_CLIENT_ALLOCATOR": "platform"}, {}),
    "jax-cuda-async": (JAX, "run", {"XLA_PYTHON_CLIENT_ALLOCATOR": "cuda_async", "TF_GPU_ALLOCATOR": "cuda_malloc_async"}, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.06"}),
    "triton": (TRITON, "run", {}, {}),
}
SETTINGS = ["native", "native-again", "unlimited", "quota", "strict25"]


def xla_flags():
    """Flags that make XLA's results repeat, as far as this XLA knows them: an unknown flag ends the program."""
    flags = ["--xla_gpu_deterministic_ops=true", "--xla_gpu_autotune_level=0"]
    for f in list(flags):
        x = run([sys.executable, "-c", "import jax; jax.devices()"], clean_env() | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f}, timeout=40)
        if x["rc"] != 0:
            flags.remove(f)
    return " ".join(flags)


def job(a, scratch_dir, name, setting):
    file, mode, env, whole = PROGRAMS[name]
    if setting.startswith("native"):
        e = clean_env()
    elif setting == "unlimited":
        e = preload_env(a.preload, tenant_name(name))
    elif setting == "quota":
        e = preload_env(a.preload, tenant_name(name), memory=QUOTA)
    else:
        e = preload_env(a.preload, tenant_name(name), memory=QUOTA, compute=25, mode="strict")
    e.update(env)
    if setting in ("native", "native-again", "unlimited"):
        e.update(whole)
    # Caches of compiled kernels are not shared: every setting compiles.
    own = os.path.join(scratch_dir, f"{name}-{setting}")
    e |= {"TRITON_CACHE_DIR": own + "/triton", "TORCHINDUCTOR_CACHE_DIR": own + "/inductor", "TORCHINDUCTOR_COMPILE_THREADS": "2", "CUPY_CACHE_DIR": own + "/cupy", "OMP_NUM_THREADS": "2", "TMPDIR": scratch_dir}
    argv = [sys.executable, os.path.join(HERE, "programs", file), mode]
    if setting == "quota":
        argv += ["--quota", QUOTA]
    x = run(argv, e, timeout=170)
    return name, setting, {"rc": x["rc"], "seconds": x["seconds"], "pgid": x["pid"], "env": {k: v for k, v in e.items() if k.startswith(("FCSP_", "LD_PRELOAD")) or k in env or k in whole},
                           "report": x["json"][-1] if x["json"] else None, "stderr_tail": x["stderr_tail"]}


def distance(p, q):
    """The largest difference of the samples over the largest value; infinite where they cannot be compared."""
    worst = 0.0
    for k in p["values"]:
        u, v = p["values"][k]["sample"], q["values"].get(k, {}).get("sample", [])
        if len(u) != len(v) or not (p["values"][k]["finite"] and q["values"][k]["finite"]):
            return float("inf")
        worst = max(worst, max(abs(x - y) for x, y in zip(u, v)) / (max(map(abs, u)) or 1.0))
    return worst


def equal(p, q):
    return all(p["values"][k]["digest"] == q["values"].get(k, {}).get("digest") for k in p["values"]) and bool(p["values"])


def judge_report(judge):
    judge.say("report")
    line = judge.line(20, "{")
    return json.loads(line) if line else {"groups": {}}


def programs(a, r, judge, d, names):
    if any(n.startswith("jax") for n in names):
        flags = xla_flags()
        for n in PROGRAMS:
            if n.startswith("jax"):
                PROGRAMS[n][2]["XLA_FLAGS"] = flags
    jobs, results = [(n, s) for s in SETTINGS for n in names], {}
    jobs.sort(key=lambda j: 0 if j[0] == "torch-compile" else 1)  # the long ones first
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for f in concurrent.futures.as_completed([pool.submit(job, a, d, n, s) for n, s in jobs]):
            try:
                n, s, x = f.result()
            except Exception as e:  # one job that cannot be started is one failed job
                print("job failed to start:", repr(e), flush=True)
                continue
            results.setdefault(n, {})[s] = x
            print(f"{n} {s}: {x['rc']} in {x['seconds']} s", flush=True)
    seen = judge_report(judge)
    for n in names:
        got = results.get(n, {})
        for x in got.values():
            x["nvml"] = seen["groups"].get(str(x["pgid"]))
        r.case("program " + n, got)
        rep = {s: got[s]["report"] if s in got and got[s]["rc"] == 0 else None for s in SETTINGS}
        nat, again = rep["native"], rep["native-again"]
        for s in ("unlimited", "quota", "strict25"):
            if not nat or not again or not rep[s]:
                bad = next((k for k in ("native", "native-again", s) if not rep[k]), s)
                err = (got.get(bad, {}).get("stderr_tail") or "no output").strip().splitlines()
                r.check(f"{n}: same result, {s}", None, "as native", None, f"{bad} ended with {got.get(bad, {}).get('rc')}: {err[-1][:120] if err else ''}")
                continue
            if equal(nat, rep[s]):
                r.check(f"{n}: same result, {s}", "to the bit", "as native", True, "" if equal(nat, again) else "native runs differ among themselves")
            else:
                spread, dist = distance(nat, again), min(distance(nat, rep[s]), distance(again, rep[s]))
                r.check(f"{n}: same result, {s}", dist, f"<= 2 x native spread {spread:.3g}", dist <= 2 * spread)
        q = rep["quota"]
        if q:
            total = {k: v for k, v in q["seen"].items() if k in ("mem_get_info_total", "properties_total", "cuDeviceTotalMem")}
            ok = total and all(v == QUOTA for v in total.values()) and q["seen"].get("nvidia_smi_mib") == QUOTA // MIB and q["seen"].get("bytes_limit", 0) <= QUOTA
            r.check(f"{n}: sees the quota", {k: v // MIB if k != "nvidia_smi_mib" else v for k, v in q["seen"].items() if isinstance(v, int)}, f"{QUOTA // MIB} MiB", ok)
            o = q["oom"] or {}
            r.check(f"{n}: out of memory and on", f"{o.get('allocated', 0) // MIB} MiB", "the framework's own error, then right results", bool(o.get("error")) and not o.get("other_error") and o.get("recovered"), (o.get("other_error") or o.get("error") or "never refused")[:80])
        for s in ("quota", "strict25"):
            m = (got.get(s, {}).get("nvml") or {}).get("max")
            r.check(f"{n}: largest excess by NVML, {s}", (m - QUOTA) / MIB if m else None, "<= 0 MiB", m <= QUOTA if m else None, f"most held {m / MIB:.0f} MiB" if m else "never seen by the judge")
    r.data["judge"] = {k: v for k, v in seen.items() if k != "groups"}


def ask(c, command, timeout=60):
    c.say(command)
    line = c.line(timeout, "{")
    if not line:
        raise RuntimeError(f"no answer to '{command}': {c.tail(3)}")
    return json.loads(line)


def usable(a, r, exe, nvml, quotas):
    for q in quotas:
        c = Child([exe, "serve"], preload_env(a.preload, tenant_name("fill"), memory=q))
        try:
            first = c.line(60, "{")
            if not first:
                raise RuntimeError(c.tail(5))
            first, context = json.loads(first), nvml.used_by([c.pid])
            t = time.monotonic()
            full = ask(c, f"fill {2 * MIB}")
            held, again = nvml.used_by([c.pid]), None
            ask(c, "free")
            again = ask(c, f"fill {2 * MIB}")
            c.say("quit")
            rc = c.wait(20)
            room = q - context
            x = {"quota": q, "context_nvml": context, "first": first, "full": full, "held_nvml": held, "again": again, "seconds": time.monotonic() - t, "rc": rc}
            r.case(f"usable {q // MIB} MiB", x)
            ok = full["bytes"] >= 0.999 * room and held <= q and again["bytes"] == full["bytes"] and rc == 0
            r.check(f"usable of {q / GIB:g} GiB by 2 MiB blocks", full["bytes"] / room, ">= 0.999 of quota less context", ok, f"{full['blocks']} blocks, context {context / MIB:.0f} MiB, NVML {held / MIB:.0f} MiB, second fill {again['blocks']}")
        except (RuntimeError, ValueError) as e:
            r.case(f"usable {q // MIB} MiB", {"error": str(e), "stderr_tail": c.tail()})
            r.check(f"usable of {q / GIB:g} GiB by 2 MiB blocks", None, ">= 0.999 of quota less context", None, str(e)[-90:])
        finally:
            c.kill()


def race(a, r, exe, judge, seconds):
    for largest, label in ((64 * MIB, "64 MiB"), (2 * MIB, "2 MiB")):
        e = preload_env(a.preload, tenant_name("race"), memory=QUOTA)
        meet = scratch()
        x = run(["/bin/sh", "-c", f'"{exe}" churn {seconds} 1 {largest} "{meet}" & p=$!; "{exe}" churn {seconds} 2 {largest} "{meet}"; s=$?; wait $p && exit $s'], e, timeout=seconds + 100)
        m = (judge_report(judge)["groups"].get(str(x["pid"])) or {})
        done = [o for o in x["json"] if o["event"] == "done"]
        r.case(f"race {label}", x | {"nvml": m})
        refused = [o["refused"] for o in done]
        ok = x["rc"] == 0 and len(done) == 2 and all(refused) and m.get("pids", 0) >= 2 and m["max"] <= QUOTA if m else None
        r.check(f"two racers, blocks to {label}: excess", (m["max"] - QUOTA) / MIB if m else None, "<= 0 MiB, both refused", ok, f"granted {[o['granted'] for o in done]} refused {refused}, most {m.get('max', 0) / MIB:.0f} MiB" + ("" if x["rc"] == 0 else f"; rc {x['rc']} {x['stderr_tail'][-60:]}"))


def ps(a, tenant):
    """`fcsp ps --json`, whole, and the bytes it shows in use for the tenant where they can be told."""
    if not a.fcsp:
        return None
    import subprocess
    try:
        p = subprocess.run([a.fcsp, "ps", "--json"], capture_output=True, text=True, timeout=10, env=clean_env())
        data = json.loads(p.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        return {"error": repr(e)}
    used = []

    def walk(o, inside):
        if isinstance(o, dict):
            inside = inside or any(v == tenant for v in o.values() if isinstance(v, str))
            for k, v in o.items():
                if inside and isinstance(v, int) and re.search("used", k) and "refused" not in k:
                    used.append(v)
                walk(v, inside)
        elif isinstance(o, list):
            for v in o:
                walk(v, inside)
    walk(data, False)
    return {"rc": p.returncode, "used": used, "raw": data}


def killed(a, r, exe, kills):
    tenant = tenant_name("kill")
    env = preload_env(a.preload, tenant, memory=QUOTA)
    anchor, rng, rounds = Child([exe, "serve"], env), random.Random(5), []
    try:
        if not anchor.line(60, "{"):
            raise RuntimeError(anchor.tail(5))
        full = ask(anchor, f"fill {2 * MIB}")["bytes"]
        idle = ask(anchor, "free")["free"]
        before = ps(a, tenant)
        for i in range(kills):
            c = Child([exe, "churn", 30, i + 10, rng.choice([2, 16, 64]) * MIB], env)
            ready = c.line(60, "{")
            time.sleep(rng.uniform(0.05, 0.5))
            during = ask(anchor, "info")["free"]
            t = time.monotonic()
            c.kill()
            back, ms = 0, None
            while time.monotonic() - t < 5:
                back = ask(anchor, "info")["free"]
                if back >= idle:
                    ms = (time.monotonic() - t) * 1e3
                    break
                time.sleep(0.005)
            again = ask(anchor, f"fill {2 * MIB}")["bytes"]
            ask(anchor, "free")
            rounds.append({"ready": bool(ready), "free_during": during, "free_after": back, "ms_to_return": ms, "fill_after": again})
        after = ps(a, tenant)
        r.case("kill -9", {"tenant": tenant, "fill_before": full, "free_idle": idle, "rounds": rounds, "ps_before": before, "ps_after": after})
        times = [x["ms_to_return"] for x in rounds]
        ok = all(t is not None and t <= 1000 for t in times) and all(x["fill_after"] == full and x["ready"] and x["free_during"] < idle for x in rounds)
        r.check("kill -9: bytes back", max(times) if all(times) else times, "<= 1000 ms, and all usable again", ok, f"{kills} kills; fills {sorted({x['fill_after'] // MIB for x in rounds})} of {full // MIB} MiB")
        if a.fcsp:
            ok = after and after.get("rc") == 0 and after["used"] == before.get("used") if before and "error" not in before else None
            r.check("kill -9: fcsp ps as before", (after or {}).get("used"), f"{(before or {}).get('used')}", ok, (after or {}).get("error", "")[:80])
        anchor.say("quit")
        anchor.wait(20)
        if a.fcsp:
            time.sleep(1)
            last = ps(a, tenant)
            r.case("after all are dead", last)
            r.check("all dead: bytes in use by fcsp ps", last.get("used"), "0 within 1 s", not any(last["used"]) if "used" in last else None, last.get("error", "")[:80])
    except (RuntimeError, ValueError) as e:
        r.case("kill -9", {"error": str(e), "rounds": rounds, "stderr_tail": anchor.tail()})
        r.check("kill -9: bytes back", None, "<= 1000 ms", None, str(e)[-90:])
    finally:
        anchor.kill()


def by_command(a, r, judge):
    """The same through `fcsp run`, which finds its library by itself."""
    if not a.fcsp:
        return
    name = tenant_name("command")
    e = clean_env() | {"FCSP_TENANT": name}
    x = run([a.fcsp, "run", "--memory", "4GiB", "--compute", "25%", "--mode", "strict", "--", sys.executable, os.path.join(HERE, "programs", TORCH), "infer", "--quota", QUOTA], e, timeout=120)
    m = (judge_report(judge)["groups"].get(str(x["pid"])) or {}).get("max")
    r.case("fcsp run", x | {"nvml_max": m})
    rep = x["json"][-1] if x["json"] else {}
    ok = x["rc"] == 0 and rep.get("seen", {}).get("properties_total") == QUOTA and (rep.get("oom") or {}).get("recovered") and m is not None and m <= QUOTA
    r.check("fcsp run: quota seen, refused, recovered", f"{(m or 0) / MIB:.0f} MiB by NVML", f"<= {QUOTA // MIB} MiB", ok, "" if ok else f"rc {x['rc']}: {x['stderr_tail'][-100:]}")


def main():
    def more(p):
        p.add_argument("--only", default="usable,race,kill,command,programs", help="comma-separated parts")
        p.add_argument("--programs", help="comma-separated: " + ", ".join(PROGRAMS))
        p.add_argument("--jobs", type=int, default=max(2, min(6, (os.cpu_count() or 4) // 2)), help="programs run at once")
    a = arguments(__doc__.splitlines()[0], more)
    r, d, parts = Record(a, "quota"), scratch(), a.only.split(",")
    exe = compile_c("programs/memory.c", d + "/memory")
    judge = Child([sys.executable, os.path.join(HERE, "judge.py"), "0.005"])
    if not judge.line(30, "READY"):
        print("the judge did not start:\n" + judge.tail(), file=sys.stderr)
        return 2
    try:
        if "usable" in parts:
            usable(a, r, exe, Nvml(), [8 * GIB] if a.quick else [1 * GIB, 8 * GIB, 40 * GIB])
        if "race" in parts:
            race(a, r, exe, judge, 3 if a.quick else 8)
        if "kill" in parts:
            killed(a, r, exe, 4 if a.quick else 12)
        if "command" in parts:
            by_command(a, r, judge)
        print(f"quota tests done after {time.monotonic() - r.t0:.0f} s", flush=True)
        if "programs" in parts:
            quick = ["torch-train", "torch-expandable", "torch-async", "cupy", "jax-preallocate", "triton"]
            programs(a, r, judge, d, a.programs.split(",") if a.programs else quick if a.quick else list(PROGRAMS))
    finally:
        judge.kill()
    return r.finish()


if __name__ == "__main__":
    raise SystemExit(main())
