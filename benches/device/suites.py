"""Test suites by others, natively and under the preload library, and which tests end otherwise.

    python3 benches/device/suites.py --preload libfcsp_cuda.so --out suites.json --seconds 480
    python3 benches/device/suites.py ... --only numba,cupy --folder cupy=/path/to/cupy/tests

Each suite runs natively, with a memory quota and with a share; where something differs, natively again. A test whose two
native outcomes differ is flaky and counts for nothing. A suite is split into units of some files, each a process, so that a
crash costs its unit only. A test that a process died in is `died`; those after it are missing. With --seconds the units that fit
are run, from every suite in turn; the record says which were left out. --lanes runs several units at once: most tests wait
for a compiler, not for the device.

| suite | needs |
|---|---|
| numba | numba-cuda with its tests, as its wheel has them; filecheck from PyPI for some |
| cupy | --folder cupy=FOLDER: `tests` of CuPy's sources, which its wheel leaves out |
| torch | --folder torch=FOLDER: `test` of PyTorch's sources |
| triton | --folder triton=FOLDER: `python/test/unit` of Triton's sources |
| jax | --folder jax=FOLDER: `tests` of JAX's sources |
"""
import importlib.util, os, re, sys, threading, time, xml.etree.ElementTree

import common
from common import GIB

SETTINGS = ("native", "native again", "quota", "share")
# Units of a suite, first those about memory, streams and launches. A folder is one unit; a folder
# with a star is divided into units of UNIT files. Files are named test_*.py or *_test.py.
UNIT = 4
CHOSEN = {
    "numba": ["cudadrv/*", "cudapy/*"],
    "cupy": ["cupy_tests/cuda_tests/test_memory.py", "cupy_tests/cuda_tests/test_stream.py", "cupy_tests/cuda_tests/test_graph.py", "cupy_tests/cuda_tests/*", "cupy_tests/core_tests/test_raw.py", "cupy_tests/core_tests/test_ndarray.py"],
    "torch": ["test_cuda.py", "test_cuda_expandable_segments.py", "test_cuda_primary_ctx.py"],
    "triton": ["runtime", "cuda"],
    "jax": ["memories_test.py", "pmap_test.py", "lax_test.py"],
}


def extra(p):
    p.add_argument("--only", default=",".join(CHOSEN), help="suites, separated by commas")
    p.add_argument("--folder", action="append", default=[], metavar="SUITE=FOLDER", help="where a suite's tests are")
    p.add_argument("--seconds", type=int, default=480, help="end after so long")
    p.add_argument("--unit-seconds", type=int, default=120, help="longest time for one unit in one setting")
    p.add_argument("--lanes", type=int, default=1, help="units that run at once; tests that read the device's free memory are flaky with more than one")
    p.add_argument("--memory", default=str(32 * GIB), help="the memory quota")
    p.add_argument("--share", type=float, default=50, help="the share, in percent")
    p.add_argument("--sim", help="a folder with the simulated driver: for a trial of this script without a device")
    p.add_argument("--select", default="", help="only tests that this pytest expression (-k) selects")


# ---- outcomes ------------------------------------------------------------------------------------

def outcomes_of_xml(text):
    """{test: outcome} of a JUnit record: passed, failed, error or skipped."""
    found = {}
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        outcome = "error" if "error" in kinds else "failed" if "failure" in kinds else "skipped" if "skipped" in kinds else "passed"
        # A test can be reported twice, for its body and its teardown: the worse counts.
        order = ("passed", "skipped", "failed", "error")
        found[name] = max(found.get(name, outcome), outcome, key=order.index)
    return found


_LINE = re.compile(r"^(?P<file>[^\s:]+\.py)::(?P<test>\S.*?) (?P<outcome>PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
_BEGUN = re.compile(r"^(?P<file>[^\s:]+\.py)::(?P<test>\S+)")
_WORDS = {"PASSED": "passed", "FAILED": "failed", "ERROR": "error", "SKIPPED": "skipped", "XFAIL": "skipped", "XPASS": "passed"}


def outcomes_of_lines(lines):
    """{test: outcome} of `pytest -v`, for a process that died before it wrote its record. The test in whose midst it died is `died`."""
    found, begun = {}, None
    for line in lines:
        whole, start = _LINE.match(line), _BEGUN.match(line)
        if start:
            begun = "::".join([start["file"][:-3].replace("/", "."), *start["test"].split("::")])
            found[begun] = "died"
        if whole:
            name = "::".join([whole["file"][:-3].replace("/", "."), *whole["test"].split("::")])
            found.pop(begun, None)
            found[name], begun = _WORDS[whole["outcome"]], None
        elif begun and line.strip() in _WORDS:
            found[begun], begun = _WORDS[line.strip()], None
    return found


_UNITTEST = re.compile(r"^(?P<test>\w+) \((?P<where>[\w.]+)\)")
_ENDS = re.compile(r"\.\.\. (?P<outcome>ok|FAIL|ERROR|skipped|expected failure|unexpected success)\b|^(?P<alone>ok|FAIL|ERROR)$")
_UNITTEST_WORDS = {"ok": "passed", "FAIL": "failed", "ERROR": "error", "skipped": "skipped", "expected failure": "skipped", "unexpected success": "failed"}


def outcomes_of_unittest(lines):
    """{test: outcome} of `unittest -v`, which writes to stderr. A test prints between its name and its outcome; the one that a process died in is `died`."""
    found, begun = {}, None
    for line in lines:
        start, end = _UNITTEST.match(line), _ENDS.search(line)
        if start and "." in start["where"]:
            where = start["where"].split(".")
            begun = "::".join([*(where if where[-1] != start["test"] else where[:-1]), start["test"]])
            found[begun] = "died"
        if begun and end:
            found[begun], begun = _UNITTEST_WORDS[end["outcome"] or end["alone"]], None
    return found


def same_names(found):
    """Test names as both forms can be told: without the classes' dots and the folder in front."""
    short = {}
    for name, outcome in found.items():
        parts = re.split(r"::|\.", name.split("[", 1)[0])
        short["::".join(parts[-3:]) + name[len(name.split("[", 1)[0]):]] = outcome
    return short


def compared(runs):
    """What differs: runs is {setting: {test: outcome}}. {test: {setting: outcome}} for the governed settings, and the flaky tests."""
    differences, flaky = {}, {}
    native, again = runs["native"], runs["native again"]
    names = set().union(*runs.values())
    for name in sorted(names):
        row = {setting: runs[setting].get(name, "missing") for setting in SETTINGS if setting in runs}
        if native.get(name) != again.get(name):
            flaky[name] = row
        elif any(row[setting] != row["native"] for setting in row):
            differences[name] = row
    return differences, flaky


# ---- running -------------------------------------------------------------------------------------

def folder_of(suite, given):
    if suite in given:
        return given[suite]
    if suite == "numba":
        spec = importlib.util.find_spec("numba_cuda")
        if spec and spec.submodule_search_locations:
            path = os.path.join(list(spec.submodule_search_locations)[0], "numba", "cuda", "tests")
            return path if os.path.isdir(path) else None
    return None


def units_of(suite, folder):
    """The suite's units in order, each a list of files; no file twice."""
    units, seen = [], set()
    for chosen in CHOSEN[suite]:
        path, files = os.path.join(folder, chosen.removesuffix("/*")), []
        if os.path.isfile(path):
            files.append(path)
        for top, folders, names in os.walk(path):
            folders.sort()
            files += [os.path.join(top, name) for name in sorted(names) if re.fullmatch(r"test_.*\.py|.*_test\.py", name)]
        files = [file for file in dict.fromkeys(files) if file not in seen]
        seen.update(files)
        step = UNIT if chosen.endswith("/*") else max(1, len(files))
        units += [files[at:at + step] for at in range(0, len(files), step)]
    return units


def environment(args, setting):
    if setting == "quota":
        env = common.preload_env(args.preload, common.tenant_name("suite"), memory=args.memory)
    elif setting == "share":
        env = common.preload_env(args.preload, common.tenant_name("suite"), compute=args.share, mode="balanced")
    else:
        env = common.clean_env()
    if args.sim:
        env |= {"LD_LIBRARY_PATH": os.path.abspath(args.sim), "FCSP_SIM": "h100"}
    return env


def run_unit(args, suite, folder, files, given, setting, scratch, limit):
    record = os.path.join(scratch, "junit.xml")
    if os.path.exists(record):
        os.remove(record)
    own = suite == "numba" and suite not in given
    if own:
        # numba's own runner: pytest takes the package's folder for a package named cuda and imports
        # none of it.
        names = ["numba.cuda.tests." + os.path.relpath(file, folder)[:-3].replace(os.sep, ".") for file in files]
        argv = [sys.executable, "-m", "numba.runtests", "-v", *names]
    else:
        argv = [sys.executable, "-m", "pytest", "-v", "-rN", "--tb=line", "--continue-on-collection-errors", "-p", "no:cacheprovider", "--color=no", f"--junitxml={record}", *files]
        if args.select:
            argv += ["-k", args.select]
    child = common.Child(argv, environment(args, setting), scratch if own else folder)
    child.p.stdin.close()
    rc = child.wait(limit)
    err = [line for line in child.err if line is not None]
    if own:
        found = outcomes_of_unittest(err)
    else:
        try:
            with open(record) as f:
                found = outcomes_of_xml(f.read())
        except (OSError, xml.etree.ElementTree.ParseError):
            found = outcomes_of_lines(child.stdout())
    told = [line for line in (err if own else child.stdout() + err) if re.search(r"\b(Error|error|E  |FAIL|CUDA_ERROR|Exception)", line)][-20:]
    return {"rc": rc, "seconds": round(time.monotonic() - child.began, 1), "outcomes": same_names(found), "errors": told, "end": (err + child.stdout())[-6:] if rc != 0 else []}


def counted(found):
    counts = {}
    for outcome in found.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def run_settings(args, suite, folder, files, given, scratch, deadline):
    """One unit in every setting: ({setting: {test: outcome}}, {setting: what else is told}). None where the time ended before
    a setting did, or the unit is too long natively: what is missing then says nothing."""
    runs, told = {}, {}

    def go(setting):
        left = deadline - time.monotonic()
        if left < 5:
            return False
        limit = min(args.unit_seconds, left)
        ran = run_unit(args, suite, folder, files, given, setting, scratch, limit)
        if ran["rc"] == "timeout" and (limit < args.unit_seconds or setting == "native"):
            return False
        runs[setting] = ran.pop("outcomes")
        told[setting] = {"counts": counted(runs[setting])} | {key: value for key, value in ran.items() if value}
        return True

    if not all(go(setting) for setting in ("native", "quota", "share")):
        return None
    if any(runs[setting] != runs["native"] for setting in ("quota", "share")):
        # A difference that no second native run could confirm is none.
        if not go("native again"):
            return None
    else:
        runs["native again"] = runs["native"]
    return runs, told


def run_lane(args, record, queue, given, deadline, only):
    """Takes units from the queue, until it is empty or the time is up, and enters them into the record under the lock `only`."""
    scratch = common.scratch()
    while True:
        with only:
            if not queue:
                return
            suite, folder, files = queue.pop(0)
        name = os.path.relpath(files[0], folder) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        ran = run_settings(args, suite, folder, files, given, scratch, deadline)
        with only:
            case = record.data["cases"][suite]
            if ran is None:
                case["not_run"].append(name)
                continue
            runs, told = ran
            case["units"][name] = told
            differences, flaky = compared(runs)
            case["differences"].update(differences)
            case["flaky"].update(flaky)
            line = ", ".join(f"{setting} {t['counts']} rc {t.get('rc', 0)} {t.get('seconds', 0)} s" for setting, t in told.items())
            print(f"{suite} {name}: {line}" + (f"\n  DIFFERS: {differences}" if differences else ""), flush=True)
            if not runs["native"] or set(runs["native"].values()) == {"error"}:
                print(f"  natively: {told['native'].get('end')}", flush=True)
            record.write()


def in_turn(units):
    """One list of the units of all suites, from every suite in turn."""
    queue, units = [], {suite: list(queued) for suite, queued in units.items()}
    while any(units.values()):
        queue += [queued.pop(0) for queued in units.values() if queued]
    return queue


def main():
    args = common.arguments(__doc__, extra)
    given = {name: os.path.abspath(path) for name, path in (text.split("=", 1) for text in args.folder)}
    record = common.Record(args, "suites")
    deadline = time.monotonic() + args.seconds
    units = {}
    for suite in args.only.split(","):
        folder = folder_of(suite, given)
        if folder is None:
            record.case(suite, {"left_out": "not installed with its tests, and no --folder"})
            continue
        units[suite] = [(suite, folder, files) for files in units_of(suite, folder)]
        record.case(suite, {"folder": folder, "units": {}, "differences": {}, "flaky": {}, "not_run": []})
    queue, only = in_turn(units), threading.Lock()
    lanes = [threading.Thread(target=run_lane, args=(args, record, queue, given, deadline, only)) for _ in range(args.lanes)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    for suite in units:
        case = record.data["cases"][suite]
        tests = sum(sum(told["native"]["counts"].values()) for told in case["units"].values())
        record.check(f"{suite}: tests compared", tests, "> 0", tests > 0)
        record.check(f"{suite}: tests that end otherwise", len(case["differences"]), "0", not case["differences"], ", ".join(case["differences"])[:300])
        record.check(f"{suite}: flaky natively", len(case["flaky"]), "any", True)
        record.check(f"{suite}: units left out for want of time", len(case["not_run"]), "any", True)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main())
