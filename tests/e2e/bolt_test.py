"""The .db form, with upstream's own tools: etcdctl and etcd 3.4 judge files of our writer, our reader theirs.

    ours      `snapshot status` walks and checks every page (bbolt's tx.Check) and gives hash, revision, keys and size;
              `snapshot restore` and a started etcd serve from it, delete in it and compact it
    upstream  a snapshot and the live file of an etcd that was used get the same answers from our reader

Needs what the build makes as `bolt_file`, and upstream's etcd and etcdctl of the 3.4 line on PATH; skipped without the
latter.

Environment: ETCD_BOLT_FILE (the program; default: build/release/bin/bolt_file), ETCD_BOLT_SEED (default: 1).
"""
import hashlib
import json
import os
import shutil
import subprocess
import unittest

from tests.harness.member import pick_port, temporary_directory
from tests.harness.v2 import wait_until

BOLT_FILE = os.environ.get("ETCD_BOLT_FILE", "build/release/bin/bolt_file")
SEED = os.environ.get("ETCD_BOLT_SEED", "1")
CALL_TIMEOUT_S = 120.0
START_TIMEOUT_S = 60.0
STATUS = ("hash", "revision", "totalKey", "totalSize")


def upstream_version():
    """The version of the etcd on PATH, with its etcdctl; None when either is missing."""
    if not (shutil.which("etcd") and shutil.which("etcdctl")):
        return None
    text = subprocess.run(["etcd", "--version"], capture_output=True, text=True, timeout=CALL_TIMEOUT_S,
                          check=True).stdout
    return text.splitlines()[0].rpartition(" ")[2]


def environment():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "ETCDCTL_"))}
    return {**clean, "ETCDCTL_API": "3"}


def call(*arguments):
    """What the program prints; an AssertionError with its complaints when it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=CALL_TIMEOUT_S, env=environment(),
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def our_status(path):
    return json.loads(call(BOLT_FILE, "status", path))


def upstream_status(path):
    return json.loads(call("etcdctl", "snapshot", "status", path, "-w", "json"))


def write_ours(path, records):
    """Makes a snapshot file: ours, and behind it the SHA-256 that upstream wants. Returns what should be in it."""
    wanted = json.loads(call(BOLT_FILE, "write", path, str(records), SEED))
    with open(path, "r+b") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0, os.SEEK_END)
        file.write(digest)
    return wanted


class Upstream:
    """A running etcd of upstream's."""

    def __init__(self, directory):
        self.directory = directory
        self.url = f"http://127.0.0.1:{pick_port()}"
        self.peer_url = f"http://127.0.0.1:{pick_port()}"
        self.process = None

    def __enter__(self):
        with open(self.directory + ".log", "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", "--data-dir", self.directory, "--listen-client-urls", self.url, "--advertise-client-urls",
                 self.url, "--listen-peer-urls", self.peer_url, *self.identity()],
                stdout=log, stderr=subprocess.STDOUT, env=environment())
        try:
            wait_until(self.is_healthy, timeout=START_TIMEOUT_S, what="upstream's etcd to be healthy")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        try:
            self.process.wait(CALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def identity(self):
        return ["--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", "default=" + self.peer_url]

    def is_healthy(self):
        if self.process.poll() is not None:
            with open(self.directory + ".log", encoding="utf-8", errors="replace") as log:
                raise AssertionError("upstream's etcd has ended:\n" + log.read()[-3000:])
        return subprocess.run(["etcdctl", "--endpoints", self.url, "endpoint", "health"], capture_output=True,
                              timeout=CALL_TIMEOUT_S, env=environment(), check=False).returncode == 0

    def ctl(self, *arguments):
        return call("etcdctl", "--endpoints", self.url, *arguments)

    def keys(self):
        return self.ctl("get", "", "--prefix", "--keys-only").split()


class BoltTest(unittest.TestCase):
    def setUp(self):
        version = upstream_version()
        if version is None or not version.startswith("3.4."):
            self.skipTest(f"no etcd and etcdctl 3.4 on PATH (found: {version})")
        self.directory = temporary_directory("etcd-bolt-")

    def path(self, name):
        return os.path.join(self.directory, name)

    def assert_same(self, found, wanted):
        self.assertEqual({name: found[name] for name in STATUS}, {name: wanted[name] for name in STATUS})

    def test_upstream_reads_ours(self):
        for records in (0, 1, 10, 1000, 20_000):
            with self.subTest(records=records, seed=SEED):
                path = self.path(f"{records}.db")
                wanted = write_ours(path, records)
                self.assert_same(our_status(path), wanted)
                self.assert_same(upstream_status(path), wanted)

    def test_upstream_restores_ours_and_goes_on(self):
        path = self.path("snapshot.db")
        wanted = write_ours(path, 3000)
        member = Upstream(self.path("member"))
        call("etcdctl", "snapshot", "restore", path, "--data-dir", member.directory, *member.identity())
        with member:
            keys = member.keys()
            self.assertEqual(len(keys), wanted["alive"])
            # Deletes in full pages: pages are merged, split and freed.
            member.ctl("compact", str(wanted["revision"]))
            self.assertEqual(member.keys(), keys)
            for key in keys[::2]:
                member.ctl("del", key)
            member.ctl("put", "new", "value")
            last = json.loads(member.ctl("get", "new", "-w", "json"))["header"]["revision"]
            member.ctl("compact", str(last), "--physical")
            left = sorted([*keys[1::2], "new"])
            self.assertEqual(member.keys(), left)
            member.ctl("snapshot", "save", self.path("again.db"))
        self.assert_same(our_status(self.path("again.db")), upstream_status(self.path("again.db")))
        with member:
            self.assertEqual(member.keys(), left)

    def test_we_read_upstreams(self):
        member = Upstream(self.path("member"))
        with member:
            for number in range(60):
                member.ctl("put", f"key/{number % 20}", "v" * (number * 50))
            member.ctl("put", "large", "x" * 100_000)
            member.ctl("del", "key/1", "key/10")
            member.ctl("lease", "grant", "1000")
            member.ctl("user", "add", "someone:secret")
            member.ctl("snapshot", "save", self.path("before.db"))
            revision = json.loads(member.ctl("get", "large", "-w", "json"))["header"]["revision"]
            member.ctl("compact", str(revision), "--physical")
            member.ctl("snapshot", "save", self.path("after.db"))
        # The live file has free pages, pages of older transactions, and is longer than its high-water mark.
        shutil.copy(os.path.join(member.directory, "member", "snap", "db"), self.path("live.db"))
        for name in ("before.db", "after.db", "live.db"):
            with self.subTest(file=name):
                self.assert_same(our_status(self.path(name)), upstream_status(self.path(name)))
        before, after = (our_status(self.path(name)) for name in ("before.db", "after.db"))
        self.assertGreater(before["totalKey"], after["totalKey"])


if __name__ == "__main__":
    unittest.main()
