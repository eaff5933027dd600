"""The comparison of suites.py and the joining of records of differential.py, on recorded outputs:
python3 -m unittest discover benches/device/tests"""
import os, sys, unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import differential, suites

JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5">
<testcase classname="numba.cuda.tests.cudadrv.test_cuda_memory.TestCudaMemory" name="test_allocate" time="0.1" />
<testcase classname="numba.cuda.tests.cudadrv.test_cuda_memory.TestCudaMemory" name="test_view" time="0.1"><failure message="x">tb</failure></testcase>
<testcase classname="numba.cuda.tests.cudadrv.test_cuda_memory.TestCudaMemory" name="test_view" time="0.1"><error message="x">tb</error></testcase>
<testcase classname="numba.cuda.tests.cudadrv.test_cuda_memory.TestCudaMemory" name="test_finalize[a.b-1]" time="0.0"><skipped message="m" /></testcase>
</testsuite></testsuites>"""

VERBOSE = """============================= test session starts ==============================
collected 3 items

cupy_tests/cuda_tests/test_memory.py::TestUnownedMemory::test_inherits_device[a.b-1] PASSED [ 33%]
cupy_tests/cuda_tests/test_memory.py::TestUnownedMemory::test_prints a line of its own
FAILED
cupy_tests/cuda_tests/test_memory.py::TestPool::test_alloc_async Fatal Python error: Segmentation fault
""".splitlines()


UNITTEST = """test_device_view (numba.cuda.tests.cudadrv.test_cuda_memory.TestCudaMemory.test_device_view) ... ok
test_ipc (numba.cuda.tests.cudapy.test_ipc.TestIpc.test_ipc) ... skipped 'no peers'
test_reset (numba.cuda.tests.cudadrv.test_reset.TestReset.test_reset) ... some text of its own
ERROR
test_old (numba.cuda.tests.cudadrv.test_old.TestOld) ... FAIL
test_crash (numba.cuda.tests.cudadrv.test_old.TestOld.test_crash) ... """.splitlines()


class Outcomes(unittest.TestCase):
    def test_of_unittest(self):
        self.assertEqual(suites.same_names(suites.outcomes_of_unittest(UNITTEST)), {
            "test_cuda_memory::TestCudaMemory::test_device_view": "passed",
            "test_ipc::TestIpc::test_ipc": "skipped",
            "test_reset::TestReset::test_reset": "error",
            "test_old::TestOld::test_old": "failed",
            "test_old::TestOld::test_crash": "died",
        })

    def test_of_a_record(self):
        self.assertEqual(suites.same_names(suites.outcomes_of_xml(JUNIT)), {
            "test_cuda_memory::TestCudaMemory::test_allocate": "passed",
            "test_cuda_memory::TestCudaMemory::test_view": "error",
            "test_cuda_memory::TestCudaMemory::test_finalize[a.b-1]": "skipped",
        })

    def test_of_a_process_that_died(self):
        self.assertEqual(suites.same_names(suites.outcomes_of_lines(VERBOSE)), {
            "test_memory::TestUnownedMemory::test_inherits_device[a.b-1]": "passed",
            "test_memory::TestUnownedMemory::test_prints": "failed",
            "test_memory::TestPool::test_alloc_async": "died",
        })

    def test_both_forms_name_a_test_alike(self):
        line = ["pkg/test_cuda_memory.py::TestCudaMemory::test_allocate PASSED [ 1%]"]
        self.assertIn("test_cuda_memory::TestCudaMemory::test_allocate", suites.same_names(suites.outcomes_of_lines(line)))


class Settings(unittest.TestCase):
    """run_settings, with runs that are given."""

    def ran(self, runs, left=1000, unit_seconds=100):
        class Args:
            pass

        Args.unit_seconds = unit_seconds
        given = iter(runs)
        before, suites.run_unit = suites.run_unit, lambda *rest: dict(next(given))
        try:
            return suites.run_settings(Args, "s", "f", [], {}, "d", suites.time.monotonic() + left)
        finally:
            suites.run_unit = before

    def test_alike_runs_once_natively(self):
        ended = {"rc": 0, "outcomes": {"t": "passed"}}
        runs, told = self.ran([ended] * 3)
        self.assertEqual(runs["native again"], {"t": "passed"})
        self.assertNotIn("native again", told)

    def test_a_difference_is_confirmed_natively(self):
        ended, failed = {"rc": 0, "outcomes": {"t": "passed"}}, {"rc": 1, "outcomes": {"t": "failed"}}
        runs, _ = self.ran([ended, ended, failed, ended])
        self.assertEqual(suites.compared(runs)[0]["t"]["share"], "failed")

    def test_a_run_cut_by_the_end_says_nothing(self):
        ended, cut = {"rc": 0, "outcomes": {"t": "passed"}}, {"rc": "timeout", "outcomes": {}}
        self.assertIsNone(self.ran([ended, ended, cut], left=50))
        self.assertIsNone(self.ran([cut]))

    def test_a_run_that_hangs_under_the_library_is_a_difference(self):
        ended, cut = {"rc": 0, "outcomes": {"t": "passed"}}, {"rc": "timeout", "outcomes": {"t": "died"}}
        runs, _ = self.ran([ended, ended, cut, ended])
        self.assertEqual(suites.compared(runs)[0]["t"]["share"], "died")

    def test_units_of_all_suites_take_turns(self):
        self.assertEqual(suites.in_turn({"a": [1, 2, 3], "b": [4]}), [1, 4, 2, 3])


    def test_differences_and_flaky_tests(self):
        good = {"a": "passed", "b": "failed", "c": "passed"}
        runs = {"native": good, "native again": good | {"c": "failed"}, "quota": good, "share": {"a": "died", "b": "failed"}}
        differences, flaky = suites.compared(runs)
        self.assertEqual(differences, {"a": {"native": "passed", "native again": "passed", "quota": "passed", "share": "died"}})
        self.assertEqual(list(flaky), ["c"])


class Joining(unittest.TestCase):
    def test_counts_add_up_and_findings_are_one(self):
        part = lambda seed: {"compared": {"quota": 10}, "findings": [{"configuration": "quota", "kind": "k", "programs": 2, "seed": seed}], "native_deaths": [{"how": "s", "seed": seed, "programs": 1}],
                             "operations": {"mem_alloc": {"0": 5}}, "kept_bytes": {"quota": seed}, "next_seed": seed + 10}
        whole = differential.merged(part(0), part(10))
        self.assertEqual(whole["compared"], {"quota": 20})
        self.assertEqual([(f["programs"], f["seed"]) for f in whole["findings"]], [(4, 0)])
        self.assertEqual((whole["native_deaths"][0]["programs"], whole["operations"]["mem_alloc"]["0"], whole["kept_bytes"]["quota"], whole["next_seed"]), (2, 10, 10, 20))

    def test_what_a_worker_keeps_stays_with_its_native_figure(self):
        def part(kept, natively):
            return {"compared": {}, "findings": [], "native_deaths": [], "operations": {}, "kept_bytes": {"quota": kept}, "kept_bytes_natively": natively, "next_seed": 1}

        for first, second, expected in [
            (part(74, {"quota": 72}), part(60, {"quota": 50}), (74, {"quota": 72})),
            (part(60, {"quota": 50}), part(74, {"quota": 72}), (74, {"quota": 72})),
            (part(60, {"quota": 50}), part(74, {}), (74, {})),
        ]:
            whole = differential.merged(first, second)
            self.assertEqual((whole["kept_bytes"]["quota"], whole["kept_bytes_natively"]), expected)

    def test_a_death_in_the_driver_is_its_own_if_native_workers_die_there(self):
        def part(**natively):
            found = {"configuration": "quota", "kind": "worker signal: 11 over module_unload, with a frame of the library", "programs": 1, "seed": 403, "governed": "g", "natively": natively or None}
            return {"compared": {"quota": 10}, "findings": [found], "native_deaths": [], "operations": {}, "kept_bytes": {}, "next_seed": 10, "programs_and_seconds": {"native": [10, 1.0], "quota": [10, 1.0]}}

        here, there = {"runs": 20, "died_alike": 2, "frames": ["libcuda.so.1+0x1"]}, {"runs": 7, "died_alike": 3, "frames": ["libcuda.so.1+0x1"]}
        self.assertEqual(len(differential.drivers_own(part(**here))), 1)
        self.assertEqual(differential.drivers_own(part()), [])
        self.assertEqual(differential.drivers_own(part(**here | {"died_alike": 0})), [])
        whole = differential.merged(part(**here), part(**there))
        self.assertEqual(whole["findings"][0]["natively"], {"runs": 27, "died_alike": 5, "frames": ["libcuda.so.1+0x1"]})
        # One whose native runs are not known, live, or die elsewhere: both are a finding.
        for other in ({}, there | {"died_alike": 0}, there | {"frames": ["libcuda.so.1+0x2"]}):
            self.assertEqual(differential.drivers_own(differential.merged(part(**here), part(**other))), [])


if __name__ == "__main__":
    unittest.main()
