"""The first steps of README.md with the real curl, and how the server starts, refuses to start, and stops."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import unittest

from tests.harness import Client, ServerTestCase, binary_path, clean_environment
from tests.harness.v2 import Keys

RUN_TIMEOUT_S = 20.0


def curl(*arguments):
    """Runs the real curl, which has to succeed, and returns what it printed."""
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "10", *arguments], capture_output=True,
                          text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise AssertionError(f"curl {arguments} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def run_server(*arguments):
    """Runs the binary to its end, for calls that must not stay."""
    return subprocess.run([binary_path(), *arguments], capture_output=True, text=True, env=clean_environment(),
                          stdin=subprocess.DEVNULL, timeout=RUN_TIMEOUT_S, check=False)


class FirstStepsTest(ServerTestCase):
    """What a newcomer types."""

    def test_set_get_update_and_delete_with_curl(self):
        member = self.member(client_ports=2)
        first, second = (url + "/v2/keys/message" for url in member.client_urls)

        made = json.loads(curl("-L", "-X", "PUT", first, "-d", "value=Hello world"))
        self.assertEqual(made["action"], "set")
        self.assertEqual((made["node"]["key"], made["node"]["value"]), ("/message", "Hello world"))
        self.assertEqual(made["node"]["createdIndex"], made["node"]["modifiedIndex"])

        got = json.loads(curl("-L", second))  # the other client port shows the same store
        self.assertEqual((got["action"], got["node"]), ("get", made["node"]))

        changed = json.loads(curl("-L", "-X", "PUT", second, "-d", "value=Hello etcd"))
        self.assertEqual(changed["prevNode"], made["node"])
        self.assertGreater(changed["node"]["modifiedIndex"], made["node"]["modifiedIndex"])

        gone = json.loads(curl("-L", "-X", "DELETE", first))
        self.assertEqual((gone["action"], gone["prevNode"]["value"]), ("delete", "Hello etcd"))
        missing = json.loads(curl("-L", second))
        self.assertEqual((missing["errorCode"], missing["cause"]), (100, "/message"))

    def test_a_watch_with_curl_sees_the_next_change(self):
        member = self.member()
        url = member.client_url + "/v2/keys/foo"
        begin = json.loads(curl("-X", "PUT", url, "-d", "value=1"))
        curl("-X", "PUT", url, "-d", "value=2")
        seen = json.loads(curl(f"{url}?wait=true&waitIndex={begin['node']['modifiedIndex'] + 1}"))
        self.assertEqual((seen["action"], seen["node"]["value"]), ("set", "2"))

    def test_version_and_health(self):
        member = self.member()
        version = json.loads(curl(member.client_url + "/version"))
        self.assertRegex(version["etcdserver"], r"^\d+\.\d+\.\d+")
        self.assertEqual(json.loads(curl(member.client_url + "/health"))["health"], "true")


class StopTest(ServerTestCase):
    """SIGTERM and SIGINT end a member cleanly, with exit code 0, and nothing is lost."""

    def check_signal(self, number):
        member = self.member()
        with Keys(member.client_url) as keys:
            written = keys.put("/kept", "yes")
        self.assertEqual(member.terminate(number), 0)
        member.restart()
        with Keys(member.client_url) as keys:
            self.assertEqual(keys.get("/kept").node, written.node)

    def test_sigterm(self):
        self.check_signal(signal.SIGTERM)

    def test_sigint(self):
        self.check_signal(signal.SIGINT)

    def test_a_watch_and_an_idle_connection_do_not_hold_it_up(self):
        member = self.member()
        idle = socket.create_connection(("127.0.0.1", member.client_port))
        self.addCleanup(idle.close)
        watch = socket.create_connection(("127.0.0.1", member.client_port))
        self.addCleanup(watch.close)
        watch.settimeout(10)
        watch.sendall(b"GET /v2/keys/x?wait=true HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"200 OK", watch.recv(1000))
        self.assertEqual(member.terminate(timeout=5), 0)


class RefusalTest(ServerTestCase):
    """What cannot work is said in one clear line, with an exit code that is not 0."""

    def refused(self, member):
        """Launches a member that must not start; returns its exit code and log lines."""
        member.launch()
        code = member.process.wait(RUN_TIMEOUT_S)
        self.assertIsNotNone(code, "it still runs")
        self.assertGreater(code, 0, "it ended by a signal or with success")
        lines = list(member.process.lines)
        self.assertNotRegex("\n".join(lines), r"terminate called|CHECK|Sanitizer|core dumped")
        return code, lines

    def assert_one_line(self, lines, *patterns):
        matching = [line for line in lines if all(re.search(pattern, line, re.IGNORECASE) for pattern in patterns)]
        self.assertEqual(len(matching), 1, f"one line with {patterns} expected in:\n" + "\n".join(lines))

    def test_second_member_on_one_data_directory(self):
        first = self.member()
        second = self.member(data_dir=first.data_dir, start=False)
        _, lines = self.refused(second)
        self.assert_one_line(lines, re.escape(first.data_dir), r"lock|in use|used by")
        with Keys(first.client_url) as keys:
            self.assertEqual(keys.put("/a", "1").status, 201)

    def test_busy_client_port(self):
        first = self.member()
        second = self.member(start=False)
        second.client_ports = first.client_ports
        _, lines = self.refused(second)
        self.assert_one_line(lines, str(first.client_port), r"in use")

    def test_busy_peer_port(self):
        first = self.member()
        second = self.member(start=False)
        second.peer_port = first.peer_port
        _, lines = self.refused(second)
        self.assert_one_line(lines, str(first.peer_port), r"in use")

    def test_unknown_flag(self):
        done = run_server("--no-such-flag")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no-such-flag", done.stderr)

    def test_flag_without_its_value(self):
        done = run_server("--name")
        self.assertEqual(done.returncode, 2)
        self.assertIn("name", done.stderr)

    def test_bad_url(self):
        done = run_server("--listen-client-urls", "localhost")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("localhost", done.stderr)

    def test_data_directory_that_cannot_be_made(self):
        member = self.member(data_dir="/proc/no/such/place", start=False)
        _, lines = self.refused(member)
        self.assertTrue(any("/proc/no" in line for line in lines), lines)


class OptionsTest(ServerTestCase):
    """Flags, and variables in their place."""

    def test_version(self):
        for flag in ("--version", "-version"):
            done = run_server(flag)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, r"(?m)^etcd Version: \d+\.\d+\.\d+")

    def test_help(self):
        done = run_server("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--listen-client-urls", (done.stdout + done.stderr).replace(" -listen", " --listen"))

    def test_environment_variables(self):
        member = self.member("from-environment", use_flags=False)
        self.assertEqual(self.name_of(member), "from-environment")

    def test_a_flag_and_its_variable_conflict(self):
        """Upstream refuses to guess which one is meant (facts/flags-and-env.md)."""
        member = self.member("from-flag", environment={"ETCD_NAME": "from-environment"}, start=False)
        member.launch()
        self.assertEqual(member.process.wait(RUN_TIMEOUT_S), 1)
        self.assertIn("conflicting environment variable", member.process.tail())

    def name_of(self, member):
        with Client(member.client_url) as client:
            return json.loads(client.request("GET", "/v2/stats/self").body)["name"]


class DataDirectoryTest(ServerTestCase):
    """Nobody else may read what users store."""

    def test_modes(self):
        member = self.member()
        with Keys(member.client_url) as keys:
            keys.put("/secret", "x")
        found = 0
        self.assertEqual(stat.S_IMODE(os.stat(member.data_dir).st_mode), 0o700)
        for folder, folders, files in os.walk(member.data_dir):
            for name, mode in [(name, 0o700) for name in folders] + [(name, 0o600) for name in files]:
                path = os.path.join(folder, name)
                self.assertEqual(oct(stat.S_IMODE(os.stat(path).st_mode)), oct(mode), path)
                found += 1
        self.assertGreater(found, 0)


if __name__ == "__main__":
    unittest.main()
