#!/usr/bin/env python3
"""What the device allows, without FCSP: a matmul beside a loop of small kernels, submitted in every way that a gate could choose.

Two processes time-slice; only one is ever on the device, and switching costs. The matmul keeps N kernels in flight, or stops while the
other's host waits for the device, or runs K kernels in one piece when the other's step ends and then stands back until the next one
ends. What each then has, over what it has alone, is the frontier that a policy can move on; it is where the policy of
`fcsp_core::share::gap_filling` comes from, and what a figure of share.py is to be compared with. No bounds: a measurement.
"""
import collections, json, mmap, os, subprocess, sys, time
from common import *


def main():
    a = arguments(__doc__.splitlines()[0])
    r, d = Record(a, "turns"), scratch()
    import torch
    path = d + "/page"
    with open(path, "wb") as f:
        f.write(b"\0" * 4096)
    page = memoryview(mmap.mmap(os.open(path, os.O_RDWR), 4096)).cast("Q")
    other = Child([compile_c("stepper.c", d + "/stepper"), path], clean_env())
    if not other.line(60, "{"):
        raise SystemExit("the stepper did not start: " + other.tail(5))
    seconds, now = 0.5 if a.quick else 1.5, time.monotonic
    x = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    y, events, used = torch.empty_like(x), [torch.cuda.Event() for _ in range(64)], [0]

    def launch(flight):
        torch.mm(x, x, out=y)
        e = events[used[0] % 64]
        used[0] += 1
        e.record()
        flight.append(e)

    def loop(secs, allowed):
        """Launches whenever allowed(kernels in flight) says so; kernels done a second."""
        flight, n, end = collections.deque(), 0, now() + secs
        while now() < end:
            while flight and flight[0].query():
                flight.popleft()
                n += 1
            for _ in range(allowed(len(flight))):
                launch(flight)
        torch.cuda.synchronize()
        return n / secs

    def depth(n, stop=False):
        return lambda flying: 1 if flying < n and not (stop and page[0]) else 0

    def pieces(k):
        seen = [0]

        def allowed(flying):
            if flying or page[1] == seen[0]:
                return 0
            seen[0] = page[1]
            return k
        return allowed

    def ask(command, secs):
        other.say(f"{command} {secs}")
        return json.loads(other.line(secs + 30, "{"))
    loop(0.3, depth(8))
    alone = loop(seconds * 2, depth(8))
    rows = []
    ways = {"slices (8 in flight)": depth(8), "1 in flight": depth(1), "2 in flight": depth(2), "3, stops while the other waits": depth(3, True)}
    for command, gpu_ms in (("token 108 4.5 1480", 0.486), ("token 108 4.5 2150", 0.486), ("period 3 480", 0.48)):
        base, got = ask(command, seconds), {}
        for name, allowed in (ways | {f"{k} in a piece, once a step": pieces(k) for k in (1, 2, 3, 4, 5, 6, 8, 10)}).items():
            other.say(f"{command} {seconds + 0.1}")
            time.sleep(0.05)
            mine = loop(seconds, allowed) / alone
            got[name] = json.loads(other.line(seconds + 30, "{")) | {"matmul": mine}
            g = got[name]
            rows.append([command, name, f"{mine:.3f}", f"{g['rate'] / base['rate']:.3f}", f"{g['p50_ms'] / base['p50_ms']:.2f}", f"{g['p99_ms'] / base['p99_ms']:.2f}"])
        r.case(command, {"alone": base, "gpu_ms_a_step": gpu_ms, "ways": got})
    other.kill()
    table(["the other", "the matmul's way", "matmul", "the other's rate", "p50", "p99 over alone"], rows)
    r.check("ways measured", len(rows), "all", len(rows) == 3 * (len(ways) + 8))
    return r.finish()


if __name__ == "__main__":
    raise SystemExit(main())
