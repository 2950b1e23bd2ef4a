"""Starts, stops, kills and restarts real members.

Environment:
    ETCD_BIN         the binary (default build/release/bin/etcd in this repository)
    ETCD_TEST_FLAGS  flags added to every member, such as --enable-v2 to try upstream's 3.4
    ETCD_KEEP        when set, temporary directories stay

A member gets an environment without any ETCD_*, a temporary data directory and free ports. It counts as started when
it has said `ready to serve client requests` on standard error. Every process that was started here is ended when the
interpreter exits, by its process id, whatever happened.
"""
import atexit
import collections
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY_LINE = "ready to serve client requests"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
START_ATTEMPTS = 5
PORT_TAKEN = re.compile(r"address (is )?already in use", re.IGNORECASE)

# Ports are taken from below the kernel's range for outgoing connections: a client socket must never occupy the port
# that a killed member wants to have back.
FIRST_PORT, LAST_PORT = 20000, 32000

_given_ports = set()
_given_lock = threading.Lock()
_running = {}  # pid -> Popen
_running_lock = threading.Lock()
_ending = False
_temporary = []


class MemberFailed(Exception):
    """A member did not start, or ended when it should not have."""


def binary_path():
    return os.environ.get("ETCD_BIN") or os.path.join(REPOSITORY, "build", "release", "bin", "etcd")


def clean_environment(extra=None):
    """Our environment without ETCD_*, which would configure the server behind the test's back."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
    environment.update(extra or {})
    return environment


def pick_port():
    """A port nobody listens on, never given twice by this process."""
    with _given_lock:
        for _ in range(200):
            port = random.randrange(FIRST_PORT, LAST_PORT)
            if port not in _given_ports and _can_bind(port):
                _given_ports.add(port)
                return port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]


def _can_bind(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def temporary_directory(prefix="etcd-test-"):
    """A directory that is removed at exit, unless ETCD_KEEP is set or keep_directories() was called."""
    path = tempfile.mkdtemp(prefix=prefix)
    _temporary.append(path)
    return path


def keep_directories(paths):
    """Leaves these behind for whoever looks into a failure."""
    for path in paths:
        if path in _temporary:
            _temporary.remove(path)


class Process:
    """A started program whose standard error is read line by line."""

    def __init__(self, arguments, environment, log_path):
        self.arguments = arguments
        self.lines = collections.deque(maxlen=5000)
        self._changed = threading.Condition()
        self._log = open(log_path, "ab")
        self._log.write(("$ " + " ".join(arguments) + "\n").encode())
        with _running_lock:  # so that nothing is started while everything is being ended
            if _ending:
                raise MemberFailed("the interpreter is about to exit")
            self.popen = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            _running[self.popen.pid] = self.popen
        self._ready = False
        self._drained = False
        self._reader = threading.Thread(target=self._read, name=f"log-{self.popen.pid}", daemon=True)
        self._reader.start()

    def _read(self):
        for raw in self.popen.stderr:
            self._log.write(raw)
            self._log.flush()
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._changed:
                self.lines.append(line)
                self._ready = self._ready or READY_LINE in line
                self._changed.notify_all()
        with self._changed:
            self._drained = True
            self._changed.notify_all()
        self.popen.stderr.close()
        self._log.close()

    def wait_ready(self, timeout=START_TIMEOUT_S):
        """Returns once the member says that it is ready; raises when it ends or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._drained, timeout)
            if self._ready:
                return
            drained = self._drained
        if drained:
            raise MemberFailed(f"ended with {self.wait(5)} before it was ready\n{self.tail()}")
        raise MemberFailed(f"not ready after {timeout} s\n{self.tail()}")

    def wait(self, timeout):
        """Waits for the end; returns the exit code (negative: the signal), None when it still runs."""
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        with _running_lock:
            _running.pop(self.popen.pid, None)
        self._reader.join(5)
        return code

    def signal(self, number):
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    @property
    def running(self):
        return self.popen.poll() is None

    def tail(self, count=40):
        with self._changed:
            return "\n".join(list(self.lines)[-count:])


class Member:
    """One member: its flags, its data directory, and the process while it runs.

    Use it as a context manager, or call start() and stop(). After kill() or terminate(), restart() starts it again on
    the same directory and ports.
    """

    def __init__(self, name="m1", *, data_dir=None, flags=(), environment=None, client_ports=1, cluster=None,
                 cluster_state="new", heartbeat_ms=None, election_ms=None, cors=None, use_flags=True):
        self.name = name
        self.directory = temporary_directory()
        self.data_dir = data_dir or os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, f"{name}.log")
        self.flags = list(flags)
        self.environment = dict(environment or {})
        self.cluster = cluster  # "n1=url,n2=url", None for a cluster of one
        self.cluster_state = cluster_state
        self.heartbeat_ms = heartbeat_ms
        self.election_ms = election_ms
        self.cors = cors
        self.use_flags = use_flags
        self.process = None
        self.started_before = False
        self._client_port_count = client_ports
        self.choose_ports()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    # Where it is.

    def choose_ports(self):
        self.client_ports = [pick_port() for _ in range(self._client_port_count)]
        self.peer_port = pick_port()

    @property
    def client_urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.client_ports]

    @property
    def client_url(self):
        return self.client_urls[0]

    @property
    def client_port(self):
        return self.client_ports[0]

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def settings(self):
        """The options by flag name, without dashes."""
        urls = ",".join(self.client_urls)
        values = {
            "name": self.name,
            "data-dir": self.data_dir,
            "listen-client-urls": urls,
            "advertise-client-urls": urls,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": self.cluster or f"{self.name}={self.peer_url}",
            "initial-cluster-state": self.cluster_state,
        }
        optional = {"heartbeat-interval": self.heartbeat_ms, "election-timeout": self.election_ms, "cors": self.cors}
        values.update({name: str(value) for name, value in optional.items() if value is not None})
        return values

    def arguments(self):
        """The command line. With use_flags=False everything goes through ETCD_* variables instead."""
        own = [part for name, value in self.settings().items() for part in (f"--{name}", value)]
        extra = os.environ.get("ETCD_TEST_FLAGS", "").split()
        return [binary_path()] + (own if self.use_flags else []) + extra + self.flags

    def full_environment(self):
        environment = clean_environment(self.environment)
        if not self.use_flags:
            environment.update({"ETCD_" + name.upper().replace("-", "_"): value
                                for name, value in self.settings().items()})
        return environment

    # Life.

    def launch(self):
        """Starts the process without waiting for it to be ready."""
        if self.process is not None and self.process.running:
            raise MemberFailed(f"{self.name} runs already")
        self.process = Process(self.arguments(), self.full_environment(), self.log_path)
        return self

    def start(self, timeout=START_TIMEOUT_S):
        """Starts the member and waits until it is ready. A port lost to another program is chosen anew."""
        for attempt in range(START_ATTEMPTS):
            self.launch()
            try:
                self.process.wait_ready(timeout)
                self.started_before = True
                return self
            except MemberFailed as failure:
                self.kill()
                if self.cluster is not None or self.started_before or attempt + 1 == START_ATTEMPTS:
                    raise
                if not PORT_TAKEN.search(str(failure)):
                    raise
                self.choose_ports()
        raise AssertionError("not reached")

    def restart(self, timeout=START_TIMEOUT_S):
        """Starts again on the same directory and ports; returns the seconds that it took to be ready."""
        begin = time.monotonic()
        self.launch()
        self.process.wait_ready(timeout)
        return time.monotonic() - begin

    def kill(self):
        """SIGKILL: no chance to write anything more."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            self.process.wait(STOP_TIMEOUT_S)

    def terminate(self, number=signal.SIGTERM, timeout=STOP_TIMEOUT_S):
        """Asks for a clean stop and returns the exit code; raises when it does not end in time."""
        self.process.signal(number)
        code = self.process.wait(timeout)
        if code is None:
            tail = self.process.tail()
            self.kill()
            raise MemberFailed(f"{self.name} still runs {timeout} s after signal {number}\n{tail}")
        return code

    def stop(self):
        """Ends the process in whatever state it is, and removes its directory."""
        self.kill()
        if self.directory in _temporary and not os.environ.get("ETCD_KEEP"):
            _temporary.remove(self.directory)
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self):
        return self.process is not None and self.process.running

    def tail(self, count=40):
        """The last log lines, under a heading."""
        lines = self.process.tail(count) if self.process else "(never started)"
        return f"---- {self.name}: last lines of {self.log_path}\n{lines}\n----"


class Cluster:
    """Several members of one static cluster."""

    def __init__(self, size=3, *, heartbeat_ms=50, election_ms=500, flags=()):
        self._options = {"heartbeat_ms": heartbeat_ms, "election_ms": election_ms, "flags": flags}
        self._size = size
        self.members = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        """Starts all members together: none is ready before a majority runs."""
        for attempt in range(START_ATTEMPTS):
            self.members = [Member(f"m{number + 1}", **self._options) for number in range(self._size)]
            listing = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
            try:
                for member in self.members:
                    member.cluster = listing
                    member.launch()
                for member in self.members:
                    member.process.wait_ready()
                    member.started_before = True
                return self
            except MemberFailed as failure:
                self.stop()
                if attempt + 1 == START_ATTEMPTS or not PORT_TAKEN.search(str(failure)):
                    raise
        raise AssertionError("not reached")

    def stop(self):
        for member in self.members:
            member.stop()


@atexit.register
def _end_everything():
    """Kills, by process id, what a failed test left running, and removes the temporary directories."""
    global _ending
    with _running_lock:
        _ending = True
        left = list(_running.values())
    for popen in left:
        if popen.poll() is None:
            popen.kill()
            popen.wait(5)
    if not os.environ.get("ETCD_KEEP"):
        for path in _temporary:
            shutil.rmtree(path, ignore_errors=True)
