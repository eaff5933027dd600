"""What every bench here shares: arguments, children that cannot outlive their parent, the record, and the closing table."""
import argparse, atexit, ctypes, datetime, json, math, os, platform, re, shutil, signal, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
MIB, GIB = 1 << 20, 1 << 30
_groups = set()
_lock = threading.Lock()


def arguments(description, extra=None):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--preload", required=True, help="path of libfcsp_cuda.so")
    p.add_argument("--out", required=True, help="where the JSON record goes")
    p.add_argument("--fcsp", help="path of the fcsp command, for the parts that need it")
    p.add_argument("--quick", action="store_true", help="fewer repeats; the verdicts are then indications")
    if extra:
        extra(p)
    a = p.parse_args()
    a.preload = os.path.abspath(a.preload)
    if not os.path.exists(a.preload):
        p.error(f"no such library: {a.preload}")
    if a.fcsp:
        a.fcsp = os.path.abspath(a.fcsp)
    return a


# ---- children ------------------------------------------------------------------------------------

def kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _end(*_):
    with _lock:
        for g in list(_groups):
            kill_group(g)


def _signalled(number, _frame):
    _end()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


atexit.register(_end)
for _s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if threading.current_thread() is threading.main_thread():
        signal.signal(_s, _signalled)


# Loaded here: a child between fork and exec must not take the loader's lock.
_libc = ctypes.CDLL(None)


def _child_setup():
    # PR_SET_PDEATHSIG: even a killed bench leaves no child on the device. It follows the *thread*
    # that started the child, so a thread that starts one waits for it.
    _libc.prctl(1, signal.SIGKILL)


def clean_env():
    """The environment without anything that FCSP, or a preload, would read."""
    e = {k: v for k, v in os.environ.items() if not k.startswith(("FCSP_", "BUD_", "CUDA_DEVICE_MEMORY_LIMIT", "CUDA_DEVICE_SM_LIMIT")) and k != "LD_PRELOAD"}
    e["PYTHONUNBUFFERED"] = "1"
    e.setdefault("NCCL_NVLS_ENABLE", "0")
    return e


_serial = 0


def tenant_name(what):
    """A name no earlier run used, so that no old tenant's region or limits are met."""
    global _serial
    with _lock:
        _serial += 1
        return f"bench-{os.getpid()}-{_serial}-{what}"[:60]


def preload_env(so, tenant, memory=None, compute=None, mode=None, **more):
    e = clean_env()
    e["LD_PRELOAD"] = so
    e["FCSP_TENANT"] = tenant
    if memory is not None:
        e["FCSP_MEMORY_LIMIT"] = str(memory)
    if compute is not None:
        e["FCSP_COMPUTE_LIMIT"] = f"{compute:g}%"
    if mode is not None:
        e["FCSP_MODE"] = mode
    e.update({k: str(v) for k, v in more.items()})
    return e


class Child:
    """A process in a group of its own, with its output collected by threads, ended with everything it started."""

    def __init__(self, argv, env=None, cwd=None):
        self.argv, self.began = [str(x) for x in argv], time.monotonic()
        self.p = subprocess.Popen(self.argv, env=env if env is not None else clean_env(), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True, preexec_fn=_child_setup)
        self.pid = self.p.pid
        with _lock:
            _groups.add(self.pid)
        self.out, self.err, self._news = [], [], threading.Condition()
        self._threads = [threading.Thread(target=self._read, args=(f, into), daemon=True) for f, into in ((self.p.stdout, self.out), (self.p.stderr, self.err))]
        for t in self._threads:
            t.start()
        self._next = 0

    def _read(self, f, into):
        for line in f:
            with self._news:
                into.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            into.append(None)
            self._news.notify_all()

    def line(self, timeout, prefix=""):
        """The next line of standard output that starts with prefix; None at the end of output or when time is up."""
        end = time.monotonic() + timeout
        with self._news:
            while True:
                while self._next < len(self.out):
                    s = self.out[self._next]
                    if s is None:
                        return None
                    self._next += 1
                    if s.startswith(prefix):
                        return s
                if not self._news.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    return None

    def later(self, at):
        """Line `at` of standard error, once it is there; None at its end."""
        with self._news:
            while len(self.err) <= at:
                self._news.wait()
            return self.err[at]

    def say(self, text):
        try:
            self.p.stdin.write(text + "\n")
            self.p.stdin.flush()
            return True
        except (BrokenPipeError, ValueError, OSError):
            return False

    def wait(self, timeout):
        try:
            rc = self.p.wait(timeout)
            for t in self._threads:
                t.join(2)
        except subprocess.TimeoutExpired:
            rc = "timeout"
        self.kill()
        return rc

    def kill(self):
        kill_group(self.pid)
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with _lock:
            _groups.discard(self.pid)

    def stdout(self):
        return [s for s in self.out if s is not None]

    def tail(self, n=25):
        return "\n".join([s for s in self.err if s is not None][-n:])[-3000:]


def run(argv, env=None, timeout=120, cwd=None):
    """Runs to the end. {rc, seconds, json: the objects printed, stderr_tail}; rc is 'timeout' when it was ended."""
    c = Child(argv, env, cwd)
    try:
        c.p.stdin.close()
        rc = c.wait(timeout)
    finally:
        c.kill()
    objects = []
    for s in c.stdout():
        if s.startswith("{"):
            try:
                objects.append(json.loads(s))
            except ValueError:
                pass
    return {"rc": rc, "seconds": round(time.monotonic() - c.began, 3), "json": objects, "stderr_tail": c.tail(), "pid": c.pid}


# ---- building ------------------------------------------------------------------------------------

def scratch():
    d = tempfile.mkdtemp(prefix="fcsp-bench-")
    atexit.register(shutil.rmtree, d, True)
    return d


def compile_c(source, out, *flags):
    cc = os.environ.get("CC", "gcc")
    argv = [cc, "-O2", "-Wall", "-o", out, os.path.join(HERE, source), *flags, "-ldl", "-lpthread"]
    r = subprocess.run(argv, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(" ".join(argv) + "\n" + r.stderr[-2000:])
    return out


# ---- the device, seen from outside ---------------------------------------------------------------

class Nvml:
    """NVML of the machine, in this process, which is never preloaded."""

    def __init__(self, index=0):
        import pynvml
        self.n = pynvml
        pynvml.nvmlInit()
        self.h = pynvml.nvmlDeviceGetHandleByIndex(index)

    def used_by(self, pids):
        pids = set(pids)
        return sum((p.usedGpuMemory or 0) for p in self.n.nvmlDeviceGetComputeRunningProcesses(self.h) if p.pid in pids)

    def total(self):
        return self.n.nvmlDeviceGetMemoryInfo(self.h).total

    def used(self):
        return self.n.nvmlDeviceGetMemoryInfo(self.h).used

    def clocks(self):
        return {"sm_mhz": self.n.nvmlDeviceGetClockInfo(self.h, 1), "mem_mhz": self.n.nvmlDeviceGetClockInfo(self.h, 2)}


def machine():
    d = {"host_cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(), "libc": "-".join(platform.libc_ver())}
    try:
        with open("/proc/cpuinfo") as f:
            d["host_cpu"] = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), d["host_cpu"])
    except OSError:
        pass
    try:
        import pynvml as n
        n.nvmlInit()
        text = lambda x: x.decode() if isinstance(x, bytes) else x
        h = n.nvmlDeviceGetHandleByIndex(0)
        v = n.nvmlSystemGetCudaDriverVersion()
        d |= {"device": text(n.nvmlDeviceGetName(h)), "driver": text(n.nvmlSystemGetDriverVersion()), "cuda": f"{v // 1000}.{v % 1000 // 10}",
              "devices": n.nvmlDeviceGetCount(), "memory_total": n.nvmlDeviceGetMemoryInfo(h).total}
        try:
            d["compute_mode"] = n.nvmlDeviceGetComputeMode(h)
            d["power_limit_w"] = n.nvmlDeviceGetPowerManagementLimit(h) / 1000
        except n.NVMLError:
            pass
    except Exception as e:  # a machine without NVML still gets a record, which says so
        d["nvml_error"] = repr(e)
    return d


# ---- numbers -------------------------------------------------------------------------------------

def median(v):
    s = sorted(v)
    return float("nan") if not s else (s[len(s) // 2] + s[(len(s) - 1) // 2]) / 2


def quantile(v, q):
    s = sorted(v)
    return float("nan") if not s else s[min(len(s) - 1, int(q * (len(s) - 1) + 0.5))]


def median_interval(v):
    """A distribution-free interval of about 95 % for the median, from order statistics (the whole range when there are few)."""
    s = sorted(v)
    n = len(s)
    if n == 0:
        return [float("nan")] * 2
    k = max(0, int(math.floor(n / 2 - 0.98 * math.sqrt(n))))
    return [s[k], s[n - 1 - k]]


def jain(v):
    return sum(v) ** 2 / (len(v) * sum(x * x for x in v)) if v and any(v) else 0.0


# ---- the record ----------------------------------------------------------------------------------

def written(data):
    """JSON for people and `git diff`: indented, with a list of plain values on one line."""
    # A line break in the text is one of the layout: those inside strings are written as \\n.
    one_line = lambda m: "[" + re.sub(r",\n\s*", ", ", m.group(1)) + "]"
    return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", one_line, json.dumps(data, indent=1, default=str)) + "\n"


class Record:
    def __init__(self, args, name):
        self.args, self.name, self.t0 = args, name, time.monotonic()
        self.data = {"bench": name, "date_utc": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "command": sys.argv, "quick": args.quick,
                     "preload": args.preload, "preload_bytes": os.path.getsize(args.preload), "machine": machine(), "checks": [], "cases": {}}

    def case(self, name, value):
        self.data["cases"][name] = value
        self.write()

    def check(self, name, value, bound, ok, note=""):
        """One acceptance bound. ok None: could not be measured, which counts as failed."""
        self.data["checks"].append({"name": name, "value": value, "bound": bound, "pass": bool(ok), "measured": ok is not None, "note": note})

    def write(self):
        self.data["seconds"] = round(time.monotonic() - self.t0, 1)
        tmp = self.args.out + ".part"
        os.makedirs(os.path.dirname(os.path.abspath(self.args.out)), exist_ok=True)
        with open(tmp, "w") as f:
            f.write(written(self.data))
        os.replace(tmp, self.args.out)

    def finish(self):
        self.write()
        m = self.data["machine"]
        print(f"\n{self.name}: {m.get('device', 'no device')}, driver {m.get('driver')}, CUDA {m.get('cuda')}, {self.data['date_utc']}, {self.data['seconds']} s" + (", QUICK" if self.args.quick else ""))
        rows = [(c["name"], show(c["value"]), c["bound"], "pass" if c["pass"] else "FAIL" if c["measured"] else "UNMEASURED", c["note"]) for c in self.data["checks"]]
        table(["what", "measured", "bound", "", "note"], rows)
        failed = [c["name"] for c in self.data["checks"] if not c["pass"]]
        print(f"{len(rows) - len(failed)} of {len(rows)} within bounds; record: {self.args.out}", flush=True)
        return 1 if failed or not rows else 0


def show(v):
    if isinstance(v, float):
        return f"{v:.4g}" if abs(v) < 1000 else f"{v:.0f}"
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(show(x) for x in v) + "]"
    return str(v)


def table(head, rows):
    rows = [head] + [[str(x) for x in r] for r in rows]
    w = [min(60, max(len(r[i]) for r in rows)) for i in range(len(head))]
    for r in rows:
        print("  ".join(c[:90].ljust(w[i]) if i < len(r) - 1 else c[:90] for i, c in enumerate(r)).rstrip())
