#!/usr/bin/env python3
"""The memory judge: a process outside every preload that asks NVML, every few milliseconds, what each process holds.

Reads lines: `report` prints, per process group, the largest sum seen at one instant; end of input ends it. A group is what the bench
started as one job, so a program's own children count with it.
"""
import json, os, sys, threading, time
import pynvml as n


def main():
    interval = float(sys.argv[1]) if len(sys.argv) > 1 else 0.005
    n.nvmlInit()
    h, groups, most, gaps, lock, last = n.nvmlDeviceGetHandleByIndex(0), {}, {}, [], threading.Lock(), None
    done = threading.Event()

    def listen():
        for line in sys.stdin:
            if line.strip() == "report":
                with lock:
                    g = sorted(gaps)
                    print(json.dumps({"groups": most, "samples": len(g), "gap_ms_p50": g[len(g) // 2] * 1e3 if g else None, "gap_ms_p99": g[int(len(g) * 0.99)] * 1e3 if g else None}), flush=True)
        done.set()
    threading.Thread(target=listen, daemon=True).start()
    print("READY", flush=True)
    while not done.is_set():
        t = time.monotonic()
        sums, pids = {}, {}
        try:
            running = n.nvmlDeviceGetComputeRunningProcesses(h)
        except n.NVMLError:
            running = []
        for p in running:
            g = groups.get(p.pid)
            if g is None:
                try:
                    g = groups[p.pid] = os.getpgid(p.pid)
                except ProcessLookupError:
                    continue  # gone between the two questions
            sums[g] = sums.get(g, 0) + (p.usedGpuMemory or 0)
            pids[g] = pids.get(g, 0) + 1
        with lock:
            for g, b in sums.items():
                m = most.setdefault(str(g), {"max": 0, "seen": 0, "pids": 0})
                m["max"], m["seen"], m["pids"] = max(m["max"], b), m["seen"] + 1, max(m["pids"], pids[g])
            if last is not None:
                gaps.append(t - last)
        last = t
        time.sleep(max(0.0, interval - (time.monotonic() - t)))


if __name__ == "__main__":
    main()
