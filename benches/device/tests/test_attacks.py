"""What attacks.py makes of a tenant's bins, and where it takes the words of a page to be: python3 -m unittest discover benches/device/tests"""
import os, re, sys, types, unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import attacks


class Kept:
    """A record that only keeps what it is told."""

    def __init__(self):
        self.checks, self.cases = [], {}

    def case(self, name, value):
        self.cases[name] = value

    def check(self, name, value, bound, ok, note=""):
        self.checks.append((value, ok))


def bins(*seconds):
    """Bins of 10 ms with these parts of the device, second by second."""
    return {"launched": 1, "had_ns": [part * 1e7 for part in seconds for _ in range(100)]}


class Verdicts(unittest.TestCase):
    def strict(self, *seconds, **options):
        b = types.SimpleNamespace(record=Kept())
        attacks.strict_verdict(b, "x", 0.10, [bins(*seconds)], len(seconds), **options)
        return b.record.checks[0]

    def test_what_several_had_is_added(self):
        self.assertEqual([round(x, 6) for x in attacks.by_second([bins(0.25, 0.5), bins(0.25, 0.125)], 2)], [0.5, 0.625])

    def test_each_second_after_the_first_counts(self):
        self.assertTrue(self.strict(0.9, 0.11, 0.09)[1])
        value, ok = self.strict(0.1, 0.1, 0.13, 0.1)
        self.assertFalse(ok)
        self.assertAlmostEqual(value, 0.13)
        self.assertFalse(self.strict(0.1, 0.1, 0.05, 0.1)[1])

    def test_less_is_right_for_who_pays_back_or_asks_for_less(self):
        self.assertTrue(self.strict(0.9, 0.0, 0.1, pays_back=True)[1])
        self.assertFalse(self.strict(0.1, 0.13, 0.0, pays_back=True)[1])
        self.assertTrue(self.strict(0.1, 0.05, 0.05, demand=0.05)[1])
        self.assertFalse(self.strict(0.1, 0.01, 0.05, demand=0.05)[1])

    def test_a_program_that_failed_is_no_success(self):
        b = types.SimpleNamespace(record=Kept())
        attacks.strict_verdict(b, "x", 0.10, [bins(0.1, 0.1), {"launched": 0, "had_ns": [], "error": "no device"}], 2)
        self.assertFalse(b.record.checks[0][1])

    def test_a_victim_is_judged_by_its_worst_second(self):
        b = types.SimpleNamespace(record=Kept())
        attacks.victim_verdict(b, "x", bins(0.0, 0.5, 0.43), 3, 0.42)
        attacks.victim_verdict(b, "x", bins(0.5, 0.5, 0.41), 3, 0.42)
        self.assertEqual([ok for _, ok in b.record.checks], [True, False])


class Layout(unittest.TestCase):
    def test_the_words_are_where_the_library_has_them(self):
        with open(os.path.join(HERE, "../../../fcsp-core/src/share/claim_page.rs")) as f:
            text = f.read()
        fields = re.search(r"pub struct ClaimPage \{(.*?)\n\}", text, re.S).group(1)
        at, found = 0, {}
        for name, kind in re.findall(r"^    (\w+): (AtomicU64|AtomicU32|\[AtomicU64; Class::ALL.len\(\)\]),", fields, re.M):
            found[name] = at
            at += {"AtomicU64": 8, "AtomicU32": 4}.get(kind, 6 * 8)
        self.assertEqual(attacks.WORD, {name: found[name] for name in attacks.WORD})

    def test_every_lie_is_about_a_word(self):
        for words in attacks.LIES.values():
            self.assertLessEqual(set(words) - {"wake"}, set(attacks.WORD))
        self.assertLessEqual(set(attacks.QUICK_LIES), set(attacks.LIES))


if __name__ == "__main__":
    unittest.main()
