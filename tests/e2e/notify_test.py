"""What a service manager hears of a member, and where its log goes: sd_notify, the journal, rotated files."""
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from tests.harness import ServerTestCase, binary_path
from tests.harness.member import READY_LINE, STOP_TIMEOUT_S, Member, clean_environment, temporary_directory
from tests.harness.v2 import Keys, wait_until

JOURNAL_SOCKET = "/run/systemd/journal/socket"
DATAGRAM_BYTES_MAX = 1 << 16
MEGABYTE = 1 << 20
BACKUP = re.compile(r"etcd-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log")


class DatagramTest(ServerTestCase):
    """A socket in a directory of its own that takes what members send."""

    def listen(self, name):
        directory = temporary_directory()
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        path = os.path.join(directory, name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.settimeout(STOP_TIMEOUT_S)
        return listener, path

    @staticmethod
    def receive(listener):
        return listener.recv(DATAGRAM_BYTES_MAX).decode()

    def assert_silent(self, listener):
        """Nothing more has come."""
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.recv(DATAGRAM_BYTES_MAX)


class NotifyTest(DatagramTest):
    """READY=1 and STOPPING=1, as units with Type=notify want them."""

    def check_life(self, number):
        listener, path = self.listen("notify")
        member = self.member(environment={"NOTIFY_SOCKET": path})
        # The harness has seen the ready line; what was sent before it is there already.
        listener.setblocking(False)
        self.assertEqual(self.receive(listener), "READY=1")
        with Keys(member.client_url) as keys:
            self.assertEqual(keys.put("/a", "1").status, 201)
        self.assert_silent(listener)
        listener.settimeout(STOP_TIMEOUT_S)
        member.process.signal(number)
        self.assertEqual(self.receive(listener), "STOPPING=1")
        self.assertEqual(member.process.wait(STOP_TIMEOUT_S), 0)
        self.assert_silent(listener)

    def test_sigterm(self):
        self.check_life(signal.SIGTERM)

    def test_sigint(self):
        self.check_life(signal.SIGINT)

    def test_a_member_that_does_not_start_is_never_ready(self):
        listener, path = self.listen("notify")
        member = self.member()
        second = self.member(start=False, data_dir=member.data_dir, environment={"NOTIFY_SOCKET": path})
        second.launch()
        self.assertEqual(second.process.wait(STOP_TIMEOUT_S), 1)
        self.assert_silent(listener)

    def test_a_socket_that_nobody_reads_stops_nothing(self):
        listener, path = self.listen("notify")
        listener.close()
        member = self.member(environment={"NOTIFY_SOCKET": path})
        line = next(line for line in member.process.lines if "failed to notify systemd" in line)
        self.assertEqual(json.loads(line)["level"], "error")
        with Keys(member.client_url) as keys:
            self.assertEqual(keys.put("/a", "1").status, 201)
        self.assertEqual(member.terminate(), 0)


def can_make_mount_namespaces():
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return done.returncode == 0


class JournaledMember(Member):
    """A member that sees the directory of `socket_path` where the journal has its own."""

    def __init__(self, socket_path, **options):
        super().__init__(**options)
        self.socket_path = socket_path

    def arguments(self):
        script = ("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && "
                  'mount --bind "$0" /run/systemd/journal && exec "$@"')
        return ["unshare", "--mount", "sh", "-c", script, os.path.dirname(self.socket_path), *super().arguments()]


class JournalTest(DatagramTest):
    """--log-outputs systemd/journal."""

    def check_lines(self, *flags):
        if shutil.which("unshare") is None or not can_make_mount_namespaces():
            self.skipTest("needs the right to make mount namespaces")
        listener, path = self.listen("socket")
        member = JournaledMember(path, flags=["--log-outputs", "systemd/journal", *flags])
        self.addCleanup(member.stop)
        member.launch()
        lines = []
        while not lines or READY_LINE not in lines[-1]["MESSAGE"]:
            fields = self.receive(listener).removesuffix("\n").split("\n")
            lines.append(dict(field.split("=", 1) for field in fields))
        self.assertEqual({line["SYSLOG_IDENTIFIER"] for line in lines}, {os.path.basename(binary_path())})
        self.assertEqual(member.terminate(), 0)
        self.assertEqual(list(member.process.lines), [])  # all of it went to the journal
        return lines

    def test_json_lines(self):
        for line in self.check_lines():
            level = json.loads(line["MESSAGE"])["level"]
            self.assertEqual(line["PRIORITY"], {"debug": "7", "info": "6", "warn": "4", "error": "3"}[level])

    def test_console_lines(self):
        for line in self.check_lines("--log-format", "console"):
            level = line["MESSAGE"].split("\t")[1]
            self.assertEqual(line["PRIORITY"], {"debug": "7", "info": "6", "warn": "4", "error": "3"}[level])

    def test_without_a_journal(self):
        if os.path.exists(JOURNAL_SOCKET):
            self.skipTest("this machine has a journal")
        member = self.member(start=False, flags=["--log-outputs", "systemd/journal"])
        member.launch()
        self.assertEqual(member.process.wait(STOP_TIMEOUT_S), 1)
        self.assertEqual(len(member.process.lines), 1)
        self.assertIn(f"can't find journal ({JOURNAL_SOCKET}: ", json.loads(member.process.lines[0])["error"])


class RotationTest(ServerTestCase):
    """--enable-log-rotation with the real binary; the rules are telemetry/rotating_file_test.cc's."""

    def start(self, log, rotation):
        """Starts a member that logs into this file, which is short of a megabyte by less than a start writes."""
        with open(log, "w", encoding="utf-8") as file:
            file.write("x" * (MEGABYTE - 101) + "\n")
        # Standard error has the lines, too: the harness waits for one of them.
        return self.member(flags=["--log-outputs", f"stderr,{log}", "--enable-log-rotation",
                                  "--log-rotation-config-json", json.dumps(rotation)])

    def lines_of(self, path):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
            return file.read().splitlines()

    def test_backups(self):
        for compress in (False, True):
            with self.subTest(compress=compress):
                directory = temporary_directory()
                self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
                log = os.path.join(directory, "etcd.log")
                for stamp in ("2020-01-01T00-00-00.000", "2020-01-02T00-00-00.000"):
                    with open(os.path.join(directory, f"etcd-{stamp}.log"), "w", encoding="utf-8") as file:
                        file.write("old\n")
                member = self.start(log, {"maxsize": 1, "maxbackups": 2, "compress": compress})
                ending = ".gz" if compress else ""

                def others():
                    return sorted(name for name in os.listdir(directory) if name != "etcd.log")

                wait_until(lambda: len(others()) == 2 and all(name.endswith("log" + ending) for name in others()),
                           what="one file set aside, and the oldest removed")
                self.assertEqual(member.terminate(), 0)
                kept, fresh = others()
                self.assertEqual(kept, "etcd-2020-01-02T00-00-00.000.log" + ending)
                self.assertTrue(BACKUP.fullmatch(fresh.removesuffix(".gz")), fresh)
                first, *lines = self.lines_of(os.path.join(directory, fresh)) + self.lines_of(log)
                self.assertEqual(first, "x" * (MEGABYTE - 101))
                self.assertEqual(lines, list(member.process.lines))  # not one is missing, in the same order
                self.assertLess(os.path.getsize(log), MEGABYTE // 2)

    def test_off(self):
        """Without the flag the file just grows."""
        directory = temporary_directory()
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        log = os.path.join(directory, "etcd.log")
        with open(log, "w", encoding="utf-8") as file:
            file.write("x" * (MEGABYTE - 1) + "\n")
        member = self.member(flags=["--log-outputs", f"stderr,{log}", "--log-rotation-config-json", '{"maxsize": 1}'])
        self.assertEqual(member.terminate(), 0)
        self.assertEqual(os.listdir(directory), ["etcd.log"])
        self.assertGreater(os.path.getsize(log), MEGABYTE)

    def test_a_log_that_cannot_be_opened(self):
        directory = temporary_directory()
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        blocker = os.path.join(directory, "file")
        with open(blocker, "w", encoding="utf-8"):
            pass
        done = subprocess.run([binary_path(), "--log-outputs", os.path.join(blocker, "etcd.log"),
                               "--enable-log-rotation", "--data-dir", os.path.join(directory, "data")],
                              capture_output=True, text=True, env=clean_environment(), stdin=subprocess.DEVNULL,
                              timeout=STOP_TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot open log file", done.stderr)


if __name__ == "__main__":
    unittest.main()
