"""Whether a series of samples is flat: the medians of two windows of it are compared. Knows nothing of members.

    bounds = [Bound("rss_anon", "RssAnon", "MB", 1e6, ratio=1.1, slack=8e6)]
    for verdict in judge(samples, bounds):
        verdict.passed, verdict.text

The first window is what lies between 20 and 40 % of the time: what a fresh member still has to grow into has been grown
into by then. The second one is the last 20 %. Only growth is a fault, or for what should be much, such as a rate, loss.
"""
import statistics
from dataclasses import dataclass

EARLY = (0.2, 0.4)
LATE = (0.8, 1.0)
SAMPLES_MIN = 3  # in each window; fewer say nothing


@dataclass(frozen=True)
class Bound:
    """How far one measure may go up: by a factor or by an amount, whichever is more. With less_is_bad: down."""

    field: str  # of a sample
    title: str
    unit: str
    scale: float  # what is shown is the value divided by this
    ratio: float
    slack: float
    less_is_bad: bool = False
    digits: int = 1


@dataclass(frozen=True)
class Verdict:
    """What became of one bound."""

    bound: Bound
    early: float
    late: float
    limit: float
    least: float
    most: float
    passed: bool

    def shown(self, value):
        return f"{value / self.bound.scale:.{self.bound.digits}f} {self.bound.unit}"

    @property
    def text(self):
        limit = "at least" if self.bound.less_is_bad else "at most"
        return (f"{'ok  ' if self.passed else 'FAIL'} {self.bound.title}: {self.shown(self.early)} early, "
                f"{self.shown(self.late)} late ({limit} {self.shown(self.limit)})")


class TooFewSamples(Exception):
    """Nothing can be said."""


def window(samples, field, share):
    """The values of `field` in a share of the time, such as (0.8, 1.0); samples have a `time` that grows."""
    begin, end = samples[0]["time"], samples[-1]["time"]
    first, last = (begin + (end - begin) * part for part in share)
    return [sample[field] for sample in samples if first <= sample["time"] <= last and sample[field] is not None]


def judge_one(samples, bound):
    early_values, late_values = (window(samples, bound.field, share) for share in (EARLY, LATE))
    if min(len(early_values), len(late_values)) < SAMPLES_MIN:
        raise TooFewSamples(f"{bound.title}: {len(early_values)} samples early and {len(late_values)} late; "
                            f"{SAMPLES_MIN} are needed")
    early, late = statistics.median(early_values), statistics.median(late_values)
    if bound.less_is_bad:
        limit = min(early / bound.ratio, early - bound.slack)
        passed = late >= limit
    else:
        limit = max(early * bound.ratio, early + bound.slack)
        passed = late <= limit
    values = [sample[bound.field] for sample in samples if sample[bound.field] is not None]
    return Verdict(bound, early, late, limit, min(values), max(values), passed)


def judge(samples, bounds):
    """A verdict for each bound. Raises TooFewSamples."""
    if not samples:
        raise TooFewSamples("there is no sample")
    return [judge_one(samples, bound) for bound in bounds]
