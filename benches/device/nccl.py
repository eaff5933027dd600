#!/usr/bin/env python3
"""Two GPUs, one all-reduce, one rank held to a tenth of its device: no deadlock, right sums, and the collective no slower.

A collective's kernels wait inside the kernel for the other rank, so a gate that holds one rank's collective back holds the other's
device busy doing nothing, and two gates can wait for each other for ever. Three cases alternate: native, both ranks with a quota
and nothing to wait for, and rank 0 at 10 % strict beside an unlimited rank 1. NVLink multicast stays off (NCCL_NVLS_ENABLE=0).
"""
import json, os, sys, time
from common import *


def worker(rank, store, quick):
    import torch, torch.distributed as dist, datetime
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", init_method="file://" + store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60))
    out = {"rank": rank}

    def timed(n, f):
        dist.barrier()
        torch.cuda.synchronize()
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        for _ in range(n):
            f()
        b.record()
        torch.cuda.synchronize()
        return a.elapsed_time(b) / n
    for size, label, n in ((1 << 28, "256MiB", 10 if quick else 40), (1 << 20, "1MiB", 100 if quick else 400), (1 << 12, "4KiB", 200 if quick else 1000)):
        x = torch.ones(size // 4, device="cuda")
        for _ in range(5):
            dist.all_reduce(x)
        x.fill_(rank + 1)
        dist.all_reduce(x)
        ok = bool((x == 3).all())
        x.zero_()
        ms = [timed(n, lambda: dist.all_reduce(x)) for _ in range(5)]
        out[label] = {"ms": ms, "right": ok, "bus_gb_s": size / (median(ms) * 1e-3) / 1e9}
    # Compute and collectives in one stream, then a collective that overlaps with compute: a
    # careless gate deadlocks there.
    m = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    g = torch.empty(1 << 24, device="cuda")
    right, t0 = True, time.monotonic()
    for i in range(10 if quick else 30):
        for _ in range(8):
            torch.mm(m, m)
        g.fill_(float(rank + i))
        work = dist.all_reduce(g, async_op=True)
        for _ in range(4):
            torch.mm(m, m)
        work.wait()
        right = right and bool(g[-1].item() == 2 * i + 1)
    torch.cuda.synchronize()
    out["mixed"] = {"seconds": time.monotonic() - t0, "right": right, "units": (10 if quick else 30) * 12}
    print(json.dumps(out), flush=True)
    dist.destroy_process_group()


def main():
    a = arguments(__doc__.splitlines()[0])
    r, d = Record(a, "nccl"), scratch()
    if r.data["machine"].get("devices", 0) < 2:
        r.check("two devices", r.data["machine"].get("devices"), "2", None, "this bench needs a machine with two GPUs")
        return r.finish()
    cases = {"native": lambda rank: clean_env(),
             "quota": lambda rank: preload_env(a.preload, tenant_name(f"r{rank}"), memory=20 * GIB, compute=90, mode="balanced"),
             "throttled": lambda rank: preload_env(a.preload, tenant_name(f"r{rank}"), memory=20 * GIB, compute=10, mode="strict") if rank == 0 else preload_env(a.preload, tenant_name("r1"), memory=20 * GIB)}
    rounds, got, failed = 1 if a.quick else 3, {c: [] for c in cases}, []
    for i in range(rounds):
        for c in list(cases) if i % 2 == 0 else list(cases)[::-1]:
            store = f"{d}/store-{c}-{i}"
            ranks = [Child([sys.executable, os.path.abspath(__file__), "worker", k, store, int(a.quick)], cases[c](k) | {"NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1"}) for k in (0, 1)]
            end, answers = time.monotonic() + 80, []
            try:
                for w in ranks:
                    line = w.line(max(1.0, end - time.monotonic()), "{")
                    answers.append(json.loads(line) if line else None)
                codes = [w.wait(20) for w in ranks]
            finally:
                for w in ranks:
                    w.kill()
            ok = all(answers) and codes == [0, 0]
            got[c].append(answers if ok else None)
            if not ok:
                failed.append({"case": c, "round": i, "codes": codes, "stderr_tail": [w.tail() for w in ranks]})
            print(f"{c} {i}: {'done' if ok else 'FAILED'} at {time.monotonic() - r.t0:.0f} s", flush=True)
    r.case("rounds", got)
    r.case("failures", failed)
    for c in cases:
        good = [x for x in got[c] if x]
        right = bool(good) and all(o[k]["right"] for x in good for o in x for k in ("256MiB", "1MiB", "4KiB", "mixed"))
        r.check(f"{c}: ends, right sums", f"{len(good)} of {rounds}", "all, no deadlock", len(good) == rounds and right, next((f["stderr_tail"][0].strip().splitlines()[-1][:90] for f in failed if f["case"] == c and f["stderr_tail"][0].strip()), ""))
    base = [x for x in got["native"] if x]
    for c in ("quota", "throttled"):
        good = [x for x in got[c] if x]
        for k in ("256MiB", "1MiB", "4KiB"):
            if not good or not base:
                r.check(f"{c}: all-reduce {k}", None, "", None)
                continue
            ms, native = median([median(o[k]["ms"]) for x in good for o in x]), median([median(o[k]["ms"]) for x in base for o in x])
            bound = 1.02 if k == "256MiB" else 1.05
            r.check(f"{c}: all-reduce {k}, time", ms / native, f"<= {bound} x native", ms / native <= bound, f"{ms * 1e3:.1f} us, native {native * 1e3:.1f}; {median([o[k]['bus_gb_s'] for x in good for o in x]):.0f} GB/s")
    if got["throttled"] and all(got["throttled"]) and all(base):
        s = median([x[0]["mixed"]["seconds"] for x in got["throttled"]])
        n = median([x[0]["mixed"]["seconds"] for x in base])
        r.data["mixed"] = {"throttled_s": s, "native_s": n}
    return r.finish()


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "worker":
        worker(int(sys.argv[2]), sys.argv[3], bool(int(sys.argv[4])))
    else:
        raise SystemExit(main())
