"""Writers that remember what was acknowledged, and the check that a restarted member remembers it, too.

    ledger = Ledger(seed)
    writers = Writers(ledger, member.client_url)   # threads, each with a keep-alive connection
    ledger.wait_for_acknowledged(100)
    member.kill()
    writers.join()                                 # each ends at its first failure
    member.restart()
    ledger.verify(member.client_url)               # a list of what is wrong; settles what was in doubt

A write is *acknowledged* when its answer came, and *in doubt* when it was sent and no answer came, or one with status
500 (a member that stops says so): it may have been done or not, but never half. There are three kinds of writers:

    setters    each owns some keys and sets them to growing values
    counters   several share one key and increment it by compare-and-swap
    posters    add in-order keys to one directory, each with a value of its own
"""
import json
import random
import threading

from tests.harness.http import HttpFailure
from tests.harness.v2 import Keys

SETTERS, KEYS_PER_SETTER = 5, 4
COUNTERS, WRITERS_PER_COUNTER = 2, 2
POSTERS = 2
PADDING_MAX = 2000


def value_text(number, seed):
    """A value that starts with its number; the rest depends on it, so that a mixed-up value shows."""
    filler = random.Random(f"{seed}-{number}")
    return f"{number}:" + filler.choice("abcdefgh") * filler.randrange(PADDING_MAX)


class InDoubt(Exception):
    """The server answered that it does not know what became of the write."""


def settled(answer):
    """The answer, if it says what became of the write."""
    if answer.status >= 500:
        raise InDoubt(str(answer))
    return answer


def number_of(value):
    return int(value.partition(":")[0])


class Ledger:
    """What clients know: acknowledged and in-doubt writes, and every index that was seen. Any thread."""

    def __init__(self, seed):
        self.seed = seed
        self._changed = threading.Condition()
        self.acknowledged = 0  # writes in all rounds
        self.faults = []  # what a writer saw that must not be
        self.used = {}  # modifiedIndex -> (key, value) of the write that it belongs to
        self.highest = 0  # the largest X-Etcd-Index seen
        self.keys = {}  # key -> (value, modifiedIndex) acknowledged last
        self.in_doubt = {}  # key -> value sent without an answer
        self.counters = {}  # key -> increments acknowledged or found since the beginning
        self.increments_in_doubt = {}  # key -> how many
        self.posted = {}  # key -> value
        self.posts_in_doubt = set()  # values

    def fault(self, text):
        with self._changed:
            self.faults.append(text)
            self._changed.notify_all()

    def note(self, answer, key, value):
        """Notes an acknowledged write: its index must be new to everybody."""
        index = answer.node["modifiedIndex"]
        with self._changed:
            self._use_index(index, key, value)
            self.highest = max(self.highest, answer.index, index)
            self.acknowledged += 1
            self._changed.notify_all()
        return index

    def _use_index(self, index, key, value):
        owner = self.used.setdefault(index, (key, value))
        if owner != (key, value):
            self.faults.append(f"index {index} was used twice: for {owner[0]} = {owner[1][:30]} "
                               f"and for {key} = {value[:30]}")

    def doubt_increment(self, key, change):
        with self._changed:
            self.increments_in_doubt[key] = self.increments_in_doubt.get(key, 0) + change

    def certain_increment(self, key):
        """An increment was acknowledged: one less in doubt."""
        with self._changed:
            self.counters[key] = self.counters.get(key, 0) + 1
            self.increments_in_doubt[key] -= 1

    def doubt_post(self, value):
        with self._changed:
            self.posts_in_doubt.add(value)

    def certain_post(self, key, value):
        with self._changed:
            if key in self.posted:
                self.faults.append(f"{key} was given twice")
            self.posted[key] = value
            self.posts_in_doubt.discard(value)

    def wait_for_acknowledged(self, count, timeout=60.0):
        """Waits until that many more writes are acknowledged."""
        with self._changed:
            target = self.acknowledged + count
            if not self._changed.wait_for(lambda: self.acknowledged >= target or self.faults, timeout):
                raise TimeoutError(f"only {self.acknowledged - target + count} of {count} writes in {timeout} s")

    # After a restart.

    def verify(self, url):
        """Everything that is wrong in the restarted store. What was in doubt is settled by what is found."""
        with Keys(url, 30.0) as keys:
            first = keys.get("/")
            if first.index < self.highest:
                self.faults.append(f"X-Etcd-Index went back from {self.highest} to {first.index}")
            self.highest = max(self.highest, first.index)
            for key in sorted(set(self.keys) | set(self.in_doubt)):
                self._verify_key(key, keys.get(key))
            for key in sorted(set(self.counters) | set(self.increments_in_doubt)):
                self._verify_counter(key, keys.get(key))
            self._verify_posts(keys.get("/queue"))
        self.in_doubt.clear()
        self.increments_in_doubt.clear()
        self.posts_in_doubt.clear()
        return self.faults

    def _verify_key(self, key, answer):
        known, doubtful = self.keys.get(key), self.in_doubt.get(key)
        if answer.status == 404:
            if known:
                self.faults.append(f"{key} is gone; {known[0][:30]} was acknowledged at {known[1]}")
            return
        value, index = answer.node["value"], answer.node["modifiedIndex"]
        if known and (value, index) == known:
            return
        if value != doubtful:
            self.faults.append(f"{key} is {value[:30]} at {index}; acknowledged was {short(known)}, "
                               f"in doubt {short(doubtful)}")
            return
        if known and index <= known[1]:
            self.faults.append(f"{key} = {value[:30]} has index {index}, not above {known[1]}")
        self._use_index(index, key, value)
        self.keys[key] = (value, index)

    def _verify_counter(self, key, answer):
        least = self.counters.get(key, 0)
        most = least + self.increments_in_doubt.get(key, 0)
        found = 0 if answer.status == 404 else number_of(answer.node["value"])
        if not least <= found <= most:
            self.faults.append(f"counter {key} is {found}; {least} increments are certain and {most} possible")
        if found:
            self._use_index(answer.node["modifiedIndex"], key, answer.node["value"])
        self.counters[key] = found

    def _verify_posts(self, answer):
        nodes = answer.node.get("nodes", []) if answer.status == 200 else []
        found = {node["key"]: node["value"] for node in nodes}
        for key, value in self.posted.items():
            if found.get(key) != value:
                self.faults.append(f"{key} is {short(found.get(key))}; posted was {value[:30]}")
        for key, value in found.items():
            if key in self.posted:
                continue
            if value not in self.posts_in_doubt:
                self.faults.append(f"{key} = {value[:30]} was never posted, or appears twice")
            self.posts_in_doubt.discard(value)
            self.posted[key] = value


def short(thing):
    return json.dumps(thing)[:60]


class Writers:
    """The writer threads of one round."""

    def __init__(self, ledger, url):
        self.ledger = ledger
        self.url = url
        self._stop = threading.Event()
        jobs = [(self._set, number) for number in range(SETTERS)]
        jobs += [(self._count, number % COUNTERS) for number in range(COUNTERS * WRITERS_PER_COUNTER)]
        jobs += [(self._post, number) for number in range(POSTERS)]
        self._threads = [threading.Thread(target=self._run, args=job) for job in jobs]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Lets every writer finish the request that it is in."""
        self._stop.set()
        self.join()

    def join(self, timeout=30.0):
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                self.ledger.fault("a writer hangs: its request was neither answered nor cut off")

    def _run(self, write, number):
        """Writes until the connection fails, which is how a round ends."""
        try:
            with Keys(self.url, 20.0) as keys:
                step = write(keys, number)
                while not self._stop.is_set():
                    next(step)
        except (HttpFailure, InDoubt):
            pass
        except Exception as error:
            self.ledger.fault(f"a writer failed: {type(error).__name__}: {error}")

    def _set(self, keys, number):
        ledger, rng = self.ledger, random.Random(f"{self.ledger.seed}-{number}-{self.ledger.acknowledged}")
        while True:
            key = f"/set/{number}/{rng.randrange(KEYS_PER_SETTER)}"
            known = ledger.keys.get(key)
            value = value_text(number_of(known[0]) + 1 if known else 1, ledger.seed)
            ledger.in_doubt[key] = value
            answer = settled(keys.put(key, value))
            if answer.status not in (200, 201):
                ledger.fault(f"PUT {key}: {answer}")
                return
            before = answer.body.get("prevNode", {}).get("value")
            if before != (known[0] if known else None):
                ledger.fault(f"PUT {key} replaced {short(before)}; acknowledged was {short(known)}")
            ledger.keys[key] = (value, ledger.note(answer, key, value))
            del ledger.in_doubt[key]
            yield

    def _count(self, keys, number):
        """One increment after another; a lost race (101, or 105 for the first) is tried again."""
        ledger, key = self.ledger, f"/counter/{number}"
        while True:
            now = settled(keys.get(key))
            count = 0 if now.status == 404 else number_of(now.node["value"])
            value = value_text(count + 1, ledger.seed)
            condition = {"prevExist": "false"} if now.status == 404 else {"prevIndex": now.node["modifiedIndex"]}
            ledger.doubt_increment(key, 1)
            answer = settled(keys.put(key, value, **condition))
            if answer.status in (200, 201):
                ledger.certain_increment(key)
                ledger.note(answer, key, value)
            elif answer.status == 412:
                ledger.doubt_increment(key, -1)
            else:
                ledger.fault(f"PUT {key} {condition}: {answer}")
                return
            yield

    def _post(self, keys, number):
        ledger, count = self.ledger, 0
        prefix = f"{number}-{ledger.acknowledged}"  # no earlier round has posted these
        while True:
            value, count = f"{prefix}-{count}", count + 1
            ledger.doubt_post(value)
            answer = settled(keys.post("/queue", value))
            if answer.status != 201:
                ledger.fault(f"POST /queue: {answer}")
                return
            key = answer.node["key"]
            ledger.note(answer, key, value)
            ledger.certain_post(key, value)
            yield
