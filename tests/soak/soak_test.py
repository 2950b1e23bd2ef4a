"""Tests of the soak itself: that the judge sees what is not flat, and that the picture shows what was sampled."""
import random
import re
import unittest
import xml.dom.minidom

from tests.soak import judge, plot, soak
from tests.soak.judge import Bound

STEADY = {"rss_anon": 50e6, "vm_rss": 80e6, "files": 60, "threads": 7, "log": 128e6, "store": 40e6, "p50": 0.4e-3,
          "p99": 2e-3, "max": 9e-3, "cpu": 0.3, "rate": 1300.0, "revisions": 900.0}
COUNT = 720
INTERVAL_S = 5.0


def series(change=None, field=None, count=COUNT, seed=1):
    """Samples that are flat but for noise; `change(part, value)` alters one field at that part of the time."""
    rng = random.Random(seed)
    samples = []
    for number in range(count):
        sample = {name: value * rng.uniform(0.97, 1.03) for name, value in STEADY.items()}
        sample["time"] = 1000 + number * INTERVAL_S
        if change:
            sample[field] = change(number / (count - 1), sample[field])
        samples.append(sample)
    return samples


def failed(samples, form):
    return [verdict.bound.field for verdict in judge.judge(samples, form.bounds) if not verdict.passed]


def creeping(to):
    """Grows evenly, to so many times its first value."""
    return lambda part, value: value * (1 + (to - 1) * part)


class JudgeTest(unittest.TestCase):
    """Made-up series, good and bad."""

    def test_flat(self):
        for form in (soak.LONG, soak.SHORT):
            self.assertEqual(failed(series(), form), [])

    def test_what_is_no_growth(self):
        for name, field, change in (
                ("warming up", "rss_anon", lambda part, value: value * min(1, 0.3 + part * 4)),
                ("a tooth of a saw, 30 times", "log", lambda part, value: 64e6 + 64e6 * (part * 30 % 1)),
                ("a single peak", "p99", lambda part, value: 0.5 if 0.9 < part < 0.905 else value),
                ("shrinking", "store", lambda part, value: value * (1 - part / 2)),
                ("faster", "rate", lambda part, value: value * (1 + part)),
                ("a bulge in the middle", "rss_anon", lambda part, value: value * (3 if 0.5 < part < 0.6 else 1))):
            with self.subTest(name):
                self.assertEqual(failed(series(change, field), soak.LONG), [])

    def test_every_measure_can_fail(self):
        """In both forms, and the others do not fail with it."""
        for form, factor in ((soak.LONG, 1.2), (soak.SHORT, 3.5)):
            for bound in form.bounds:
                with self.subTest(bound.field, retention=form.retention):

                    def change(part, value, bound=bound, factor=factor):
                        if part < 0.6:
                            return value
                        return value / factor if bound.less_is_bad else value * factor + 1.1 * bound.slack
                    self.assertEqual(failed(series(change, bound.field), form), [bound.field])

    def test_small_leaks_in_an_hour(self):
        for name, field, change in (
                ("memory creeps up by a half", "rss_anon", creeping(1.5)),
                ("a file in three minutes is left open", "files", lambda part, value: value + 20 * part),
                ("a thread is left", "threads", lambda part, value: 7 + 3 * part),
                ("a step late in the run", "rss_anon", lambda part, value: value * (1.4 if part > 0.7 else 1)),
                ("segments that never go", "log", creeping(3)),
                ("history that is not compacted", "store", creeping(1.7)),
                ("latency creeps up by a half", "p50", creeping(1.6)),
                ("the tail creeps up", "p99", creeping(2.2)),
                ("the processor works for nothing", "cpu", creeping(1.6)),
                ("less is done", "rate", creeping(0.75))):
            with self.subTest(name):
                self.assertEqual(failed(series(change, field), soak.LONG), [field])

    def test_a_measure_that_is_missing_at_times(self):
        samples = series()
        for sample in samples[::3]:
            sample["p99"] = None
        self.assertEqual(failed(samples, soak.LONG), [])

    def test_too_few_samples(self):
        for samples in ([], series(count=3), [{**sample, "p50": None} for sample in series()]):
            with self.assertRaises(judge.TooFewSamples):
                judge.judge(samples, soak.LONG.bounds)

    def test_windows(self):
        samples = [{"time": 100 + number, "x": number} for number in range(101)]
        self.assertEqual(judge.window(samples, "x", judge.EARLY), list(range(20, 41)))
        self.assertEqual(judge.window(samples, "x", judge.LATE), list(range(80, 101)))

    def test_limits(self):
        up = Bound("x", "X", "", 1, ratio=1.1, slack=15)
        down = Bound("x", "X", "", 1, ratio=1.25, slack=0, less_is_bad=True)
        for bound, late, passed in ((up, 115, True), (up, 116, False), (up, 0, True),
                                    (down, 80, True), (down, 79, False), (down, 1000, True)):
            with self.subTest(late=late):
                samples = [{"time": number, "x": 100 if number < 50 else late} for number in range(101)]
                verdict = judge.judge_one(samples, bound)
                self.assertEqual((verdict.early, verdict.late, verdict.passed), (100, late, passed))
                self.assertTrue(verdict.text.startswith("ok  " if passed else "FAIL"))


class TableTest(unittest.TestCase):
    """What goes into the page."""

    def test_table(self):
        table = soak.table_of(judge.judge(series(creeping(3), "rss_anon"), soak.LONG.bounds))
        self.assertEqual({len(line) for line in table}, {len(table[0])})
        self.assertEqual([line[-1] for line in table[1:]], ["not flat"] + ["flat"] * (len(soak.LONG.bounds) - 1))
        self.assertEqual(table[1][0], "RssAnon")
        self.assertRegex(table[1][3], r"^≤ \d+\.\d MB$")


class PlotTest(unittest.TestCase):
    """The picture is well formed and its lines go where the values are."""

    def lines(self, samples):
        text = plot.draw(samples, soak.PANELS, "one & only")
        xml.dom.minidom.parseString(text)
        return [[tuple(map(float, point.split(","))) for point in line.split()]
                for line in re.findall(r'<polyline points="([^"]*)"', text)]

    def test_every_measure_has_a_line(self):
        lines = self.lines(series())
        self.assertEqual(len(lines), sum(len(panel.lines) for panel in soak.PANELS))
        for line in lines:
            self.assertLessEqual(len(line), plot.POINTS_MAX)
            self.assertGreater(len(line), plot.POINTS_MAX // 3)
            self.assertEqual(line, sorted(line))  # from left to right

    def test_growth_rises(self):
        line = self.lines(series(creeping(4), "rss_anon"))[0]
        self.assertLess(line[-1][1], line[0][1] - plot.PANEL_HEIGHT / 2)  # up is less, in an SVG
        for line in self.lines(series()):
            self.assertLess(abs(line[-1][1] - line[0][1]), plot.PANEL_HEIGHT / 5)

    def test_lines_stay_in_their_panels(self):
        for number, panel in enumerate(soak.PANELS):
            top = plot.TOP + number * (plot.PANEL_HEIGHT + plot.GAP)
            first = sum(len(each.lines) for each in soak.PANELS[:number])
            for line in self.lines(series(seed=number))[first:first + len(panel.lines)]:
                self.assertTrue(all(top <= y <= top + plot.PANEL_HEIGHT for _, y in line), panel.title)

    def test_few_samples(self):
        for count in (1, 2, 5):
            self.lines(series(count=max(count, 2))[:count])


class NumberTest(unittest.TestCase):
    """The ends of axes."""

    def test_round_up(self):
        for value, wanted in ((0, 1), (0.9, 1), (1, 1), (1.01, 2), (2.2, 2.5), (3, 5), (51, 100), (100, 100),
                              (0.03, 0.05)):
            self.assertAlmostEqual(plot.round_up(value), wanted)


if __name__ == "__main__":
    unittest.main()
