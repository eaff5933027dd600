#!/usr/bin/env python3
"""Compute shares on a real device: strict alone, balanced between tenants, victims beside an aggressor, priority, live changes.

A share is a share of GPU time: a workload's rate over its own rate alone on the whole device in this run, times the fraction of
time it keeps the device busy when alone (1 for a loop that saturates it; for eager decode, its rate over the rate of the same step
as a graph). Alone under a quota clocks rise, so a strict share is corrected by the ratio of device-busy time a unit, throttled over
native, from CUPTI's activity records; the busy share that CUPTI reads directly stands beside it as the independent judge. Between
tenants with unlike workloads clocks move too (a matmul clocks higher beside a memory-bound neighbour than alone), so their shares are
corrected by the mean durations of their kernels beside each other, over alone. Native rounds (the driver's own time slices) and
preloaded rounds alternate; the processes of both live throughout, so that nothing but the gate differs. The main threads of those that
are compared stay on one core: a loop bound by its host is as fast as its core is at that hour.
"""
import json, os, subprocess, sys, threading, time
from common import *

WORKLOADS = ["gemm", "decode", "decodeg", "copy", "train", "spin5", "spin20"]
BIN = 0.005
# Start of a round that is left out, s: the limiter and the clock rates converge in it.
SKIP = 0.5


class Worker:
    def __init__(self, spin, env, quota=None, tenant=None):
        self.spin, self.env, self.quota, self.tenant = spin, env, quota, tenant
        self.begin()

    def begin(self):
        self.c, self.workload, self.serial, self.failed = Child([sys.executable, os.path.join(HERE, "share_worker.py"), self.spin], self.env), None, 0, False

    def imported(self):
        if self.c.line(90, "IMPORTED") is None:
            raise RuntimeError("worker did not start: " + self.c.tail(5))

    def stay(self, role):
        """Keeps the main thread on one core, the same for all that play this role."""
        self.role, cores = role, sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self.c.pid, {cores[(1 + 2 * role) % len(cores)]})

    def mend(self):
        """A new process after a failure: a CUDA error stays in the one that met it."""
        if self.failed or self.c.p.poll() is not None:
            self.c.kill()
            self.begin()
            self.imported()
            self.stay(self.role)

    def send(self, **command):
        self.serial += 1
        if not self.c.say(json.dumps(command | {"serial": self.serial})):
            self.failed = True
            raise RuntimeError("worker is gone: " + self.c.tail(5))

    def answer(self, timeout):
        end = time.monotonic() + timeout
        while True:
            line = self.c.line(max(0.1, end - time.monotonic()), "{")
            if line is None:
                self.failed = True
                raise RuntimeError("no answer: " + (self.c.tail(5) or f"exit {self.c.p.poll()}"))
            a = json.loads(line)
            # An earlier command's answer is left over from a case that failed half-way.
            if a.pop("serial", None) == self.serial:
                break
        if "error" in a:
            self.failed = True
            raise RuntimeError(a["error"])
        return a


class Pool:
    """Workers started together; a `with` block ends them."""

    def __init__(self, a, spin, native, tenants):
        """tenants: [(quota %, mode, {more environment})]"""
        self.alike = not native or native != len(tenants)  # all in turn in the same role
        self.native = [Worker(spin, clean_env()) for _ in range(native)]
        self.fcsp = []
        for quota, mode, more in tenants:
            t = tenant_name("share")
            self.fcsp.append(Worker(spin, preload_env(a.preload, t, memory=10 * GIB, compute=quota, mode=mode, **more), quota, t))

    def __enter__(self):
        try:
            for kind in (self.native, self.fcsp):
                for i, w in enumerate(kind):
                    w.imported()
                    w.stay(0 if self.alike else i)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for w in self.native + self.fcsp:
            w.c.kill()


def setup(workers, names):
    for w in workers:
        w.mend()
    for w, n in zip(workers, names):
        if w.workload != n:
            w.workload = None
            w.send(do="setup", workload=n)
    for w, n in zip(workers, names):
        if w.workload is None:
            w.answer(90)
            w.workload = n


def play(workers, seconds, commands=None):
    """One round: all start at the same instant. The answers, in order."""
    start = time.monotonic() + 0.15
    for i, w in enumerate(workers):
        w.send(do="run", start=start, seconds=seconds, **((commands or {}).get(i, {})))
    return [w.answer(seconds + 60) | {"start": start} for w in workers]


def rate(x, a=SKIP, b=None):
    """Units a second in [a, b) of the round."""
    lo, hi = int(a / BIN + 0.5), len(x["bins"]) if b is None else int(b / BIN + 0.5)
    return sum(x["bins"][lo:hi]) / ((hi - lo) * BIN)


def solo(worker, name, seconds):
    setup([worker], [name])
    return play([worker], seconds + SKIP)[0]


def busy_alone(rates):
    """The fraction of time a workload keeps the device busy when alone."""
    return {n: min(1.0, r / rates["decodeg"]) if n == "decode" and "decodeg" in rates else 1.0 for n, r in rates.items()}


def compact(x):
    """A round as it goes into the record: 50 ms bins are enough there."""
    b = x["bins"]
    return {k: v for k, v in x.items() if k != "bins"} | {"bins_50ms": [sum(b[i:i + 10]) for i in range(0, len(b), 10)]}


def helpers(workers):
    """CPU seconds of the threads that the preload started, by their names."""
    total, count = 0.0, 0
    for w in workers:
        d = f"/proc/{w.c.pid}/task"
        try:
            for t in os.listdir(d):
                with open(f"{d}/{t}/comm") as f:
                    if not f.read().startswith("fcsp"):
                        continue
                with open(f"{d}/{t}/schedstat") as f:
                    total += int(f.read().split()[0]) * 1e-9
                    count += 1
        except OSError:
            pass
    return total, count


class Helpers:
    """The helper threads' CPU over everything between begin and end, in cores."""

    def __init__(self):
        self.cpu = self.wall = 0.0
        self.threads = 0

    def measure(self, workers, f):
        c0, _ = helpers(workers)
        t0 = time.monotonic()
        try:
            return f()
        finally:
            c1, n = helpers(workers)
            self.cpu, self.wall, self.threads = self.cpu + c1 - c0, self.wall + time.monotonic() - t0, max(self.threads, n)


class Clocks:
    """The SM clock while a block runs, by NVML from outside: the fallback where CUPTI cannot say what a unit costs."""

    def __init__(self, nvml):
        self.nvml, self.mhz = nvml, []

    def __enter__(self):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self):
        while not self.stop.wait(0.05):
            self.mhz.append(self.nvml.clocks()["sm_mhz"])

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def guarded(r, name, f, *args):
    """One case: a failure is recorded as one and the next case runs."""
    try:
        f(*args)
        print(f"{name}: {time.monotonic() - r.t0:.0f} s", flush=True)
    except Exception as e:
        r.case(name + " (failed)", {"error": repr(e)})
        r.check(name, None, "runs", None, repr(e)[:200])
        print(f"{name} failed: {e!r}"[:400], flush=True)


# ---- strict, alone -------------------------------------------------------------------------------

def limit(a, w, share):
    c = subprocess.run([a.fcsp, "limit", w.tenant, "--compute", share], capture_output=True, text=True, timeout=10, env=clean_env())
    if c.returncode:
        raise RuntimeError("fcsp limit: " + c.stderr[-200:])


def strict(a, r, spin, hc):
    quotas = [int(q) for q in a.quotas.split(",")] if a.quotas else [25, 50] if a.quick else [25, 50, 75]
    rounds, length = (1, 2.5) if a.quick else (2, 3.5)
    names = a.workloads.split(",") if a.workloads else WORKLOADS
    if "decode" in names and "decodeg" not in names:
        names.append("decodeg")
    data = {n: {"native": [], **{q: [] for q in quotas}} for n in names}
    cupti = {n: {} for n in names}
    nvml, own = Nvml(), {}
    with Pool(a, spin, 1, [(q, "strict", {}) for q in quotas]) as p:
        everyone = [("native", p.native[0])] + [(w.quota, w) for w in p.fcsp]

        def one(n):
            setup([w for _, w in everyone], [n] * len(everyone))
            for i in range(rounds):
                for k, w in everyone if i % 2 == 0 else everyone[::-1]:
                    with Clocks(nvml) as clocks:
                        x = play([w], min(length, 2.0))[0] if k == "native" else hc.measure([w], lambda: play([w], length)[0])
                    x["sm_mhz"] = median(clocks.mhz[len(clocks.mhz) // 3:])
                    data[n][k].append(x)
            # A host-bound loop is compared with itself: the same process, its limit changed live,
            # in many short alternating rounds.
            for k, w in everyone[1:] if n == "decode" and a.fcsp else []:
                own[k] = {"limited": [], "unlimited": []}
                for i in range(4 if a.quick else 8):
                    for kind in ("limited", "unlimited") if i % 2 == 0 else ("unlimited", "limited"):
                        limit(a, w, f"{k}%" if kind == "limited" else "100%")
                        own[k][kind].append(rate(play([w], SKIP + 1.0)[0]))
                limit(a, w, f"{k}%")
        for n in names:
            guarded(r, f"strict {n}", one, n)
            # until there is a verdict: what was measured outlasts a bench that is cut off
            r.case("strict, so far", {m: {str(k): [compact(x) for x in v] for k, v in d.items()} for m, d in data.items()} | {"own": own})

        def judge(n):
            # last, because CUPTI's hooks stay in a process once it was used there
            setup([w for _, w in everyone], [n] * len(everyone))
            for k, w in everyone:
                w.send(do="cupti", seconds=0.4 if n == "spin5" else 0.8)
                cupti[n][k] = w.answer(120)
        for n in names:
            guarded(r, f"strict {n}, CUPTI", judge, n)
    r.data["cases"].pop("strict, so far", None)
    native = {n: median([rate(x) for x in data[n]["native"]]) for n in names if data[n]["native"]}
    busy = busy_alone(native)
    for n in names:
        if n not in native:
            continue
        rec = {"native_rate": native[n], "busy_alone": busy[n], "cupti": cupti[n], "rounds": {str(k): [compact(x) for x in v] for k, v in data[n].items()}, "shares": {}}
        cn = cupti[n].get("native", {})
        for q in quotas:
            runs = data[n][q]
            if not runs:
                r.check(f"strict {q} % {n}", None, "runs", None)
                continue
            cq = cupti[n].get(q, {})
            clock = cq["unit_busy_us"] / cn["unit_busy_us"] if cq.get("unit_busy_us") and cn.get("unit_busy_us") else None
            by_clock = median([x["sm_mhz"] for x in data[n]["native"]]) / median([x["sm_mhz"] for x in runs]) if n != "copy" else 1.0
            scale = busy[n] / native[n] * (clock or by_clock)
            shares = [rate(x) * scale for x in runs]
            share = median(shares)
            # every second of wall time: windows that slide by a tenth
            seconds = [rate(x, t / 10, t / 10 + 1) * scale for x in runs for t in range(int(SKIP * 10), int((len(x["bins"]) * BIN - 1) * 10) + 1)]
            direct = cq["busy_share"] / cn["busy_share"] * busy[n] if cq.get("busy_share") and cn.get("busy_share") else None
            demand = busy[n]
            mine = own.get(q) if n == "decode" else None
            if mine:
                demand = min(1.0, median(mine["unlimited"]) / native["decodeg"])
            rec["shares"][q] = {"share": share, "each": shares, "seconds": [min(seconds), max(seconds)], "unit_factor_cupti": clock, "unit_factor_sm_clock": by_clock, "cupti_share": direct, "throughput": median([rate(x) for x in runs]) / native[n]}
            note = f"throughput {rec['shares'][q]['throughput']:.3f}, CUPTI busy {show(direct) if direct else '-'}, unit x {show(clock) if clock else show(by_clock) + ' (SM clock, no CUPTI)'}, seconds {min(seconds):.3f}..{max(seconds):.3f}"
            if demand * 100 <= q + 1:
                ratio = rec["shares"][q]["throughput"]
                if mine:
                    ratio = median(mine["limited"]) / median(mine["unlimited"])
                    rec["shares"][q]["same_process"] = mine
                    note = f"the same process limited and not, {len(mine['limited'])} rounds each in turn; {note}"
                # At the quota to within a point, a point may be missing.
                floor = 0.99 if demand * 100 <= q - 1 else 0.96
                r.check(f"strict {q} % {n} (asks for {demand * 100:.1f} %): speed", ratio, f">= {floor} of unlimited", ratio >= floor, note)
            else:
                r.check(f"strict {q} % {n}: share", share * 100, f"{q} +- 1", abs(share * 100 - q) <= 1, note)
                r.check(f"strict {q} % {n}: worst second", max(abs(s * 100 - q) for s in seconds), "<= 5 points", max(abs(s * 100 - q) for s in seconds) <= 5)
        r.case(f"strict {n}", rec)


# ---- several tenants -----------------------------------------------------------------------------

def alternate(r, p, hc, names, rounds, seconds, commands=None):
    """The same loads natively and under the preload in turn: two lists of rounds."""
    k = len(names)
    setup(p.native[:k], names)
    setup(p.fcsp[:k], names)
    out = {"native": [], "fcsp": []}
    for i in range(rounds):
        for kind in ("native", "fcsp") if i % 2 == 0 else ("fcsp", "native"):
            w = (p.native if kind == "native" else p.fcsp)[:k]
            f = lambda: play(w, seconds, commands)
            out[kind].append(hc.measure(w, f) if kind == "fcsp" else f())
    return out


def shares_of(rounds, names, alone, busy, units=None):
    return [[rate(x) / alone[n] * busy[n] * (units or {}).get(n, 1.0) for x, n in zip(rd, names)] for rd in rounds]


def unit_factors(p, names):
    """`factors_of` the native workers and of the preloaded ones: they share the device otherwise, and it clocks otherwise."""
    both = {k: factors_of(w[:len(names)], names) for k, w in (("native", p.native), ("fcsp", p.fcsp))}
    return {k: v[0] for k, v in both.items()}, {k: v[1] for k, v in both.items()}


def factors_of(workers, names):
    """What a unit of each workload takes beside the others, over alone: by the means of its kernels' durations. CUPTI stays in a process
    once it was used there, so this comes last."""
    factor, raw = {}, {}
    setup(workers, names)
    for w in workers:
        # The first use of CUPTI in a process takes a second and more: it would begin when the
        # others have ended.
        w.send(do="cupti", seconds=0.05)
        w.answer(60)
    for n in dict.fromkeys(names):
        # As long as the rounds that measure rates alone: at the power limit, a device slows down
        # within the first second.
        setup(workers[:1], [n])
        workers[0].send(do="cupti", seconds=1.0)
        raw[n] = [workers[0].answer(60)["unit_kernel_us"]]
    setup(workers, names)
    for i, n in enumerate(names):
        start = time.monotonic() + 0.05
        for k, w in enumerate(workers):
            if k != i:
                w.send(do="run", start=start, seconds=2.0)
        workers[i].send(do="cupti", seconds=0.5)
        x = workers[i].answer(60)
        raw[n].append(x["unit_kernel_us"] if time.monotonic() - x["tail_s"] < start + 2.0 else None)
        for k, w in enumerate(workers):
            if k != i:
                w.answer(60)
        if not all(raw[n]):
            raise RuntimeError(f"kernels of {n} beside the others were not measured beside them: {raw[n]}")
        factor[n] = raw[n][1] / raw[n][0]
    return factor, raw


def group(r, p, hc, label, names, rounds, seconds, alone, bound):
    """Runs the rounds; returns what enters them into the record, given the factors of `unit_factors`."""
    busy = busy_alone(alone)
    out = alternate(r, p, hc, names, rounds, seconds)

    def enter(units=None, raw=None):
        qs = [w.quota / 100 for w in p.fcsp[:len(names)]]
        s = {k: shares_of(v, names, alone, busy, units and units[k]) for k, v in out.items()}
        mean = {k: [sum(c) / len(c) for c in zip(*v)] for k, v in s.items()}
        j = {k: jain([x / q for x, q in zip(mean[k], qs)]) for k in mean}
        each = [jain([x / q for x, q in zip(rd, qs)]) for rd in s["fcsp"]]
        total = {k: median([sum(rd) for rd in v]) for k, v in s.items()}
        r.case(label, {"workloads": names, "quotas": qs, "alone": {n: alone[n] for n in set(names)}, "busy_alone": busy, "unit_factors": units, "unit_kernel_us_alone_and_beside": raw, "shares": s,
                       "mean": mean, "jain": j, "jain_each": each, "sum": total, "rounds": {k: [[compact(x) for x in rd] for rd in v] for k, v in out.items()}})
        r.check(f"{label}: Jain of share/quota", j["fcsp"], f">= {bound}", j["fcsp"] >= bound, f"shares {show(mean['fcsp'])}; driver's slices {j['native']:.4f} {show(mean['native'])}; worst round {min(each):.4f}")
        r.check(f"{label}: sum of shares", total["fcsp"], f">= {total['native'] * 0.99:.4f} (driver's slices less 1 %)", total["fcsp"] >= 0.99 * total["native"])
    return enter


def alone_rates(p, names, seconds):
    return {n: rate(solo(p.native[0], n, seconds)) for n in dict.fromkeys(names)}


def lone(r, p, hc, seconds, rounds):
    """One active of four, the others attached and idle: native and preloaded in turn."""
    setup([p.native[0], p.fcsp[0]], ["gemm", "gemm"])
    got = {"native": [], "fcsp": []}
    for i in range(rounds):
        for k, w in (("native", p.native[0]), ("fcsp", p.fcsp[0]))[::1 if i % 2 == 0 else -1]:
            got[k].append(hc.measure([w], lambda: rate(play([w], seconds)[0])) if k == "fcsp" else rate(play([w], seconds)[0]))
    x = median(got["fcsp"]) / median(got["native"])
    r.case("one active of four", got)
    r.check("one active of four, balanced", x, ">= 0.99 of the device", x >= 0.99, f"quota {p.fcsp[0].quota} %, each {show([v / median(got['native']) for v in got['fcsp']])}")


def wake(r, p, hc, bursts, alone):
    """One runs throughout; three wake together, several times. How soon it is back to its entitlement, and they at theirs."""
    period, length = 0.8, 0.4
    on = [[0.5 + i * period, 0.5 + i * period + length] for i in range(bursts)]
    total = 0.5 + bursts * period
    setup(p.fcsp[:4], ["gemm"] * 4)
    rd = hc.measure(p.fcsp[:4], lambda: play(p.fcsp[:4], total, {1: {"on": on}, 2: {"on": on}, 3: {"on": on}}))
    n = int(length / BIN)

    def after(x):
        return [[x["bins"][int(b[0] / BIN + 0.5) + k] for b in on] for k in range(n)]
    mean = [[sum(c) / len(c) / BIN / alone for c in after(x)] for x in rd]
    # means over the wakings, then over 20 ms: one turn of the driver's slices among four
    four = [[sum(m[i:i + 4]) / 4 for i in range(n - 4)] for m in mean]
    q = [w.quota / 100 for w in p.fcsp[:4]]
    settled = sum(mean[0][n // 2:]) / len(mean[0][n // 2:])
    back = next((i * BIN * 1e3 for i, v in enumerate(four[0]) if v <= q[0] * 1.15), None)
    theirs = [next((i * BIN * 1e3 for i, v in enumerate(f) if v >= 0.85 * min(qi, sum(m[n // 2:]) / len(m[n // 2:]))), None) for f, m, qi in zip(four[1:], mean[1:], q[1:])]
    r.case("wake-up", {"on": on, "mean_share_by_5ms": mean, "settled": settled, "ms_back": back, "ms_woken_at_theirs": theirs, "each_waking_by_5ms": [after(x) for x in rd]})
    r.check("back to its entitlement after the others wake", back, "<= 20 ms", back <= 20 if back is not None else False, f"{bursts} wakings; settled at {settled:.3f} of the device; woken at theirs after {show(theirs)} ms")


def balanced(a, r, spin, hc):
    rounds, secs = (2, 2.0) if a.quick else (3, 3.0)
    sets = [((25, 25, 25, 25), ["decodeg", "train", "gemm", "copy"]), ((25, 35, 40), ["decodeg", "train", "gemm"]), ((10, 20, 70), ["decodeg", "train", "gemm"])]
    chosen = [s for s in sets if "/".join(map(str, s[0])) in a.groups.split(",")] if a.groups else sets[:2] if a.quick else sets
    for quotas, unlike in chosen:
        name = "/".join(map(str, quotas))

        def one():
            with Pool(a, spin, len(quotas), [(q, "balanced", {}) for q in quotas]) as p:
                alone = alone_rates(p, unlike, 1.0)
                group(r, p, hc, f"balanced {name} equal", ["gemm"] * len(quotas), rounds, secs, alone, 0.999)()
                enter = group(r, p, hc, f"balanced {name} unlike", unlike, rounds, secs, alone, 0.99)
                if quotas == (25, 25, 25, 25):
                    guarded(r, "one active of four", lone, r, p, hc, 2.0, rounds)
                    guarded(r, "wake-up", wake, r, p, hc, 4 if a.quick else 8, alone["gemm"])
                enter(*unit_factors(p, unlike))
        guarded(r, f"balanced {name}", one)


# ---- victims and priority ------------------------------------------------------------------------

def victims(a, r, spin, hc):
    rounds, secs = (2, 2.5) if a.quick else (4, 3.5)
    with Pool(a, spin, 2, [(50, "balanced", {}), (50, "balanced", {})]) as p:
        alone = {n: rate(solo(p.native[0], n, 1.5)) for n in ("decodeg", "gemm")}

        def eager():
            # Each process is compared with itself alone, alternating with both together: hosts are
            # not equally fast.
            names, kinds = ["decode", "gemm"], {"native": p.native, "fcsp": p.fcsp}
            setup(p.native + p.fcsp, names * 2)
            own, out = {k: [] for k in kinds}, {k: [] for k in kinds}
            for i in range(rounds):
                for k, w in list(kinds.items())[::1 if i % 2 == 0 else -1]:
                    own[k].append(play(w[:1], SKIP + 1.0)[0])
                    f = lambda: play(w, secs)
                    out[k].append(hc.measure(w, f) if k == "fcsp" else f())
            mine = {k: median([rate(x) for x in v]) for k, v in own.items()}
            rel = {k: [[rate(rd[0]) / mine[k], rate(rd[1]) / alone["gemm"]] for rd in v] for k, v in out.items()}
            m = {k: [median(c) for c in zip(*v)] for k, v in rel.items()}
            demand = min(1.0, mine["fcsp"] / alone["decodeg"])
            p99 = {k: median([rd[0]["gap_ms"]["p99"] for rd in v]) for k, v in out.items()}
            base = {k: median([x["gap_ms"]["p99"] for x in v]) for k, v in own.items()}
            r.case("eager decode 50 beside matmul 50", {"alone": alone, "own": {k: [compact(x) for x in v] for k, v in own.items()}, "demand": demand, "relative": rel, "median": m, "token_p99_ms": p99, "token_p99_alone_ms": base,
                                                        "rounds": {k: [[compact(x) for x in rd] for rd in v] for k, v in out.items()}})
            r.check("eager decode beside matmul: decode", m["fcsp"][0], ">= 0.95 of unshared", m["fcsp"][0] >= 0.95, f"driver's slices {m['native'][0]:.3f}; asks for {demand * 100:.1f} % of the device")
            r.check("eager decode beside matmul: matmul", m["fcsp"][1], ">= 0.70", m["fcsp"][1] >= 0.70, f"driver's slices {m['native'][1]:.3f}")
            r.check("eager decode beside matmul: p99 token", p99["fcsp"] / base["fcsp"], "<= 1.3 x alone", p99["fcsp"] / base["fcsp"] <= 1.3, f"{p99['fcsp']:.2f} ms, alone {base['fcsp']:.2f}, driver's slices {p99['native']:.2f}, alone {base['native']:.2f}")

        def graph():
            names = ["decodeg", "gemm"]
            out = alternate(r, p, hc, names, rounds, secs)
            units, raw = unit_factors(p, names)
            s = {k: shares_of(v, names, alone, dict.fromkeys(names, 1.0), units[k]) for k, v in out.items()}
            m = {k: [median(c) for c in zip(*v)] for k, v in s.items()}
            half = median([sum(x) for x in s["native"]]) / 2
            r.case("graph decode 50 beside matmul 50", {"alone": alone, "unit_factors": units, "unit_kernel_us_alone_and_beside": raw, "shares": s, "median": m, "half": half, "rounds": {k: [[compact(x) for x in rd] for rd in v] for k, v in out.items()}})
            for i, n in enumerate(("graph decode", "matmul")):
                r.check(f"graph decode beside matmul: {n}", m["fcsp"][i] / half, "0.98 or more of half of what the device delivers", m["fcsp"][i] / half >= 0.98,
                        f"share {m['fcsp'][i]:.3f} of half {half:.3f}; driver's slices {show(m['native'])}; kernels beside each other over alone {show([units['fcsp'][n] for n in names])}, natively {show([units['native'][n] for n in names])}")
        guarded(r, "eager decode beside matmul", eager)
        guarded(r, "graph decode beside matmul", graph)

    def priority():
        reps, length, period = (2, 3.0, 0.003) if a.quick else (4, 4.0, 0.003)
        with Pool(a, spin, 2, [(50, "balanced", {"FCSP_PRIORITY": "high"}), (50, "balanced", {"FCSP_PRIORITY": "low"})]) as p:
            rates = {n: rate(solo(p.native[1], n, 1.0)) for n in ("decodeg", "gemm")}
            setup(p.native, ["decodeg", "gemm"])
            setup(p.fcsp, ["decodeg", "gemm"])
            got = {k: [] for k in ("native alone", "native beside", "alone", "beside")}
            for i in range(reps):
                order = list(got) if i % 2 == 0 else list(got)[::-1]
                for k in order:
                    w = p.native if k.startswith("native") else p.fcsp
                    got[k].append(play(w if k.endswith("beside") else w[:1], length, {0: {"period": period}}))
            lat = {k: {z: median([rd[0]["latency_ms"][z] for rd in v]) for z in ("p50", "p95", "p99")} for k, v in got.items()}
            high = median([rate(rd[0]) for rd in got["beside"]]) / rates["decodeg"]
            low = median([rate(rd[1]) for rd in got["beside"]]) / rates["gemm"]
            low_native = median([rate(rd[1]) for rd in got["native beside"]]) / rates["gemm"]
            r.case("priority", {"latency_ms": lat, "high_share": high, "low_share": low, "rates": rates, "rounds": {k: [[compact(x) for x in rd] for rd in v] for k, v in got.items()}})
            x = lat["beside"]["p99"] / lat["native alone"]["p99"]
            r.check("high priority beside a saturating low one: p99", x, "<= 1.10 x alone", x <= 1.10, f"ms alone {lat['native alone']['p99']:.3f}, alone preloaded {lat['alone']['p99']:.3f}, beside {lat['beside']['p99']:.3f} (p50 {lat['beside']['p50']:.3f}), driver's slices {lat['native beside']['p99']:.3f}")
            r.check("low priority: of what is left", low / (1 - high), ">= 0.90", low / (1 - high) >= 0.90, f"low {low:.3f}, high {high:.3f}; driver's slices {low_native:.3f}")
    guarded(r, "priority", priority)


def live(a, r, spin, hc):
    """`fcsp limit`, pause and resume on a running program."""
    if not a.fcsp:
        return
    with Pool(a, spin, 1, [(25, "strict", {})]) as p:
        w = p.fcsp[0]
        alone = rate(solo(p.native[0], "gemm", 1.0))
        setup([w], ["gemm"])
        start, did = time.monotonic() + 0.3, []
        w.send(do="run", start=start, seconds=6.0)
        for at, args in ((2.0, ["limit", w.tenant, "--compute", "50%"]), (3.5, ["pause", w.tenant]), (4.5, ["resume", w.tenant])):
            time.sleep(max(0.0, start + at - time.monotonic()))
            t0 = time.monotonic()
            c = subprocess.run([a.fcsp, *args], capture_output=True, text=True, timeout=10, env=clean_env())
            did.append({"args": args, "rc": c.returncode, "from": t0 - start, "to": time.monotonic() - start, "stderr": c.stderr[-300:]})
        x = w.answer(60)
        s = lambda lo, hi: rate(x, lo, hi) / alone
        r.case("live changes", {"did": did, "run": compact(x), "alone": alone})
        bad = [d for d in did if d["rc"]]
        if bad:
            r.check("live changes", bad[0]["rc"], "commands succeed", False, bad[0]["stderr"][-90:])
            return
        before, after = s(1.0, did[0]["from"]), s(did[0]["to"] + 0.1, did[1]["from"])
        first = s(did[0]["to"] + 0.1, did[0]["to"] + 0.4)
        # rates, not shares: clocks are a little higher under a quota, hence the width
        r.check("fcsp limit 25 to 50 %: in force", first, "0.1 s later as afterwards +- 10 %, and twice before", abs(first / after - 1) <= 0.1 and 1.8 <= after / before <= 2.2, f"throughput {before:.3f} -> {after:.3f}")
        quiet = s(did[1]["to"] + 0.1, did[2]["from"])
        r.check("fcsp pause: device time after 0.1 s", quiet, "0", quiet == 0)
        again = s(did[2]["to"] + 0.1, 6.0)
        r.check("fcsp resume: back", again / after, ">= 0.9", again / after >= 0.9)


def main():
    def more(p):
        p.add_argument("--part", default="strict,balanced,victims,live", help="comma-separated; each takes two to five minutes")
        p.add_argument("--quotas", help="for strict: comma-separated per cents; 25,50,75 otherwise, 25,50 if quick")
        p.add_argument("--groups", help="for balanced: comma-separated of 25/25/25/25, 25/35/40, 10/20/70")
        p.add_argument("--workloads", help="for strict: comma-separated of " + ", ".join(WORKLOADS))
    a = arguments(__doc__.splitlines()[0], more)
    r, d, hc = Record(a, "share"), scratch(), Helpers()
    spin = compile_c("spin.c", d + "/libspin.so", "-shared", "-fPIC")
    for part, f in (("strict", strict), ("balanced", balanced), ("victims", victims), ("live", live)):
        if part in a.part.split(","):
            guarded(r, part, f, a, r, spin, hc)
    r.data["helpers"] = vars(hc)
    if hc.wall:
        r.check("helper threads of all tenants", hc.cpu / hc.wall * 100, "<= 0.2 % of a core", hc.cpu / hc.wall <= 0.002, f"{hc.threads} threads named fcsp*, over {hc.wall:.0f} s")
    return r.finish()


if __name__ == "__main__":
    raise SystemExit(main())
