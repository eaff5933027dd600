"""Test suites by others, natively and under the preload library, and which tests end otherwise.

    python3 benches/device/suites.py --preload libfcsp_cuda.so --out suites.json --seconds 480
    python3 benches/device/suites.py ... --only numba,cupy --folder cupy=/path/to/cupy/tests

Each suite runs four times: natively twice, with a memory quota, and with a share. A test whose two native outcomes differ is
flaky and counts for nothing. A suite is split into files; each file is one pytest process, so that a crash costs that file
only. What a process that died had not reported counts as `died`. With --seconds the files that fit are run, in a fixed order
that takes from every suite in turn; the record says which were left out.

| suite | needs |
|---|---|
| numba | numba-cuda with its tests, as its wheel has them; filecheck from PyPI for some |
| cupy | --folder cupy=FOLDER: `tests` of CuPy's sources, which its wheel leaves out |
| torch | --folder torch=FOLDER: `test` of PyTorch's sources |
| triton | --folder triton=FOLDER: `python/test/unit` of Triton's sources |
| jax | --folder jax=FOLDER: `tests` of JAX's sources |
"""
import importlib.util, os, re, sys, time, xml.etree.ElementTree

import common
from common import GIB

SETTINGS = ("native", "native again", "quota", "share")
# Files of a suite, first the ones about memory, streams and launches. Folders are searched for test_*.py and *_test.py.
CHOSEN = {
    "numba": ["cudadrv", "cudapy/test_array.py", "cudapy/test_stream_api.py", "cudapy/test_multithreads.py", "cudapy/test_ipc.py", "cudapy/test_cooperative_groups.py",
              "cudapy/test_dispatcher.py", "cudapy/test_gufunc.py", "cudapy/test_fastmath.py", "cudapy/test_reduction.py", "cudapy"],
    "cupy": ["cupy_tests/cuda_tests", "cupy_tests/core_tests/test_raw.py", "cupy_tests/core_tests/test_ndarray.py", "cupy_tests/creation_tests"],
    "torch": ["test_cuda.py", "test_cuda_multigpu.py", "test_cuda_expandable_segments.py", "test_cuda_primary_ctx.py"],
    "triton": ["runtime", "cuda", "language/test_core.py"],
    "jax": ["memories_test.py", "pmap_test.py", "random_test.py", "lax_test.py"],
}


def extra(p):
    p.add_argument("--only", default=",".join(CHOSEN), help="suites, separated by commas")
    p.add_argument("--folder", action="append", default=[], metavar="SUITE=FOLDER", help="where a suite's tests are")
    p.add_argument("--seconds", type=int, default=480, help="begin no file after so long")
    p.add_argument("--file-seconds", type=int, default=90, help="longest time for one file in one setting")
    p.add_argument("--memory", default=str(32 * GIB), help="the memory quota")
    p.add_argument("--share", type=float, default=50, help="the share, in percent")
    p.add_argument("--select", default="", help="only tests that this pytest expression (-k) selects")


# ---- outcomes -------------------------------------------------------------------------------------------------------

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


# ---- running --------------------------------------------------------------------------------------------------------

def folder_of(suite, given):
    if suite in given:
        return given[suite]
    if suite == "numba":
        spec = importlib.util.find_spec("numba_cuda")
        if spec and spec.submodule_search_locations:
            path = os.path.join(list(spec.submodule_search_locations)[0], "numba", "cuda", "tests")
            return path if os.path.isdir(path) else None
    return None


def files_of(suite, folder):
    """The suite's files in order, each once."""
    files = []
    for chosen in CHOSEN[suite]:
        path = os.path.join(folder, chosen)
        if os.path.isfile(path):
            files.append(path)
        for top, folders, names in os.walk(path):
            folders.sort()
            files += [os.path.join(top, name) for name in sorted(names) if re.fullmatch(r"test_.*\.py|.*_test\.py", name)]
    return list(dict.fromkeys(files))


def target(suite, folder, file, given):
    """How pytest is told a file: numba's tests belong to a package, whose import the path alone would miss."""
    if suite == "numba" and suite not in given:
        return ["--pyargs", "numba.cuda.tests." + os.path.relpath(file, folder)[:-3].replace(os.sep, ".")]
    return [file]


def environment(args, setting):
    if setting == "quota":
        return common.preload_env(args.preload, common.tenant_name("suite"), memory=args.memory)
    if setting == "share":
        return common.preload_env(args.preload, common.tenant_name("suite"), compute=args.share, mode="balanced")
    return common.clean_env()


def run_file(args, suite, folder, file, given, setting, scratch, limit):
    record = os.path.join(scratch, "junit.xml")
    if os.path.exists(record):
        os.remove(record)
    argv = [sys.executable, "-m", "pytest", "-v", "-rN", "--tb=line", "-p", "no:cacheprovider", "-p", "no:randomly", "--color=no", f"--junitxml={record}"]
    if args.select:
        argv += ["-k", args.select]
    child = common.Child(argv + target(suite, folder, file, given), environment(args, setting), scratch if suite == "numba" else folder)
    child.p.stdin.close()
    rc = child.wait(limit)
    try:
        with open(record) as f:
            found = same_names(outcomes_of_xml(f.read()))
    except (OSError, xml.etree.ElementTree.ParseError):
        found = same_names(outcomes_of_lines(child.stdout()))
    reasons = [line for line in child.stdout() if re.match(r"^(/|\S+\.py:\d+: |E  )", line)][-20:]
    return {"rc": rc, "seconds": round(time.monotonic() - child.began, 1), "outcomes": found, "end": child.tail(8) if rc not in (0, 1, 5) else "", "reasons": reasons}


def counted(found):
    counts = {}
    for outcome in found.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def main():
    args = common.arguments(__doc__, extra)
    given = {name: os.path.abspath(path) for name, path in (text.split("=", 1) for text in args.folder)}
    record = common.Record(args, "suites")
    scratch, deadline = common.scratch(), time.monotonic() + args.seconds
    queues = {}
    for suite in args.only.split(","):
        folder = folder_of(suite, given)
        if folder is None:
            record.case(suite, {"left_out": "not installed with its tests, and no --folder"})
            continue
        queues[suite] = (folder, files_of(suite, folder))
        record.case(suite, {"folder": folder, "files": {}, "differences": {}, "flaky": {}, "not_run": []})
    while any(files for _, files in queues.values()):
        for suite, (folder, files) in queues.items():
            if not files:
                continue
            file, case = files.pop(0), record.data["cases"][suite]
            name = os.path.relpath(file, folder)
            left = deadline - time.monotonic()
            if left < 10:
                case["not_run"].append(name)
                continue
            runs, told = {}, {}
            for setting in SETTINGS:
                limit = min(args.file_seconds, max(10, deadline + 60 - time.monotonic()))
                ran = run_file(args, suite, folder, file, given, setting, scratch, limit)
                told[setting] = {"rc": ran["rc"], "seconds": ran["seconds"], "counts": counted(ran["outcomes"])} | ({"end": ran["end"]} if ran["end"] else {})
                runs[setting] = ran["outcomes"]
                if setting != "native" and ran["outcomes"] != runs["native"]:
                    told[setting]["reasons"] = ran["reasons"]
                if setting == "native" and not ran["outcomes"]:
                    break
            case["files"][name] = told
            if len(runs) == len(SETTINGS):
                differences, flaky = compared(runs)
                case["differences"].update(differences)
                case["flaky"].update(flaky)
                line = ", ".join(f"{setting} {told[setting]['counts']} {told[setting]['rc']}" for setting in SETTINGS)
                print(f"{suite} {name}: {line}" + (f"  DIFFERS: {differences}" if differences else ""), flush=True)
            else:
                print(f"{suite} {name}: nothing ran natively ({told['native']['rc']}): {told['native'].get('end', '')[-300:]}", flush=True)
            record.write()
    for suite, (_, _) in queues.items():
        case = record.data["cases"][suite]
        tests = sum(sum(told["native"]["counts"].values()) for told in case["files"].values())
        record.check(f"{suite}: tests compared", tests, "> 0", tests > 0)
        record.check(f"{suite}: tests that end otherwise", len(case["differences"]), "0", not case["differences"], ", ".join(case["differences"])[:300])
        record.check(f"{suite}: flaky natively", len(case["flaky"]), "any", True)
        record.check(f"{suite}: files left out for want of time", len(case["not_run"]), "any", True)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main())
