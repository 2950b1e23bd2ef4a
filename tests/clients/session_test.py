"""The stock libraries: python-etcd under Debian's own Python, node-etcd under Node.

Each runs a session in a program of its own against a fresh member, and prints a line of JSON for every check. Where
the library cannot be had, its test is skipped and says why.
"""
import functools
import json
import os
import shutil
import subprocess
import unittest

from tests.harness import ServerTestCase, clean_environment
from tests.harness.member import temporary_directory

HERE = os.path.dirname(os.path.abspath(__file__))
DEBIAN_PYTHON = "/usr/bin/python3"
NODE_ETCD = "node-etcd@7.0.0"
INSTALL_TIMEOUT_S = 120.0
SESSION_TIMEOUT_S = 60.0
# Without the scripts of its dependencies: one would compile, and its ready-made binaries do for common versions.
NPM_OPTIONS = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--fetch-retries=0", "--fetch-timeout=20000"]


def run(arguments, timeout, **options):
    """Runs a program to its end. Too late is a failure like any other."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout,
                              check=False, **options)
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(arguments, 124, str(late.stdout), f"not done after {timeout} s")


@functools.cache
def node_modules():
    """A folder with node-etcd, or why there is none."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "no node or npm on PATH"
    folder = temporary_directory("etcd-npm-")
    done = run(["npm", "install", "--prefix", folder, *NPM_OPTIONS, NODE_ETCD], INSTALL_TIMEOUT_S, cwd=folder)
    if done.returncode:
        return None, f"npm could not install {NODE_ETCD}: {done.stderr.strip()[-200:]}"
    modules = os.path.join(folder, "node_modules")
    done = run(["node", "-e", "require('node-etcd')"], SESSION_TIMEOUT_S, env={**os.environ, "NODE_PATH": modules})
    if done.returncode:
        return None, f"node cannot load {NODE_ETCD}: {done.stderr.strip()[:200]}"
    return modules, ""


class SessionTest(ServerTestCase):
    """A session passes when it came to its end and every check held."""

    def play(self, arguments, **environment):
        url = self.member().client_url
        done = run([*arguments, url], SESSION_TIMEOUT_S, env={**clean_environment(), **environment})
        checks = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for check in checks:
            with self.subTest(check["check"]):
                self.assertTrue(check["ok"], check.get("why"))
        self.assertTrue(checks and checks[-1]["check"] == "the end", f"{done.stdout[-500:]}\n{done.stderr[-2000:]}")
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])

    def test_python_etcd(self):
        if run([DEBIAN_PYTHON, "-c", "import etcd"], SESSION_TIMEOUT_S).returncode:
            self.skipTest(f"{DEBIAN_PYTHON} has no python-etcd: apt install python3-etcd")
        self.play([DEBIAN_PYTHON, os.path.join(HERE, "python_etcd_session.py")])

    def test_node_etcd(self):
        modules, why = node_modules()
        if modules is None:
            self.skipTest(why)
        self.play(["node", os.path.join(HERE, "node_etcd_session.js")], NODE_PATH=modules)


if __name__ == "__main__":
    unittest.main()
