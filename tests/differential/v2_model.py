"""The rules of the v2 keys API as a small Python program: a second reference for the fuzzer, and its guide.

A Model answers requests in the form that compare.py calls observed, so that it can stand where a server stands:

    model = Model(start_index=7)
    model.request("PUT", "/v2/keys/a", FORM, "value=x")     {"status": 201, "headers": [...], "body": b"...", ...}
    watch = model.watch("GET", "/v2/keys/a?wait=true")
    watch.first_answer(), watch.join(0.0)

Three parts: Tree holds nodes, history and watchers and knows the store's rules; parse_request() turns a request into
a Request or a Failure; Model does the HTTP around them. Nothing here expires: sequences end long before their TTLs.
Paths and values are bytes; text() makes the JSON strings.
"""
import codecs
import json
import posixpath
import re
import time
import urllib.parse
from dataclasses import dataclass, field

KEYS = b"/v2/keys"
METHODS = ("HEAD", "GET", "PUT", "POST", "DELETE")
UINT64_MAX = (1 << 64) - 1
TRUE_WORDS = (b"1", b"t", b"T", b"true", b"TRUE", b"True")
FALSE_WORDS = (b"0", b"f", b"F", b"false", b"FALSE", b"False")
COUNTERS = ("sets", "create", "update", "delete", "compareAndSwap", "compareAndDelete")
CORS_HEADERS = [("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
                ("Access-Control-Allow-Origin", "*"),
                ("Access-Control-Allow-Headers", "accept, content-type, authorization")]
MESSAGES = {  # code -> (message, HTTP status)
    100: ("Key not found", 404), 101: ("Compare failed", 412), 102: ("Not a file", 403),
    104: ("Not a directory", 400), 105: ("Key already exists", 412), 107: ("Root is read only", 400),
    108: ("Directory not empty", 403), 201: ("PrevValue is Required in POST form", 400),
    202: ("The given TTL in POST form is not a number", 400),
    203: ("The given index in POST form is not a number", 400), 209: ("Invalid field", 400),
    210: ("Invalid POST form", 400), 211: ("Value provided on refresh", 400),
    212: ("A TTL must be provided on refresh", 400),
    401: ("The event in requested index is outdated and cleared", 400)}

codecs.register_error("v2-each-byte", lambda error: ("\ufffd", error.start + 1))


def text(data):
    """Bytes as a JSON string holds them: every byte that is not part of UTF-8 becomes U+FFFD."""
    return data.decode("utf-8", "v2-each-byte")


class Failure(Exception):
    """An error body of the v2 API."""

    def __init__(self, code, cause, index=0, counts_as_success=False):
        super().__init__(code, cause, index)
        self.code, self.cause, self.index = code, cause, index
        self.counts_as_success = counts_as_success


# The store.


@dataclass
class Node:
    """A file (value is bytes) or a directory (value is None)."""

    path: bytes
    value: bytes | None
    created: int
    modified: int
    expiration: float | None = None
    children: dict = field(default_factory=dict)

    @property
    def is_dir(self):
        return self.value is None

    def walk(self):
        """The node and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()


def time_fields(expiration):
    """What a node with a TTL shows of it now."""
    if expiration is None:
        return {}
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(expiration)))
    fraction = f"{expiration % 1:.6f}"[1:]
    return {"expiration": f"{whole}{fraction}Z", "ttl": max(0, int(-((time.time() - expiration) // 1)))}


def show(node, depth=0):
    """A node in JSON; its children, but not hidden ones, to the given depth."""
    fields = {"key": text(node.path)} if node.path != b"/" else {}
    if node.is_dir:
        fields["dir"] = True
        if depth > 0:
            nodes = [show(node.children[name], depth - 1) for name in sorted(node.children) if name[:1] != b"_"]
            fields |= {"nodes": nodes} if nodes else {}
    else:
        fields["value"] = text(node.value)
    if node.path != b"/":
        fields |= {"modifiedIndex": node.modified, "createdIndex": node.created}
    return fields | time_fields(node.expiration)


@dataclass
class Event:
    """What watchers are told, and what a write answers."""

    index: int
    path: bytes
    body: dict
    removed: frozenset = frozenset()  # the paths that went away in it
    is_refresh: bool = False


class Watcher:
    """Takes the first event (or all, in a stream) that concerns it."""

    def __init__(self, path, recursive, stream):
        self.path, self.recursive, self.stream = path, recursive, stream
        self.since = 0
        self.events = []

    @property
    def done(self):
        return bool(self.events) and not self.stream

    def hides(self, path):
        """Whether a hidden name stands between the watched path and the changed one."""
        return b"/_" in b"/" + path[len(self.path):] if below(path, self.path) else False

    def offer(self, event):
        """A live event."""
        if self.done or event.is_refresh or event.index < self.since:
            return
        same = event.path == self.path
        above = self.recursive and below(event.path, self.path) and not self.hides(event.path)
        if same or above or self.path in event.removed:
            self.events.append(event.body)


def below(path, directory):
    return path != directory and path.startswith(directory if directory == b"/" else directory + b"/")


class Tree:
    """Nodes, history, watchers, counters."""

    def __init__(self, index):
        self.root = Node(b"/", None, 0, 0)
        self.index = index
        self.first = index + 1  # of the history
        self.history = []
        self.watchers = []
        self.counters = {name + suffix: 0 for name in COUNTERS for suffix in ("Success", "Fail")}
        self.counters["expireCount"] = 0

    # Finding.

    def find(self, path):
        """The node at a clean path, or the Failure that names the first component that is in the way."""
        node = self.root
        for name in names(path):
            if not node.is_dir:
                raise Failure(104, node.path, self.index)
            if name not in node.children:
                raise Failure(100, posixpath.join(node.path, name), self.index)
            node = node.children[name]
        return node

    def find_or_none(self, path):
        try:
            return self.find(path)
        except Failure:
            return None

    def directory_for(self, path, index):
        """The directory at this path, made on the way with all its parents."""
        node = self.root
        for name in names(path):
            child = node.children.get(name)
            if child is None:
                child = Node(posixpath.join(node.path, name), None, index, index)
                node.children[name] = child
            elif not child.is_dir:
                self.counters["setsFail"] += 1  # whatever the call was
                raise Failure(104, child.path, self.index)
            node = child
        return node

    # Writing. Each returns the event. Of the failures, some are counted as successes: clients have come to know these
    # counters as they are.

    def refuse(self, code, cause):
        """A failure of a node that was found."""
        raise Failure(code, cause, self.index, counts_as_success=True)

    def counted(self, name, write, *arguments):
        try:
            event = write(*arguments)
        except Failure as failure:
            self.counters[name + ("Success" if failure.counts_as_success else "Fail")] += 1
            raise
        self.counters[name + "Success"] += 1
        return event

    def put_new(self, action, path, wanted, replace):
        """Makes a file or directory; `replace` allows a file to be there."""
        if path == b"/":
            raise Failure(107, b"/", self.index)
        index = self.index + 1
        parent, name = self.directory_for(posixpath.dirname(path), index), posixpath.basename(path)
        old = parent.children.get(name)
        if old is not None and not replace:
            raise Failure(105, path, self.index)
        if old is not None and old.is_dir:
            raise Failure(102, path, self.index)
        node = Node(path, None if wanted.dir else wanted.value, index, index, wanted.expiration)
        parent.children[name] = node
        return self.publish(action, node, old, wanted.refresh and replace)

    def create(self, path, wanted, unique=False):
        if unique:
            path = posixpath.join(path, b"%020d" % (self.index + 1))
        return self.put_new("create", path, wanted, False)

    def set(self, path, wanted):
        if wanted.refresh:
            wanted.value = self.find(path).value or b""
        else:
            try:
                self.find(path)
            except Failure as failure:
                if failure.code != 100:
                    raise
        return self.put_new("set", path, wanted, True)

    def update(self, path, wanted):
        if path == b"/":
            self.refuse(107, b"/")
        node = self.find(path)
        if node.is_dir and wanted.value:
            self.refuse(102, path)
        return self.change("update", node, wanted)

    def compare_and_swap(self, path, wanted):
        if path == b"/":
            self.refuse(107, b"/")
        node = self.find(path)
        if node.is_dir:
            raise Failure(102, path, self.index)
        if mismatch := self.mismatch(node, wanted):
            raise Failure(101, mismatch, self.index)
        return self.change("compareAndSwap", node, wanted)

    @staticmethod
    def mismatch(node, wanted):
        """What the conditions have against a file, in the words of the error body."""
        value_fits = wanted.prev_value in (b"", node.value)
        index_fits = wanted.prev_index in (0, node.modified)
        value_part = b"[" + wanted.prev_value + b" != " + node.value + b"]"
        index_part = b"[%d != %d]" % (wanted.prev_index, node.modified)
        if not value_fits and not index_fits:
            return value_part + b" " + index_part
        return b"" if value_fits and index_fits else index_part if value_fits else value_part

    def change(self, action, node, wanted):
        """A new value or deadline; a directory keeps its index, though the event has the new one."""
        old = Node(node.path, node.value, node.created, node.modified, node.expiration)
        index = self.index + 1
        if not node.is_dir:
            node.value = node.value if wanted.refresh else wanted.value
            node.modified = index
        node.expiration = wanted.expiration
        return self.publish(action, Node(node.path, node.value, node.created, index, node.expiration), old,
                            wanted.refresh)

    def delete(self, path, wanted):
        if path == b"/":
            self.refuse(107, b"/")
        node = self.find(path)
        if node.is_dir and not (wanted.dir or wanted.recursive):
            raise Failure(102, path, self.index)
        if node.children and not wanted.recursive:
            raise Failure(108, path, self.index)
        return self.remove("delete", node)

    def compare_and_delete(self, path, wanted):
        if path == b"/":
            self.refuse(107, b"/")
        node = self.find(path)
        if node.is_dir:
            self.refuse(102, path)
        if mismatch := self.mismatch(node, wanted):
            self.refuse(101, mismatch)
        return self.remove("compareAndDelete", node)

    def remove(self, action, node):
        parent = self.find(posixpath.dirname(node.path))
        del parent.children[posixpath.basename(node.path)]
        gone = Node(node.path, node.value, node.created, self.index + 1)
        return self.publish(action, gone, node, False, frozenset(one.path for one in node.walk()))

    def publish(self, action, node, old, is_refresh, removed=frozenset()):
        """The event of a write: into the history, to the watchers."""
        self.index = node.modified
        shown = show(node)
        if removed:
            shown.pop("value", None)
        body = {"action": action, "node": shown} | ({"prevNode": show(old)} if old is not None else {})
        event = Event(node.modified, node.path, body, removed, is_refresh)
        self.history.append(event)
        for watcher in self.watchers:
            watcher.offer(event)
        self.watchers = [watcher for watcher in self.watchers if not watcher.done]
        return event

    # Watching.

    def watch(self, watcher, since):
        """From the history if it has something, else live. The history hides nothing."""
        watcher.since = since or self.index + 1
        if watcher.since < self.first:
            cause = b"the requested history has been cleared [%d/%d]" % (self.first, watcher.since)
            raise Failure(401, cause, self.index)
        for event in self.history:
            if event.index < watcher.since or event.is_refresh:
                continue
            if event.path == watcher.path or (watcher.recursive and below(event.path, watcher.path)) or (
                    watcher.path in event.removed):
                watcher.events.append(event.body)
                if watcher.done:
                    return
        self.watchers.append(watcher)


def names(path):
    return [name for name in path.split(b"/") if name]


# Requests.


@dataclass
class Request:
    """A request's parameters, checked."""

    prev_index: int = 0
    wait_index: int = 0
    recursive: bool = False
    sorted: bool = False
    wait: bool = False
    dir: bool = False
    quorum: bool = False
    stream: bool = False
    prev_value: bytes = b""
    no_value: bool = False
    prev_exist: bool | None = None
    refresh: bool = False
    value: bytes = b""
    expiration: float | None = None


def unescape(data, plus):
    """Percent escapes, and perhaps plus signs, undone; Failure 210 when one is broken."""
    if match := re.search(rb"%(?![0-9a-fA-F]{2})", data):
        piece = data[match.start():match.start() + 3]
        raise Failure(210, b'invalid URL escape "' + piece + b'"')
    return urllib.parse.unquote_to_bytes(data.replace(b"+", b" ") if plus else data)


def parse_form(data, fields):
    """Adds the fields of a form; returns the first Failure, after which the rest is read all the same."""
    failure = None
    for part in data.split(b"&"):
        if not part:
            continue
        try:
            if b";" in part:
                raise Failure(210, b"invalid semicolon separator in query")
            name, _, value = part.partition(b"=")
            fields.setdefault(unescape(name, True), []).append(unescape(value, True))
        except Failure as broken:
            failure = failure or broken
    return failure


def read_fields(method, query, content_type, body):
    """All fields of a request, the body's before the query's. A body counts as a form only if it says so."""
    fields = {}
    failure = None
    kind = (content_type or "").split(";")[0].strip().lower()
    if method in ("PUT", "POST") and body and kind == "application/x-www-form-urlencoded":
        failure = parse_form(body, fields)
    query_failure = parse_form(query, fields)
    if failure or query_failure:
        raise failure or query_failure
    return fields


def number(fields, name, code):
    if name not in fields:
        return 0
    first = fields[name][0]
    if not re.fullmatch(rb"[0-9]+", first) or int(first) > UINT64_MAX:
        raise Failure(code, b'invalid value for "' + name + b'"')
    return int(first)


def boolean(fields, name, quotes=b'"'):
    if name not in fields:
        return None
    first = fields[name][0]
    if first not in TRUE_WORDS + FALSE_WORDS:
        raise Failure(209, b"invalid value for " + quotes + name + quotes)
    return first in TRUE_WORDS


def parse_request(method, fields):
    """Checks the fields in the order in which servers complain about them."""
    request = Request()
    request.prev_index = number(fields, b"prevIndex", 203)
    request.wait_index = number(fields, b"waitIndex", 203)
    for name in ("recursive", "sorted", "wait", "dir", "quorum", "stream"):
        setattr(request, name, bool(boolean(fields, name.encode())))
    if request.wait and method != "GET":
        raise Failure(209, b'"wait" can only be used with GET requests')
    request.prev_value = fields.get(b"prevValue", [b""])[0]
    if b"prevValue" in fields and not request.prev_value:
        raise Failure(201, b'"prevValue" cannot be empty')
    request.no_value = bool(boolean(fields, b"noValueOnSuccess"))
    has_ttl = bool(fields.get(b"ttl", [b""])[0])
    if has_ttl:
        request.expiration = time.time() + number(fields, b"ttl", 202)
    request.prev_exist = boolean(fields, b"prevExist", b"")
    request.refresh = bool(boolean(fields, b"refresh", b""))
    request.value = fields.get(b"value", [b""])[0]
    if request.refresh and request.value:
        raise Failure(211, b"A value was provided on a refresh")
    if request.refresh and not has_ttl:
        raise Failure(212, b"No TTL value set")
    return request


# HTTP.


def clean(path):
    """A path without empty and dot components. A slash at its end stays."""
    parts = []
    for name in names(path):
        if name == b"..":
            del parts[-1:]
        elif name != b".":
            parts.append(name)
    result = b"/" + b"/".join(parts)
    return result + b"/" if path.endswith(b"/") and result != b"/" else result


class ModelWatch:
    """A watch as player.Watch shows it."""

    def __init__(self, head, watcher=None):
        self.head = head
        self.watcher = watcher
        self.seen = 0

    def first_answer(self):
        return self.head

    def join(self, _seconds):
        events = self.watcher.events[self.seen:]
        self.seen += len(events)
        ended = self.watcher.done
        return {"events": [json.dumps(event).encode() for event in events], "ended": ended, "arrived": time.time()}

    def close(self):
        if self.watcher is not None:
            self.watcher.stream, self.watcher.events = False, [None]  # takes no more


class Model:
    """A server of one member, as far as /v2/keys and its counters go."""

    def __init__(self, start_index=0):
        self.tree = Tree(start_index)

    def request(self, method, target, headers=None, body=None):
        """Answers a request that is no watch."""
        path, query, early = self._route(method, target)
        if early:
            return early
        try:
            request = parse_request(method, self._fields(method, query, headers, body))
            return self._do(method, path, request)
        except Failure as failure:
            return self._failure(method, failure)

    def watch(self, method, target, headers=None, body=None):
        """Opens a watch; a request that turns out to be none is answered all the same."""
        path, query, early = self._route(method, target)
        try:
            if early:
                return ModelWatch(early | {"early": True})
            request = parse_request(method, self._fields(method, query, headers, body))
            if method != "GET" or not request.wait or request.quorum:
                return OrdinaryAnswer(self._do(method, path, request))
            watcher = Watcher(path, request.recursive, request.stream)
            self.tree.watch(watcher, request.wait_index)
            return ModelWatch({"status": 200, "headers": self._headers(self.tree.index), "arrived": time.time(),
                               "early": True}, watcher)
        except Failure as failure:
            return ModelWatch(self._failure(method, failure) | {"early": True})

    def node(self, path):
        """The node at a path given as text, for whoever wants to know the truth."""
        return self.tree.find_or_none(clean(path.encode("utf-8", "surrogateescape")))

    @staticmethod
    def _fields(method, query, headers, body):
        given = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type")
        data = body.encode("latin-1") if isinstance(body, str) else body
        return read_fields(method, query, given, data)

    def _route(self, method, target):
        """The key's path and the query, or the answer of a request that does not get that far."""
        raw, _, query = target.encode("latin-1").partition(b"?")
        try:
            if re.search(rb"[\x00-\x1f\x7f]", raw + query):
                raise Failure(210, b"a control character")
            path = unescape(raw, False)
        except Failure:
            return None, None, self._plain(400, b"400 Bad Request", method, cors=False)
        if method == "OPTIONS":
            return None, None, {"status": 200, "headers": list(CORS_HEADERS), "body": b"", "arrived": time.time()}
        if clean(path) != path:
            return None, None, self._redirect(method, clean(path), query)
        if not (path + b"/").startswith(KEYS + b"/"):
            return None, None, self._plain(404, b"404 page not found\n", method)
        if method not in METHODS:
            answer = self._plain(405, b"Method Not Allowed\n", method)
            answer["headers"].append(("Allow", ",".join(METHODS)))
            return None, None, answer
        return clean(b"/" + path[len(KEYS):]).rstrip(b"/") or b"/", query, None

    def _do(self, method, path, request):
        tree = self.tree
        if method in ("GET", "HEAD"):
            node = tree.find(path)
            depth = 1 << 20 if request.recursive else 1
            return self._answer(method, 200, {"action": "get", "node": show(node, depth)}, tree.index)
        if method == "POST":
            event = tree.counted("create", tree.create, path, request, True)
        elif method == "DELETE" and (request.prev_index or request.prev_value):
            event = tree.counted("compareAndDelete", tree.compare_and_delete, path, request)
        elif method == "DELETE":
            event = tree.counted("delete", tree.delete, path, request)
        elif request.prev_exist is False:
            event = tree.counted("create", tree.create, path, request)
        elif request.prev_index or request.prev_value:
            event = tree.counted("compareAndSwap", tree.compare_and_swap, path, request)
        elif request.prev_exist:
            event = tree.counted("update", tree.update, path, request)
        else:
            event = tree.counted("sets", tree.set, path, request)
        body = event.body
        created = body["action"] == "create" or (body["action"] == "set" and "prevNode" not in body)
        if request.no_value and body["action"] in ("create", "set", "update", "compareAndSwap"):
            body = {"action": body["action"]}
        return self._answer(method, 201 if created else 200, body, event.index)

    # Answers.

    def _headers(self, index):
        return CORS_HEADERS + [("Content-Type", "application/json"), ("X-Etcd-Cluster-Id", "1"),
                               ("X-Etcd-Index", str(index)), ("X-Raft-Index", "1"), ("X-Raft-Term", "1")]

    def _answer(self, method, status, body, index):
        data = b"" if method == "HEAD" else json.dumps(body).encode() + b"\n"
        return {"status": status, "headers": self._headers(index), "body": data, "arrived": time.time()}

    def _failure(self, method, failure):
        message, status = MESSAGES[failure.code]
        body = {"errorCode": failure.code, "message": message, "index": failure.index}
        body |= {"cause": text(failure.cause)} if failure.cause else {}
        answer = self._answer(method, status, body, failure.index)
        answer["headers"] = [(name, value) for name, value in answer["headers"] if not name.startswith("X-Raft")]
        return answer

    @staticmethod
    def _plain(status, body, method="GET", cors=True):
        headers = [("Content-Type", "text/plain; charset=utf-8")] + (CORS_HEADERS if cors else [])
        return {"status": status, "headers": headers, "body": b"" if method == "HEAD" else body,
                "arrived": time.time()}

    def _redirect(self, method, path, query):
        location = urllib.parse.quote(path, safe="/$&+,:;=@~")
        if not query:
            full = location
        else:
            full = location + "?" + query.decode("latin-1")
        link = full.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
        body = f'<a href="{link}">Moved Permanently</a>.\n\n' if method == "GET" else ""
        kind = [("Content-Type", "text/html; charset=utf-8")] if method in ("GET", "HEAD") else []
        return {"status": 301, "headers": CORS_HEADERS + [("Location", full)] + kind, "body": body.encode(),
                "arrived": time.time()}


class OrdinaryAnswer:
    """A request that asked for a watch and got an answer at once, as player.Watch shows it."""

    def __init__(self, answer):
        self.answer = answer
        self.told = False

    def first_answer(self):
        return {name: self.answer[name] for name in ("status", "headers", "arrived")} | {"early": True}

    def join(self, _seconds):
        events = [] if self.told or not self.answer["body"] else [self.answer["body"].strip()]
        self.told = True
        return {"events": events, "ended": True, "arrived": time.time()}

    def close(self):
        pass
