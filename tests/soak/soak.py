#!/usr/bin/env python3
"""Endurance: one real member under mixed load, sampled every few seconds; what it takes must stay flat.

    ./dev soak                                      an hour
    ./dev soak --minutes 0.75                       the short form
    ./dev soak --markdown docs/benchmarks.md        also writes the table into that page, and soak.svg beside it

The load is in load.py, the rules are in judge.py. Exit code: 0 when every verdict is `ok`, 1 when not, 2 when nothing
could be judged. What was started is ended by its process id.
"""
import argparse
import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, REPOSITORY)

from tests.harness.http import HttpFailure  # noqa: E402
from tests.harness.member import Member, MemberFailed, clean_environment  # noqa: E402
from tests.harness.report import PagePart, PageUnfit, circumstances, table_text  # noqa: E402
from tests.harness.usage import cpu_seconds, disk_bytes, open_file_count, rss_anon, thread_count, vm_rss  # noqa: E402
from tests.harness.v2 import Keys  # noqa: E402
from tests.soak import judge, plot  # noqa: E402
from tests.soak.judge import Bound  # noqa: E402

PARTS = ("puts", "writers", "readers")
LONG_MINUTES = 30  # from there on the long form: a member takes some ten minutes to grow into that load
CHILD_TIMEOUT_S = 120.0  # for a line of a child, which answers between two operations
END_TIMEOUT_S = 90.0
PLOT = "soak.svg"
FAULTS_SHOWN = 20

MB, MS = 1e6, 1e-3


class Form:
    """What the long and the short form differ in."""

    def __init__(self, bounds, *, scale, interval_s, ttl_max_s, retention, flags=()):
        self.bounds = bounds
        self.scale = scale
        self.interval_s = interval_s  # between two samples
        self.ttl_max_s = ttl_max_s
        self.retention = retention
        self.flags = ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", retention, *flags]


# A tenth, or a little that is a matter of the moment. The log's files come and go by 64 MB.
LONG = Form((
    Bound("rss_anon", "RssAnon", "MB", MB, ratio=1.10, slack=8 * MB),
    Bound("vm_rss", "VmRSS", "MB", MB, ratio=1.10, slack=16 * MB),
    Bound("files", "open files", "", 1, ratio=1.10, slack=8, digits=0),
    Bound("threads", "threads", "", 1, ratio=1.0, slack=1, digits=0),
    Bound("log", "the log on disk", "MB", MB, ratio=1.10, slack=64 * MB),
    Bound("store", "the store on disk", "MB", MB, ratio=1.10, slack=8 * MB),
    Bound("p50", "PUT, p50", "ms", MS, ratio=1.10, slack=0.1 * MS, digits=2),
    Bound("p99", "PUT, p99", "ms", MS, ratio=1.10, slack=1 * MS, digits=2),
    Bound("cpu", "processor time", "%", 0.01, ratio=1.10, slack=0.03, digits=0),
    Bound("rate", "operations a second", "", 1, ratio=1.10, slack=0, less_is_bad=True, digits=0),
), scale=1.0, interval_s=5.0, ttl_max_s=30, retention="30s")

# In less than a minute, beside other tests: what doubles. Times are for the long form alone; no test asserts one.
SHORT = Form((
    Bound("rss_anon", "RssAnon", "MB", MB, ratio=1.5, slack=24 * MB),
    Bound("vm_rss", "VmRSS", "MB", MB, ratio=1.5, slack=40 * MB),
    Bound("files", "open files", "", 1, ratio=1.5, slack=15, digits=0),
    Bound("threads", "threads", "", 1, ratio=1.0, slack=2, digits=0),
    Bound("log", "the log on disk", "MB", MB, ratio=1.0, slack=150 * MB),
    Bound("store", "the store on disk", "MB", MB, ratio=1.5, slack=24 * MB),
), scale=0.3, interval_s=1.0, ttl_max_s=4, retention="2s",
    flags=("--snapshot-count", "2000", "--snapshot-catchup-entries", "500"))

PANELS = (
    plot.Panel("memory, MB", (("rss_anon", "RssAnon", MB), ("vm_rss", "VmRSS", MB))),
    plot.Panel("disk, MB", (("log", "the log", MB), ("store", "the store", MB))),
    plot.Panel("latency of a PUT, ms", (("p50", "p50", MS), ("p99", "p99", MS))),
    plot.Panel("open files, threads", (("files", "open files", 1), ("threads", "threads", 1))),
    plot.Panel("operations a second", (("rate", "requests answered", 1), ("revisions", "revisions", 1))),
    plot.Panel("processor time of the member, %", (("cpu", "of one core", 0.01),)),
)


def say(words):
    print(words, file=sys.stderr, flush=True)


class LoadFailed(Exception):
    """A part of the load ended, or does not answer."""


class Load:
    """A child that makes one part of the load."""

    def __init__(self, part, url, seed, form):
        self.part = part
        command = [sys.executable, "-m", "tests.soak.load", "--url", url, "--part", part, "--seed", str(seed),
                   "--scale", str(form.scale), "--ttl-max", str(form.ttl_max_s)]
        self._child = subprocess.Popen(command, cwd=REPOSITORY, env=clean_environment(), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)

    def report(self):
        """What it did since the last time."""
        try:
            self._child.stdin.write("\n")
            self._child.stdin.flush()
        except OSError as error:
            raise LoadFailed(f"the load `{self.part}` has ended: {error}") from error
        return self._read()

    def end(self):
        """Lets it finish; returns the last report."""
        self._child.stdin.close()
        report = self._read()
        if self._child.wait(END_TIMEOUT_S) != 0:
            raise LoadFailed(f"the load `{self.part}` ended with {self._child.returncode}")
        return report

    def _read(self):
        if not select.select([self._child.stdout], [], [], CHILD_TIMEOUT_S)[0]:
            raise LoadFailed(f"the load `{self.part}` does not answer")
        line = self._child.stdout.readline()
        if not line:
            raise LoadFailed(f"the load `{self.part}` has ended")
        return json.loads(line)

    def kill(self):
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait(10)
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        self._child.stdout.close()


class Sampler:
    """Looks at the member and asks the load."""

    def __init__(self, member, loads):
        self._member = member
        self._loads = loads
        self._keys = Keys(member.client_url, 60.0)
        self._last = None  # (time, processor seconds, index)
        self.faults = []

    def close(self):
        self._keys.close()

    def take(self):
        """A sample; None the first time, when there is nothing to compare with."""
        pid = self._member.process.popen.pid
        now, cpu = time.monotonic(), cpu_seconds(pid)
        index = self._keys.get("/").index
        reports = {load.part: load.report() for load in self._loads}
        self.faults += [fault for report in reports.values() for fault in report["faults"]]
        last, self._last = self._last, (now, cpu, index)
        if last is None:
            return None
        seconds = now - last[0]
        member_directory = os.path.join(self._member.data_dir, "member")
        return {
            "time": now, "rss_anon": rss_anon(pid), "vm_rss": vm_rss(pid), "files": open_file_count(pid),
            "threads": thread_count(pid), "log": disk_bytes(os.path.join(member_directory, "wal")),
            "store": disk_bytes(os.path.join(member_directory, "store")), "cpu": (cpu - last[1]) / seconds,
            "revisions": (index - last[2]) / seconds,
            "rate": sum(report["operations"] for report in reports.values()) / seconds,
            "p50": reports["puts"]["p50"], "p99": reports["puts"]["p99"], "max": reports["puts"]["max"],
        }


def sample_text(sample, begin):
    latency = "no PUT" if sample["p99"] is None else f"PUT {sample['p50'] / MS:.2f} ms, p99 {sample['p99'] / MS:.1f} ms"
    return (f"{(sample['time'] - begin) / 60:6.2f} min: {sample['rate']:.0f} operations/s, {latency}, RssAnon "
            f"{sample['rss_anon'] / MB:.0f} MB, log {sample['log'] / MB:.0f} MB, store {sample['store'] / MB:.0f} MB, "
            f"{sample['files']} files, {sample['cpu']:.0%} of a core")


def run(member, form, minutes, seed):
    """The samples, and the faults that were seen."""
    loads, samples, faults = [], [], []
    sampler = Sampler(member, loads)
    try:
        for part in PARTS:
            loads.append(Load(part, member.client_url, seed, form))
        begin = time.monotonic()
        sampler.take()
        number, shown = 0, begin
        while (now := time.monotonic()) < begin + 60 * minutes and not sampler.faults:
            number += 1
            time.sleep(max(0.0, begin + number * form.interval_s - now))  # the distance between two samples
            samples.append(sampler.take())
            if time.monotonic() - shown > 10 * form.interval_s:
                shown = time.monotonic()
                say(sample_text(samples[-1], begin))
        for load in loads:
            faults += load.end()["faults"]
    except (HttpFailure, LoadFailed, OSError) as failure:  # OSError: of a member that is gone, in /proc
        faults.append(str(failure))
    finally:
        sampler.close()
        for load in loads:
            load.kill()
    return samples, sampler.faults + faults


def bad_lines(member):
    """What the member itself complained about."""
    return [line for line in member.process.lines if '"level":"error"' in line or '"level":"fatal"' in line]


def end_member(member):
    """A clean stop; what is wrong with it."""
    if not member.running:
        return [f"the member ended by itself\n{member.tail(5)}"]
    try:
        code = member.terminate()
    except MemberFailed as failure:
        return [str(failure)]
    return [f"the member ended with {code}"] if code else []


def table_of(verdicts):
    table = [["measure", "early", "late", "bound", "over all", "verdict"]]
    for verdict in verdicts:
        table.append([verdict.bound.title, verdict.shown(verdict.early).strip(), verdict.shown(verdict.late).strip(),
                      ("≥ " if verdict.bound.less_is_bad else "≤ ") + verdict.shown(verdict.limit).strip(),
                      f"{verdict.shown(verdict.least).split(' ')[0]} – {verdict.shown(verdict.most).strip()}",
                      "flat" if verdict.passed else "not flat"])
    return table


def figures_of(options, form, samples, verdicts, directory):
    """What goes into the page."""
    minutes = (samples[-1]["time"] - samples[0]["time"]) / 60
    rate, revisions = (sum(sample[field] for sample in samples) / len(samples) for field in ("rate", "revisions"))
    how = (f"One member for {minutes:.3g} minutes, seed {options.seed}: {rate:.0f} operations of all kinds a second, "
           f"which make {revisions:.0f} revisions with the TTLs that end. History is kept for {form.retention}. "
           f"*Early* is the median of what lies between 20 and 40 % of the time, *late* that of the last 20 %. "
           f"A sample is taken every {form.interval_s:g} s. Load and member share the machine.")
    command = ["./dev", "soak", *sys.argv[1:]]
    return (f"{circumstances(command, directory)}\n\n{how}\n\n{table_text(table_of(verdicts))}\n\n"
            f"![The same over time]({PLOT})")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="(default %(default)s); less than "
                        f"{LONG_MINUTES} take the short form, which looks less closely")
    parser.add_argument("--seed", default=None, help="of an earlier run; it decides what is done, not when")
    parser.add_argument("--markdown", metavar="FILE", help=f"also write the table to this page, and {PLOT} beside it")
    parser.add_argument("--directory", default=tempfile.gettempdir(), metavar="DIR",
                        help="where the member puts its files (default %(default)s)")
    options = parser.parse_args()
    if not 0.1 <= options.minutes <= 24 * 60:
        parser.error("--minutes must be within 0.1 and 1440")
    options.seed = options.seed or str(random.SystemRandom().randrange(1 << 32))
    return options


def main():
    options = parse_arguments()
    form = LONG if options.minutes >= LONG_MINUTES else SHORT
    page = PagePart(options.markdown, "soak") if options.markdown else None
    try:
        if page:
            page.check()  # before an hour is spent
    except PageUnfit as reason:
        say(f"soak: {reason}")
        return 2
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))  # an ordinary end: what was started is ended
    tempfile.tempdir = options.directory  # the harness puts the member below it
    say(f"soak: {options.minutes:g} minutes, seed {options.seed}")
    with Member("soak", flags=form.flags) as member:
        samples, faults = run(member, form, options.minutes, options.seed)
        faults += bad_lines(member) + end_member(member)
    try:
        verdicts = judge.judge(samples, form.bounds)
    except judge.TooFewSamples as reason:
        for fault in faults[:FAULTS_SHOWN]:
            say(f"FAIL {fault}")
        say(f"soak: nothing can be judged: {reason}")
        return 2
    if page:
        page.write(figures_of(options, form, samples, verdicts, options.directory))
        picture = os.path.join(os.path.dirname(options.markdown), PLOT)
        with open(picture, "w", encoding="utf-8") as file:
            file.write(plot.draw(samples, PANELS, f"One member under mixed load, {options.minutes:g} minutes"))
        say(f"written: {options.markdown}, {picture}")
    for verdict in verdicts:
        print(verdict.text)
    for fault in faults[:FAULTS_SHOWN]:
        print(f"FAIL {fault}")
    if not faults:
        print("ok   every request was answered as it must be, and the member stopped cleanly")
    failed = sum(not verdict.passed for verdict in verdicts) + bool(faults)
    print(f"{len(verdicts) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
