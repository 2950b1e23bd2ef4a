#!/usr/bin/env python3
"""Plays random v2 requests against our server and a reference, and compares every answer.

    python3 tests/differential/v2_fuzz.py                              Debian's etcd 3.4, where there is none the model
    python3 tests/differential/v2_fuzz.py --reference model --seed 1 --sequences 40 --steps 60    the short run
    python3 tests/differential/v2_fuzz.py --minutes 10 --keep-going    every difference, not only the first
    python3 tests/differential/v2_fuzz.py --replay failure.json        a sequence that an earlier run printed

References: `upstream` is an etcd 3.4 or 3.5 on PATH or named by $ETCD_UPSTREAM, started with --enable-v2; `model` is
v2_model.py. Each can also be the subject (`--subject model --reference upstream` checks the model). Both sides begin
with empty stores of the same index. A sequence works in a directory of its own, one client, one request after another;
the model plays along, to say which value or index a key has just now, so that conditions hold often enough.

Answers are compared in the transcripts' normal form (../conformance/compare.py), the reference's being the expected
one. What is known to differ, by decision, is in DECIDED. A failing sequence is made as short as it gets, and printed.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from unittest import mock

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if REPOSITORY not in sys.path:
    sys.path.insert(0, REPOSITORY)

from tests.conformance.compare import (MISSING, Context, Difference, NotJson, compare_answer,  # noqa: E402
                                       parse_json, parse_time, show)
from tests.conformance.player import Watch  # noqa: E402
from tests.differential.v2_model import Model  # noqa: E402
from tests.differential.v2_steps import Generator  # noqa: E402
from tests.harness.http import FORM, Client, Closed, HttpFailure, TimedOut  # noqa: E402
from tests.harness.member import Member, binary_path  # noqa: E402
from tests.harness.v2 import wait_until  # noqa: E402

CONTRACT_HEADERS = ("Content-Type", "X-Etcd-Cluster-Id", "X-Etcd-Index", "X-Raft-Index", "X-Raft-Term", "Location",
                    "Allow", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods",
                    "Access-Control-Allow-Headers")
GLANCE_S = 0.02  # how long a watch is looked at that probably has nothing
PATIENCE_S = 1.0  # how long one side may be later than the other
SHRINK_PLAYS_MAX = 400


# Known differences. Each is looked at with the step, what the reference answered, what the subject answered, and
# whether the subject's is what the model says.


def stream_from_history(step, _expected, _observed, as_modelled):
    """Upstream sends one event of the history and then stays silent for good (docs/decisions/0006)."""
    return as_modelled and step["do"] == "join" and "stream=" in step["opened"] and "waitIndex=" in step["opened"]


def stream_that_repeats(step, expected, _observed, as_modelled):
    """A stream on a key gets the key's own deletion twice upstream."""
    return as_modelled and step["do"] == "join" and "stream=" in step["opened"] and any(
        one == other and one["action"] in ("delete", "compareAndDelete")
        for one, other in zip(expected["events"], expected["events"][1:]))


def history_of_a_removed_directory(step, expected, _observed, as_modelled):
    """From the history, upstream wakes whatever watch has the removed directory's path as the beginning of its own,
    `/dd` for `/d`, and keys that never existed; live it wakes the keys that went away. We do the latter in both."""
    return as_modelled and step["do"] == "join" and any(
        event["action"] == "delete" and event["node"].get("dir") for event in expected["events"][:1])


def root_with_a_condition(step, expected, observed, as_modelled):
    """A conditional DELETE of the root is 102 without a cause upstream; for us the root is read only here, too."""
    return as_modelled and step.get("method") == "DELETE" and expected["body"]["errorCode"] == 102 \
        and observed["body"]["errorCode"] == 107


DECIDED = {"upstream": [stream_from_history, stream_that_repeats, history_of_a_removed_directory,
                        root_with_a_condition], "model": []}


# The two sides.


class ServerSide:
    """A real server."""

    def __init__(self, name, member):
        self.name = name
        self.member = member
        self._client = Client(member.client_url)
        self._stats = None

    def index(self):
        return int(self._client.request("GET", "/v2/keys/").header("X-Etcd-Index"))

    def move_to(self, index):
        """Writes until the store's index is this one."""
        while self.index() < index:
            self._client.request("PUT", "/v2/keys/_pad", FORM, "value=x")

    def request(self, method, target, headers=None, body=None):
        try:
            response = self._client.request(method, target, headers, body)
        except Closed:
            return {"failure": "connection closed by the server"}
        except TimedOut:
            return {"failure": "no answer in time"}
        except HttpFailure as failure:
            return {"failure": str(failure)}
        return {"status": response.status, "headers": response.headers, "body": response.body,
                "arrived": response.arrived}

    def watch(self, method, target, headers=None, body=None):
        return Watch(self.member.client_url, method, target, headers or {}, body)

    def stats(self):
        """How the counters have changed since the last question."""
        before, self._stats = self._stats, json.loads(self._client.request("GET", "/v2/stats/store").body)
        return {name: value - (before or self._stats)[name] for name, value in self._stats.items()
                if name not in ("getsSuccess", "getsFail", "watchers")}

    def clean(self):
        """Removes what a sequence left behind."""
        root = json.loads(self._client.request("GET", "/v2/keys/").body)["node"]
        for node in root.get("nodes", []):
            path = urllib.parse.quote(node["key"].encode())
            self._client.request("DELETE", f"/v2/keys{path}?recursive=true")

    def tail(self):
        return self.member.tail()

    def stop(self):
        self._client.close()
        self.member.stop()


class ModelSide:
    """The model in a server's place."""

    def __init__(self, name="model", make=Model):
        self.name = name
        self._make = make
        self.model = make()
        self._stats = {}

    def index(self):
        return self.model.tree.index

    def move_to(self, index):
        self.model = self._make(index)
        self._stats = {}

    def request(self, *arguments):
        return self.model.request(*arguments)

    def watch(self, *arguments):
        return self.model.watch(*arguments)

    def stats(self):
        before, self._stats = self._stats, dict(self.model.tree.counters)
        return {name: value - before.get(name, 0) for name, value in self._stats.items()}

    def clean(self):
        pass

    def tail(self):
        return ""

    def stop(self):
        pass


def upstream_binary():
    """An etcd that still has the v2 API, or None."""
    path = os.environ.get("ETCD_UPSTREAM") or shutil.which("etcd")
    if not path or not os.access(path, os.X_OK):
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    return path if re.search(r"etcd Version: 3\.[45]\.", said) else None


def start_side(kind):
    if kind == "model":
        return ModelSide()
    if kind == "upstream":
        with mock.patch.dict(os.environ, {"ETCD_BIN": upstream_binary()}):
            member = Member("upstream", flags=["--enable-v2"]).start()
    else:
        member = Member("ours").start()
    with Client(member.client_url) as client:  # upstream counts the cluster's version as a write
        wait_until(lambda: json.loads(client.request("GET", "/version").body).get("etcdcluster", "not_decided")
                   != "not_decided", what="the cluster's version")
    return ServerSide(kind, member)


# Playing.


def as_expected(answer):
    """The reference's answer as a transcript would have it, with its indices as they are."""
    if "failure" in answer:
        return {"failure": answer["failure"]}
    expected = {name: answer[name] for name in ("status", "early", "ended", "delta") if name in answer}
    if "headers" in answer:
        expected["headers"] = expected_headers(answer["headers"])
    if answer.get("body"):
        value = parse_json(answer["body"])
        expected["body"] = (answer["body"].decode("utf-8", "replace") if isinstance(value, NotJson)
                            else relative_times(value, answer["arrived"]))
    if "events" in answer:
        expected["events"] = [relative_times(parse_json(event), answer["arrived"]) for event in answer["events"]]
    return expected


def expected_headers(headers):
    given = {name.lower(): value for name, value in headers}
    kept = {name: given[name.lower()] for name in CONTRACT_HEADERS if name.lower() in given}
    for name in ("X-Raft-Index", "X-Raft-Term"):
        if name in kept:
            kept[name] = "int"
    if "X-Etcd-Cluster-Id" in kept:
        kept["X-Etcd-Cluster-Id"] = "hex"
    if "X-Etcd-Index" in kept:
        kept["X-Etcd-Index"] = int(kept["X-Etcd-Index"])
    return kept


def relative_times(value, arrived):
    if isinstance(value, list):
        return [relative_times(child, arrived) for child in value]
    if not isinstance(value, dict):
        return value
    result = {name: relative_times(child, arrived) for name, child in value.items()}
    if (seconds := parse_time(value.get("expiration"))) is not None:
        result["expiration"] = f"now{seconds - arrived:+.1f}s"
    return result


def unexpected_headers(expected, observed):
    """Headers of the contract that only the subject sends; compare.py looks for the expected ones."""
    known = {name.lower() for name in expected.get("headers", {})}
    wanted = {name.lower() for name in CONTRACT_HEADERS if not name.startswith("Access-")} - known
    return [Difference(f"header {name}", MISSING, value) for name, value in observed.get("headers", [])
            if name.lower() in wanted]


def key_order(value):
    """All keys of a listing as they come. Byte order, but a key that is no UTF-8 does not show its bytes."""
    if isinstance(value, dict):
        return [value.get("key")] + [key for child in value.values() for key in key_order(child)]
    return [key for child in value for key in key_order(child)] if isinstance(value, list) else []


class Failed(Exception):
    """The two sides differ."""

    def __init__(self, number, step, expected, observed, differences):
        super().__init__(number)
        self.number, self.step, self.expected, self.observed = number, step, expected, observed
        self.differences = differences

    def kind(self):
        """What makes one failure the same as another: method, where it differs, what was answered."""
        places = tuple(sorted({re.sub(r"\[[^]]*\]", "[]", difference.place) for difference in self.differences}))
        codes = tuple(answer.get("body", {}).get("errorCode", 0) if isinstance(answer.get("body"), dict) else 0
                      for answer in (self.expected, as_expected(self.observed)))
        return self.step.get("method", self.step["do"]), places, codes

    def report(self):
        lines = [f"  step {self.number}: {describe(self.step)}"]
        lines += [f"    {difference}" for difference in self.differences[:6]]
        lines.append(f"    expected {show(self.expected)}")
        lines.append(f"    got      {show(as_expected(self.observed))}")
        return "\n".join(lines)


class Play:
    """One sequence on both sides, until they differ."""

    def __init__(self, reference, subject, counts=None):
        self.reference, self.subject = reference, subject
        self.guide = reference if isinstance(reference, ModelSide) else ModelSide("guide")
        self.sides = [self.reference, self.subject] + ([self.guide] if self.guide is not self.reference else [])
        self.counts = counts if counts is not None else {}
        self.directory = f"/f{random.getrandbits(40):010x}"
        self.posted = "0"
        self.watches = {}

    def run(self, steps):
        index = max(side.index() for side in (self.reference, self.subject))
        for side in self.sides:
            side.move_to(index)
            side.stats()
        self.context = Context(self.directory, index, waits=True)
        try:
            for number, step in enumerate(steps, 1):
                self._step(number, step)
            for name in list(self.watches):
                self._step(len(steps) + 1, {"do": "join", "id": name})
        finally:
            for watches, _ in self.watches.values():
                for watch in watches:
                    watch.close()
            for side in self.sides:
                side.clean()

    def _step(self, number, step):
        full, answers = getattr(self, "_do_" + step["do"])(step)
        if answers is None:
            return
        expected, observed = as_expected(answers[0]), as_expected(answers[1])
        differences = self._compare(full, expected, answers[1])
        self._count(full, answers[0])
        if not differences:
            return
        as_modelled = not self._compare(full, as_expected(answers[-1]), answers[1])
        for decided in DECIDED.get(self.reference.name, []):
            if decided(full, expected, observed, as_modelled):
                self.counts[f"decided: {decided.__name__}"] = self.counts.get(f"decided: {decided.__name__}", 0) + 1
                return
        raise Failed(number, full, expected, answers[1], differences)

    def _compare(self, step, expected, answer):
        differences = compare_answer(expected, answer, step, self.context)
        differences = [difference for difference in differences if not difference.place.endswith(" order")]
        if re.search(r"\bsorted=(true|1|t|T|TRUE|True)\b", step.get("path", "")):
            orders = key_order(expected.get("body")), key_order(as_expected(answer).get("body"))
            if orders[0] != orders[1]:
                differences.append(Difference("body.node order", *orders))
        return differences + unexpected_headers(expected, answer)

    def _count(self, step, answer):
        """What was seen, so that a run can show that it was about something."""
        value = parse_json(answer["body"]) if answer.get("body") else None
        what = answer.get("status", "")
        if isinstance(value, dict):
            what = value.get("errorCode") or value.get("action")
        name = f"{step.get('method', step['do'])} {what}".strip()
        self.counts[name] = self.counts.get(name, 0) + 1

    # Kinds of steps. Each returns the step with everything filled in, and the answers of reference and subject.

    def _do_request(self, step):
        full = self._filled(step)
        arguments = (full["method"], full["path"], full.get("headers"), full.get("body"))
        if "bg" in step:
            return self._open(full, arguments)
        answers = [side.request(*arguments) for side in self.sides]
        if full["method"] == "POST" and answers[0].get("status") == 201:
            self.posted = dict(self.guide.model.tree.history[-1].body["node"])["key"].rpartition("/")[2]
        return full, answers

    def _open(self, full, arguments):
        if full["bg"] in self.watches:
            return full, None
        watches = [side.watch(*arguments) for side in self.sides]
        answers = [watch.first_answer() for watch in watches]
        if all(answer.get("status") == 200 for answer in answers):
            self.watches[full["bg"]] = watches, full["path"]
        else:
            for watch in watches:
                watch.close()
        return full, answers

    def _do_stats(self, step):
        return step, [{"delta": side.stats()} for side in self.sides]

    def _do_join(self, step):
        """What a watch has got until now. Waits for the one that has less."""
        if step["id"] not in self.watches:
            return step, None
        watches, opened = self.watches[step["id"]]
        guess = watches[-1].join(0) if len(watches) == 3 else None  # the guide's
        answers = [{"events": [], "ended": False, "arrived": 0.0} for _ in watches[:2]]
        patience = time.monotonic() + PATIENCE_S
        while True:
            for answer, watch in zip(answers, watches):
                if not answer["ended"]:
                    soon = (guess or answers[0])["ended"]
                    more = watch.join(PATIENCE_S if soon else GLANCE_S)
                    answer |= more | {"events": answer["events"] + more["events"]}
            seen = [(len(answer["events"]), answer["ended"]) for answer in answers]
            if seen[0] == seen[1] or time.monotonic() > patience:
                break
        if any(answer["ended"] for answer in answers):
            del self.watches[step["id"]]
            for watch in watches:
                watch.close()
        return step | {"opened": opened}, answers + ([guess] if guess else [])

    # Templates.

    def _filled(self, step):
        """The step with its templates filled in; the key's truth comes from the model."""
        path = step["path"].replace("{D}", self.directory).replace("{P}", self.posted)
        key = urllib.parse.unquote(path.partition("?")[0], errors="surrogateescape")[len("/v2/keys"):]
        node = self.guide.model.node(key) if key.startswith("/") else None
        value = urllib.parse.quote(node.value) if node and node.value else "x"
        index = str(node.modified if node else self.guide.model.tree.first)
        now = self.guide.model.tree.index

        def fill(text):
            text = text.replace("{V}", value).replace("{I}", index)
            first = self.guide.model.tree.first
            return re.sub(r"\{N([+-]\d+)\}", lambda match: str(max(now + int(match[1]), first)), text)

        full = step | {"path": fill(path)}
        if "body" in step:
            full["body"] = fill(step["body"])
        return full


def describe(step):
    words = [step.get("method", step["do"]), step.get("path", step.get("id", "")), step.get("body", "")]
    rest = {name: value for name, value in step.items() if name in ("headers", "bg", "opened")}
    return " ".join(word for word in words if word) + (f"  {json.dumps(rest)}" if rest else "")


# Shrinking.


def shrink(steps, failure, play):
    """The shortest sequence found that fails in the same way: without steps, then without parameters."""
    plays = 0

    def fails(candidate):
        nonlocal plays, failure
        plays += 1
        if plays > SHRINK_PLAYS_MAX:
            return False
        found = play(candidate)
        if found is not None and found.kind()[:2] == kind:
            failure = found
            return True
        return False

    kind = failure.kind()[:2]
    steps = steps[:failure.number]
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps):
            candidate = steps[:start] + steps[start + size:]
            if candidate and fails(candidate):
                steps = candidate
            else:
                start += size
        size //= 2
    for number, step in enumerate(steps):
        for simpler in simpler_steps(step):
            candidate = steps[:number] + [simpler] + steps[number + 1:]
            if fails(candidate):
                steps = candidate
    return steps, failure


def simpler_steps(step):
    """The step with one parameter less each."""
    if "path" not in step:
        return
    path, _, query = step["path"].partition("?")
    for part in query.split("&") if query else []:
        rest = [other for other in query.split("&") if other != part]
        yield step | {"path": path + ("?" + "&".join(rest) if rest else "")}
    for part in step.get("body", "").split("&") if step.get("body") else []:
        yield step | {"body": "&".join(other for other in step["body"].split("&") if other != part)}


# The run.


class Run:
    """Sequences one after another, and what came of them."""

    def __init__(self, reference, subject):
        self.reference, self.subject = reference, subject
        self.counts = {}
        self.sequences = self.steps = 0
        self.kinds = set()

    def play(self, steps):
        """Plays one sequence; returns the Failed, or None."""
        try:
            Play(self.reference, self.subject, self.counts).run(steps)
        except Failed as failure:
            return failure
        return None

    def sequence(self, steps, seed, shrinks=True):
        """Plays one sequence, and reports it when it fails in a way not seen before. Whether it passed."""
        self.sequences += 1
        self.steps += len(steps)
        failure = self.play(steps)
        if failure is None:
            return True
        if shrinks and failure.kind() not in self.kinds:
            self.kinds.add(failure.kind())
            steps, failure = shrink(steps, failure, self.play)
        elif failure.kind() in self.kinds:
            return False
        self.kinds.add(failure.kind())
        print(f"FAIL seed {seed}: {self.subject.name} differs from {self.reference.name}, {len(steps)} steps")
        for step in steps:
            print(f"    {describe(step)}")
        print(failure.report())
        print("  replay " + json.dumps(steps), flush=True)
        return False


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Random v2 requests against two servers, answers compared.")
    parser.add_argument("--reference", choices=("auto", "upstream", "model"), default="auto")
    parser.add_argument("--subject", choices=("ours", "upstream", "model"), default="ours")
    parser.add_argument("--seed", type=int, help="of the first sequence; the next ones count up")
    parser.add_argument("--steps", type=int, default=80, help="of a sequence")
    parser.add_argument("--sequences", type=int, default=50, help="how many, unless --minutes is given")
    parser.add_argument("--minutes", type=float, help="how long")
    parser.add_argument("--keep-going", action="store_true", help="report every kind of difference, not only the first")
    parser.add_argument("--no-shrink", action="store_true", help="print a failing sequence as it is")
    parser.add_argument("--replay", help="a file with one sequence, as printed after 'replay'")
    return parser.parse_args(arguments)


def choose_reference(wanted):
    if wanted == "auto":
        wanted = "upstream" if upstream_binary() else "model"
    if wanted == "upstream" and not upstream_binary():
        sys.exit("no etcd 3.4 or 3.5: install etcd-server, or set ETCD_UPSTREAM")
    return wanted


def main(arguments=None):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = parse_arguments(arguments)
    kinds = choose_reference(options.reference), options.subject
    if "ours" in kinds and not os.access(binary_path(), os.X_OK):
        sys.exit(f"no binary at {binary_path()}: build it, or set ETCD_BIN")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"{kinds[1]} against {kinds[0]}, seed {seed}", flush=True)
    sides = []
    begin = time.monotonic()
    try:
        for kind in kinds:
            sides.append(start_side(kind))
        run = Run(*sides)
        failed = play_all(run, options, seed, begin)
    finally:
        for side in sides:
            side.stop()
    for name in sorted(run.counts):
        print(f"  {run.counts[name]:6} {name}")
    print(f"{run.sequences} sequences, {run.steps} steps, {failed} failed, {time.monotonic() - begin:.1f} s")
    return 1 if failed else 0


def play_all(run, options, seed, begin):
    """Plays what the options ask for; returns how many sequences failed."""
    if options.replay:
        with open(options.replay, encoding="utf-8") as file:
            return 0 if run.sequence(json.load(file), "replay", not options.no_shrink) else 1
    failed = 0
    while (time.monotonic() - begin < options.minutes * 60) if options.minutes else run.sequences < options.sequences:
        number = seed + run.sequences
        if not run.sequence(Generator(number).steps(options.steps), number, not options.no_shrink):
            failed += 1
            if not options.keep_going:
                break
    return failed


if __name__ == "__main__":
    sys.exit(main())
