"""Twenty thousand keys whose TTLs end within the same second: all go, each once and in order, and nobody else waits.

Which order is right: a node is due its TTL after it was applied, and that is a little after the moment from which its
deadline was counted. So one may overtake another only by less than the time that its own PUT was under way, which this
client knows; every larger inversion of (deadline, path) is a fault.
"""
import contextlib
import json
import math
import re
import socket
import sys
import threading
import time
import unittest
from datetime import datetime, timezone

from tests.harness import Connection, ServerTestCase
from tests.harness.http import FORM, Closed, request_bytes
from tests.harness.v2 import Keys

KEYS = 20_000
LATER_KEYS = 500  # a few seconds after the others
LATER_S = 3
PIPELINED = 100
DEADLINE_S = 120.0  # of everything that is waited for
SEEN_BEFORE_KILL = 500

EXPIRATION = re.compile(r"(.*?)(?:\.(\d+))?Z")
NS_PER_S = 1_000_000_000


def nanoseconds(text):
    """An RFC 3339 time as nanoseconds since 1970."""
    whole, fraction = EXPIRATION.fullmatch(text).groups()
    seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    return int(seconds) * NS_PER_S + int((fraction or "0").ljust(9, "0"))


class Expiring:
    """Keys with a TTL, as they were acknowledged."""

    def __init__(self):
        self.deadlines = {}  # key -> ns since 1970
        self.under_way_ns = {}  # key -> how long its PUT took at most
        self.first_index = 0

    def write(self, port, keys, end_at_s):
        """Writes these keys with TTLs that end within the second that begins at `end_at_s`."""
        with Connection("127.0.0.1", port, 60.0) as connection:
            for begin in range(0, len(keys), PIPELINED):
                self._write_batch(connection, keys[begin:begin + PIPELINED], end_at_s)

    def _write_batch(self, connection, keys, end_at_s):
        ttl_s = max(1, end_at_s - int(time.time()))
        sent = time.monotonic_ns()
        connection.send(b"".join(request_bytes("PUT", "/v2/keys" + key, FORM, f"value=x&ttl={ttl_s}",
                                               connection.authority) for key in keys))
        for key in keys:
            response = connection.read_response("PUT")
            if response.status != 201:
                raise AssertionError(f"{key}: {response.status} {response.text()}")
            node = json.loads(response.body)["node"]
            self.deadlines[key] = nanoseconds(node["expiration"])
            self.under_way_ns[key] = time.monotonic_ns() - sent
            self.first_index = self.first_index or node["modifiedIndex"]

    def faults_of_order(self, expired):
        """What is wrong with the order of [(index, key)]; empty when nothing is."""
        faults, latest = [], (0, "")
        for number, (index, key) in enumerate(expired):
            if number and index <= expired[number - 1][0]:
                faults.append(f"{key}: index {index} after {expired[number - 1][0]}")
            place = (self.deadlines[key], key)
            if place < latest and latest[0] - place[0] >= self.under_way_ns[key]:
                faults.append(f"{key} came {latest[0] - place[0]} ns too late; its PUT took {self.under_way_ns[key]}")
            latest = max(latest, place)
        return faults


class Stream(threading.Thread):
    """Reads a stream of events below /ttl and keeps the expirations."""

    def __init__(self, port, wait_index):
        super().__init__(daemon=True)
        self.expired = []  # (index, key), in the order of arrival
        self.fault = None
        self._changed = threading.Condition()
        self._connection = Connection("127.0.0.1", port, DEADLINE_S)
        query = f"wait=true&stream=true&recursive=true&waitIndex={wait_index}"
        self._connection.send_request("GET", f"/v2/keys/ttl?{query}")
        self.start()

    def run(self):
        try:
            deadline = time.monotonic() + DEADLINE_S
            head = self._connection.read_head(deadline)
            rest = b""
            while piece := self._connection.read_piece(head, deadline):
                *lines, rest = (rest + piece).split(b"\n")
                events = [json.loads(line) for line in lines if line]
                with self._changed:
                    self.expired += [(event["node"]["modifiedIndex"], event["node"]["key"]) for event in events
                                     if event["action"] == "expire"]
                    self._changed.notify_all()
        except Closed:
            pass  # the member was killed, or the test is over
        except Exception as error:  # whoever waits shows it
            with self._changed:
                self.fault = error
                self._changed.notify_all()

    def wait_for(self, count):
        """Waits until so many have expired."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.expired) >= count or self.fault, DEADLINE_S)
            if self.fault:
                raise self.fault
            if len(self.expired) < count:
                raise AssertionError(f"{len(self.expired)} of {count} expired within {DEADLINE_S} s")

    def close(self):
        with contextlib.suppress(OSError):  # it is closed already when the member was killed
            self._connection.socket.shutdown(socket.SHUT_RDWR)
        self.join(DEADLINE_S)
        self._connection.close()


class ExpiryTest(ServerTestCase):
    """Both tests write the same keys; they differ in what happens when these end."""

    def setUp(self):
        super().setUp()
        self.server = self.member()
        self.expiring = Expiring()

    def write_all(self):
        """Writes KEYS keys that end together and LATER_KEYS that end after them, all of them still to come."""
        port = self.server.client_port
        # How long that takes shows a part of it. Its keys end long after the test; they are no part of it.
        begin = time.monotonic()
        Expiring().write(port, [f"/other/{number}" for number in range(KEYS // 20)], int(time.time()) + 3600)
        lead_s = math.ceil(1.5 * 20 * (time.monotonic() - begin)) + 1
        end_at_s = int(time.time()) + lead_s
        # Not in the order of their names.
        keys = [f"/ttl/{number * 7919 % KEYS:05}" for number in range(KEYS)]
        self.expiring.write(port, keys, end_at_s)
        later = [f"/ttl/later-{number:03}" for number in range(LATER_KEYS)]
        self.expiring.write(port, later, end_at_s + LATER_S)
        return Stream(port, self.expiring.first_index)

    def assert_all_gone(self, expired):
        keys = [key for _, key in expired]
        self.assertEqual(len(keys), len(set(keys)), "a key expired twice")
        self.assertEqual(set(keys), set(self.expiring.deadlines))
        self.assertEqual(self.expiring.faults_of_order(expired)[:5], [])
        with Keys(self.server.client_url) as store:
            answer = store.get("/ttl")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.node.get("nodes", []), [])
            self.assertEqual(len(store.get("/other").node["nodes"]), KEYS // 20)

    def test_writes_go_on_and_all_keys_go(self):
        stream = self.write_all()
        self.addCleanup(stream.close)
        written = []  # the indices of writes to other keys
        with Keys(self.server.client_url) as keys:
            while len(stream.expired) < KEYS + LATER_KEYS and stream.fault is None:
                answer = keys.put(f"/w/{len(written) % 100}", "x")
                self.assertIn(answer.status, (200, 201))
                written.append(answer.node["modifiedIndex"])
                stream.wait_for(0)
                self.assertLess(len(written), 10_000_000)
        stream.wait_for(KEYS + LATER_KEYS)
        self.assert_all_gone(stream.expired)
        first, last = stream.expired[0][0], stream.expired[KEYS - 1][0]
        meanwhile = sum(1 for index in written if first < index < last)
        print(f"\nexpiry_test: {meanwhile} writes while {KEYS} keys expired", file=sys.stderr)
        self.assertGreater(meanwhile, 0)

    def test_the_rest_expires_after_a_kill(self):
        stream = self.write_all()
        stream.wait_for(SEEN_BEFORE_KILL)
        self.server.kill()
        stream.close()
        before = stream.expired
        self.assertLess(len(before), KEYS + LATER_KEYS)
        self.server.restart()
        rest = Stream(self.server.client_port, before[-1][0] + 1)
        self.addCleanup(rest.close)
        rest.wait_for(KEYS + LATER_KEYS - len(before))
        print(f"\nexpiry_test: {len(before)} keys had expired before the kill, {len(rest.expired)} after it",
              file=sys.stderr)
        self.assert_all_gone(before + rest.expired)


if __name__ == "__main__":
    unittest.main()
