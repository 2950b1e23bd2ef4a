"""HTTP/1.1 as clients really speak it, well and badly, over plain sockets."""
import json
import resource
import socket
import threading
import time
import unittest

from tests.harness import Closed, Connection, ServerTestCase
from tests.harness.http import FORM, HttpFailure, request_bytes

MANY_CONNECTIONS = 500
PIPELINED = 100
LARGE_VALUES = 16
MEGABYTE = 1 << 20


class HttpTest(ServerTestCase):
    """Every test has a server of its own, so that one which hangs cannot spoil the next."""

    def setUp(self):
        super().setUp()
        self.server = self.member()

    def connect(self, timeout=10.0):
        connection = Connection("127.0.0.1", self.server.client_port, timeout)
        self.addCleanup(connection.close)
        return connection

    def value_of(self, key, connection=None):
        response = (connection or self.connect()).request("GET", "/v2/keys" + key)
        self.assertEqual(response.status, 200, response.text())
        return json.loads(response.body)["node"]["value"]

    def assert_still_serves(self):
        """After whatever a test did, an ordinary request on a new connection is answered at once."""
        response = self.connect(5.0).request("PUT", "/v2/keys/still-here", FORM, "value=yes")
        self.assertIn(response.status, (200, 201))


class ConnectionTest(HttpTest):
    """Which connection carries what, and for how long."""

    def test_keep_alive(self):
        connection = self.connect()
        for number in range(50):
            response = connection.request("PUT", "/v2/keys/a", FORM, f"value={number}")
            self.assertEqual(json.loads(response.body)["node"]["value"], str(number))
            self.assertTrue(response.keeps_alive)

    def test_errors_keep_the_connection(self):
        connection = self.connect()
        for method, path, status in (("GET", "/v2/keys/none", 404), ("GET", "/nope", 404), ("PATCH", "/v2/keys/a", 405),
                                     ("PUT", "/v2/keys/a?ttl=x", 400), ("DELETE", "/v2/keys/", 400)):
            self.assertEqual(connection.request(method, path).status, status, (method, path))
        self.assertEqual(connection.request("PUT", "/v2/keys/a", FORM, "value=x").status, 201)

    def test_connection_close(self):
        connection = self.connect()
        response = connection.request("PUT", "/v2/keys/a", {**FORM, "Connection": "close"}, "value=x")
        self.assertEqual(response.status, 201)
        self.assertEqual(connection.expect_close(5.0), b"")

    def test_http_1_0_closes(self):
        connection = self.connect()
        connection.send("GET /version HTTP/1.0\r\n\r\n")
        response = connection.read_response()
        self.assertEqual(response.status, 200)
        self.assertIsNone(response.header("Transfer-Encoding"), "HTTP/1.0 knows no chunks")
        connection.expect_close(5.0)

    def test_pipelining(self):
        """Many requests in one write: all answers, in order, and the writes done in order, too."""
        connection = self.connect()
        authority = connection.authority
        requests = [request_bytes("PUT", "/v2/keys/pipe", FORM, f"value={number}", authority) if number % 2 == 0
                    else request_bytes("GET", "/v2/keys/pipe", authority=authority) for number in range(PIPELINED)]
        connection.send(b"".join(requests))
        indices = []
        for number in range(PIPELINED):
            node = json.loads(connection.read_response().body)["node"]
            self.assertEqual(node["value"], str(number - number % 2))
            indices.append(node["modifiedIndex"])
        self.assertEqual(indices, sorted(indices))
        self.assertEqual(len(set(indices)), PIPELINED // 2)

    def test_pipelining_behind_a_watch_waits_for_it(self):
        """The second answer may not overtake the first."""
        connection = self.connect()
        authority = connection.authority
        connection.send(request_bytes("GET", "/v2/keys/w?wait=true", authority=authority)
                        + request_bytes("GET", "/version", authority=authority))
        head = connection.read_head(time.monotonic() + 5)
        self.assertEqual(head.status, 200)
        self.connect().request("PUT", "/v2/keys/w", FORM, "value=x")
        deadline = time.monotonic() + 5
        body = b""
        while piece := connection.read_piece(head, deadline):
            body += piece
        self.assertEqual(json.loads(body)["node"]["value"], "x")
        self.assertIn("etcdserver", connection.read_response().text())

    def test_half_closed_client_gets_its_answer(self):
        connection = self.connect()
        connection.send_request("PUT", "/v2/keys/half", FORM, "value=x")
        connection.half_close()
        self.assertEqual(connection.read_response().status, 201)
        self.assertEqual(self.value_of("/half"), "x")

    def test_many_connections(self):
        """All open at once, all of them used twice."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < MANY_CONNECTIONS + 200:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MANY_CONNECTIONS + 500), hard))
        connections = [self.connect(20.0) for _ in range(MANY_CONNECTIONS)]
        for _ in range(2):
            for number, connection in enumerate(connections):
                connection.send_request("PUT", f"/v2/keys/many/{number}", FORM, f"value={number}")
            for number, connection in enumerate(connections):
                response = connection.read_response()
                self.assertIn(response.status, (200, 201))
                self.assertEqual(json.loads(response.body)["node"]["key"], f"/many/{number}")

    def test_many_waiting_watches_and_one_write(self):
        watches = [self.connect(20.0) for _ in range(100)]
        for watch in watches:
            watch.send_request("GET", "/v2/keys/news?wait=true")
        heads = [watch.read_head(time.monotonic() + 10) for watch in watches]
        self.connect().request("PUT", "/v2/keys/news", FORM, "value=x")
        deadline = time.monotonic() + 10
        for watch, head in zip(watches, heads):
            self.assertIn(b'"value":"x"', watch.read_piece(head, deadline))


class BodyTest(HttpTest):
    """Bodies in all their framings and sizes."""

    def test_chunked_body(self):
        connection = self.connect()
        connection.send("PUT /v2/keys/chunked HTTP/1.1\r\nHost: x\r\n"
                        "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in ("value=", "a", "b" * 300, "c"):
            connection.send(f"{len(chunk):x};ext=1\r\n{chunk}\r\n")
        connection.send("0\r\nTrailer: x\r\n\r\n")
        self.assertEqual(connection.read_response().status, 201)
        self.assertEqual(self.value_of("/chunked", connection), "a" + "b" * 300 + "c")

    def test_head(self):
        connection = self.connect()
        connection.request("PUT", "/v2/keys/a", FORM, "value=x")
        response = connection.request("HEAD", "/v2/keys/a")
        self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(connection.request("HEAD", "/v2/keys/none").status, 404)
        self.assertEqual(self.value_of("/a", connection), "x")  # no stray body bytes lie in between

    def test_expect_continue(self):
        """The client holds its body back until it is told to go on."""
        connection = self.connect()
        connection.send("PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                        "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n")
        deadline = time.monotonic() + 5
        self.assertTrue(connection.read_until(b"\r\n\r\n", deadline, 1000).startswith(b"HTTP/1.1 100 "))
        connection.send("value=x")
        self.assertEqual(connection.read_response().status, 201)

    def test_slow_client(self):
        """A request that arrives byte by byte is a request all the same."""
        connection = self.connect(30.0)
        for byte in request_bytes("PUT", "/v2/keys/slow", FORM, "value=tortoise"):
            connection.send(bytes([byte]))
            time.sleep(0.001)  # lets the byte travel alone; this is the client's speed, not a wait for the server
        self.assertEqual(connection.read_response().status, 201)
        self.assertEqual(self.value_of("/slow"), "tortoise")

    def test_slow_reader_of_a_large_answer(self):
        """An answer that does not fit into the kernel's buffers waits for its reader, and nobody else waits."""
        for number in range(LARGE_VALUES):
            self.connect().request("PUT", f"/v2/keys/large/{number}", FORM, "value=" + "z" * MEGABYTE)
        connection = self.connect(30.0)
        connection.send_request("GET", "/v2/keys/large")
        for _ in range(20):
            self.assert_still_serves()
        nodes = json.loads(connection.read_response().body)["node"]["nodes"]
        self.assertEqual([len(node["value"]) for node in nodes], [MEGABYTE] * LARGE_VALUES)

    def test_value_of_one_mebibyte(self):
        connection = self.connect(30.0)
        value = "v" * MEGABYTE
        self.assertEqual(connection.request("PUT", "/v2/keys/big", FORM, "value=" + value).status, 201)
        self.assertEqual(self.value_of("/big", connection), value)

    def test_too_large_body(self):
        """Past the limit of a request (1.5 MiB) nothing is stored, and the server goes on."""
        status = self.status_of_a_large_body(b"value=" + b"v" * (64 * MEGABYTE))
        self.assertIn(status, (413, 500, 400, None))
        self.assertEqual(self.connect().request("GET", "/v2/keys/huge").status, 404)
        self.assert_still_serves()

    def status_of_a_large_body(self, body):
        """The answer's status; None when the server rather closed than read it all."""
        connection = self.connect(30.0)
        try:
            connection.send(request_bytes("PUT", "/v2/keys/huge", FORM, body))
        except HttpFailure:
            pass  # it may have answered before it closed
        try:
            return connection.read_response().status
        except Closed:
            return None


class BadClientTest(HttpTest):
    """Clients that break the rules, or stop in the middle."""

    def test_unfinished_headers_do_not_block_others(self):
        stuck = [self.connect() for _ in range(50)]
        for number, connection in enumerate(stuck):
            connection.send(request_bytes("PUT", "/v2/keys/a", FORM, "value=x")[:10 + number])
        self.assert_still_serves()

    def test_unfinished_body_does_not_block_others_and_is_not_applied(self):
        stuck = self.connect()
        stuck.send("PUT /v2/keys/part HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                   "Content-Length: 100\r\n\r\nvalue=x")
        self.assert_still_serves()
        stuck.close()
        self.assertEqual(self.connect().request("GET", "/v2/keys/part").status, 404)

    def test_header_flood(self):
        connection = self.connect()
        flood = "".join(f"X-Flood-{number}: {'y' * 1000}\r\n" for number in range(4096))
        try:
            connection.send("GET /version HTTP/1.1\r\nHost: x\r\n" + flood + "\r\n")
        except Closed:
            pass  # it may close without reading the rest; its answer is still there to be read
        self.assertEqual(connection.read_response().status, 431)
        self.assert_still_serves()

    def test_endless_request_line(self):
        connection = self.connect()
        try:
            connection.send("GET /" + "a" * (4 * MEGABYTE))
            status = connection.read_response().status
        except Closed:
            status = None
        self.assertIn(status, (414, 431, 400, None))
        self.assert_still_serves()

    def test_garbage(self):
        for garbage in (b"\x00\x01\x02\x03\r\n\r\n", b"GARBAGE\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n",
                        b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 5000, b"GET / HTTP/1.1\r\nNo colon here\r\n\r\n",
                        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with self.subTest(garbage=garbage[:60]):
                connection = self.connect(5.0)
                try:
                    connection.send(garbage)
                    connection.half_close()
                    data = connection.expect_close(5.0)
                except (Closed, OSError):
                    data = b""
                self.assertTrue(data == b"" or data[9:10] in (b"4", b"5"), data[:200])
        self.assert_still_serves()

    def test_two_framings_are_refused(self):
        """Content-Length beside Transfer-Encoding is how requests are smuggled (RFC 9112 6.1)."""
        connection = self.connect(5.0)
        connection.send("PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            first = connection.read_response()
        except Closed:
            return
        self.assertTrue(first.status == 400 or not first.keeps_alive, first)
        connection.expect_close(5.0)
        self.assert_still_serves()

    def test_clients_that_vanish(self):
        """Connections are cut in every state, many at a time, while another client works on."""
        stop = threading.Event()
        vanishing = threading.Thread(target=self.vanish_until, args=(stop,))
        vanishing.start()
        try:
            worker = self.connect()
            for number in range(300):
                self.assertIn(worker.request("PUT", "/v2/keys/w", FORM, f"value={number}").status, (200, 201))
        finally:
            stop.set()
            vanishing.join()

    def vanish_until(self, stop):
        request = request_bytes("PUT", "/v2/keys/gone", FORM, "value=x") + request_bytes("GET", "/v2/keys/g?wait=true")
        cut = 0
        while not stop.is_set():
            with socket.create_connection(("127.0.0.1", self.server.client_port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close with a reset
                connection.sendall(request[:cut % len(request)])
                cut += 7


if __name__ == "__main__":
    unittest.main()
