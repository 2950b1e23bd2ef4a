"""A disk that fills up, and a quota that is used up: nothing is lost, reads and deletes go on, and it passes.

Values are written until the member refuses one, which it does by the alarm NOSPACE, before the file system has no room
left. Then everything that was acknowledged is read, keys expire and are deleted, and when compaction has made room,
writes go on without a restart. A member that is killed while it is full starts again with all of it.

The small file system is a tmpfs in a mount namespace; where the system does not let us have that, its tests are
skipped.
"""
import contextlib
import itertools
import json
import os
import sys
import threading
import unittest

from tests.harness import ServerTestCase, prometheus
from tests.harness.http import Client, HttpFailure
from tests.harness.small_disk import DiskMember, NoSmallDisk, SmallDisk
from tests.harness.usage import MEGABYTE
from tests.harness.v2 import Keys, wait_until
from tests.harness.workload import Ledger, Writers

DISK_BYTES = 256 * MEGABYTE
QUOTA_BYTES = 32 * MEGABYTE
VALUE_BYTES = 100_000
KEYS_PER_DIRECTORY = 50
TTL_S = 3  # of some keys, which run out while the member is full
TTL_EVERY = 20
WRITES_MAX = 10_000  # that none is refused is a failure
COMPACTION = ("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1s")
DEADLINE_S = 90.0
SUDDEN_ROUNDS = 3
FILLERS = 4
SETTLE_S = 2.5  # in which a member that cannot go on would end: longer than a batch waits for its way to the store

REFUSED = {"errorCode": 300, "message": "Raft Internal Error", "cause": "etcdserver: mvcc: database space exceeded"}
UNHEALTHY = {"health": "false", "reason": "ALARM NOSPACE"}
HEALTHY = {"health": "true", "reason": ""}


def say(text):
    print(f"\nfull_disk_test: {text}", file=sys.stderr)


class Full(ServerTestCase):
    """What both kinds of fullness have in common; the subclasses make the member."""

    def setUp(self):
        super().setUp()
        self.written = {}  # key -> modifiedIndex, as acknowledged
        self.numbers = itertools.count(1)
        self.index = 0  # the newest acknowledged one

    def fill(self):
        """Writes values until one is refused; returns the answer to that one."""
        with Keys(self.server.client_url, 30.0) as keys:
            for _ in range(WRITES_MAX):
                answer = self.write_one(keys)
                if answer.status != 201:
                    return answer
        raise AssertionError(f"{WRITES_MAX} values of {VALUE_BYTES} bytes were taken")

    def write_one(self, keys):
        """A large value that stays, or now and then a small one that does not."""
        number = next(self.numbers)
        if number % TTL_EVERY == 0:
            answer = keys.put(f"/short/{number:06}", "x", ttl=TTL_S)
        else:
            key = f"/fill/{number // KEYS_PER_DIRECTORY:03}/{number:06}"
            answer = keys.put(key, f"{number:06}" + "v" * (VALUE_BYTES - 6))
            if answer.status == 201:
                self.written[key] = answer.node["modifiedIndex"]
        if answer.status == 201:
            self.index = answer.node["modifiedIndex"]
        return answer

    def check_refused(self, answer):
        self.assertEqual(answer.status, 500, answer)
        self.assertEqual({name: answer.body[name] for name in REFUSED}, REFUSED)
        self.assertIn("index", answer.body)

    def monitoring(self):
        """The answer of /health, and what /metrics says of the alarm."""
        with Client(self.server.client_url) as client:
            health = client.request("GET", "/health")
            scrape = prometheus.parse(client.request("GET", "/metrics").text())
        raised = sum(scrape.value("etcd_debugging_server_alarms", **labels)
                     for labels in scrape.series("etcd_debugging_server_alarms") if labels["alarm_type"] == "NOSPACE")
        return health.status, json.loads(health.body), raised

    def check_all_there(self):
        """Every acknowledged write, with its index; nothing else but what has a TTL."""
        found = {}
        with Keys(self.server.client_url, 60.0) as keys:
            top = keys.get("/fill")
            for directory in top.node["nodes"]:
                for node in keys.get(directory["key"], recursive="true").node.get("nodes", []):
                    found[node["key"]] = node["modifiedIndex"]
                    number = node["key"].rpartition("/")[2]
                    self.assertEqual(node["value"], number + "v" * (VALUE_BYTES - 6), node["key"])
            self.assertGreaterEqual(top.index, self.index)
        self.assertEqual(found, self.written)

    def check_full(self):
        """A member under the alarm: what it refuses, and what it still does."""
        self.assertTrue(self.server.running)
        status, health, raised = wait_until(lambda: (seen := self.monitoring())[0] != 200 and seen, DEADLINE_S,
                                            "/health to show the alarm")
        self.assertEqual((status, health, raised), (503, UNHEALTHY, 1))
        first = next(iter(self.written))
        with Keys(self.server.client_url, 30.0) as keys:
            # Nothing that adds something, however small.
            for answer in (keys.put("/small", "x"), keys.put(first, "x"), keys.post("/queue", "x"),
                           keys.put(first, "x", prevIndex=self.written[first]), keys.put("/dir", "", dir="true")):
                self.check_refused(answer)
            self.assertEqual(keys.get("/small").status, 404)
            # Keys whose TTL has run out go; nobody has to ask for it.
            wait_until(lambda: not keys.get("/short").node.get("nodes"), DEADLINE_S, "keys to expire")
        self.check_all_there()

    def make_room(self):
        """Deletes most keys, one by one and by directories, and waits until a write is taken again."""
        directories = sorted({key.rpartition("/")[0] for key in self.written})
        with Keys(self.server.client_url, 30.0) as keys:
            for key in [key for key in self.written if key.startswith(directories[0] + "/")]:
                answer = keys.delete(key)
                self.assertEqual(answer.status, 200, answer)
                self.index = answer.node["modifiedIndex"]
                del self.written[key]
            for directory in directories[1:-1]:
                answer = keys.delete(directory, recursive="true")
                self.assertEqual(answer.status, 200, answer)
                self.index = answer.node["modifiedIndex"]
                for key in [key for key in self.written if key.startswith(directory + "/")]:
                    del self.written[key]
            self.check_all_there()
            answer = wait_until(lambda: (seen := keys.put("/again", "x")).status in (200, 201) and seen, DEADLINE_S,
                                "a write to be taken again")
            self.index = answer.node["modifiedIndex"]
        wait_until(lambda: self.monitoring() == (200, HEALTHY, 0), DEADLINE_S, "the alarm to be gone")

    def check_story(self):
        """Full, emptied, full again, killed, emptied again."""
        pid = self.server.process.popen.pid
        self.check_refused(self.fill())
        say(f"{self.id().rpartition('.')[2]}: {len(self.written)} values of {VALUE_BYTES} bytes, then refused")
        self.check_full()
        self.make_room()
        self.assertTrue(self.server.running)
        self.assertEqual(self.server.process.popen.pid, pid)

        self.check_refused(self.fill())
        self.server.kill()
        self.server.restart()
        self.check_full()
        self.make_room()
        self.assertEqual(self.server.terminate(), 0)
        self.server.restart()
        self.check_all_there()


class FullDiskTest(Full):
    """A file system without room."""

    def start_on_small_disk(self):
        try:
            self.disk = SmallDisk(DISK_BYTES)
        except NoSmallDisk as reason:
            self.skipTest(str(reason))
        self.addCleanup(self.disk.close)
        self.server = DiskMember(self.disk, flags=COMPACTION)
        self._members.append(self.server)
        self.server.start()

    def test_the_member_fills_the_disk(self):
        self.start_on_small_disk()
        self.check_story()

    def check_full(self):
        say(f"{self.disk.free_bytes() / MEGABYTE:.0f} MB of {DISK_BYTES / MEGABYTE:.0f} are left")
        self.assertGreater(self.disk.free_bytes(), 0, "the alarm came too late")
        super().check_full()

    def test_somebody_else_fills_the_disk(self):
        """To the last byte. The member goes on by what it has set aside, and all is well when the other's file goes."""
        self.start_on_small_disk()
        with Keys(self.server.client_url, 30.0) as keys:
            self.write_values(keys, 2 * KEYS_PER_DIRECTORY)
            other = os.path.join(self.disk.from_outside, "other")
            fill_disk(other)
            wait_until(lambda: self.monitoring() == (503, UNHEALTHY, 1), DEADLINE_S, "the alarm")
            self.check_refused(keys.put("/small", "x"))
            self.check_all_there()
            for key in list(self.written)[:KEYS_PER_DIRECTORY]:
                answer = keys.delete(key)
                self.assertEqual(answer.status, 200, answer)
                self.index = answer.node["modifiedIndex"]
                del self.written[key]
            self.check_all_there()
            os.unlink(other)
            wait_until(lambda: self.monitoring() == (200, HEALTHY, 0), DEADLINE_S, "the alarm to be gone")
            self.write_values(keys, KEYS_PER_DIRECTORY)
        for stop in (self.server.kill, self.server.terminate):
            stop()
            self.server.restart()
            self.check_all_there()

    def test_somebody_else_fills_the_disk_beside_writes(self):
        """At once, so that no alarm can come in time: then the log may find no room, and the member stops and says so.

        The store waits for room instead, and nothing that was acknowledged is lost either way.
        """
        for number in range(SUDDEN_ROUNDS):
            self.start_on_small_disk()
            self.written.clear()
            ledger = Ledger(f"sudden-{number}")
            writers = Writers(ledger, self.server.client_url)
            fillers = [threading.Thread(target=self.fill_until_cut_off) for _ in range(FILLERS)]
            for filler in fillers:
                filler.start()
            other = os.path.join(self.disk.from_outside, "other")
            try:
                ledger.wait_for_acknowledged(200 * (number + 1))
                fill_disk(other)
            finally:
                writers.join()  # each ends when it is refused
                for filler in fillers:
                    filler.join()
            wait_until(self.has_noticed, DEADLINE_S, "the alarm")
            ended = self.server.process.wait(SETTLE_S)
            if ended is None:
                os.unlink(other)
                wait_until(lambda: self.monitoring() == (200, HEALTHY, 0), DEADLINE_S, "the alarm to be gone")
                self.server.kill()
            else:
                os.unlink(other)
                self.assertEqual(ended, 1)
                self.assertRegex(self.server.process.tail(3), "/wal/.*No space left on device")
            self.server.restart()
            self.assertEqual(ledger.verify(self.server.client_url), [])
            with Keys(self.server.client_url, 30.0) as keys:
                for key, index in self.written.items():
                    self.assertEqual(keys.get(key).node["modifiedIndex"], index, key)
            self.server.stop()
            self.disk.close()

    def fill_until_cut_off(self):
        with contextlib.suppress(HttpFailure):
            self.fill()

    def has_noticed(self):
        """The alarm stands, or the member has ended."""
        try:
            return self.monitoring() == (503, UNHEALTHY, 1)
        except HttpFailure:
            return not self.server.running

    def write_values(self, keys, count):
        for _ in range(count):
            answer = self.write_one(keys)
            self.assertEqual(answer.status, 201, answer)


def fill_disk(path):
    """Writes zeros to a new file until nothing more goes onto its file system."""
    with open(path, "wb", buffering=0) as file:
        for size in (MEGABYTE, 4096):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


class QuotaTest(Full):
    """A disk with room, and a quota."""

    def test_quota(self):
        self.server = self.member(flags=(*COMPACTION, "--quota-backend-bytes", str(QUOTA_BYTES)))
        self.check_story()

    def check_full(self):
        taken = len(self.written) * VALUE_BYTES
        self.assertLessEqual(taken, QUOTA_BYTES * 2, "the quota was overrun")
        super().check_full()


del Full  # it has no member, and is not a test by itself


if __name__ == "__main__":
    unittest.main()
