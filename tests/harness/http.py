"""HTTP/1.1 over a plain socket.

http.client is too polite for a test: it repairs, hides and buffers. Here the bytes written are the bytes sent, the
head of an answer can be looked at before its body, a body can be read piece by piece, and nothing waits without a
deadline. Characters are bytes (latin-1) in everything that is sent.

    connection = Connection("127.0.0.1", 2379)
    response = connection.request("PUT", "/v2/keys/a", body="value=x", headers=FORM)

    connection.send_request("GET", "/v2/keys/a?wait=true")
    head = connection.read_head(deadline)         # a Response whose body is still to come
    piece = connection.read_piece(head, deadline) # decoded body bytes, b"" at its end
"""
import socket
import time
import urllib.parse
from dataclasses import dataclass, field

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DEFAULT_TIMEOUT_S = 10.0
HEAD_BYTES_MAX = 1 << 20
TRAILERS = -1  # in place of a chunk's bytes: the last chunk has been seen


class HttpFailure(Exception):
    """No complete answer came; the subclasses say why."""


class Closed(HttpFailure):
    """The server closed or reset the connection before the answer was complete."""


class TimedOut(HttpFailure):
    """The deadline passed before the answer was complete."""


class ProtocolError(HttpFailure):
    """The server sent something that is not HTTP/1.1."""


@dataclass
class Response:
    """An answer: its head, and its body once that has been read."""

    status: int
    reason: str
    version: str
    headers: list  # (name, value) in the order of arrival, names as sent
    method: str = "GET"
    body: bytes = b""
    arrived: float = 0.0  # time.time() when the head was complete
    informational: list = field(default_factory=list)  # the 1xx statuses that came before
    _framing: tuple = ("none", 0)  # ("none"|"length"|"chunked"|"close", bytes left)

    def header(self, name, default=None):
        """The value of header `name` in any case; several lines are joined with ', ' (RFC 9110 5.3)."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else default

    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def keeps_alive(self):
        """Whether the connection can carry another request after this answer."""
        tokens = {token.strip().lower() for token in (self.header("Connection") or "").split(",")}
        if self._framing[0] == "close" or "close" in tokens:
            return False
        return self.version != "HTTP/1.0" or "keep-alive" in tokens


class Connection:
    """One connection, used by one thread at a time."""

    def __init__(self, host, port, timeout=DEFAULT_TIMEOUT_S):
        self.authority = f"{host}:{port}"
        self.timeout = timeout
        self._buffer = bytearray()
        try:
            self.socket = socket.create_connection((host, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            raise TimedOut(f"connect to {self.authority}") from error
        except OSError as error:
            raise Closed(f"connect to {self.authority}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def half_close(self):
        """Says that we send no more; the server may still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    # Sending.

    def send(self, data, timeout=None):
        """Sends exactly these bytes (text as latin-1)."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.socket.settimeout(timeout or self.timeout)
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise TimedOut("the server does not read") from error
        except OSError as error:
            raise Closed(f"connection closed by the server while sending: {error}") from error

    def send_request(self, method, path, headers=None, body=None):
        self.send(request_bytes(method, path, headers, body, self.authority))

    # Receiving.

    def request(self, method, path, headers=None, body=None, timeout=None):
        """Sends a request and reads its whole answer."""
        self.send_request(method, path, headers, body)
        return self.read_response(method, timeout)

    def read_response(self, method="GET", timeout=None):
        """Reads one whole answer; interim (1xx) answers are noted in it."""
        deadline = time.monotonic() + (timeout or self.timeout)
        response = self.read_head(deadline, method)
        pieces = []
        while piece := self.read_piece(response, deadline):
            pieces.append(piece)
        response.body = b"".join(pieces)
        return response

    def read_head(self, deadline, method="GET"):
        """Reads the head of the next final answer; its body follows by read_piece()."""
        interim = []
        while True:
            response = parse_head(self.read_until(b"\r\n\r\n", deadline, HEAD_BYTES_MAX), method)
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response.status)
        response.informational = interim
        response.arrived = time.time()
        response._framing = framing_of(response)
        return response

    def read_piece(self, response, deadline):
        """The next decoded bytes of the body, as soon as there are any; b"" at its end."""
        kind, left = response._framing
        if kind == "none":
            return b""
        if kind == "chunked":
            return self._read_chunk(response, deadline)
        if kind == "length":
            if left == 0:
                return b""
            self._fill_some(deadline)
            piece = self._take(min(left, len(self._buffer)))
            response._framing = (kind, left - len(piece))
            return piece
        try:  # until the connection closes
            self._fill_some(deadline)
        except Closed:
            return b""
        return self._take(len(self._buffer))

    def expect_close(self, timeout=None):
        """Waits until the server closes; returns the bytes it sent before that."""
        deadline = time.monotonic() + (timeout or self.timeout)
        try:
            while True:
                self._fill(deadline)
        except Closed:
            return self._take(len(self._buffer))

    def _read_chunk(self, response, deadline):
        """What is left of a chunk is counted in the response, so that nothing is lost when the time is over."""
        kind, left = response._framing
        if left == 0:
            line = self.read_until(b"\r\n", deadline, 1024).split(b";")[0].strip()
            try:
                left = int(line, 16) or TRAILERS
            except ValueError as error:
                raise ProtocolError(f"bad chunk size {line!r}") from error
            response._framing = (kind, left)
        if left == TRAILERS:
            while self.read_until(b"\r\n", deadline, HEAD_BYTES_MAX) != b"":
                pass
            response._framing = ("none", 0)
            return b""
        # The last byte is taken together with what ends the chunk.
        while len(self._buffer) < left + 2:
            if count := min(len(self._buffer), left - 1):
                response._framing = (kind, left - count)
                return self._take(count)
            self._fill(deadline)
        piece = self._take(left)
        if self._take(2) != b"\r\n":
            raise ProtocolError("a chunk does not end with CRLF")
        response._framing = (kind, 0)
        return piece

    # The buffer of bytes that came and have not been used yet.

    def _take(self, count):
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def read_until(self, mark, deadline, limit):
        start = 0
        while (place := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > limit:
                raise ProtocolError(f"no {mark!r} within {limit} bytes")
            start = max(0, len(self._buffer) - len(mark))
            self._fill(deadline)
        piece = self._take(place)
        self._take(len(mark))
        return piece

    def _fill_some(self, deadline):
        if not self._buffer:
            self._fill(deadline)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimedOut("no answer in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError as error:
            raise TimedOut("no answer in time") from error
        except OSError as error:
            raise Closed(f"connection closed by the server: {error.strerror}") from error
        if not data:
            raise Closed("connection closed by the server")
        self._buffer += data


class Client:
    """A keep-alive client of one server: connects when needed, again after a failure. For one thread."""

    def __init__(self, url, timeout=DEFAULT_TIMEOUT_S):
        self.host, self.port = host_and_port(url)
        self.timeout = timeout
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(self, method, path, headers=None, body=None, timeout=None):
        """One request and its answer. Never tries again by itself: the caller must know that it is in doubt."""
        if self._connection is None:
            self._connection = Connection(self.host, self.port, self.timeout)
        try:
            response = self._connection.request(method, path, headers, body, timeout)
        except BaseException:
            self.close()
            raise
        if not response.keeps_alive:
            self.close()
        return response


def host_and_port(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


def request_bytes(method, path, headers=None, body=None, authority="localhost"):
    """The request as bytes. Adds Host and, where RFC 9110 8.6 asks for it, Content-Length; nothing else."""
    headers = dict(headers or {})
    names = {name.lower() for name in headers}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {authority}")
    if body is None and method in ("POST", "PUT", "PATCH"):
        body = b""
    if isinstance(body, str):
        body = body.encode("latin-1")
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def parse_head(data, method):
    """Status line and header lines, strictly: a test should notice a sloppy head."""
    lines = data.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if len(parts) < 2 or parts[0] not in ("HTTP/1.1", "HTTP/1.0") or not (parts[1].isdigit() and len(parts[1]) == 3):
        raise ProtocolError(f"bad status line {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"bad header line {line!r}")
        headers.append((name, value.strip()))
    return Response(int(parts[1]), parts[2] if len(parts) > 2 else "", parts[0], headers, method)


def framing_of(response):
    """How the body ends (RFC 9112 6.3)."""
    if response.method == "HEAD" or response.status in (204, 304):
        return ("none", 0)
    if "chunked" in (response.header("Transfer-Encoding") or "").lower():
        return ("chunked", 0)
    length = response.header("Content-Length")
    if length is None:
        return ("close", 0)
    if not length.isdigit():
        raise ProtocolError(f"bad Content-Length {length!r}")
    return ("length", int(length))
