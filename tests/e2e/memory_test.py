"""What a member takes: memory when idle and with many keys, and disk when the same keys are written again and again.

The bounds are the project's own: 15 MB of RssAnon for an idle member, 550 MB for a million keys of 100 bytes with
values of 256, and history that compaction holds in bounds. No time is judged.

Environment: ETCD_MEMORY_KEYS (default: 200000), ETCD_MEMORY_OVERWRITES (default: 500000).
"""
import os
import sys
import time
import unittest

from tests.harness import ServerTestCase
from tests.harness.bulk import Bulk
from tests.harness.usage import MEGABYTE, disk_bytes, rss_anon
from tests.harness.v2 import Keys, wait_until

KEYS = int(os.environ.get("ETCD_MEMORY_KEYS", "200000"))
OVERWRITES = int(os.environ.get("ETCD_MEMORY_OVERWRITES", "500000"))

IDLE_BYTES_MAX = 15_000_000
BYTES_PER_KEY_MAX = 550  # of 100 bytes, with a value of 256
KEYS_PER_DIRECTORY = 1000
KEY_BYTES, VALUE_BYTES = 100, 256

OVERWRITTEN = 1000
RETENTION = "2s"
STEPS = 20
GROWTH_MAX = 1.3  # from half-way to the end, and some bytes: pages of a batch, a segment, buffers
SLACK_BYTES = {"store": 4 * MEGABYTE, "log": 64_000_000, "RssAnon": 16 * MEGABYTE}


def say(text):
    print(f"\nmemory_test: {text}", file=sys.stderr)


class IdleTest(ServerTestCase):
    """A member that nobody has asked for anything."""

    def check(self, member):
        with Keys(member.client_url) as keys:
            for _ in range(20):
                self.assertEqual(keys.get("/").status, 200)
        taken = rss_anon(member.process.popen.pid)
        say(f"idle: {taken / 1e6:.1f} MB of RssAnon")
        self.assertLessEqual(taken, IDLE_BYTES_MAX)

    def test_idle(self):
        member = self.member()
        self.check(member)
        member.kill()
        member.restart()
        self.check(member)


class ManyKeysTest(ServerTestCase):
    """Many keys, and a restart."""

    @staticmethod
    def key(number):
        name = f"/m/{number // KEYS_PER_DIRECTORY:05}/{number % KEYS_PER_DIRECTORY:04}-"
        return name + "k" * (KEY_BYTES - len(name))

    def test_restart_with_many_keys(self):
        member = self.member()
        with Bulk(member.client_port) as bulk:
            bulk.put_all((self.key(number), f"{number:08}" + "v" * (VALUE_BYTES - 8)) for number in range(KEYS))
        before = rss_anon(member.process.popen.pid)
        for stop in (member.kill, member.terminate):
            stop()
            seconds = member.restart()
            taken = rss_anon(member.process.popen.pid)
            say(f"{KEYS} keys: {before / 1e6:.0f} MB of RssAnon when written, {taken / 1e6:.0f} MB after a restart "
                f"of {seconds:.2f} s, {disk_bytes(member.data_dir) / 1e6:.0f} MB on disk")
            self.assertLessEqual(taken, IDLE_BYTES_MAX + BYTES_PER_KEY_MAX * KEYS)
        self.check_all_there(member)

    def check_all_there(self, member):
        number = 0
        with Keys(member.client_url, 60.0) as keys:
            names = [node["key"] for node in keys.get("/m", sorted="true").node["nodes"]]
            for name in names:
                answer = keys.get(name, recursive="true", sorted="true")
                for node in answer.node["nodes"]:
                    self.assertEqual((node["key"], node["value"][:8]), (self.key(number), f"{number:08}"))
                    self.assertEqual(len(node["value"]), VALUE_BYTES)
                    number += 1
        self.assertEqual(number, KEYS)


class OverwriteTest(ServerTestCase):
    """A few keys, a great many versions of them, and compaction that keeps up."""

    def test_history_is_bounded(self):
        member = self.member(flags=("--auto-compaction-mode", "periodic", "--auto-compaction-retention", RETENTION,
                                    "--snapshot-count", "10000"))
        pid = member.process.popen.pid
        store = os.path.join(member.data_dir, "member", "store")
        wal = os.path.join(member.data_dir, "member", "wal")
        samples = []
        step = OVERWRITES // STEPS
        with Bulk(member.client_port) as bulk:
            for begin in range(0, step * STEPS, step):
                start = time.monotonic()
                bulk.put_all((f"/o/{number % OVERWRITTEN}", f"{number:08}" + "v" * (VALUE_BYTES - 8))
                             for number in range(begin, begin + step))
                samples.append({"store": disk_bytes(store), "log": disk_bytes(wal), "RssAnon": rss_anon(pid),
                                "rate": step / (time.monotonic() - start)})
        # The largest so far, since compaction comes in waves.
        first, second = ({what: max(sample[what] for sample in part) for what in samples[0]}
                         for part in (samples[:STEPS // 2], samples[STEPS // 2:]))
        for when, most in (("half-way", first), ("from there on", second)):
            say(f"{OVERWRITES} overwrites of {OVERWRITTEN} keys, at most {when}: store {most['store'] / 1e6:.0f} MB, "
                f"log {most['log'] / 1e6:.0f} MB, RssAnon {most['RssAnon'] / 1e6:.0f} MB, {most['rate']:.0f} a second")
        # What is kept is what was written within the retention.
        faster = max(1.0, second["rate"] / first["rate"])
        for what, slack in SLACK_BYTES.items():
            self.assertLessEqual(second[what], first[what] * GROWTH_MAX * faster + slack,
                                 f"the {what} grows: {samples}")
        self.check_compacted(member)
        with Keys(member.client_url) as keys:
            for number in range(step * STEPS - OVERWRITTEN, step * STEPS):
                self.assertEqual(int(keys.get(f"/o/{number % OVERWRITTEN}").node["value"][:8]), number)

    def check_compacted(self, member):
        """What is older than the retention goes, also once nobody writes any more."""
        with Keys(member.client_url) as keys:
            wait_until(lambda: keys.get("/o/0", wait="true", waitIndex=2).status == 400, 60.0,
                       "the first write's event to be compacted")


if __name__ == "__main__":
    unittest.main()
