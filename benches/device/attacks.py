#!/usr/bin/env python3
"""Attacks on compute shares: tenants that try to have more than their share by ordinary means, and neighbours that lie.

What a tenant had of a second is the time that its kernels which ran in it take when nobody holds them back (measured natively in this run). A kernel
counts itself in memory that the host reads, so the program gives the library no mark by which to learn what its kernels cost. The first second of each
run is left out of the verdict and stands in the note. `--sim DIR` takes the simulated driver in DIR, as `fcsp lib --to` writes it, for a look at the
script itself: the simulator's times are no device's.
"""
import glob, struct
from common import *

# Where the words of a share page are: fcsp-core/src/share/claim_page.rs.
WORD = {"promise": 16, "event": 24, "expected_at": 32, "expected_deviation": 40, "empty_at": 64, "virtual_time": 72, "finish_at": 80, "blocked_since": 88,
        "pressed_at": 96, "waiting_at": 104, "seen": 112, "consumed": 120, "sensitivity": 240, "pace": 248}
NORMAL, HIGH, STRICT, BALANCED, ADAPTIVE, WHOLE = 1, 2, 1, 2, 3, 1_000_000
BIN = 0.01
SLACK = 0.02  # a strict share may be off by so much of the device in any second
# Of 50 %: what a victim keeps beside one attacker, beside a thousand pages.
GUARANTEE, GUARANTEE_MANY = 0.42, 0.40


def extra(p):
    p.add_argument("--only", default="strict,beside,processes,victims,lies,dead,floor", help="comma-separated parts")
    p.add_argument("--case", help="only cases whose name has this text in it")
    p.add_argument("--processes", help="comma-separated numbers of processes (4,16,64; quick: 4,16)")
    p.add_argument("--sim", help="folder of a simulated driver")
    p.add_argument("--limit", type=float, help="seconds after which no case is begun any more (340; quick: 165)")


class Bench:
    def __init__(self, a):
        self.a, self.dir = a, scratch()
        self.exe, self.liar = compile_c("attacks.c", self.dir + "/attacks"), compile_c("liar.c", self.dir + "/liar")
        self.record = Record(a, "attacks")
        self.record.data["simulated"] = bool(a.sim)
        self.until = time.monotonic() + (a.limit or (165 if a.quick else 340))
        self.seconds = 4.0 if a.quick else 6.0
        self.machine = self.fresh("native")
        self.units, self.state = {}, None
        one = self.ask(turns=100_000, count=5)
        self.counts = one["counts"]
        self.turn = one["ns"] / 100_000
        one = self.ask(turns=self.turns(10_000), count=20)
        self.turn = one["ns"] / self.turns(10_000)
        self.record.data |= {"ns_a_turn": self.turn, "kernels_count_themselves": bool(self.counts)}

    # ---- programs

    def fresh(self, what):
        """Folders of a machine's own: what one case leaves behind cannot be the next one's trouble."""
        place = tempfile.mkdtemp(prefix=what + "-", dir=self.dir)
        e = {"FCSP_STATE_DIR": place + "/state"}
        if self.a.sim:
            e |= {"LD_LIBRARY_PATH": self.a.sim, "FCSP_SIM": os.environ.get("FCSP_SIM", "h100,memory=64GiB,context=8MiB"), "FCSP_SIM_STATE": place + "/device"}
        return e

    def turns(self, us):
        return max(1, round(us * 1000 / self.turn))

    def ask(self, **options):
        x = run([self.exe, "calibrate"] + [f"{k}={v}" for k, v in options.items()], clean_env() | self.machine, 60)
        if x["rc"] or not x["json"]:
            raise RuntimeError(f"calibration failed: {x['rc']} {x['stderr_tail'][-400:]}")
        return x["json"][-1]

    def unit(self, us, name="fcsp_spin"):
        """Turns of a kernel of about so many microseconds, and its ns natively."""
        if (us, name) not in self.units:
            turns = self.turns(us)
            # By the repetitions of a long kernel: the launch of a short one would count too. The
            # simulator goes by names.
            by_name = name != "fcsp_spin" and not self.counts
            self.units[us, name] = (turns, self.ask(name=name, turns=turns, count=500)["ns"] if by_name else turns * self.turn)
        return self.units[us, name]

    def start(self, tenant=None, share=None, mode=None, us=1000, name="fcsp_spin", long_us=None, environment=None, **options):
        turns, ns = self.unit(us, name)
        o = {"name": name, "turns": turns, "ns": ns, "counts": self.counts, "seconds": self.seconds} | options
        if long_us:
            o["long"], o["long_ns"] = self.unit(long_us, name)
        e = clean_env() if tenant is None else preload_env(self.a.preload, tenant, compute=share, mode=mode)
        return Child([self.exe, "run"] + [f"{k}={v}" for k, v in o.items()], e | self.state | (environment or {}))

    def go(self, programs, begin=None, timeout=None):
        """Lets all begin together; what each had by bins. `programs` are (child, seconds after the beginning)."""
        for c, _ in programs:
            if c.line(90, '{"ready"') is None:
                raise RuntimeError("a program did not get ready: " + c.tail(5))
        t = begin or time.monotonic() + 0.2
        for c, later in programs:
            c.say(f"go {t + later:.6f}")
        answers = []
        for c, later in programs:
            text = c.line(timeout or self.seconds + later + 40, '{"launched"')
            answers.append(json.loads(text) if text else {"launched": 0, "ended_ns": 0, "had_ns": [], "error": c.tail(5)})
            c.kill()
        return answers

    def case(self, name, f):
        """One case, if there is time and it is wanted. A failure of the case is a failed check and no more."""
        if self.a.case and self.a.case not in name:
            return
        if time.monotonic() > self.until:
            self.record.check(name, "-", "begun in time", None, "no time was left")
            return
        self.state, began = self.fresh("case"), time.monotonic()
        try:
            f(name)
        except Exception as e:
            self.record.check(name, "-", "runs", None, repr(e)[:200])
        self.record.write()
        c = self.record.data["checks"][-1]
        print(f"{time.monotonic() - self.record.t0:6.1f} s  {'pass' if c['pass'] else 'FAIL' if c['measured'] else 'UNMEASURED'}  {c['name']}: {show(c['value'])} ({c['bound']}; {c['note'][:110]}) in {time.monotonic() - began:.1f} s", flush=True)


def by_second(answers, seconds, step=1.0):
    """What a tenant's processes had together of each second, as a part of the device."""
    n = int(round(seconds / BIN))
    total = [sum(a["had_ns"][i] for a in answers if i < len(a["had_ns"])) for i in range(n)]
    per = int(round(1 / BIN))
    return [sum(total[i:i + per]) / 1e9 for i in range(0, n - per + 1, int(round(step / BIN)))]


def strict_verdict(b, name, quota, answers, seconds, demand=1.0, pays_back=False, data=None):
    """Within two points in every second after the first. A program that asks for less than its quota has what it asks for; one that pays back may have less."""
    wrong = [a["error"] for a in answers if "error" in a]
    had, sliding = by_second(answers, seconds), by_second(answers, seconds, 0.1)[10:]
    after = had[1:]
    b.record.case(name, {"had_by_second": had, "sliding": [min(sliding), max(sliding)], "launched": [a["launched"] for a in answers]} | (data or {}) | ({"errors": wrong} if wrong else {}))
    least = 0.0 if pays_back else max(0.0, min(quota, demand * 0.95) - SLACK)
    most = quota + SLACK
    worst = max(after, key=lambda x: max(x - most, least - x))
    ok = least <= worst <= most and not wrong
    b.record.check(name, worst, f"{least:.2f} to {most:.2f} in every second after the first", ok,
                   wrong[0][-90:] if wrong else ("" if demand >= 1 else f"asks for {demand:.3f}; ") + f"mean {sum(after) / len(after):.3f}, first second {had[0]:.3f}, sliding {min(sliding):.3f} to {max(sliding):.3f}")


# ---- strict, alone -------------------------------------------------------------------------------

NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"


STRICT = [
    ("plain kernels of 1 ms", {}),
    ("a new executable graph per launch, 1 ms", dict(kind="graph")),
    ("a new executable graph per launch, 10 ms", dict(kind="graph", us=10_000)),
    ("a graph after 20,000 came and went, 1 ms", dict(made=20_000)),
    ("a module loaded anew per launch, 1 ms", dict(kind="module")),
    ("10 us, one in 50 is 500 times longer", dict(us=10, long_us=5_000, every=50)),
    ("10 us, one in 200 is 500 times longer", dict(us=10, long_us=5_000, every=200)),
    ("a grid of its own per launch, 10 ms", dict(kind="grid", us=10_000)),
    ("never synchronises, 1 ms", dict(sync=0)),
    ("always synchronises, 20 ms", dict(us=20_000)),
    ("kernels named as NCCL names its own, 110 us", dict(us=110, name=NCCL, sync=8)),
    ("the first second: 300 unknown kernels of 10 ms at once", dict(us=10_000, sync=0, burst=300)),
]


def strict(b):
    for name, options in STRICT:
        def one(name, options=options):
            burst = "burst" in options
            seconds, demand = b.seconds + 2 * burst, 1.0
            if "kind" in options:
                # While the host makes the graph or the module, nothing is submitted to the device.
                alone = b.go([(b.start(seconds=1.0, **options), 0)])
                demand = alone[0]["ended_ns"] / 1e9
            answers = b.go([(b.start("t", 10, "strict", seconds=seconds, **options), 0)])
            strict_verdict(b, name, 0.10, answers, seconds, demand, pays_back=burst)
        b.case("strict 10 %: " + name, one)


def beside(b):
    """The same beside a victim of 50 % that takes the rest: the attacker has its share and the victim its guarantee, in every second after the first."""
    for name, options in STRICT:
        def one(name, options=options):
            burst = "burst" in options
            seconds = b.seconds + 2 * burst
            # A program may make less than its share of launches if it also makes graphs or modules.
            demand = b.go([(b.start(seconds=1.0, **options), 0)])[0]["ended_ns"] / 1e9 if "kind" in options else 1.0
            answers = b.go([(victim(b, seconds=seconds), 0), (b.start("attacker", 10, "strict", seconds=seconds, **options), 0)])
            theirs = by_second(answers[:1], seconds)[1:]
            both = {"victim_by_second": theirs, "victim": [min(theirs), max(theirs)]}
            print(f"          the victim {min(theirs):.3f} to {max(theirs):.3f}", flush=True)
            b.record.check(name + ": the victim", min(theirs), f">= {GUARANTEE} in every second after the first", min(theirs) >= GUARANTEE and "error" not in answers[0])
            strict_verdict(b, name, 0.10, answers[1:], seconds, demand, pays_back=burst, data=both)
        b.case("strict 10 % beside a victim of 50 %: " + name, one)


def processes(b):
    numbers = [int(x) for x in (b.a.processes or ("4,16" if b.a.quick else "4,16,64")).split(",")]
    for n in numbers:
        def one(name, n=n):
            seconds = b.seconds + 2
            children = [(b.start("t", 5, "strict", us=30_000, seconds=seconds), 0) for _ in range(n)]
            strict_verdict(b, name, 0.05, b.go(children, timeout=seconds + 60), seconds)
        b.case(f"strict 5 %: {n} processes with kernels of 30 ms", one)


# ---- victims -------------------------------------------------------------------------------------

def victim(b, **options):
    return b.start("victim", 50, "balanced", **({"us": 100, "sync": 0, "depth": 24} | options))


def victim_verdict(b, name, answer, seconds, bound, note="", data=None):
    had = by_second([answer], seconds)
    b.record.case(name, {"victim_by_second": had} | (data or {}))
    worst, wrong = min(had[1:]), answer.get("error")
    b.record.check(name, worst, f">= {bound} in every second after the first", worst >= bound and not wrong, wrong[-90:] if wrong else f"mean {sum(had[1:]) / len(had[1:]):.3f}{note}")


def victims(b):
    attackers = [
        ("a new executable graph per launch, 10 ms", 10, [dict(kind="graph", us=10_000)]),
        ("10 us, one in 50 is 500 times longer", 10, [dict(us=10, long_us=5_000, every=50)]),
        ("a module loaded anew per launch, 1 ms", 10, [dict(kind="module")]),
        ("kernels named as NCCL names its own", 10, [dict(us=110, name=NCCL, sync=8)]),
        ("never synchronises, 1 ms", 10, [dict(sync=0)]),
        ("16 processes with kernels of 30 ms", 5, [dict(us=30_000)] * 16),
    ]
    for name, share, programs in attackers:
        victim_case(b, "victim 50 % beside: " + name, share, "strict", programs)
    # Tenants that may borrow, next to a victim that queues ahead and next to one that waits for
    # each step.
    vary = dict(us=10, long_us=5_000, every=50)
    for title, options in (("victim 50 %", {}), ("victim 50 % that waits for each 0.5 ms", dict(us=500, sync=1, depth=0))):
        for name, program in (("one in 50 is 500 times longer, never waits", vary | dict(sync=0)), ("one in 50 is 500 times longer", vary)):
            victim_case(b, f"{title} beside: balanced 10 %, 10 us, {name}", 10, "balanced", [program], options)


def victim_case(b, name, share, mode, programs, options=None):
    def one(name):
        children = [(victim(b, **(options or {})), 0)] + [(b.start("attacker", share, mode, **o), 0) for o in programs]
        answers = b.go(children, timeout=b.seconds + 60)
        theirs = by_second(answers[1:], b.seconds)
        victim_verdict(b, name, answers[0], b.seconds, GUARANTEE, f", the attacker {min(theirs[1:]):.3f} to {max(theirs[1:]):.3f} of {share / 100:.2f}", {"attacker_by_second": theirs})
    b.case(name, one)


def promise(quota=WHOLE, weight=WHOLE, priority=NORMAL, mode=BALANCED):
    return quota | weight << 20 | priority << 40 | mode << 44


MS = 1_000_000
NEVER = 2 ** 64 - 1
LIES = {
    "a page that only says it was seen": {},
    "high priority, held up": {"promise": promise(priority=HIGH), "blocked_since": "now", "finish_at": f"now+{500 * MS}", "waiting_at": "now"},
    "high priority, expects a step in 1 ms": {"promise": promise(priority=HIGH), "expected_at": f"now+{MS}", "expected_deviation": 1, "pressed_at": "now-100000"},
    "held up, waits, was never served": {"blocked_since": "now", "finish_at": f"now+{500 * MS}", "waiting_at": "now", "empty_at": 0, "virtual_time": 0},
    "in debt, waits, clock 0": {"waiting_at": "now", "empty_at": f"now+{2000 * MS}", "virtual_time": 0},
    "consumed everything, waits": {"waiting_at": "now", "consumed": "add+500000", "empty_at": 0, "blocked_since": "now"},
    "host-paced steps, owed": {"pressed_at": "now", "pace": (15 * MS) << 32 | 11 * MS, "empty_at": 0},
    "times in the far future": {w: NEVER for w in ("blocked_since", "finish_at", "pressed_at", "waiting_at", "empty_at", "seen")},
    "adaptive, leaning, consuming": {"promise": promise(mode=ADAPTIVE), "sensitivity": 2, "consumed": "add+500000", "blocked_since": "now", "waiting_at": "now"},
    "a storm on the wake word": {"waiting_at": "now", "wake": WORD["event"]},
}
QUICK_LIES = ("high priority, held up", "held up, waits, was never served", "consumed everything, waits", "adaptive, leaning, consuming")


def lie(b, words, count, pause_us, seconds):
    """A liar beside a tenant that has a page already; it keeps on writing until `seconds` are over."""
    page = pages(b, "victim")
    options = {"promise": promise(), "seen": "now"} | words
    words = [f"{'wake' if k == 'wake' else WORD[k]}={v}" for k, v in options.items()]
    c = Child([b.liar, seconds, pause_us, os.path.dirname(page), count, page] + words, clean_env())
    if c.line(30, '{"ready"') is None:
        raise RuntimeError("the liar did not start: " + c.tail(5))
    return c


def pages(b, tenant):
    """The tenant's page, once it is there."""
    for _ in range(400):
        found = glob.glob(f"{b.state['FCSP_STATE_DIR']}/devices/*/{tenant}.page")
        if found and os.path.getsize(found[0]) >= 256:
            return found[0]
        time.sleep(0.05)
    raise RuntimeError(f"{tenant} has no page")


def beside_pages(b, name, make, bound):
    c = victim(b)
    if c.line(90, '{"ready"') is None:
        raise RuntimeError("the victim did not get ready: " + c.tail(5))
    # The gate's first launch makes the page: the victim begins, and the liar a moment later.
    t = time.monotonic() + 0.2
    c.say(f"go {t:.6f}")
    other = make()
    text = c.line(b.seconds + 60, '{"launched"')
    if other:
        other.kill()
    c.kill()
    victim_verdict(b, name, json.loads(text) if text else {"had_ns": [], "error": c.tail(5) or "no answer"}, b.seconds, bound)


def lies(b):
    seconds = b.seconds
    b.seconds = 3.0 if b.a.quick else 4.0
    try:
        for name, words in LIES.items():
            if not b.a.quick or name in QUICK_LIES:
                b.case(f"victim 50 % beside a liar: {name}", lambda name, words=words: beside_pages(b, name, lambda: lie(b, words, 1, 400, 60), GUARANTEE))
        words = {"promise": promise(priority=HIGH), "blocked_since": "now", "finish_at": f"now+{500 * MS}", "waiting_at": "now", "consumed": "add+500000", "empty_at": 0}
        b.case("victim 50 % beside a thousand pages that lie", lambda name: beside_pages(b, name, lambda: lie(b, words, 1000, 2000, 60), GUARANTEE_MANY))
        b.case("victim 50 % beside ten thousand pages of the dead", lambda name: beside_pages(b, name, lambda: dead_pages(b, 10_000), GUARANTEE_MANY))
    finally:
        b.seconds = seconds


def dead_pages(b, count):
    page = pages(b, "victim")
    with open(page, "rb") as f:
        model = bytearray(f.read(4096))
    struct.pack_into("<Q", model, WORD["seen"], time.monotonic_ns() - 60_000 * MS)
    for i in range(count):
        with open(f"{os.path.dirname(page)}/tree-{i}-1.page", "wb") as f:
            f.write(model)


# ---- dead processes ------------------------------------------------------------------------------

def dead(b):
    """A tenant's busy process is killed or stopped while a sibling of it works a little: what a neighbour has before and after."""
    for name, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        def one(name, number=number):
            seconds, begins, ends = b.seconds + 4, 2.0, 4.0
            neighbour = b.start("neighbour", 20, "balanced", us=100, sync=0, depth=24, seconds=seconds)
            tick = b.start("other", 30, "balanced", us=2, pause_us=500, seconds=seconds)
            busy = b.start("other", 30, "balanced", us=100, sync=0, depth=24, seconds=seconds + 30)
            for c in (neighbour, tick, busy):
                if c.line(90, '{"ready"') is None:
                    raise RuntimeError("a program did not get ready: " + c.tail(5))
            t = time.monotonic() + 0.2
            for c, later in ((neighbour, 0), (tick, 0), (busy, begins)):
                c.say(f"go {t + later:.6f}")
            time.sleep(max(0.0, t + ends - time.monotonic()))
            os.kill(busy.pid, number)
            text = neighbour.line(seconds + 40, '{"launched"')
            for c in (neighbour, tick, busy):
                c.kill()
            if not text:
                raise RuntimeError("the neighbour ended: " + neighbour.tail(5))
            had = by_second([json.loads(text)], seconds)
            b.record.case(name, {"neighbour_by_second": had})
            # What the driver still works off for a stopped process ends within the next second.
            before, after = had[1], had[5:]
            b.record.check(name, min(after) / before, ">= 0.9 of what it had before the busy one, from one second after", min(after) >= 0.9 * before,
                           f"beside the sibling alone {before:.3f}, beside both {show(had[2:4])}, after {show(after)}")
        b.case(f"neighbour of 20 % after a busy process of another tenant is {name}", one)


# ---- floors --------------------------------------------------------------------------------------

def floor(b):
    """A tenant with a floor of 20 % has borrowed all of the device for two seconds when one of high priority begins."""
    def one(name):
        seconds, later = b.seconds + 2, 2.0
        low = b.start("low", 20, "balanced", us=100, sync=0, depth=24, seconds=seconds, environment={"FCSP_PRIORITY": "normal", "FCSP_FLOOR": "20%"})
        high = b.start("high", 80, "balanced", us=100, sync=0, depth=24, seconds=seconds - later, environment={"FCSP_PRIORITY": "high"})
        answers = b.go([(low, 0), (high, later)])
        had, theirs = by_second(answers[:1], seconds), by_second(answers[1:], seconds - later)
        b.record.case(name, {"low_by_second": had, "high_by_second": theirs})
        tenths = [sum(answers[0]["had_ns"][i:i + 20]) / 0.2e9 for i in range(int((later + 0.1) / BIN), int(seconds / BIN) - 20, 20)]
        worst = min(had[3:])
        b.record.check(name, worst, ">= 0.18 in every second", worst >= 0.18, f"before {had[1]:.3f}; from 0.1 s after, by 0.2 s: {min(tenths):.3f} to {max(tenths):.3f}; high {show(theirs[1:])}")
    b.case("floor of 20 % beside a saturating tenant of high priority", one)


def main():
    a = arguments(__doc__.splitlines()[0], extra)
    if a.sim:
        a.sim = os.path.abspath(a.sim)
    b = Bench(a)
    for part, f in (("strict", strict), ("beside", beside), ("processes", processes), ("victims", victims), ("lies", lies), ("dead", dead), ("floor", floor)):
        if part in a.only.split(","):
            f(b)
    return b.record.finish()


if __name__ == "__main__":
    sys.exit(main())
