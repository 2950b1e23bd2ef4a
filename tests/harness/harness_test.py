"""Tests of the harness itself: the HTTP client's framing, and that the ledger notices every kind of loss."""
import contextlib
import socket
import threading
import time
import unittest
from unittest import mock

from tests.harness import Closed, Connection, ProtocolError, TimedOut, workload
from tests.harness.http import FORM, request_bytes
from tests.harness.member import clean_environment, pick_port
from tests.harness.workload import Ledger


def serve_once(*pieces, close=True):
    """A server that sends these bytes on its first connection; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        connection, _ = listener.accept()
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.005)
        if close:
            connection.close()
        else:
            kept.append(connection)
        listener.close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


kept = []


class ConnectionTest(unittest.TestCase):
    """Answers in all framings, whole, in pieces, and broken."""

    def answer(self, *pieces, method="GET", close=True, timeout=5.0):
        connection = Connection("127.0.0.1", serve_once(*pieces, close=close), timeout)
        self.addCleanup(connection.close)
        return connection.read_response(method)

    def test_framings(self):
        for pieces, method, body in (
                ((b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",), "GET", b"abc"),
                ((b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 3\r\n\r", b"\nab", b"c"), "GET", b"abc"),
                ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n",),
                 "GET", b"abc"),
                ((b"HTTP/1.1 200 OK\r\n\r\nabc",), "GET", b"abc"),
                ((b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",), "HEAD", b""),
                ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",), "PUT", b"")):
            with self.subTest(pieces=pieces):
                self.assertEqual(self.answer(*pieces, method=method).body, body)

    def test_failures(self):
        for pieces, close, failure in (
                ((), True, Closed), ((b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",), True, Closed),
                ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",), True, Closed),
                ((b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",), False, TimedOut),
                ((b"HTTP/2 200\r\n\r\n",), True, ProtocolError),
                ((b"HTTP/1.1 200 OK\r\nbad line\r\n\r\n",), True, ProtocolError),
                ((b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",), True, ProtocolError)):
            with self.subTest(pieces=pieces), self.assertRaises(failure):
                self.answer(*pieces, close=close, timeout=0.2)

    def test_a_timeout_within_a_chunk_loses_nothing(self):
        """Whatever has come when the time is over, reading can go on."""
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"
        client, server = socket.socketpair()
        self.addCleanup(server.close)
        with mock.patch("socket.create_connection", return_value=client), \
                mock.patch.object(socket.socket, "setsockopt"):
            connection = Connection("pair", 1)
        self.addCleanup(connection.close)
        place = data.index(b"4\r\n")
        server.sendall(data[:place])
        response, body = connection.read_head(time.monotonic() + 5), b""
        for byte in data[place:]:
            with contextlib.suppress(TimedOut):
                body += connection.read_piece(response, time.monotonic() + 0.001)
            server.sendall(bytes([byte]))
        while piece := connection.read_piece(response, time.monotonic() + 5):
            body += piece
        self.assertEqual(body, b"abcdef")

    def test_keep_alive(self):
        self.assertTrue(self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").keeps_alive)
        self.assertFalse(self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").keeps_alive)
        self.assertFalse(self.answer(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keeps_alive)

    def test_request_bytes(self):
        self.assertEqual(request_bytes("PUT", "/é", FORM, "a=b", "h:1"),
                         b"PUT /\xe9 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n"
                         b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=b")
        self.assertNotIn(b"Content-Length", request_bytes("GET", "/"))
        self.assertNotIn(b"Content-Length", request_bytes("PUT", "/", {"Transfer-Encoding": "chunked"}, "0\r\n\r\n"))


class MemberTest(unittest.TestCase):
    """What members are given."""

    def test_ports_differ(self):
        ports = [pick_port() for _ in range(100)]
        self.assertEqual(len(set(ports)), 100)

    def test_environment(self):
        with mock.patch.dict("os.environ", {"ETCD_NAME": "x"}):
            self.assertNotIn("ETCD_NAME", clean_environment())
            self.assertEqual(clean_environment({"ETCD_NAME": "y"})["ETCD_NAME"], "y")


class FakeStore:
    """What a restarted member would answer."""

    def __init__(self, index, nodes):
        self.index = index
        self.nodes = nodes  # key -> (value, modifiedIndex)

    def __call__(self, url, timeout):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def get(self, key):
        answer = mock.Mock(index=self.index, status=200)
        if key == "/queue":
            answer.node = {"nodes": [{"key": name, "value": value} for name, (value, _) in self.nodes.items()
                                     if name.startswith("/queue/")]}
        elif key in self.nodes:
            value, index = self.nodes[key]
            answer.node = {"value": value, "modifiedIndex": index}
        elif key != "/":
            answer.status = 404
        return answer


class LedgerTest(unittest.TestCase):
    """A restarted store that is right, and one for each way to be wrong."""

    RIGHT = {"/a": ("5:x", 10), "/counter/0": ("7:y", 12), "/queue/1": ("p", 11)}

    def ledger(self):
        ledger = Ledger("test")
        ledger.highest = 12
        ledger.used = {10: ("/a", "5:x"), 11: ("/queue/1", "p"), 12: ("/counter/0", "7:y")}
        ledger.keys = {"/a": ("5:x", 10)}
        ledger.in_doubt = {"/a": "6:x", "/new": "1:x"}
        ledger.counters = {"/counter/0": 7}
        ledger.increments_in_doubt = {"/counter/0": 1}
        ledger.posted = {"/queue/1": "p"}
        ledger.posts_in_doubt = {"q"}
        return ledger

    def faults(self, index=12, change=None):
        nodes = {**self.RIGHT, **(change or {})}
        store = FakeStore(index, {key: value for key, value in nodes.items() if value})
        with mock.patch.object(workload, "Keys", store):
            return self.ledger().verify("http://x")

    def test_right(self):
        self.assertEqual(self.faults(), [])
        self.assertEqual(self.faults(13, {"/a": ("6:x", 13)}), [])  # in doubt, and done
        self.assertEqual(self.faults(13, {"/new": ("1:x", 13)}), [])
        self.assertEqual(self.faults(13, {"/counter/0": ("8:y", 13)}), [])
        self.assertEqual(self.faults(13, {"/queue/2": ("q", 13)}), [])

    def test_wrong(self):
        for name, index, change in (
                ("the index went back", 11, {}), ("a key is gone", 12, {"/a": None}),
                ("an older value", 12, {"/a": ("4:x", 9)}), ("the value at another index", 12, {"/a": ("5:x", 9)}),
                ("a value nobody wrote", 12, {"/a": ("5:z", 10)}), ("a used index", 12, {"/a": ("6:x", 12)}),
                ("an index below the acknowledged one", 12, {"/a": ("6:x", 9)}),
                ("an increment is lost", 12, {"/counter/0": ("6:y", 12)}),
                ("a counter is gone", 12, {"/counter/0": None}),
                ("an increment was done twice", 13, {"/counter/0": ("9:y", 13)}),
                ("a post is gone", 12, {"/queue/1": None}), ("a post with another value", 12, {"/queue/1": ("q", 11)}),
                ("a post that nobody made", 13, {"/queue/2": ("r", 13)})):
            with self.subTest(name):
                self.assertNotEqual(self.faults(index, change), [])

    def test_an_index_belongs_to_one_write(self):
        ledger = self.ledger()
        answer = mock.Mock(index=13)
        answer.node = {"modifiedIndex": 12}
        ledger.note(answer, "/a", "9:x")
        self.assertTrue(ledger.faults)


if __name__ == "__main__":
    unittest.main()
