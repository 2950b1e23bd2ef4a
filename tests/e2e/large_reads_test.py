"""Two hundred megabytes are listed again and again while writes go on.

One client reads each listing as fast as it can, the other one slowly. Memory stays flat meanwhile, and each listing is
a state that the store once had: exactly the writes up to the listing's own X-Etcd-Index, no key missing, none twice.
"""
import json
import sys
import threading
import time
import unittest
from dataclasses import dataclass

from tests.harness import Connection, ServerTestCase
from tests.harness.bulk import Bulk
from tests.harness.usage import MEGABYTE, rss_anon
from tests.harness.v2 import Keys

DIRECTORIES, FILES = 200, 50
VALUE_BYTES = 20_000
FAST_LISTINGS, SLOW_LISTINGS = 3, 2
SLOW_PIECE_BYTES = 4 * MEGABYTE  # after each of them the slow client lets
SLOW_PAUSE_S = 0.02  # the server wait
PUT_PAUSE_S = 0.004  # between two writes
GROWTH_MAX = 64 * MEGABYTE
DEADLINE_S = 120.0


def key_of(number):
    return f"/big/{number // FILES:03}/{number % FILES:02}"


def value_of(version):
    return f"{version:08}" + "v" * (VALUE_BYTES - 8)


class Writer(threading.Thread):
    """Writes one file after the other anew, until it is stopped."""

    def __init__(self, url, pid):
        super().__init__(daemon=True)
        self.written = []  # (index, number of the key, version), in order
        self.peak = 0  # of the server's RssAnon
        self.fault = None
        self._url = url
        self._pid = pid
        self._over = threading.Event()

    def run(self):
        try:
            with Keys(self._url, DEADLINE_S) as keys:
                version = 0
                while not self._over.is_set():
                    version += 1
                    number = version * 7919 % (DIRECTORIES * FILES)
                    answer = keys.put(key_of(number), value_of(version), noValueOnSuccess="true")
                    if answer.status != 200:
                        raise AssertionError(f"a write was answered with {answer}")
                    self.written.append((answer.index, number, version))
                    self.peak = max(self.peak, rss_anon(self._pid))
                    self._over.wait(PUT_PAUSE_S)  # so that reading is what is measured
        except Exception as error:  # whoever stops it shows it
            self.fault = error

    def end(self):
        self._over.set()
        self.join(DEADLINE_S)

    def check(self):
        if self.fault:
            raise self.fault


@dataclass
class Listing:
    """One answer, reduced to what is judged."""

    index: int  # X-Etcd-Index
    first_write: int  # how many writes had been answered when it was asked for,
    last_write: int  # and when it had come whole
    nodes: list  # (key, modifiedIndex, the value's first bytes, its size)


class Reader(threading.Thread):
    """Lists the root, some times."""

    def __init__(self, port, writer, count, slow):
        super().__init__(daemon=True)
        self.listings = []
        self.fault = None
        self._port = port
        self._writer = writer
        self._count = count
        self._slow = slow
        self.start()

    def run(self):
        try:
            for _ in range(self._count):
                self.listings.append(self._list())
        except Exception as error:  # whoever waits for it shows it
            self.fault = error

    def _list(self):
        with Connection("127.0.0.1", self._port, DEADLINE_S) as connection:
            first_write = len(self._writer.written)
            connection.send_request("GET", "/v2/keys/?recursive=true")
            deadline = time.monotonic() + DEADLINE_S
            head = connection.read_head(deadline)
            if head.status != 200:
                raise AssertionError(f"a listing was answered with {head}")
            pieces, since_pause = [], 0
            while piece := connection.read_piece(head, deadline):
                pieces.append(piece)
                since_pause += len(piece)
                if self._slow and since_pause > SLOW_PIECE_BYTES:
                    since_pause = 0
                    time.sleep(SLOW_PAUSE_S)  # a slow client
            last_write = len(self._writer.written)
        nodes = []
        collect(json.loads(b"".join(pieces))["node"], nodes)
        return Listing(int(head.header("X-Etcd-Index")), first_write, last_write, nodes)

    def wait(self):
        self.join(2 * DEADLINE_S)
        if self.fault:
            raise self.fault
        if self.is_alive():
            raise AssertionError("a reader hangs")
        return self.listings


def collect(node, nodes):
    for each in node.get("nodes", []):
        if each.get("dir"):
            collect(each, nodes)
        else:
            nodes.append((each["key"], each["modifiedIndex"], each["value"][:8], len(each["value"])))


class LargeReadsTest(ServerTestCase):
    """The listings are about as large as the store."""

    def setUp(self):
        super().setUp()
        self.server = self.member()
        self.pid = self.server.process.popen.pid
        self.first = {}  # key -> index, before the writer begins
        numbers = range(DIRECTORIES * FILES)
        with Bulk(self.server.client_port) as bulk:
            bulk.put_all((key_of(number), value_of(0)) for number in numbers)
        with Keys(self.server.client_url, DEADLINE_S) as keys:
            for directory in range(DIRECTORIES):
                answer = keys.get(f"/big/{directory:03}")
                self.first.update((node["key"], node["modifiedIndex"]) for node in answer.node["nodes"])
        self.assertEqual(len(self.first), DIRECTORIES * FILES)

    def state_at(self, index, written):
        """What a listing at this index must hold."""
        state = {key: (created, "00000000") for key, created in self.first.items()}
        for modified, number, version in written:
            if modified <= index:
                state[key_of(number)] = (modified, f"{version:08}")
        return state

    def check(self, listing, written):
        self.assertGreaterEqual(listing.index, max(index for _, index, _, _ in listing.nodes))
        self.assertEqual(len(listing.nodes), len({key for key, _, _, _ in listing.nodes}), "a key is there twice")
        self.assertEqual({size for _, _, _, size in listing.nodes}, {VALUE_BYTES})
        found = {key: (index, head) for key, index, head, _ in listing.nodes}
        wanted = self.state_at(listing.index, written)
        if found != wanted:
            wrong = [(key, found.get(key), wanted.get(key)) for key in sorted({*found, *wanted})
                     if found.get(key) != wanted.get(key)]
            self.fail(f"the listing at {listing.index} is no state of the store: (key, listed, written) {wrong[:5]}")

    def test_listings_beside_writes(self):
        writer = Writer(self.server.client_url, self.pid)
        writer.start()
        self.addCleanup(writer.end)
        self.wait_for_writes(writer, 200)
        before = rss_anon(self.pid)
        writer.peak = before
        readers = [Reader(self.server.client_port, writer, FAST_LISTINGS, slow=False),
                   Reader(self.server.client_port, writer, SLOW_LISTINGS, slow=True)]
        listings = [listing for reader in readers for listing in reader.wait()]
        peak = writer.peak
        writer.end()
        writer.check()
        meanwhile = [listing.last_write - listing.first_write for listing in listings]
        listed = DIRECTORIES * FILES * VALUE_BYTES
        print(f"\nlarge_reads_test: {before / 1e6:.0f} MB of RssAnon before, {peak / 1e6:.0f} MB beside "
              f"{len(listings)} listings of {listed / 1e6:.0f} MB; writes during each: {meanwhile}", file=sys.stderr)
        for listing in listings:
            self.check(listing, writer.written)
        self.assertGreater(min(meanwhile), 0, "no write was answered while a listing was under way")
        self.assertLessEqual(peak - before, GROWTH_MAX)

    @staticmethod
    def wait_for_writes(writer, count):
        deadline = time.monotonic() + DEADLINE_S
        while len(writer.written) < count and writer.fault is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(writer.written)} writes in {DEADLINE_S} s")
            time.sleep(0.01)  # only the distance between two questions


if __name__ == "__main__":
    unittest.main()
