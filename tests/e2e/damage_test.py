"""Damaged files: a member starts with all that was acknowledged, or it refuses and says which file is bad.

Real directories, of a member that was stopped and of one that was killed, are copied and damaged: cut short, bits
flipped, sectors zeroed, files swapped, removed, or replaced by those of another member. Then the member is started on
the copy, and one of these must hold:

    it refuses      exit code 1, and a log line that names the file
    it starts       and every write that was acknowledged is there, in the tree and in its history; it takes writes,
                    stops, starts again, and has those, too

Never a signal, a hang, or other data. One thing nobody can tell: a log whose end was cut off looks as if the process
had been killed a moment earlier. So a killed member's newest segment may lose what lay behind the cut, but nothing
before it; a stopped member's may not, since its store knows how long the log was.

Environment: ETCD_DAMAGE_SEED (default: 1, the same cases each time), ETCD_DAMAGE_ROUNDS (default: 1; how often each
kind of damage is done), ETCD_DAMAGE_ONLY (an expression that kinds' names must match), ETCD_DAMAGE_VERBOSE (when set,
each case is printed).
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import unittest

from tests.e2e.damages import KINDS, LATE_WRITES, Base, Damager, copy_base, store_of
from tests.harness import Connection, Member, MemberFailed, ServerTestCase
from tests.harness.http import HttpFailure
from tests.harness.member import temporary_directory
from tests.harness.v2 import Keys, wait_until

SEED = os.environ.get("ETCD_DAMAGE_SEED", "1")
ROUNDS = int(os.environ.get("ETCD_DAMAGE_ROUNDS", "1"))
ONLY = os.environ.get("ETCD_DAMAGE_ONLY", "")
VERBOSE = bool(os.environ.get("ETCD_DAMAGE_VERBOSE"))

WRITES = 250  # before the store's last batch; LATE_WRITES come behind it
LONG_VALUE = 40_000  # more than a page
FILLER = 1_000_000  # bytes that a write which changes nothing leaves in the log
LIFE_BYTES = 50_000_000  # of these, in one life of a member: too few for it to let go of a segment,
FILLED_LIVES = 3  # which have 64 MB: after so many lives the log has three
DEADLINE_S = 20.0
QUIET_NS = 1_200_000_000  # longer than a write waits for its batch
END_S = 3.0  # for a member that ends because of a read

# What a refusal has to name.
WAL_NAMED = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.wal.*(offset \d+|no metadata)|"
                       r"member/wal: segment [0-9a-f]+ is missing")
STORE_NAMED = re.compile(r"store\.mdb")
# Each is whole, but they do not belong together: then nobody knows which one is at fault.
MISMATCH_NAMED = re.compile(r"member/wal.*(store.* has applied entry \d+|entry \d+, which the store has applied)")


# What was written, and what must be found.


def fold(events):
    """The tree after these events: files {key: (value, modified, created, expiration)}, directories {key: created}."""
    files, directories = {}, {}
    for event in events:
        node = event["node"]
        key = node["key"]
        if event["action"] in ("delete", "compareAndDelete", "expire"):
            for tree in (files, directories):
                for gone in [each for each in tree if each == key or each.startswith(key + "/")]:
                    del tree[gone]
            continue
        parent = key.rpartition("/")[0]
        while parent and parent not in directories:
            directories[parent] = node["modifiedIndex"]
            parent = parent.rpartition("/")[0]
        if node.get("dir"):
            directories[key] = node["createdIndex"]
        else:
            files[key] = (node["value"], node["modifiedIndex"], node["createdIndex"], node.get("expiration"))
    return files, directories


def flatten(node, files, directories):
    """The same of a recursive listing."""
    for each in node.get("nodes", []):
        if each.get("dir"):
            directories[each["key"]] = each["createdIndex"]
            flatten(each, files, directories)
        else:
            files[each["key"]] = (each["value"], each["modifiedIndex"], each["createdIndex"], each.get("expiration"))
    return files, directories


def list_tree(keys):
    """The X-Etcd-Index and the tree. Raises ReadRefused."""
    answer = keys.get("/", recursive="true")
    if answer.status != 200:
        raise ReadRefused(f"a listing was answered with {answer}")
    return answer.index, flatten(answer.node, {}, {})


def read_history(port, begin, end):
    """The events from index `begin` to `end`, without what the clock changes in them."""
    if begin > end:
        return []
    events, rest = [], b""
    with Connection("127.0.0.1", port, DEADLINE_S) as connection:
        connection.send_request("GET", f"/v2/keys/?wait=true&stream=true&recursive=true&waitIndex={begin}")
        deadline = time.monotonic() + DEADLINE_S
        head = connection.read_head(deadline)
        while piece := connection.read_piece(head, deadline):
            *lines, rest = (rest + piece).split(b"\n")
            for line in filter(None, lines):
                event = json.loads(line)
                if "node" not in event:
                    raise ReadRefused(f"a watch was answered with {event}")
                for name in ("node", "prevNode"):
                    event.get(name, {}).pop("ttl", None)
                events.append(event)
            if events and events[-1]["node"]["modifiedIndex"] >= end:
                return events
    raise ReadRefused(f"a watch from {begin} ended after {len(events)} events, before {end}")


def put(keys, key, value):
    """A write, which has to read what was there before. Raises ReadRefused."""
    answer = keys.put(key, value)
    if answer.status not in (200, 201):
        raise ReadRefused(f"a write was answered with {answer}")
    return answer


class ReadRefused(Exception):
    """The server said that it cannot answer."""


class Story:
    """Writes of all kinds, one after the other, as they were acknowledged."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.raft_indices = []  # (etcd index, index of the log's entry)
        self.events = []

    def write(self, keys, count):
        for _ in range(count):
            answer = self._write_one(keys)
            if answer.status in (200, 201):
                node = answer.node
                self.raft_indices.append((node["modifiedIndex"], int(answer.response.header("X-Raft-Index"))))

    def _write_one(self, keys):
        rng = self.rng
        key = f"/{rng.choice('abc')}/{rng.choice('de')}/{rng.randrange(12)}"
        value = f"{len(self.raft_indices)}:" + rng.choice("xyz") * rng.choice((1, 20, 300, 3000))
        kind = rng.randrange(20)
        if kind == 0:
            return keys.put(key, "long" * (LONG_VALUE // 4))
        if kind == 1:
            return keys.put(key, value, ttl=rng.randrange(3600, 7200))
        if kind < 4:
            return keys.delete(key)
        if kind == 4:
            return keys.delete(key.rpartition("/")[0], recursive="true")
        if kind == 5:
            return keys.put(key, value, prevExist=rng.choice(("true", "false")))
        if kind == 6:
            return keys.post("/queue", value)
        return keys.put(key, value)

    def read_back(self, member):
        """Takes over the history as the member tells it while nothing is damaged."""
        self.events = read_history(member.client_port, 2, self.raft_indices[-1][0])

    def last_index_before(self, raft_index):
        """The etcd index of the last write whose entry lies before this one in the log."""
        return max([index for index, entry in self.raft_indices if entry < raft_index], default=1)

    @property
    def last_index(self):
        return self.raft_indices[-1][0]


class DamagedMember(Member):
    """A member on a damaged copy, which may refuse to start at any time."""

    def bad_lines(self):
        """What it has complained about."""
        lines = []
        for line in self.process.lines:
            with contextlib.suppress(ValueError):
                if json.loads(line).get("level") in ("fatal", "error"):
                    lines.append(line)
        return lines


class Verdict(Exception):
    """It is known how the case ends; the text is empty when that is right."""


class Case:
    """One damage and what became of it."""

    def __init__(self, member, base, done):
        self.member = member
        self.base = base
        self.done = done
        self.outcome = "refuses"

    def judge(self):
        """What is wrong; empty when nothing is, and then `outcome` says what the member did."""
        try:
            self.launch()
            index = self.check_data(self.base.story.events)
            written = self.write_some(index)
            self.end()
            self.launch()
            self.check_data([event for event in self.base.story.events
                             if event["node"]["modifiedIndex"] <= index] + written, whole=True)
            self.end()
        except Verdict as verdict:
            return str(verdict)
        self.outcome = "has everything" if index == self.base.story.last_index else f"ends at {index}"
        return ""

    def launch(self):
        self.member.launch()
        try:
            self.member.process.wait_ready(DEADLINE_S)
        except MemberFailed:
            if self.member.running:
                raise Verdict(f"not ready after {DEADLINE_S} s") from None
            self.refused()

    def refused(self):
        """The member has ended, or is about to: rightly?"""
        code = self.member.process.wait(DEADLINE_S)
        if code is None:
            raise Verdict("refuses to answer, and goes on")
        if code < 0:
            raise Verdict(f"ended by {signal.Signals(-code).name}")
        if code != 1:
            raise Verdict(f"exit code {code}")
        if not self.is_named():
            lines = self.member.bad_lines()
            raise Verdict(f"refuses without naming the file: {lines[-1] if lines else 'no line'}")
        raise Verdict("")

    def is_named(self):
        """Whether the log names what was damaged."""
        names = [pattern for pattern, damaged in ((WAL_NAMED, self.done.wal), (STORE_NAMED, self.done.store),
                                                  (MISMATCH_NAMED, True)) if damaged]
        return any(name.search(line) for name in names for line in self.member.bad_lines())

    def read(self, call):
        """Reads. A member that cannot ends by itself, or says in its log why and goes on."""
        try:
            return call()
        except (HttpFailure, ReadRefused) as failure:
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not self.member.running or self.is_named(), END_S)
            if not self.member.running:
                self.refused()
            if not self.is_named():
                raise Verdict(f"reads fail, and the log does not say why: {failure}") from None
            self.outcome = "refuses to read"
            raise Verdict("") from None

    def check_data(self, events, whole=False):
        """Compares tree and history with what was written; returns the index up to which they go."""
        last = events[-1]["node"]["modifiedIndex"]
        with Keys(self.member.client_url, DEADLINE_S) as keys:
            index, tree = self.read(lambda: list_tree(keys))
        least = last
        if self.done.lost_from and not whole:
            least = self.base.story.last_index_before(self.done.lost_from)
        if not least <= index <= last:
            raise Verdict(f"starts at index {index}; {least} to {last} were acknowledged and lie before the damage")
        wanted = [event for event in events if event["node"]["modifiedIndex"] <= index]
        if tree != fold(wanted):
            raise Verdict(f"the tree is another one at index {index}: {difference(tree, fold(wanted))}")
        found = self.read(lambda: read_history(self.member.client_port, 2, index))
        if found != wanted:
            place = next((number for number, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]),
                         min(len(found), len(wanted)))
            raise Verdict(f"the history differs at event {place} of {len(wanted)}")
        return index

    def write_some(self, index):
        """Writes on; returns the events."""
        events = []
        with Keys(self.member.client_url, DEADLINE_S) as keys:
            for number in range(3):
                answer = self.read(lambda number=number: put(keys, "/new", f"{number}"))
                events.append(answer.body)
                if answer.node["modifiedIndex"] != index + 1 + number:
                    raise Verdict(f"index {answer.node['modifiedIndex']} was given after {index + number}")
        return events

    def end(self):
        """A clean stop."""
        self.member.process.signal(signal.SIGTERM)
        code = self.member.process.wait(DEADLINE_S)
        if code is None:
            raise Verdict("does not stop")
        if code != 0:
            self.refused()


def difference(found, wanted):
    for one, other in zip(found, wanted):
        for key in sorted(set(one) | set(other)):
            if one.get(key) != other.get(key):
                return f"{key} is {str(one.get(key))[:80]} and should be {str(other.get(key))[:80]}"
    return "nothing"


class DamageTest(ServerTestCase):
    """All kinds of damage on copies of three directories."""

    def setUp(self):
        super().setUp()
        self.bases = {}
        self.work = temporary_directory("etcd-damage-")
        self.addCleanup(shutil.rmtree, self.work, True)

    def keep(self, name, member, story, killed, older_store=""):
        directory = os.path.join(self.work, name)
        shutil.copytree(member.data_dir, directory, ignore=shutil.ignore_patterns("*.tmp"))
        self.bases[name] = Base(directory, story, killed, older_store)

    def let_go(self, member):
        """Its log tells nothing about a damaged copy."""
        member.stop()
        self._members.remove(member)

    def make_bases(self):
        """One story, killed; the same, stopped; another one whose log has three segments; and a stranger."""
        member = self.member()
        story = Story("small")
        older_store = os.path.join(self.work, "older.mdb")
        with Keys(member.client_url) as keys:
            story.write(keys, WRITES // 2)
            self.wait_for_store(member)
            shutil.copy2(store_of(member.data_dir), older_store)
            story.write(keys, WRITES // 2)
            self.wait_for_store(member)
            story.write(keys, LATE_WRITES)
            member.kill()
        self.keep("killed", member, story, True, older_store)
        member.restart()
        story.read_back(member)
        self.assertEqual(member.terminate(), 0)
        self.keep("stopped", member, story, False, older_store)
        self.let_go(member)

        member = self.member()
        story = Story("large")
        for life in range(FILLED_LIVES):
            if life > 0:
                member.restart()
            with Keys(member.client_url) as keys:
                self.fill_log(keys, story)
                story.write(keys, LATE_WRITES)
            if life + 1 == FILLED_LIVES:
                story.read_back(member)
            member.kill()
        self.keep("segments", member, story, True)
        self.assertEqual(len(self.bases["segments"].segments()), 3)
        self.let_go(member)

        member = self.member()
        story = Story("other")
        with Keys(member.client_url) as keys:
            story.write(keys, WRITES)
        self.assertEqual(member.terminate(), 0)
        self.keep("other", member, story, False)
        self.let_go(member)

    @staticmethod
    def wait_for_store(member):
        """Until all that was written has gone into the store: it has changed since, and then not any more."""
        begin = time.time_ns()

        def is_done():
            changed = os.stat(store_of(member.data_dir)).st_mtime_ns
            return begin < changed < time.time_ns() - QUIET_NS
        wait_until(is_done, what="the store to have everything")

    def fill_log(self, keys, story):
        """Compare-and-swaps that fail: they change nothing but the log."""
        for _ in range(LIFE_BYTES // FILLER):
            answer = keys.put("/a/d/0", "x", prevValue="n" * FILLER)
            self.assertIn(answer.status, (404, 412))
            story.write(keys, 1)

    def test_damages(self):
        self.make_bases()
        faults, outcomes = [], {}
        for number in range(ROUNDS):
            for name, (base, damage) in KINDS.items():
                if re.search(ONLY, name):
                    outcome = self.try_one(name, self.bases[base], damage, f"{SEED}-{number}-{name}", faults)
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
        print(f"\ndamage_test: ETCD_DAMAGE_SEED={SEED} ETCD_DAMAGE_ROUNDS={ROUNDS}: {outcomes}", file=sys.stderr)
        self.assertEqual(len(faults), 0, "\n" + "\n".join(faults))

    def try_one(self, name, base, damage, seed, faults):
        member = DamagedMember()
        self._members.append(member)
        copy_base(base.directory, member.data_dir)
        done = damage(Damager(base, member.data_dir, random.Random(seed), self.bases["other"].directory))
        case = Case(member, base, done)
        fault = case.judge()
        if fault:
            faults.append(f"{name} (seed {seed}): {done.text}: {fault}")
        self.let_go(member)
        if fault:
            return "faults"
        if VERBOSE:
            print(f"{name}: {done.text}: {case.outcome}", file=sys.stderr)
        return case.outcome if case.outcome in ("refuses", "has everything") else "ends earlier"


if __name__ == "__main__":
    unittest.main()
