"""Ten thousand watchers at once, and readers that are slow or never read.

A watcher sees every event from its index on, once and in order, however it watches: as a stream or by one long poll
after the other, from now on or from an older index, reading at once or late. A reader that never reads costs the server
no memory for what it has missed.

All watchers are in this one thread, over sockets that never block. When the system allows too few open files, there are
fewer watchers, and the output says so.
"""
import json
import re
import resource
import selectors
import socket
import sys
import time
import unittest

from tests.harness import Connection, ServerTestCase
from tests.harness.usage import MEGABYTE, rss_anon
from tests.harness.v2 import Keys, wait_until

WATCHERS = 10_000
OTHER_FILES = 300  # this process's and the member's own
DIRECTORIES = 10
HISTORY = 100  # events before the first watcher
EVENTS = 100  # while all watch
BATCH = 500  # watchers that are made between two writes
DEADLINE_S = 120.0  # of everything that is waited for

HEAD_END = b"\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 200 ")
INDEX = re.compile(rb"\r\nX-Etcd-Index: (\d+)\r\n", re.IGNORECASE)


def raise_file_limit():
    """Returns how many files this process may open, which is as many as the system lets it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Watcher:
    """One watcher and what it has seen. It knows HTTP as far as watches use it: a head, then chunks."""

    def __init__(self, port, path, *, stream=False, wait_index=0, receive_bytes=0):
        self.path = path
        self.stream = stream
        self.wait_index = wait_index  # 0: from now on
        self.start = wait_index  # the first index that it has to see; the head says it when 0
        self.heads = 0
        self.events = []  # (index, key, value)
        self.received = 0
        self._input = bytearray()
        self._in_body = False
        self._body = b""
        self._authority = f"127.0.0.1:{port}"
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self._ask()
        self.socket.setblocking(False)

    def close(self):
        self.socket.close()

    def _ask(self):
        query = "wait=true&recursive=true" + ("&stream=true" if self.stream else "")
        if self.wait_index:
            query += f"&waitIndex={self.wait_index}"
        request = f"GET /v2/keys{self.path}?{query} HTTP/1.1\r\nHost: {self._authority}\r\n\r\n".encode()
        if self.socket.send(request) != len(request):
            raise AssertionError("a request of some bytes did not fit into an empty socket")

    def read(self):
        """Takes what has come."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:
            raise AssertionError(f"the watch of {self.path} was cut off after {len(self.events)} events")
        self.received += len(data)
        self._input += data
        while self._take_head() if not self._in_body else self._take_chunk():
            pass

    def _take_head(self):
        end = self._input.find(HEAD_END)
        if end < 0:
            return False
        head = bytes(self._input[:end + 2])
        index = INDEX.search(head)
        if not STATUS.match(head) or not index or b"chunked" not in head:
            raise AssertionError(f"a watch was answered with {bytes(self._input)!r}")
        if not self.start:
            self.start = int(index[1]) + 1
        self.heads += 1
        del self._input[:end + len(HEAD_END)]
        self._in_body = True
        return True

    def _take_chunk(self):
        line_end = self._input.find(b"\r\n")
        if line_end < 0:
            return False
        size = int(self._input[:line_end], 16)
        begin = line_end + 2
        if len(self._input) < begin + size + 2:
            return False
        self._body += self._input[begin:begin + size]
        del self._input[:begin + size + 2]
        if size:
            *whole, self._body = self._body.split(b"\n")
            for line in whole:
                self._take_event(line)
        else:
            self._end_answer()
        return True

    def _take_event(self, line):
        if line:
            node = json.loads(line)["node"]
            self.events.append((node["modifiedIndex"], node["key"], node["value"]))

    def _end_answer(self):
        if self.stream:
            raise AssertionError("a stream ended")
        self._take_event(self._body)
        self._body = b""
        self._in_body = False
        self.wait_index = self.events[-1][0] + 1
        self._ask()


class Crowd:
    """Watchers that are read whenever something comes."""

    def __init__(self):
        self.watchers = []
        self._selector = selectors.DefaultSelector()

    def add(self, watcher, reads=True):
        self.watchers.append(watcher)
        if reads:
            self.read(watcher)

    def read(self, watcher):
        """From now on this watcher is read, too."""
        self._selector.register(watcher.socket, selectors.EVENT_READ, watcher)

    def pump(self, timeout=0.0):
        for key, _ in self._selector.select(timeout):
            key.data.read()

    def pump_until(self, done, what):
        """Reads until `done(watcher)` holds for every one that was not done before."""
        deadline = time.monotonic() + DEADLINE_S
        left = [watcher for watcher in self.watchers if not done(watcher)]
        while left:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(left)} of {len(self.watchers)} watchers: not {what}; one is at "
                                     f"{left[0].path} from {left[0].start} with {len(left[0].events)} events")
            self.pump(0.1)
            left = [watcher for watcher in left if not done(watcher)]

    def close(self):
        self._selector.close()
        for watcher in self.watchers:
            watcher.close()


class ManyWatchersTest(ServerTestCase):
    """Everybody sees everything that is his."""

    def setUp(self):
        super().setUp()
        limit = raise_file_limit()
        self.count = min(WATCHERS, limit - OTHER_FILES)
        if self.count < WATCHERS:
            print(f"\nmany_watchers_test: only {limit} files may be open here: {self.count} watchers", file=sys.stderr)
        self.server = self.member()
        self.keys = Keys(self.server.client_url, timeout=60.0)
        self.addCleanup(self.keys.close)
        self.crowd = Crowd()
        self.addCleanup(self.crowd.close)
        self.written = []  # (index, key, value), in order

    def write(self):
        number = len(self.written)
        key = f"/w/{number % DIRECTORIES}/k{number % 3}"
        answer = self.keys.put(key, f"value {number}")
        self.assertIn(answer.status, (200, 201))
        self.written.append((answer.node["modifiedIndex"], key, f"value {number}"))

    def make_watcher(self, number):
        """All ways to watch, evenly mixed over the directories."""
        # Few watch everything: they get ten times as many events as the others.
        path = "/w" if number % 50 == 49 else f"/w/{number // 10 % DIRECTORIES}"
        kind = number % 10
        old_index = self.written[number % HISTORY][0]
        if kind < 4:
            self.crowd.add(Watcher(self.server.client_port, path, stream=True))
        elif kind < 7:
            self.crowd.add(Watcher(self.server.client_port, path))
        elif kind == 7:
            self.crowd.add(Watcher(self.server.client_port, path, stream=True, wait_index=old_index))
        elif kind == 8:
            self.crowd.add(Watcher(self.server.client_port, path, wait_index=old_index))
        else:
            watcher = Watcher(self.server.client_port, path, stream=True, wait_index=old_index, receive_bytes=4096)
            self.crowd.add(watcher, reads=False)
            self.late.append(watcher)

    def expected(self, watcher):
        return [event for event in self.written
                if event[0] >= watcher.start and event[1].startswith(watcher.path + "/")]

    def test_every_event_once_and_in_order(self):
        self.late = []
        for _ in range(HISTORY):
            self.write()
        for number in range(self.count):
            self.make_watcher(number)
            if number % BATCH == BATCH - 1:
                self.write()  # some are watching already, some not yet
                self.crowd.pump()
        late = set(self.late)
        self.crowd.pump_until(lambda watcher: watcher.heads or watcher in late, "answered with a head")
        for _ in range(EVENTS):
            self.write()
            self.crowd.pump()
        for watcher in self.late:
            self.crowd.read(watcher)
        for _ in range(DIRECTORIES):
            self.write()
        last = {path: max(index for index, key, _ in self.written if key.startswith(path + "/"))
                for path in {watcher.path for watcher in self.crowd.watchers}}
        self.crowd.pump_until(lambda watcher: watcher.events and watcher.events[-1][0] >= last[watcher.path],
                              "told of the last event")
        for number, watcher in enumerate(self.crowd.watchers):
            if watcher.events != self.expected(watcher):
                self.assertEqual(watcher.events, self.expected(watcher),
                                 f"watcher {number} at {watcher.path} from index {watcher.start}")
        total = sum(len(watcher.events) for watcher in self.crowd.watchers)
        print(f"\nmany_watchers_test: {self.count} watchers saw {total} events", file=sys.stderr)


class SlowReaderTest(ServerTestCase):
    """More than a hundred megabytes of events pass a stream that is not read."""

    PUTS = 2600
    VALUE = "v" * 20_000  # an event has it twice: the node's value and the one before
    GROWTH_MAX = 64 * MEGABYTE

    def setUp(self):
        super().setUp()
        self.server = self.member()
        self.pid = self.server.process.popen.pid
        self.keys = Keys(self.server.client_url, timeout=60.0)
        self.addCleanup(self.keys.close)
        self.count = 0

    def write(self):
        """Returns the indices, and the most memory that the server had at any time."""
        indices, peak = [], 0
        for number in range(self.PUTS):
            self.count += 1
            answer = self.keys.put("/slow/key", f"{self.count:08}{self.VALUE}")
            self.assertIn(answer.status, (200, 201))
            indices.append(answer.node["modifiedIndex"])
            if number % 50 == 0:
                peak = max(peak, rss_anon(self.pid))
        return indices, max(peak, rss_anon(self.pid))

    def open(self):
        watcher = Watcher(self.server.client_port, "/slow", stream=True, receive_bytes=4096)
        self.addCleanup(watcher.close)
        wait_until(lambda: self.has_input(watcher), what="the head of a watch")
        return watcher

    @staticmethod
    def has_input(watcher):
        try:
            return watcher.socket.recv(1 << 14, socket.MSG_PEEK).find(HEAD_END) > 0
        except BlockingIOError:
            return False

    def test_what_was_missed_is_not_kept_in_memory(self):
        _, before = self.write()  # the log, the batches and the like have their size now
        never, late = self.open(), self.open()
        indices, peak = self.write()
        print(f"\nmany_watchers_test: {before / MEGABYTE:.0f} MB without, {peak / MEGABYTE:.0f} MB with slow readers",
              file=sys.stderr)
        self.assertLess(peak - before, self.GROWTH_MAX)

        crowd = Crowd()
        crowd.add(late)
        crowd.pump_until(lambda watcher: watcher.events and watcher.events[-1][0] >= indices[-1],
                         "told of the last event")
        self.assertEqual([index for index, _, _ in late.events], indices)
        self.assertGreater(late.received, 100_000_000)
        self.assertLess(rss_anon(self.pid) - before, self.GROWTH_MAX)  # reading on does not pile up anything, either

        never.close()
        with Connection("127.0.0.1", self.server.client_port) as connection:
            self.assertEqual(connection.request("GET", "/v2/keys/slow/key").status, 200)


if __name__ == "__main__":
    unittest.main()
