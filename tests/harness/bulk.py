"""Many writes in little time: PUTs over some connections, with many of them under way at once.

    with Bulk(member.client_port) as bulk:
        for index in bulk.put((f"/a/{number}", "x") for number in range(100_000)):
            ...                                   # the index that each answer names, in the order of the requests

Writes of one key keep their order, since they share a connection; others may overtake each other. Values are sent as
they are, so they must not hold what a form escapes. Answers come without the node.
"""
import re
import socket
import time
import zlib

from tests.harness.http import Closed, TimedOut

HEAD_END = b"\r\n\r\n"
INDEX = re.compile(rb"\r\nX-Etcd-Index: (\d+)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
CONNECTIONS = 128  # a server answers a connection's writes one by one, so only other connections share their sync
UNDER_WAY = 8 * CONNECTIONS
UNDER_WAY_BYTES = 1 << 20


class Refused(Exception):
    """An answer with another status than 200 or 201."""


class Bulk:
    """For one thread."""

    def __init__(self, port, connections=CONNECTIONS, timeout=60.0):
        self._channels = [Channel(port, timeout) for _ in range(connections)]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for channel in self._channels:
            channel.close()

    def put(self, pairs):
        """Writes (key, value) after (key, value), and yields the X-Etcd-Index of each answer."""
        waiting, size = [], 0
        for key, value in pairs:
            channel = self._channels[zlib.crc32(key.encode()) % len(self._channels)]
            size += channel.add_put(key.encode(), value.encode())
            waiting.append(channel)
            if len(waiting) >= UNDER_WAY or size >= UNDER_WAY_BYTES:
                yield from self._exchange(waiting)
                waiting, size = [], 0
        yield from self._exchange(waiting)

    def put_all(self, pairs):
        """Writes them all; returns how many there were."""
        return sum(1 for _ in self.put(pairs))

    def _exchange(self, waiting):
        for channel in self._channels:
            channel.send()
        for channel in waiting:
            yield channel.read_answer()


class Channel:
    """One of the connections."""

    def __init__(self, port, timeout):
        self._authority = f"127.0.0.1:{port}".encode()
        self._timeout = timeout
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._output = []
        self._input = b""
        self._at = 0  # of the input, what has been used

    def close(self):
        self._socket.close()

    def add_put(self, key, value):
        """Notes a request; returns its size."""
        request = (b"PUT /v2/keys%s?noValueOnSuccess=true HTTP/1.1\r\nHost: %s\r\n"
                   b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nvalue=%s"
                   % (key, self._authority, len(value) + len(b"value="), value))
        self._output.append(request)
        return len(request)

    def send(self):
        """Sends what was noted."""
        if not self._output:
            return
        data, self._output = b"".join(self._output), []
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            raise TimedOut("the server does not read") from error
        except OSError as error:
            raise Closed(f"connection closed by the server: {error.strerror}") from error

    def read_answer(self):
        """Returns the index that the next answer names."""
        deadline = time.monotonic() + self._timeout
        while (end := self._input.find(HEAD_END, self._at)) < 0:
            self._fill(deadline)
        head = self._input[self._at:end + 2]
        length = int(LENGTH.search(head)[1])
        left = end + len(HEAD_END) + length - len(self._input)
        while left > 0:
            left -= self._fill(deadline)
        begin = self._at + len(head) + len(HEAD_END) - 2
        body = self._input[begin:begin + length]
        self._at = begin + length
        if head[9:12] not in (b"200", b"201"):
            raise Refused(f"{head[9:12].decode()} {body.decode('utf-8', 'replace')}")
        return int(INDEX.search(head)[1])

    def _fill(self, deadline):
        """Drops what was used and reads some more; returns how much."""
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError as error:
            raise TimedOut("no answer in time") from error
        except OSError as error:
            raise Closed(f"connection closed by the server: {error.strerror}") from error
        if not data:
            raise Closed("connection closed by the server")
        self._input = self._input[self._at:] + data
        self._at = 0
        return len(data)
