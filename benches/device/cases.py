#!/usr/bin/env python3
"""Cases from the field: what works natively works under a quota, and nothing is lost or granted that should not be.

Every case of `cases.c` runs natively and under a quota, and has a right value: the native outcome, or one that follows from the
quota. Where a PID namespace can be made, some run in one, beside a neighbour that takes and gives back memory all the time.
"""
import json, subprocess
from common import *

THREADS = 8
# Size of a context on a device of this kind, in MiB: more than the least, less than the estimate.
CONTEXT = (200, 640)


class Cases:
    def __init__(self, a, r, exe):
        self.a, self.r, self.exe, self.only = a, r, exe, set(filter(None, a.only.split(",")))

    def wants(self, part):
        return not self.only or part in self.only

    def go(self, words, quota=None, inside=(), timeout=120, **more):
        """One run: {rc, json object or None, end of stderr}."""
        env = preload_env(self.a.preload, tenant_name("case"), memory=quota, **more) if quota else clean_env() | {k: str(v) for k, v in more.items()}
        x = run([*inside, self.exe, *map(str, words)], env, timeout=timeout)
        return {"rc": x["rc"], "got": x["json"][-1] if x["json"] else None, "stderr_tail": x["stderr_tail"]}

    def say(self, name, seen, right, ok, note=""):
        print(f"{'ok ' if ok else 'BAD'}  {name}: seen {show(seen)}, right {right}{'; ' + note if note else ''}", flush=True)
        self.r.check(name, seen, right, ok, note)

    def failed(self, name, x):
        last = x["stderr_tail"].strip().splitlines()
        self.say(name, f"exit {x['rc']}", "a result", None, last[-1][:90] if last else "")

    def each(self, name, x, right, look, note=""):
        """Says what `look` finds in a run's object: (seen, whether it is right)."""
        self.r.case(name, x)
        if not x["got"]:
            return self.failed(name, x)
        seen, ok = look(x["got"])
        self.say(name, seen, right, ok, note)


def first(c):
    context = None
    rounds = 3 if c.a.quick else 8
    least, most, granted = [], [], []
    for _ in range(rounds):
        x = c.go(["first", THREADS], 4 * GIB)
        if not x["got"]:
            return c.failed("first use: free", x)
        least.append(x["got"]["least"] // MIB)
        most.append(x["got"]["most"] // MIB)
        x = c.go(["first", THREADS, 900 * MIB], 1400 * MIB)
        granted.append(x["got"]["granted"] if x["got"] else f"exit {x['rc']}")
    c.r.case("first", {"least": least, "most": most, "granted": granted})
    context = 4096 - max(most)
    c.say(f"first use by {THREADS} threads: free MiB of 4096", [min(least), max(most)], "the same for all, a context less", min(least) == max(most) and CONTEXT[0] <= context <= CONTEXT[1])
    # 900 MiB fit beside the context only where that is smaller than on any device seen so far.
    c.say(f"first use by {THREADS} threads: 900 MiB of 1400 granted", granted, "0", granted == [0] * rounds, f"a context takes {context} MiB")
    x = c.go(["first", THREADS, 900 * MIB])
    c.each("first use, natively: 900 MiB granted", x, f"{THREADS}", lambda g: (g["granted"], g["granted"] == THREADS))


def stack(c):
    native = c.go(["stack", 4096])
    c.each("stack limit natively: lost MiB", native, "0", lambda g: ((g["before"] - g["after"]) // MIB, g["code"] == 0 and g["before"] == g["after"]))
    if not native["got"]:
        return
    cost = native["got"]["before"] - native["got"]["raised"]
    x = c.go(["stack", 4096], 6 * GIB)
    c.each("stack limit up and down at 6 GiB: free MiB", x, "the same again", lambda g: ([g["before"] // MIB, g["after"] // MIB], g["code"] == 0 and g["before"] == g["after"]))
    if not x["got"]:
        return
    context = 6 * GIB - x["got"]["before"]
    for quota in (1900 * MIB, context + cost, context + cost - 2 * MIB):
        right = 0 if quota >= context + cost else CUDA_ERROR_OUT_OF_MEMORY
        x = c.go(["stack", 4096], quota)
        c.each(f"stack limit of 4 KiB at {quota / MIB:g} MiB", x, f"code {right}", lambda g: (g["code"], g["code"] == right), f"context {context // MIB}, stack {cost / MIB:g} MiB")


def pools(c):
    keep, ask = 12 * GIB + 512 * MIB, 12 * GIB
    for how in ("alloc", "create"):
        for name, x in (("natively, 20 GiB left of the device", c.go(["pool", 20 * GIB, keep, ask, how])), ("at 20 GiB", c.go(["pool", 0, keep, ask, how], 20 * GIB))):
            c.each(f"a pool keeps 12.5 GiB, {how} of 12 GiB {name}", x, "code 0", lambda g: (g["code"], g["code"] == 0), f"pool had {x['got']['kept'] // MIB}, has {x['got']['left'] // MIB} MiB" if x["got"] else "")


    x = c.go(["reuse", 1200 * MIB, 50], 2 * GIB)
    c.each("1200 MiB taken and freed behind work 50 times at 2 GiB: refused", x, "0", lambda g: (g["refused"], g["refused"] == 0))


def arrays(c):
    quota = GIB
    nvml = Nvml()
    for shape in ((64, 64), (200, 200), (1000, 1000)):
        before = nvml.used()
        child = Child([c.exe, "arrays", *map(str, shape), "200000"], preload_env(c.a.preload, tenant_name("arrays"), memory=quota))
        try:
            line = child.line(120, "{")
            got = json.loads(line) if line else None
            held = nvml.used() - before
        finally:
            child.kill()
        name = f"arrays of {shape[0]} x {shape[1]} float4 at 1 GiB: MiB on the device"
        if not got:
            c.failed(name, {"rc": "no answer", "stderr_tail": child.tail()})
            continue
        c.r.case(name, {"got": got, "held": held})
        # The device's own account counts in 2 MiB, and work of others on it is not ours: 16 MiB.
        c.say(name, held // MIB, "<= 1024, >= 90 %", got["code"] == CUDA_ERROR_OUT_OF_MEMORY and held <= quota + 16 * MIB and held >= quota * 9 // 10, f"{got['count']} arrays, {got['free'] // MIB} MiB free")


def exports(c):
    for mode, what in ((1, "exported"), (2, "imported again"), (3, "retained")):
        for where, quota in (("natively", None), ("at 3 GiB", 3 * GIB)):
            x = c.go(["export", mode, 20, GIB], quota)
            c.each(f"1 GiB of physical memory, {what}, {where}: rounds", x, "20, nothing lost", lambda g: (g["rounds"], g["code"] == 0 and g["rounds"] == 20 and g["before"] == g["after"]))


def cycles(c, inside=(), where="at 3 GiB"):
    native = c.go(["cycles"], inside=inside) if not inside else None
    x = c.go(["cycles"], 3 * GIB, inside=inside)
    if native and native["got"]:
        lost = {k: native["got"]["begin"] - v for k, v in native["got"].items() if v != native["got"]["begin"]}
        print(f"     natively {where}, lost by cycles: {lost or 'nothing'}", flush=True)
    name = f"what servers do again and again, {where}: free MiB"
    c.r.case(name, {"native": native, "governed": x})
    if not x["got"]:
        return c.failed(name, x)
    begin = x["got"]["begin"]
    drift = lambda got: {k: got["begin"] - v for k, v in got.items()}
    allowed = drift(native["got"]) if native and native["got"] else {}
    wrong = {k: v for k, v in drift(x["got"]).items() if abs(v) > abs(allowed.get(k, 0))}
    c.say(name, {k: -v for k, v in wrong.items()} or begin, f"{begin} throughout", not wrong)


def fills(c):
    for block in (2 * MIB, 64 * MIB):
        x = c.go(["fill", block], 2 * GIB)
        c.each(f"blocks of {block // MIB} MiB until refused at 2 GiB: MiB left", x, f"< {block // MIB}", lambda g: (g["free"] // MIB, g["code"] == CUDA_ERROR_OUT_OF_MEMORY and g["free"] < block))


def agrees(c):
    n = Nvml().n
    text = lambda x: x.decode() if isinstance(x, bytes) else x
    uuid = [text(n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(i))) for i in range(n.nvmlDeviceGetCount())]
    for visible in (None, "0", uuid[0], uuid[0][:12], *([f"{uuid[1]},{uuid[0]}", "1"] if len(uuid) > 1 else [])):
        more = {"FCSP_MEMORY_LIMIT_0": "3GiB", "FCSP_MEMORY_LIMIT_1": "2GiB"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
        x = c.go(["agree"], 5 * GIB, **more)
        same = lambda d: d["total"] == d["nvml_before"] == d["nvml_after"] and d["free"] == d["nvml_free"]
        c.each(f"NVML and CUDA agree, CUDA_VISIBLE_DEVICES={visible}", x, "the same", lambda g: ([d["total"] // MIB for d in g["devices"]] + [d["nvml_after"] // MIB for d in g["devices"]], all(map(same, g["devices"])) and g["devices"][0]["total"] == 3 * GIB))


def errors(c):
    native, x = c.go(["errors"]), c.go(["errors"], 2 * GIB)
    c.r.case("errors", {"native": native, "governed": x})
    if not (native["got"] and x["got"]):
        return c.failed("argument errors", x if native["got"] else native)
    wrong = {k: f"{native['got'][k]} natively, {v}" for k, v in x["got"].items() if native["got"][k] != v}
    c.say("wrong arguments: codes that differ from the driver's", wrong or 0, "0", not wrong, f"{len(x['got'])} calls")


def contained(c):
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        print("     no PID namespace can be made here: those cases did not run", flush=True)
        c.r.data["contained"] = "not run: no PID namespace"
        return
    x = c.go(["first", 1], 4 * GIB)
    right = x["got"]["least"] // MIB if x["got"] else None
    for name, words in (("one thread", ["first", 1]), (f"{THREADS} threads", ["first", THREADS])):
        c.each(f"in a PID namespace, {name}: free MiB of 4096", c.go(words, 4 * GIB, inside), str(right), lambda g: ([g["least"] // MIB, g["most"] // MIB], g["least"] == g["most"] and g["least"] // MIB == right))
    noise = Child([c.exe, "noise", str(4 * GIB)], clean_env())
    try:
        if not noise.line(30, "{"):
            return c.failed("a noisy neighbour", {"rc": "no answer", "stderr_tail": noise.tail()})
        for i in range(2 if c.a.quick else 5):
            c.each(f"in a PID namespace beside a noisy neighbour, {i + 1}: free MiB of 2048", c.go(["first", 1], 2 * GIB, inside), str(right - 2048), lambda g: (g["least"] // MIB, g["least"] // MIB == right - 2048))
    finally:
        noise.kill()
    cycles(c, inside, "at 3 GiB in a PID namespace")


CUDA_ERROR_OUT_OF_MEMORY = 2
PARTS = {"first": first, "stack": stack, "pools": pools, "arrays": arrays, "exports": exports, "cycles": cycles, "fills": fills, "agree": agrees, "errors": errors, "contained": contained}


def main():
    a = arguments(__doc__.splitlines()[0], lambda p: p.add_argument("--only", default="", help="comma-separated: " + ", ".join(PARTS)))
    r, d = Record(a, "cases"), scratch()
    c = Cases(a, r, compile_c("cases.c", d + "/cases"))
    for name, part in PARTS.items():
        if c.wants(name):
            part(c)
    return r.finish()


if __name__ == "__main__":
    raise SystemExit(main())
