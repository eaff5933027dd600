"""What the test programs hand back: results to compare, the device as the program sees it, and the course of an out-of-memory."""
import argparse, ctypes, hashlib, json, subprocess, time

import numpy as np

BLOCK = 64 << 20


def arguments(modes):
    p = argparse.ArgumentParser()
    p.add_argument("mode", choices=modes)
    p.add_argument("--quota", type=int, default=0, help="bytes; also fill up to the refusal and carry on")
    return p.parse_args()


class Report:
    def __init__(self):
        self.values, self.seen, self.oom, self.t0 = {}, {}, None, time.perf_counter()

    def value(self, name, array):
        """A result: its digest, for equality to the bit, and a sample, for a distance where native runs differ among themselves."""
        a = np.ascontiguousarray(np.asarray(array))
        flat = a.astype(np.float64).ravel()
        step = max(1, flat.size // 256)
        self.values[name] = {"digest": hashlib.sha256(a.tobytes() + str(a.dtype).encode()).hexdigest(), "sample": flat[::step][:256].tolist(), "finite": bool(np.isfinite(flat).all())}

    def look(self, **by_framework):
        """The device's size: by the framework, by the driver, by nvidia-smi started from here."""
        self.seen.update({k: int(v) for k, v in by_framework.items()})
        cuda, n = ctypes.CDLL("libcuda.so.1"), ctypes.c_size_t()
        if cuda.cuInit(0) == 0 and cuda.cuDeviceTotalMem_v2(ctypes.byref(n), 0) == 0:
            self.seen["cuDeviceTotalMem"] = n.value
        try:
            out = subprocess.run(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", "-i", "0"], capture_output=True, text=True, timeout=30)
            self.seen["nvidia_smi_mib"] = int(out.stdout.split()[0]) if out.returncode == 0 and out.stdout.split() else -1
        except (OSError, ValueError, subprocess.TimeoutExpired) as e:
            self.seen["nvidia_smi_error"] = repr(e)

    def fill(self, quota, allocate, errors, release, compute):
        """Allocates 64 MiB blocks to the refusal, lets go, computes again. `compute` returns an array; both times it must be the same."""
        before, held, refused, foreign = np.asarray(compute()), [], None, None
        try:
            while len(held) * BLOCK < quota * 2:
                held.append(allocate(BLOCK))
        except errors as e:
            refused = f"{type(e).__name__}: {str(e)[:300]}"
        except Exception as e:
            foreign = f"{type(e).__name__}: {str(e)[:300]}"
        got = len(held) * BLOCK
        held.clear()
        release()
        after = np.asarray(compute())
        again = 0
        for _ in range(4):  # the memory let go can be had again
            held.append(allocate(BLOCK))
            again += 1
        held.clear()
        release()
        self.oom = {"allocated": got, "error": refused, "other_error": foreign, "recovered": bool(np.array_equal(before, after)) and again == 4}

    def print(self):
        print(json.dumps({"values": self.values, "seen": self.seen, "oom": self.oom, "seconds": round(time.perf_counter() - self.t0, 2)}), flush=True)
