#!/usr/bin/env python3
"""Handles that come and go: streams, events, graphs, modules, contexts and pools are created, used and destroyed by eight threads in every order that a
driver allows, natively and under every mode. Everything must end with the driver's own codes, right data and no crash.

Each scenario of lifetimes.c runs in a process of its own. `--sim DIR` takes the simulated driver in DIR, as `fcsp lib --to` writes it, for a
look at the script itself.
"""
import subprocess
from common import *

QUOTA = 64 * GIB
MODES = {
    "native": None,
    "memory": {"memory": QUOTA, "mode": "none"},
    "strict": {"memory": QUOTA, "compute": 60, "mode": "strict"},
    "balanced": {"memory": QUOTA, "compute": 60, "mode": "balanced"},
    "adaptive": {"memory": QUOTA, "compute": 60, "mode": "adaptive"},
}


def extra(p):
    p.add_argument("--rounds", type=int, help="rounds a thread (1000, quick: 200; a hundredth of that where a round takes a tenth of a second)")
    p.add_argument("--threads", type=int, default=8)
    p.add_argument("--only", help="comma-separated scenarios")
    p.add_argument("--modes", default=",".join(MODES), help="comma-separated, of " + ", ".join(MODES))
    p.add_argument("--sim", help="folder of a simulated driver")
    p.add_argument("--timeout", type=int, default=120, help="seconds a process may take")


def environment(a, mode, scenario):
    e = clean_env() if MODES[mode] is None else preload_env(a.preload, tenant_name(f"{mode}-{scenario}"), **MODES[mode])
    if a.sim:
        # One simulated machine a process: what one leaves behind cannot be the next one's trouble.
        where = scratch()
        e |= {"LD_LIBRARY_PATH": a.sim, "FCSP_SIM": os.environ.get("FCSP_SIM", "h100,memory=80GiB,context=64MiB"), "FCSP_SIM_STATE": where + "/device", "FCSP_STATE_DIR": where + "/state", "FCSP_SIM_STRICT": "all"}
    return e


def verdict(x):
    """What went wrong with a run; nothing if it was right."""
    if x["rc"] == "timeout":
        return "not done in time"
    if x["rc"] < 0:
        return f"killed by signal {-x['rc']} ({signal.Signals(-x['rc']).name})"
    if x["rc"]:
        return f"exit code {x['rc']}"
    return "" if x["json"] else "no last line"


def main():
    a = arguments(__doc__.splitlines()[0], extra)
    if a.sim:
        a.sim = os.path.abspath(a.sim)
    rounds = a.rounds or (200 if a.quick else 1000)
    r, d = Record(a, "lifetimes"), scratch()
    exe = compile_c("lifetimes.c", d + "/lifetimes")
    known = subprocess.run([exe], capture_output=True, text=True).stdout.split()
    chosen = a.only.split(",") if a.only else known
    r.data |= {"rounds": rounds, "threads": a.threads, "simulated": bool(a.sim)}
    for scenario in chosen:
        for mode in a.modes.split(","):
            x = run([exe, scenario, rounds, a.threads], environment(a, mode, scenario), timeout=a.timeout)
            said = x["json"][-1] if x["json"] else {}
            wrong = verdict(x)
            note = wrong and x["stderr_tail"].strip().splitlines()[-1:] or [f"skipped: {said['skipped']}" if said.get("skipped") else ""]
            r.case(f"{scenario} {mode}", x | {"wrong": wrong})
            print(f"{scenario} {mode}: {wrong or 'right'}, {x['seconds']} s {note[0]}", flush=True)
            r.check(f"{scenario} {mode}", wrong or "right", "right", not wrong, note[0])
    return r.finish()


if __name__ == "__main__":
    sys.exit(main())
