"""Compares what a server answered with what a transcript expects, in the transcript file's normal form.

The observed answer has the expected one's form, but with real values:

    {"status": 200, "headers": [(name, value), ...], "body": b"...", "arrived": unix seconds}       a request
    {"status": ..., "headers": ..., "early": True}                                                  a watch's head
    {"events": [b"{...}", ...], "ended": True, "arrived": ...}                                      join, read
    {"pending": True}, {"delta": {...}}, {"failure": "connection: ..."}, {}                         the rest

compare_answer() returns a list of Difference. The expected side is made concrete (I+3 becomes a number, {D} a
directory) rather than the observed side made abstract: then a text that happens to look like an index is never
mistaken for one. Every leniency of the file's header ("may differ") is a named function here.
"""
import datetime
import hashlib
import json
import re
from dataclasses import dataclass

EXPIRATION_TOLERANCE_S = 2.0
SORTED_LISTS = {"allow", "access-control-allow-methods", "access-control-allow-headers"}
MORE_FIELDS_ALLOWED = {"/version", "/health"}  # DESIGN.md section 1: they have 3.7's fields
INDEX_FIELDS = ("createdIndex", "modifiedIndex", "index")

LONG_TEXT = re.compile(r"(?s)^(.{40})\.\.\.\((\d+) characters, sha256 ([0-9a-f]{16})\)$")
SERIAL_INDEX = re.compile(r"^I\+(\d+)$")
PARALLEL_INDEX = re.compile(r"^r(\d+)$")
KEY_INDEX = re.compile(r"<(I\+\d+|r\d+)(?::0(\d+))?>")
CAUSE_INDEX = re.compile(r"\b(I\+\d+|r[1-9]\d*)(?= != |\])")
RELATIVE_TIME = re.compile(r"^now([+-]\d+(?:\.\d+)?)s$")
RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
HOST = re.compile(r"(https?)://[A-Za-z0-9.\-]+(?::\d+)?|(https?)://\[[0-9a-f:]+\](?::\d+)?")
VERSION = re.compile(r"^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.\-+]+)?$")
HEX = re.compile(r"^[0-9a-f]+$")


@dataclass
class Difference:
    """One place where the answer is not as expected."""

    place: str
    expected: object
    got: object

    def __str__(self):
        return f"{self.place}\n      expected {show(self.expected)}\n      got      {show(self.got)}"


class Missing:
    """Stands for something that is not there."""

    def __repr__(self):
        return "(nothing)"


MISSING = Missing()


def show(value):
    text = repr(value) if isinstance(value, (bytes, Missing)) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) < 600 else f"{text[:400]} ... ({len(text)} characters)"


class Unresolved(Exception):
    """A text names an index that this case has not shown yet."""


class Context:
    """What a case knows about its own run: directory, start index, indices seen so far."""

    def __init__(self, directory, start_index, waits=False, leader_url=None):
        self.directory = directory
        self.start_index = start_index
        self.waits = waits
        self.leader_url = leader_url
        self.ranks = {}  # rank of 'r1', 'r2', ... -> the number first seen there

    def number(self, name):
        """The number that 'I+3' or 'r2' stands for."""
        if match := SERIAL_INDEX.match(name):
            return self.start_index + int(match[1])
        rank = int(PARALLEL_INDEX.match(name)[1])
        if rank not in self.ranks:
            raise Unresolved(name)
        return self.ranks[rank]

    def fits_rank(self, rank, number):
        """Whether `number` can be the case's index of this rank: r1 < r2 < ..., and each always the same."""
        if rank not in self.ranks:
            if any((other < rank) != (seen < number) for other, seen in self.ranks.items()):
                return False
            if number in self.ranks.values():
                return False
            self.ranks[rank] = number
        return self.ranks[rank] == number

    def text(self, expected):
        """An expected text with the case's directory in it."""
        text = expected.replace("{D}", self.directory)
        return text.replace("{LEADER}", self.leader_url) if self.leader_url else text

    def key(self, expected):
        """An expected key: <I+3:020> is an index in decimal, here with zeros to 20 digits."""
        def digits(match):
            return str(self.number(match[1])).zfill(int(match[2] or 0))
        return self.text(KEY_INDEX.sub(digits, expected))

    def cause(self, expected):
        """An expected cause: may hold a key, or indices in the brackets of a failed comparison."""
        if expected.startswith("["):
            expected = CAUSE_INDEX.sub(lambda match: str(self.number(match[1])), expected)
        return self.key(expected)

    def abstract(self, number):
        """A number as a reader of the diff wants to see it: '17 (I+2)'."""
        if isinstance(number, bool) or not isinstance(number, int) or self.start_index is None:
            return number
        for rank, seen in self.ranks.items():
            if seen == number:
                return f"{number} (r{rank})"
        distance = number - self.start_index
        return f"{number} (I{distance:+d})" if -1000 < distance < 100000 else number


# The whole answer.


def compare_answer(expected, observed, step, context):
    """All differences between an expected answer and the observed one."""
    if "failure" in expected or "failure" in observed:
        return _compare_failure(expected, observed)
    differences = []
    if "status" in expected:
        if observed.get("status") != expected["status"]:
            differences.append(Difference("status", expected["status"], observed.get("status", MISSING)))
        differences += compare_headers(expected.get("headers", {}), observed.get("headers", []), context)
    if "early" in expected or "early" in observed:
        differences += _same("early", expected.get("early", False), observed.get("early", False))
    elif "status" in expected:
        differences += compare_body(expected, observed, step, context)
    for name in ("ended", "pending"):
        differences += _same(name, expected.get(name, False), observed.get(name, False))
    if "events" in expected or observed.get("events"):
        differences += _compare_events(expected.get("events", []), observed, step, context)
    if "delta" in expected or "delta" in observed:
        differences += _compare_delta(expected.get("delta", {}), observed.get("delta", {}))
    return differences


def _same(place, expected, got):
    return [] if expected == got else [Difference(place, expected, got)]


def _compare_failure(expected, observed):
    if "failure" not in expected:
        return [Difference("answer", f"status {expected.get('status')}" if "status" in expected else expected,
                           observed["failure"])]
    if "failure" not in observed:
        return [Difference("failure", expected["failure"], f"an answer with status {observed.get('status')}")]
    return _same("failure", expected["failure"], observed["failure"])


def _compare_events(expected, observed, step, context):
    got = observed.get("events", [])
    differences = []
    if len(expected) != len(got):
        differences.append(Difference("number of events", len(expected), len(got)))
    for number in range(max(len(expected), len(got))):
        place = f"events[{number}]"
        wanted = expected[number] if number < len(expected) else MISSING
        if number >= len(got):
            differences.append(Difference(place, wanted, MISSING))
            continue
        value = parse_json(got[number])
        if isinstance(wanted, Missing) or isinstance(value, NotJson):
            differences.append(Difference(place, wanted, value))
            continue
        differences += BodyComparison(step, context, observed["arrived"]).value(place, wanted, value)
    return differences


def _compare_delta(expected, got):
    differences = []
    for name in sorted(set(expected) | set(got)):
        wanted, value = expected.get(name, MISSING), got.get(name, MISSING)
        if wanted == "more" and type(value) is int and value > 0:
            continue
        if wanted != value:
            differences.append(Difference(f"delta.{name}", wanted, value))
    return differences


# Headers.


def compare_headers(expected, got, context):
    """Only the expected headers count, except that no other Access-Control-* may be there."""
    found = {}
    for name, value in got:
        found.setdefault(name.lower(), []).append(value)
    differences = []
    for name, wanted in expected.items():
        value = ", ".join(found[name.lower()]) if name.lower() in found else MISSING
        if isinstance(value, Missing) or not _header_fits(name.lower(), wanted, value, context):
            differences.append(Difference(f"header {name}", _header_wanted(wanted, context), value))
    known = {name.lower() for name in expected}
    for name in found:
        if name.startswith("access-control-") and name not in known:
            differences.append(Difference(f"header {name}", MISSING, ", ".join(found[name])))
    return differences


def _header_wanted(wanted, context):
    if isinstance(wanted, str) and SERIAL_INDEX.match(wanted) and context.start_index is not None:
        return f"{wanted} (= {context.number(wanted)})"
    return wanted


def _header_fits(name, wanted, value, context):
    if name in ("x-etcd-index", "x-raft-index", "x-raft-term"):
        return bool(re.fullmatch(r"[0-9]+", value)) and index_fits(wanted, int(value), context)
    if wanted == "hex":
        return bool(HEX.match(value))
    if name in SORTED_LISTS:
        return _items(wanted) == _items(value)
    if name == "content-type":
        return content_type_fits(wanted, value)
    return context.text(wanted) == value


def _items(text):
    return sorted(item.strip().lower() for item in text.split(","))


def content_type_fits(wanted, value):
    """Kinds of text may differ from each other; JSON may not differ from JSON."""
    if wanted.startswith("text/"):
        return value.startswith("text/")
    return wanted.replace(" ", "").lower() == value.replace(" ", "").lower()


# Indices.


def index_fits(wanted, number, context):
    """Whether `number` is what 'I+3', 'I-old', 'r2', 'int' or a plain number stands for."""
    if type(number) is not int or number < 0:
        return False
    if type(wanted) is int:
        return number == wanted
    if wanted == "int":
        return True
    if wanted == "I-old":
        return 0 < number < context.start_index
    if match := PARALLEL_INDEX.match(wanted):
        return context.fits_rank(int(match[1]), number)
    if SERIAL_INDEX.match(wanted):
        return number == context.number(wanted)
    return False


# Bodies.


class NotJson:
    """A body that is no JSON text."""

    def __init__(self, data, why):
        self.data, self.why = data, why

    def __repr__(self):
        return f"no JSON ({self.why}): {self.data[:300]!r}"


def parse_json(data):
    """The value of a JSON text, or NotJson. Refuses what JSON readers disagree on: doubled fields, NaN, bad UTF-8."""
    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError(f"a field twice in {[name for name, _ in pairs]}")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except ValueError as error:
        return NotJson(data, error)


def compare_body(expected, observed, step, context):
    body = observed.get("body", b"")
    if "body" not in expected:
        return [] if body == b"" else [Difference("body", "an empty body", body)]
    wanted = expected["body"]
    if isinstance(wanted, str):
        return _compare_text(expected, body, step, context)
    value = parse_json(body)
    if isinstance(value, NotJson):
        return [Difference("body", wanted, value)]
    differences = []
    if _asks_for_order(step) and "nodesOrder" not in expected:
        differences += order_differences("body.node", value.get("node") if isinstance(value, dict) else None)
    value = normalise(value, step, context)
    comparison = BodyComparison(step, context, observed["arrived"])
    return differences + comparison.value("body", wanted, value, comparison.may_have_more(step))


def _compare_text(expected, body, step, context):
    """A text is compared as text; but texts of error pages may differ."""
    if expected["status"] >= 400:
        return []
    text = body.decode("utf-8", "replace")
    if step.get("mask"):
        text = mask_hosts(text, context)
        wanted = expected["body"]
    elif step.get("shape"):
        text, wanted = "string", expected["body"]
    else:
        wanted = context.text(expected["body"])
    return [] if _text_fits(wanted, wanted, text, context) else [Difference("body", wanted, text)]


def _text_fits(abstract, concrete, text, context):
    """Whether `text` is the expected text, given as the transcript has it and with the run's own values in it.

    Long texts are given by their beginning, length and hash, taken when the directory was {D}.
    """
    if match := LONG_TEXT.match(abstract):
        text = text.replace(context.directory, "{D}")
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
        return text[:40] == match[1] and len(text) == int(match[2]) and digest == match[3]
    return concrete == text


def normalise(value, step, context):
    """Applies the step's own, pick, mask and shape to an observed JSON value."""
    if step.get("own"):
        value = only_own_nodes(value, context.directory)
    if step.get("pick") and isinstance(value, dict):
        value = {name: value[name] for name in step["pick"] if name in value}
    if step.get("mask"):
        value = mask(value, context)
    if step.get("shape"):
        value = shape(value)
    return value


def only_own_nodes(value, directory):
    """A listing of the root without other cases' nodes."""
    if not isinstance(value, dict) or not isinstance(value.get("node"), dict):
        return value
    node = dict(value["node"])
    nodes = node.get("nodes", [])
    if isinstance(nodes, list):
        node["nodes"] = [child for child in nodes if isinstance(child, dict)
                         and (str(child.get("key")) + "/").startswith(directory + "/")]
    return {**value, "node": node}


def mask_hosts(text, context):
    """URLs of servers become http://HOST; in a cluster the leader's client URL becomes {LEADER}."""
    if context.leader_url:
        text = text.replace(context.leader_url, "{LEADER}")
    return HOST.sub(lambda match: f"{match[1] or match[2]}://HOST", text)


def mask(value, context, name=None):
    """Hosts, version numbers, names and ids, when they look like ones."""
    if isinstance(value, dict):
        return {key: mask(child, context, key) for key, child in value.items()}
    if isinstance(value, list):
        return [mask(child, context, name) for child in value]
    if not isinstance(value, str):
        return value
    if name == "name" and value:
        return "NAME"
    if name == "id" and HEX.match(value):
        return "ID"
    if VERSION.match(value):
        return "#.#.#"
    return mask_hosts(value, context)


def shape(value):
    """Only the types: a list is the shape of its first element, as the recorder had it."""
    if isinstance(value, dict):
        return {name: shape(child) for name, child in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "string"


def _asks_for_order(step):
    query = step.get("path", "").partition("?")[2]
    return any(part in ("sorted=true", "sorted=1", "sorted=t", "sorted=T", "sorted=TRUE", "sorted=True")
               for part in query.split("&"))


def order_differences(place, node):
    """With sorted=true, siblings stand in the byte order of their keys, on every level."""
    nodes = node.get("nodes") if isinstance(node, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(child, dict) for child in nodes):
        return []
    keys = [str(child.get("key", "")) for child in nodes]
    in_order = sorted(keys, key=lambda key: key.encode("utf-8"))
    differences = [] if keys == in_order else [Difference(f"{place}.nodes order", in_order, keys)]
    for number, child in enumerate(nodes):
        differences += order_differences(f"{place}.nodes[{number}]", child)
    return differences


class BodyComparison:
    """Compares one JSON value; knows when it arrived, which its expirations are relative to."""

    def __init__(self, step, context, arrived):
        self.step = step
        self.context = context
        self.arrived = arrived
        self.is_shape = bool(step.get("shape"))

    @staticmethod
    def may_have_more(step):
        return step.get("path", "").partition("?")[0] in MORE_FIELDS_ALLOWED

    def value(self, place, wanted, got, more_allowed=False):
        if isinstance(wanted, dict):
            if not isinstance(got, dict):
                return [Difference(place, wanted, got)]
            return self._object(place, wanted, got, more_allowed)
        if isinstance(wanted, list):
            if not isinstance(got, list):
                return [Difference(place, wanted, got)]
            if place.endswith(".nodes") and not self.is_shape:
                return self._nodes(place, wanted, got)
            return self._list(place, wanted, got)
        return [] if self._leaf_fits(place, wanted, got) else [self._difference(place, wanted, got)]

    def _object(self, place, wanted, got, more_allowed):
        differences = []
        names = sorted(set(wanted) | set(got), key=lambda name: (name not in INDEX_FIELDS, name))
        for name in names:
            where = f"{place}.{name}"
            if _may_be_absent(where) and (name not in wanted or name not in got):
                continue
            if name not in wanted and more_allowed:
                continue
            if name not in wanted or name not in got:
                differences.append(Difference(where, wanted.get(name, MISSING), got.get(name, MISSING)))
                continue
            differences += self.value(where, wanted[name], got[name])
        return differences

    def _list(self, place, wanted, got):
        if len(wanted) != len(got):
            return [Difference(place, wanted, got)]
        return [difference for number, (one, other) in enumerate(zip(wanted, got))
                for difference in self.value(f"{place}[{number}]", one, other)]

    def _nodes(self, place, wanted, got):
        """Children are matched by key: their order is checked elsewhere, and only where it was asked for."""
        if not all(isinstance(child, dict) and isinstance(child.get("key"), str) for child in got):
            return [Difference(place, wanted, got)]
        try:
            wanted_keys = sorted(self.context.key(child["key"]) for child in wanted)
        except Unresolved as unresolved:
            return [Difference(place, f"{unresolved} known by now", got)]
        got_keys = sorted(child["key"] for child in got)
        if wanted_keys != got_keys:
            return [Difference(f"{place} keys", wanted_keys, got_keys)]
        by_key = {child["key"]: child for child in got}
        return [difference for child in wanted
                for difference in self.value(f"{place}[{child['key']}]", child, by_key[self.context.key(child["key"])])]

    def _leaf_fits(self, place, wanted, got):
        if self.is_shape or type(wanted) is bool or wanted is None:
            return type(wanted) is type(got) and wanted == got
        name = place.rpartition(".")[2]
        if name in INDEX_FIELDS:
            return index_fits(wanted, got, self.context)
        if name == "ttl":
            slack = 1 if self.context.waits else 0
            return type(got) is int and type(wanted) is int and abs(got - wanted) <= slack
        if name == "expiration":
            return self._expiration_fits(place, wanted, got)
        if isinstance(wanted, str):
            return isinstance(got, str) and self._string_fits(name, wanted, got)
        return type(wanted) is type(got) and wanted == got

    def _string_fits(self, name, wanted, got):
        if name == "value" or self.step.get("mask"):
            return _text_fits(wanted, wanted, got, self.context)
        try:
            concrete = {"cause": self.context.cause, "key": self.context.key}.get(name, self.context.text)(wanted)
        except Unresolved:
            return False
        return _text_fits(wanted, concrete, got, self.context)

    def _expiration_fits(self, place, wanted, got):
        seconds = parse_time(got)
        if seconds is None:
            return False
        if wanted == "some time" or _may_be_absent(place):
            return True
        if wanted == "zero time":
            return got == "0001-01-01T00:00:00Z"
        if match := RELATIVE_TIME.match(wanted):
            return abs(seconds - (self.arrived + float(match[1]))) <= EXPIRATION_TOLERANCE_S
        return got == wanted

    def _difference(self, place, wanted, got):
        name = place.rpartition(".")[2]
        if name in INDEX_FIELDS:
            got = self.context.abstract(got)
        if name == "expiration" and (seconds := parse_time(got)) is not None:
            got = f"{got} (now{seconds - self.arrived:+.1f}s)"
        return Difference(place, wanted, got)


def _may_be_absent(place):
    """prevNode.expiration may differ (it is a time that has passed, and the generations disagree on it)."""
    return place.endswith(".prevNode.expiration")


def parse_time(text):
    """Unix seconds of an RFC 3339 time with up to nine digits of a fraction; None when it is none."""
    match = RFC3339.match(text) if isinstance(text, str) else None
    if not match:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        whole = datetime.datetime.fromisoformat(match[1] + zone)
    except ValueError:
        return None
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (whole - epoch).total_seconds() + float(match[2] or 0)
