"""One tenant of the share benches: sets up a workload on command, runs it in a window of time, and says how many units ended when.

Commands are JSON lines on standard input, answers JSON lines on standard output:
  {"do":"setup","workload":NAME}
  {"do":"run","start":T,"seconds":S,"on":[[A,B],...],"period":P}   T is CLOCK_MONOTONIC; units only inside the [A,B) after T (all, if absent);
        with a period: one unit each P seconds, and the time from when it was due to its end
  {"do":"cupti","seconds":S}   the same loop under CUPTI activity records: device-busy time a unit, and of the wall time
  {"do":"quit"}
A command's "serial" comes back in its answer.
"""
import ctypes, json, os, sys, time
import torch

BIN = 0.005
D = "cuda"
# Units in a batch (one event a batch; batches are about half a millisecond or one unit), and
# batches in flight.
SHAPE = {"gemm": (4, 3), "copy": (4, 3), "train": (1, 2), "decode": (1, 1), "decodeg": (1, 3), "spin5": (96, 4), "spin20": (1, 3)}
TURNS = {"spin5": 128, "spin20": 540000}
now = time.monotonic


def q(v, p):
    return v[min(len(v) - 1, int(p * (len(v) - 1) + 0.5))] if v else None


class Worker:
    def __init__(self, spin):
        torch.set_num_threads(1)
        torch.cuda.init()
        self.spin_path, self.spin, self.keep, self.name = spin, None, None, None

    def setup(self, workload):
        name = workload
        self.keep = self.step = None
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.manual_seed(0)
        self.name = name
        self.keep = getattr(self, "make_" + name.rstrip("0123456789"))()
        for _ in range(5):
            self.step()
        torch.cuda.synchronize()
        return {"ok": name, "memory": torch.cuda.memory_reserved()}

    def make_gemm(self):
        x = torch.randn(4096, 4096, device=D, dtype=torch.bfloat16)
        self.step = lambda: torch.mm(x, x)

    def make_copy(self):
        x = torch.randn(64 << 20, device=D)
        y = torch.empty_like(x)
        self.step = lambda: y.copy_(x)

    def make_train(self):
        net = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(2048, 2048), torch.nn.GELU()) for _ in range(6)]).to(D)
        opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
        x = torch.randn(1024, 2048, device=D)

        def step():
            opt.zero_grad(set_to_none=True)
            net(x).square().mean().backward()
            opt.step()
        self.step = step

    def body(self):
        L, H = 12, 1024
        shapes = ((H, 3 * H), (H, H), (H, 4 * H), (4 * H, H))
        ws = [[torch.randn(*s, device=D, dtype=torch.bfloat16) * .02 for s in shapes] for _ in range(L)]
        kv = torch.randn(L, 2, 8, 16, 1024, 64, device=D, dtype=torch.bfloat16)
        h0 = torch.randn(8, H, device=D, dtype=torch.bfloat16)

        def body():
            h = h0
            for i, (wq, wo, w1, w2) in enumerate(ws):
                a, k, v = (h @ wq).chunk(3, -1)
                o = torch.nn.functional.scaled_dot_product_attention(a.view(8, 16, 1, 64), kv[i, 0], kv[i, 1]).reshape(8, H)
                h = h + o @ wo
                h = h + torch.nn.functional.gelu(h @ w1) @ w2
            return h
        return body

    def make_decode(self):
        self.step = self.body()

    def make_decodeg(self):
        body = self.body()
        for _ in range(3):
            body()
        torch.cuda.synchronize()
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            out = body()
        self.step = g.replay
        return g, out, body  # the body owns the weights that the graph reads

    def make_spin(self):
        if self.spin is None:
            self.spin = ctypes.CDLL(self.spin_path)
            self.spin.spin_launch.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
            if self.spin.spin_open():
                raise RuntimeError("the spin module did not load")
        stream, blocks, turns, count = torch.cuda.current_stream().cuda_stream, torch.cuda.get_device_properties(0).multi_processor_count, TURNS[self.name], SHAPE[self.name][0]

        def step():
            if self.spin.spin_launch(stream, turns, blocks, count):
                raise RuntimeError("spin launch failed")
        self.step = step

    def loop(self, start, end, on, ended):
        """Keeps a bounded number of batches in flight until `end`; calls ended(time, units) for each batch that the device finished."""
        units, depth = SHAPE[self.name]
        calls = 1 if self.name.startswith("spin") else units
        flight = []

        def take():
            e, u = flight.pop(0)
            e.synchronize()
            ended(now(), u)
        while True:
            t = now()
            if t >= end:
                break
            if on is not None:
                nxt = next(((a, b) for a, b in on if start + b > t), None)
                if nxt is None or start + nxt[0] > t:
                    while flight:
                        take()
                    until = end if nxt is None else min(end, start + nxt[0])
                    # Sleeps most of the way and polls at the end: a wake-up is timed from this
                    # moment.
                    while now() < until:
                        time.sleep(max(0.0, until - now() - 0.0005)) if until - now() > 0.001 else None
                    continue
            for _ in range(calls):
                self.step()
            e = torch.cuda.Event()
            e.record()
            flight.append((e, units))
            while len(flight) >= depth:
                take()
        while flight:
            take()

    def run(self, start, seconds, on=None, period=None):
        n = int(seconds / BIN)
        bins, stamps = [0] * n, []
        while now() < start:
            time.sleep(max(0.0, min(0.01, start - now() - 0.0005)))
        if period:
            lat, due, end = [], start, start + seconds
            while due < end:
                while now() < due:
                    if due - now() > 0.0003:
                        time.sleep(0.0001)
                self.step()
                torch.cuda.synchronize()
                t = now()
                lat.append(t - due)
                i = int((t - start) / BIN)
                if i < n:
                    bins[i] += 1
                # Closed loop: a late one delays the next instead of piling up.
                due = max(due + period, t)
            lat.sort()
            return {"bins": bins, "units": len(lat), "latency_ms": {k: q(lat, p) * 1e3 for k, p in (("p50", .5), ("p90", .9), ("p95", .95), ("p99", .99), ("max", 1))}, "n": len(lat)}

        def ended(t, u):
            stamps.append(t)
            i = int((t - start) / BIN)
            if 0 <= i < n:
                bins[i] += u
        self.loop(start, start + seconds, on, ended)
        gaps = sorted(b - a for a, b in zip(stamps, stamps[1:]))
        return {"bins": bins, "units": sum(bins), "bin_s": BIN, "last": stamps[-1] - start if stamps else None,
                "gap_ms": {k: (q(gaps, p) or 0) * 1e3 for k, p in (("p50", .5), ("p95", .95), ("p99", .99), ("max", 1))}, "n": len(gaps)}

    def cupti(self, seconds):
        """Device-busy time from CUPTI's activity records: the union of everything that ran, over units and over wall time."""
        from torch.profiler import ProfilerActivity, profile
        done = []
        # The limiter's steady state, without records.
        self.loop(now(), now() + 0.3, None, lambda t, u: None)
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as p:
            t0 = now()
            self.loop(t0, t0 + seconds, None, lambda t, u: done.append(u))
            torch.cuda.synchronize()
            end = now()
            wall = end - t0
        spans, by_name = [], {}
        for e in p.profiler.kineto_results.events():
            if str(e.device_type()).endswith("CUDA") and e.duration_ns() > 0:
                spans.append((e.start_ns(), e.start_ns() + e.duration_ns()))
                by_name.setdefault(e.name(), []).append(e.duration_ns())
        spans.sort()
        busy, reach = 0, 0
        for a, b in spans:
            if b > reach:
                busy += b - max(a, reach)
                reach = b
        span = (reach - spans[0][0]) * 1e-9 if spans else 0.0
        units = sum(done)
        # Next to other tenants, some kernels are interrupted, fewer than half, and are then far
        # longer than the median. They are left out. The mean of the others counts and not the
        # median, since clock rates vary, and rates with them.
        work = 0
        for v in by_name.values():
            most = sorted(v)[len(v) // 2] * 1.5
            whole = [x for x in v if x <= most]
            work += len(v) * sum(whole) / len(whole)
        return {"units": units, "tail_s": now() - end, "records": len(spans), "unit_kernel_us": work * 1e-3 / units if units else None, "busy_s": busy * 1e-9, "wall_s": wall, "span_s": span, "unit_busy_us": busy * 1e-3 / units if units else None, "busy_share": busy * 1e-9 / span if span else None}


def main():
    print("IMPORTED", flush=True)
    w = None
    for line in sys.stdin:
        c = json.loads(line)
        do, serial = c.pop("do"), c.pop("serial", None)
        if do == "quit":
            break
        try:
            if w is None:
                w = Worker(sys.argv[1])
            answer = getattr(w, do)(**c)
        except Exception as e:  # the bench records it and goes on with the next case
            answer = {"error": f"{type(e).__name__}: {str(e)[:500]}"}
        print(json.dumps(answer | {"serial": serial}), flush=True)
    sys.stdout.flush()
    os._exit(0)  # nothing is left to tidy, and a profiler's teardown is not what is measured


if __name__ == "__main__":
    main()
