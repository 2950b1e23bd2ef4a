"""The load of one part of a soak, in a process of its own, which the soak starts:

    python3 -m tests.soak.load --url http://127.0.0.1:2379 --part writers --seed 1 --scale 1.0 --ttl-max 30

Parts: `puts` measures; `writers` changes everything that can be changed; `readers` waits, streams and lists. Whoever
started it writes a line to standard input and gets one back, of JSON: what was done since the last one. At the end of
standard input every thread finishes what it does, a last line follows, and the process ends.

Everybody checks what is answered. What is not as it must be is a fault, and is reported as text.
"""
import argparse
import heapq
import itertools
import json
import random
import socket
import sys
import threading
import time

from tests.harness import Connection
from tests.harness.http import HttpFailure, TimedOut
from tests.harness.v2 import Keys

REQUEST_TIMEOUT_S = 30.0
FAULTS_MAX = 20  # texts that are kept
EXPIRY_GRACE_S = 10.0  # how much longer than its TTL a key may be seen; it is no judgement of a time
LARGE_BYTES = 1_000_000
PONDER_MAX_S = 0.1  # of a client between two long polls: what happens meanwhile it hears of from the history
SWITCH_INTERVAL_S = 0.0005  # between Python's threads, so that they wait little for each other


class Tally:
    """What the threads of this process did since the last report."""

    def __init__(self):
        self._mu = threading.Lock()
        self._operations = 0
        self._latencies = []
        self._faults = []
        self.over = threading.Event()

    def done(self, seconds=None):
        """An operation was answered; with its seconds where they are measured."""
        with self._mu:
            self._operations += 1
            if seconds is not None:
                self._latencies.append(seconds)

    def fault(self, words):
        with self._mu:
            if len(self._faults) < FAULTS_MAX:
                self._faults.append(words)

    def report(self):
        with self._mu:
            operations, latencies, faults = self._operations, sorted(self._latencies), self._faults
            self._operations, self._latencies, self._faults = 0, [], []
        return {"operations": operations, "faults": faults, "p50": share(latencies, 0.5), "p99": share(latencies, 0.99),
                "max": latencies[-1] if latencies else None}


def share(ordered, part):
    """The value below which that part of the ordered ones lies; nothing of nothing."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else None


class Pace:
    """So many times a second, evenly; what was missed by more than a second is not made up for."""

    def __init__(self, over, per_second):
        self._over = over
        self._distance = 1 / per_second
        self._next = time.monotonic()

    def wait(self):
        """Returns whether to go on."""
        now = time.monotonic()
        self._next = max(self._next + self._distance, now - 1)
        if self._next > now:
            self._over.wait(self._next - now)
        return not self._over.is_set()


class Unexpected(Exception):
    """An answer that must not be."""


def check(condition, what, answer):
    if not condition:
        raise Unexpected(f"{what}: {str(answer)[:300]}")


class Worker:
    """What the threads share: where to write, how much, and a random source of their own."""

    def __init__(self, options, tally, name):
        self.options = options
        self.tally = tally
        self.name = name
        self.rng = random.Random(f"{options.seed}-{name}")

    def pace(self, per_second):
        return Pace(self.tally.over, per_second * self.options.scale)

    def keys(self):
        return Keys(self.options.url, REQUEST_TIMEOUT_S)

    def text(self, least, most):
        """A value that does not compress into a pattern of ours, in the characters of base 64."""
        size = self.rng.randrange(least, most + 1)
        return f"{self.rng.getrandbits(6 * size):x}"[:size].ljust(size, "0")

    def count(self, many):
        """How many of something there are, smaller for a smaller load, so that it is settled as early."""
        return max(8, int(many * self.options.scale))


# Part `puts`.


class Puts(Worker):
    """Small values to the same keys: the put that the soak's latencies are of."""

    def run(self):
        pace, value = self.pace(250), self.text(256, 256)
        with self.keys() as keys:
            while pace.wait():
                key = f"/soak/put/{self.rng.randrange(self.count(1000)):04}"
                begin = time.monotonic()
                answer = keys.put(key, value)
                self.tally.done(time.monotonic() - begin)
                check(answer.status in (200, 201), key, answer)


# Part `writers`.


class Setter(Worker):
    """Values of all sizes to keys that are its own, some of which it reads back."""

    def run(self):
        pace, known = self.pace(150), {}
        with self.keys() as keys:
            while pace.wait():
                key = f"/soak/set/{self.name}/{self.rng.randrange(self.count(2500)):04}"
                value = self.text(50, 1000)
                answer = keys.put(key, value)
                self.tally.done()
                check(answer.status == (200 if key in known else 201), key, answer)
                before = answer.body.get("prevNode", {}).get("value")
                check(before == known.get(key), f"{key} was {known.get(key)}", answer)
                known[key] = value
                if self.rng.randrange(10) == 0:
                    key = self.rng.choice(list(known))
                    answer = keys.get(key)
                    self.tally.done()
                    check(answer.status == 200 and answer.node["value"] == known[key], f"{key} is {known[key]}", answer)


class Swapper(Worker):
    """Increments of counters that others increment, too."""

    def run(self):
        pace, mine = self.pace(50), 0
        with self.keys() as keys:
            while pace.wait():
                key = f"/soak/cas/{self.rng.randrange(20)}"
                now = keys.get(key)
                if now.status == 404:
                    answer = keys.put(key, "1", prevExist="false")
                elif self.rng.randrange(2):
                    answer = keys.put(key, str(int(now.node["value"]) + 1), prevIndex=now.node["modifiedIndex"])
                else:
                    answer = keys.put(key, str(int(now.node["value"]) + 1), prevValue=now.node["value"])
                self.tally.done()
                self.tally.done()
                check(answer.status in (200, 201, 412), key, answer)
                mine += answer.status != 412


class Expirer(Worker):
    """Keys with TTLs; each must be gone soon after."""

    def run(self):
        pace, deadlines, numbers = self.pace(150), [], itertools.count()
        with self.keys() as keys:
            while pace.wait():
                number = next(numbers)
                key = f"/soak/ttl/{number % 50:02}/{number}"
                ttl = self.rng.randrange(1, self.options.ttl_max + 1)
                answer = keys.put(key, self.text(20, 200), ttl=ttl)
                self.tally.done()
                check(answer.status == 201 and answer.node["ttl"] == ttl, key, answer)
                heapq.heappush(deadlines, (time.monotonic() + ttl + EXPIRY_GRACE_S, key))
                while deadlines and deadlines[0][0] < time.monotonic():
                    _, key = heapq.heappop(deadlines)
                    if self.rng.randrange(10) == 0:
                        answer = keys.get(key)
                        self.tally.done()
                        check(answer.status == 404, f"{key} should have expired", answer)


class Poster(Worker):
    """Queues: in-order keys, read back in order, then removed as a whole."""

    LENGTH = 200

    def run(self):
        pace = self.pace(150)
        with self.keys() as keys:
            for number in itertools.count():
                queue, posted = f"/soak/queue/{number}", []
                while len(posted) < self.LENGTH:
                    if not pace.wait():
                        return
                    answer = keys.post(queue, self.text(20, 300))
                    self.tally.done()
                    check(answer.status == 201, queue, answer)
                    posted.append(answer.node["key"])
                answer = keys.get(queue, sorted="true")
                check([node["key"] for node in answer.node["nodes"]] == posted, f"{queue} has {posted}", answer)
                answer = keys.delete(queue, recursive="true")
                check(answer.status == 200, queue, answer)
                self.tally.done()
                self.tally.done()


class Planter(Worker):
    """Trees of some depth, removed with their roots."""

    LEAVES = 60

    def run(self):
        pace = self.pace(100)
        with self.keys() as keys:
            for number in itertools.count():
                tree = f"/soak/tree/{number}"
                for leaf in range(self.LEAVES):
                    if not pace.wait():
                        return
                    answer = keys.put(f"{tree}/{leaf % 3}/{leaf % 5}/{leaf}", self.text(10, 500))
                    self.tally.done()
                    check(answer.status == 201, tree, answer)
                answer = keys.delete(tree, recursive="true")
                check(answer.status == 200, tree, answer)
                answer = keys.get(tree)
                check(answer.status == 404, tree, answer)
                self.tally.done()
                self.tally.done()


class Hauler(Worker):
    """Values of a megabyte."""

    def run(self):
        pace = self.pace(0.4)
        with self.keys() as keys:
            while pace.wait():
                key, value = f"/soak/large/{self.rng.randrange(4)}", self.text(LARGE_BYTES, LARGE_BYTES)
                answer = keys.put(key, value)
                self.tally.done()
                check(answer.status in (200, 201), key, answer.status)
                answer = keys.get(key)
                self.tally.done()
                check(answer.status == 200 and answer.node["value"] == value, key, answer.status)


# Part `readers`.


class Watcher(Worker):
    """Watches of all kinds, one after the other, each for a while."""

    PATHS = ("/soak/put", "/soak/cas", "/soak/cas/3", "/soak/queue", "/soak/tree", "/soak/ttl/07", "/soak/large")

    def run(self):
        while not self.tally.over.is_set():
            path = self.rng.choice(self.PATHS)
            end = time.monotonic() + self.rng.uniform(0.2, self.options.ttl_max)
            kind = self.rng.randrange(10)
            if kind < 5:
                self.poll(path, end)
            elif kind < 8:
                self.stream(path, end)
            else:
                self.never_read(end)

    def connect(self):
        return Connection(*self.options.address, REQUEST_TIMEOUT_S)

    def poll(self, path, end):
        """Long polls, each from the index behind the last event."""
        wait_index = 0
        with self.connect() as connection:
            while not self.tally.over.is_set() and time.monotonic() < end:
                query = "wait=true&recursive=true" + (f"&waitIndex={wait_index}" if wait_index else "")
                connection.send_request("GET", f"/v2/keys{path}?{query}")
                head = connection.read_head(time.monotonic() + REQUEST_TIMEOUT_S)
                body = self.read_until(connection, head, end)
                if body is None:
                    return  # it goes while it waits
                self.tally.done()
                event = json.loads(body)
                if head.status == 400 and event["errorCode"] == 401:
                    wait_index = 0  # compacted: it begins anew
                    continue
                check(head.status == 200, path, body)
                self.check_event(event, path, wait_index)
                wait_index = event["node"]["modifiedIndex"] + 1
                self.tally.over.wait(self.rng.uniform(0, PONDER_MAX_S))

    def stream(self, path, end):
        with self.connect() as connection:
            connection.send_request("GET", f"/v2/keys{path}?wait=true&stream=true&recursive=true")
            head = connection.read_head(time.monotonic() + REQUEST_TIMEOUT_S)
            check(head.status == 200, path, head)
            last, rest = 0, b""
            while not self.tally.over.is_set() and time.monotonic() < end:
                try:
                    piece = connection.read_piece(head, min(end, time.monotonic() + 1))
                except TimedOut:
                    continue
                check(piece, f"the stream of {path} ended", rest)
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    self.check_event(event, path, last + 1)
                    last = event["node"]["modifiedIndex"]

    def never_read(self, end):
        """A stream of everything, of which nothing is ever read."""
        with self.connect() as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.send_request("GET", "/v2/keys/soak?wait=true&stream=true&recursive=true")
            self.tally.over.wait(max(0.0, end - time.monotonic()))

    def read_until(self, connection, head, end):
        """The body, or nothing when the time is over first."""
        pieces = []
        while not self.tally.over.is_set() and time.monotonic() < end:
            try:
                piece = connection.read_piece(head, min(end, time.monotonic() + 1))
            except TimedOut:
                continue
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
        return None

    @staticmethod
    def check_event(event, path, least):
        node = event["node"]
        inside = node["key"] == path or node["key"].startswith(path + "/") or path.startswith(node["key"] + "/")
        check(inside and node["modifiedIndex"] >= least, f"an event of {path} from {least} on", event)


class Lister(Worker):
    """The whole tree, at one moment each time."""

    def run(self):
        pace = self.pace(0.5)
        with self.keys() as keys:
            while pace.wait():
                answer = keys.get("/soak", recursive="true")
                self.tally.done()
                check(answer.status in (200, 404), "/soak", answer.status)  # 404 before the first write
                if answer.status == 200:
                    found = []
                    collect(answer.node, found)
                    check(len(found) == len({key for key, _ in found}), "a key is listed twice", len(found))
                    check(max(index for _, index in found) <= answer.index, "a listing from the future", answer.index)


def collect(node, found):
    found.append((node["key"], node["modifiedIndex"]))
    for each in node.get("nodes", []):
        collect(each, found)


# All of them.

PARTS = {
    "puts": [(Puts, 1)],
    "writers": [(Setter, 2), (Swapper, 2), (Expirer, 1), (Poster, 1), (Planter, 1), (Hauler, 1)],
    "readers": [(Watcher, 30), (Lister, 1)],
}


def run_worker(worker):
    try:
        worker.run()
    except (HttpFailure, Unexpected) as failure:
        worker.tally.fault(f"{worker.name}: {failure}")
    except Exception as error:  # a bug of ours, or an answer that is no JSON; the soak shows it
        worker.tally.fault(f"{worker.name}: {type(error).__name__}: {error}")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests.soak.load", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--scale", type=float, required=True, help="how much of the rates and of the keys")
    parser.add_argument("--ttl-max", type=int, required=True, help="seconds that a key or a watch lives at most")
    options = parser.parse_args()
    host, _, port = options.url.removeprefix("http://").rpartition(":")
    options.address = (host, int(port))
    return options


def main():
    options = parse_arguments()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    tally = Tally()
    workers = [kind(options, tally, f"{kind.__name__.lower()}-{number}")
               for kind, count in PARTS[options.part] for number in range(count)]
    threads = [threading.Thread(target=run_worker, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for _ in sys.stdin:
        print(json.dumps(tally.report()), flush=True)
    tally.over.set()
    for worker, thread in zip(workers, threads):
        thread.join(2 * REQUEST_TIMEOUT_S)
        if thread.is_alive():
            tally.fault(f"{worker.name}: its request was neither answered nor cut off")
    print(json.dumps(tally.report()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
