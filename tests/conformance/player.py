"""Plays one transcript case against a server and collects the answers that compare.py looks at.

A case gets a directory of its own that does not exist before, and everything below that directory is deleted after
it, so that no key of an old case expires in the middle of a new one.
"""
import codecs
import json
import random
import re
import time
from dataclasses import dataclass, field

from tests.conformance.compare import Context, compare_answer
from tests.harness.http import Closed, Connection, HttpFailure, TimedOut, host_and_port

REQUEST_TIMEOUT_S = 10.0
HEAD_TIMEOUT_S = 3.0  # a watch's head comes at once; this much is patience with a busy machine
GETS = ("getsSuccess", "getsFail")
TEMPLATE = re.compile(r"\{(D|I(?:\+\d+)?|X\*\d+|s\d+\.[a-z0-9]+(?:\+\d+)?)\}")


@dataclass
class Target:
    """The servers a case talks to."""

    url: str  # where steps go that do not say otherwise
    peer_url: str = None
    leader_url: str = None
    in_cluster: bool = False
    writable: bool = True
    watchers_floor: int = 0  # watchers that a server counts although nobody watches

    def url_of(self, step):
        node = step.get("node")
        if node == "peer":
            return self.peer_url
        return self.leader_url if node == "leader" else self.url


@dataclass
class Outcome:
    """What came of one case."""

    case: dict
    seconds: float = 0.0
    failed_steps: list = field(default_factory=list)  # (number, step, observed, [Difference])
    trouble: str = ""  # why it could not be played to its end

    @property
    def passed(self):
        return not self.failed_steps and not self.trouble


class CannotExpand(Exception):
    """A step needs something of an earlier answer that was not in it."""


def waits(case):
    """Whether time passes in the case, so that a ttl may be one less than written."""
    for step, answer in zip(case["steps"], case["expected"]["target"]):
        if step["do"] in ("sleep", "pending"):
            return True
        if any(event.get("action") == "expire" for event in answer.get("events", [])):
            return True
    return False


def fresh_directory():
    return f"/c{random.getrandbits(48):012x}"


def play_case(case, target):
    """Plays all steps of a case and compares every answer."""
    begin = time.monotonic()
    outcome = Outcome(case)
    player = CasePlayer(case, target)
    try:
        player.begin()
        for number, (step, expected) in enumerate(zip(case["steps"], case["expected"]["target"]), 1):
            observed = player.do(step)
            inner = step["step"] if step["do"] == "repeat" else step
            if differences := compare_answer(expected, observed, inner, player.context):
                outcome.failed_steps.append((number, step, observed, differences))
    except (CannotExpand, HttpFailure) as error:
        outcome.trouble = f"{type(error).__name__}: {error}"
    finally:
        player.end()
        outcome.seconds = time.monotonic() - begin
    return outcome


class CasePlayer:
    """The state of one case while it is played."""

    def __init__(self, case, target):
        self.case = case
        self.target = target
        self.context = Context(fresh_directory(), None, waits(case), target.leader_url if target.in_cluster else None)
        self.answers = []  # by step: what templates may refer to
        self.watches = {}
        self.stats = None

    def begin(self):
        """Learns the start index: X-Etcd-Index of a GET of the case's directory."""
        if any(step["do"] == "stats" for step in self.case["steps"]):
            self._let_watchers_go()
        response = self._exchange(self.target.url, "GET", "/v2/keys" + self.context.directory)
        index = response.header("X-Etcd-Index")
        if index is None or not index.isdigit():
            raise CannotExpand(f"no X-Etcd-Index to start from: status {response.status}, body {response.text()[:200]}")
        self.context.start_index = int(index)

    def end(self):
        """Closes the watches and removes the case's directory, as well as that can be done."""
        for watch in self.watches.values():
            watch.close()
        if not self.target.writable:
            return
        try:
            self._exchange(self.target.url, "DELETE", f"/v2/keys{self.context.directory}?recursive=true")
        except HttpFailure:
            pass

    def do(self, step):
        observed = getattr(self, "_do_" + step["do"])(step)
        self.answers.append(observed)
        return observed

    # The kinds of steps.

    def _do_request(self, step):
        method, path = step["method"], self.expand(step["path"])
        headers = {name: self.expand(value) for name, value in step.get("headers", {}).items()}
        body = self.expand(step["body"]) if "body" in step else None
        timeout = step.get("timeout", REQUEST_TIMEOUT_S)
        if "bg" in step:
            return self._start_watch(step, method, path, headers, body)
        try:
            return _observed(self._exchange(self.target.url_of(step), method, path, headers, body, timeout))
        except HttpFailure as failure:
            return _failure(failure)

    def _do_raw(self, step):
        try:
            with Connection(*host_and_port(self.target.url_of(step)), REQUEST_TIMEOUT_S) as connection:
                connection.send(self.expand(step["bytes"]))
                return _observed(connection.read_response(step.get("method", "GET")))
        except HttpFailure as failure:
            return _failure(failure)

    def _do_repeat(self, step):
        """The last answer counts, also for later templates."""
        before = list(self.answers)
        observed = {}
        for _ in range(step["n"]):
            observed = self.do(step["step"])
        self.answers = before
        return observed

    def _do_sleep(self, step):
        time.sleep(step["s"])
        return {}

    def _do_stats(self, step):
        response = self._exchange(self.target.url_of(step), "GET", "/v2/stats/store")
        before, self.stats = self.stats, json.loads(response.body)
        if before is None:
            return {}
        delta = {name: value - before.get(name, 0) for name, value in self.stats.items() if name not in GETS}
        if "gets" in step:
            grown = self.stats[step["gets"]] - before[step["gets"]]
            delta[step["gets"]] = "more" if grown > 0 else grown
        return {"delta": delta}

    def _start_watch(self, step, method, path, headers, body):
        try:
            watch = Watch(self.target.url_of(step), method, path, headers, body)
        except HttpFailure as failure:
            return _failure(failure)
        self.watches[step["bg"]] = watch
        return watch.first_answer()

    def _do_join(self, step):
        return self._watch(step).join(step["s"])

    def _do_read(self, step):
        return self._watch(step).read(step["n"], step["s"])

    def _do_pending(self, step):
        return self._watch(step).pending(step["s"])

    def _do_close(self, step):
        self._watch(step).close()
        return {}

    def _watch(self, step):
        if step["id"] not in self.watches:
            raise CannotExpand(f"there is no watch {step['id']!r}")
        return self.watches[step["id"]]

    # Helpers.

    def _exchange(self, url, method, path, headers=None, body=None, timeout=REQUEST_TIMEOUT_S):
        with Connection(*host_and_port(url), timeout) as connection:
            return connection.request(method, path, headers, body, timeout)

    def _let_watchers_go(self):
        """Waits until the server has noticed that the watches of earlier cases are closed."""
        deadline = time.monotonic() + 1.0
        while True:
            stats = json.loads(self._exchange(self.target.url, "GET", "/v2/stats/store").body)
            if stats.get("watchers", 0) <= self.target.watchers_floor:
                return
            if time.monotonic() > deadline:
                self.target.watchers_floor = stats["watchers"]
                return
            time.sleep(0.02)

    def expand(self, text):
        """Fills in the templates that the file's header lists."""
        return TEMPLATE.sub(lambda match: self._value_of(match[1]), text)

    def _value_of(self, template):
        if template == "D":
            return self.context.directory
        if template.startswith("X*"):
            return "x" * int(template[2:])
        name, _, plus = template.partition("+")
        if name == "I":
            return str(self.context.start_index + int(plus or 0))
        number, field_name = name[1:].split(".")
        value = self._field(int(number), field_name)
        return str(int(value) + int(plus)) if plus else str(value)

    def _field(self, number, name):
        """A field of an earlier step's answer; steps count from 1."""
        observed = self.answers[number - 1] if number <= len(self.answers) else {}
        try:
            if name == "text":
                return observed["body"].decode("utf-8")
            if name == "idx":
                return dict(observed["headers"])["X-Etcd-Index"]
            body = json.loads(observed["body"])
            if name == "v1":
                return body["index"]
            return body["node"][{"mod": "modifiedIndex", "created": "createdIndex", "key": "key"}[name]]
        except (KeyError, ValueError, TypeError) as error:
            raise CannotExpand(f"{{s{number}.{name}}} is not in that step's answer: {observed}") from error


class Watch:
    """A request whose answer is looked at later, piece by piece."""

    def __init__(self, url, method, path, headers, body):
        self._connection = Connection(*host_and_port(url), REQUEST_TIMEOUT_S)
        self._method = method
        self._head = None
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ended = False
        self._connection.send_request(method, path, headers, body)

    def first_answer(self):
        """The head, which must come before anything has happened. Its events are for the later steps."""
        try:
            self._head = self._connection.read_head(time.monotonic() + HEAD_TIMEOUT_S, self._method)
        except TimedOut:
            return {"early": False}
        except HttpFailure as failure:
            return _failure(failure)
        observed = {"status": self._head.status, "headers": self._head.headers, "arrived": self._head.arrived,
                    "early": True}
        if self._head.status != 200:
            observed["body"] = self._all_of_it()
        return observed

    def join(self, seconds):
        """Everything until the body's end."""
        events = []
        deadline = time.monotonic() + seconds
        while self._fill(deadline):
            pass
        while (event := self._next_event()) is not None:
            events.append(event)
        observed = {"events": events, "ended": self._ended, "arrived": time.time()}
        return self._note_rest(observed)

    def read(self, count, seconds):
        """The next `count` events."""
        events = []
        deadline = time.monotonic() + seconds
        while len(events) < count:
            event = self._next_event()
            if event is not None:
                events.append(event)
            elif not self._fill(deadline):
                break
        observed = {"events": events, "arrived": time.time()}
        return observed if len(events) == count else self._note_rest(observed)

    def pending(self, seconds):
        """Silence for this long, or the events that broke it."""
        deadline = time.monotonic() + seconds
        while True:
            events = []
            while (event := self._next_event()) is not None:
                events.append(event)
            if events:
                return {"events": events, "arrived": time.time()}
            if not self._fill(deadline):
                break
        if self._ended:
            return {"ended": True}
        return {"pending": True} if not self._text.strip() else self._note_rest({})

    def close(self):
        self._connection.close()

    def _fill(self, deadline):
        """Takes in more of the body; False at its end, or when the time is over."""
        if self._ended:
            return False
        try:
            if self._head is None:
                self._head = self._connection.read_head(deadline, self._method)
            piece = self._connection.read_piece(self._head, deadline)
        except TimedOut:
            return False
        except (Closed, OSError):
            self._ended = "cut off"
            return False
        if piece == b"":
            self._ended = True
            return False
        self._text += self._decoder.decode(piece)
        return True

    def _next_event(self):
        """The next whole JSON object, as bytes; None when there is none yet."""
        text = self._text.lstrip()
        if not text:
            return None
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return None
        self._text = text[end:]
        return text[:end].encode("utf-8")

    def _note_rest(self, observed):
        if self._text.strip():
            observed.setdefault("events", []).append(self._text.encode("utf-8"))  # will not compare equal
            observed["arrived"] = time.time()
        return observed

    def _all_of_it(self):
        while self._fill(time.monotonic() + 1.0):
            pass
        return self._text.encode("utf-8")


def _observed(response):
    return {"status": response.status, "headers": response.headers, "body": response.body, "arrived": response.arrived}


def _failure(failure):
    """As the transcripts write it: what kind, then the text."""
    if isinstance(failure, Closed):
        return {"failure": "connection: connection closed by the server"}
    if isinstance(failure, TimedOut):
        return {"failure": "timeout: no answer in time"}
    return {"failure": f"protocol: {failure}"}

