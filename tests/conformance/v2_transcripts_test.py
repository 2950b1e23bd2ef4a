"""Tests of the transcript runner itself: what it accepts, and above all what it must not accept.

Answers are made up; no server is needed, except for the small scripted one of the watch tests.
"""
import copy
import datetime
import json
import queue
import socket
import threading
import time
import unittest

from tests.conformance import v2_transcripts
from tests.conformance.compare import Context, compare_answer, parse_time, shape
from tests.conformance.player import CannotExpand, CasePlayer, Outcome, Target, Watch, play_case, waits

NOW = 1_700_000_000.0
DIRECTORY = "/c123"
START = 41


def rfc3339(seconds):
    time_text = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return time_text + "789Z"


def answer(body=None, status=200, headers=(), **more):
    """An observed answer to a request."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"status": status, "headers": list(headers), "body": data, "arrived": NOW, **more}


class CompareCase(unittest.TestCase):
    """Helpers: accepts() and refuses() compare one answer."""

    def differences(self, expected, observed, step=None, context=None, **options):
        context = context or Context(DIRECTORY, START, **options)
        return compare_answer(expected, observed, {"do": "request", "path": "/v2/keys", **(step or {})}, context)

    def accepts(self, expected, observed, step=None, **options):
        found = self.differences(expected, observed, step, **options)
        self.assertEqual([], [str(difference) for difference in found])

    def refuses(self, place, expected, observed, step=None, **options):
        found = self.differences(expected, observed, step, **options)
        self.assertIn(place, [difference.place for difference in found])


class SetAnswerTest(CompareCase):
    """One full answer, right in every part; then wrong in one part at a time."""

    EXPECTED = {
        "status": 201,
        "headers": {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "DELETE, GET, PUT",
                    "Content-Type": "application/json", "X-Etcd-Cluster-Id": "hex", "X-Etcd-Index": "I+2",
                    "X-Raft-Index": "int", "Allow": "GET, HEAD"},
        "body": {"action": "set",
                 "node": {"key": "{D}/q/<I+2:020>", "value": "x", "ttl": 100, "expiration": "now+100.0s",
                          "createdIndex": "I+2", "modifiedIndex": "I+2"},
                 "prevNode": {"key": "{D}/q/<I+2:020>", "value": "w", "createdIndex": "I+1", "modifiedIndex": "I+1",
                              "expiration": "now+9.0s"}},
    }

    def right(self):
        key = f"{DIRECTORY}/q/{START + 2:020d}"
        body = {"node": {"modifiedIndex": 43, "createdIndex": 43, "expiration": rfc3339(NOW + 100.4), "ttl": 100,
                         "value": "x", "key": key},
                "prevNode": {"key": key, "value": "w", "createdIndex": 42, "modifiedIndex": 42},
                "action": "set"}
        headers = {"access-control-allow-origin": "*", "Access-Control-Allow-Methods": "PUT, GET, DELETE",
                   "Content-Type": "application/json", "X-Etcd-Cluster-Id": "cdf818194e3a8c32", "X-Etcd-Index": "43",
                   "X-Raft-Index": "9", "Allow": "HEAD, GET", "Date": "today", "X-Other": "y"}
        return body, headers

    def test_right(self):
        body, headers = self.right()
        self.accepts(self.EXPECTED, answer(body, 201, headers.items()))

    def test_other_escapes_and_white_space(self):
        body, headers = self.right()
        text = json.dumps(body, indent=3).replace('"x"', '"\\u0078"').encode() + b"\n"
        self.accepts(self.EXPECTED, answer(text, 201, headers.items()))

    def wrong_body(self, place, *path, value="remove"):
        """Changes the field at `path` and expects a difference at `place`."""
        body, headers = self.right()
        inner = body
        for name in path[:-1]:
            inner = inner[name]
        if value == "remove":
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        self.refuses(place, self.EXPECTED, answer(body, 201, headers.items()))

    def wrong_header(self, name, value=None):
        body, headers = self.right()
        headers.pop(name)
        if value is not None:
            headers[name] = value
        self.refuses(f"header {name}", self.EXPECTED, answer(body, 201, headers.items()))

    def test_wrong_status(self):
        body, headers = self.right()
        self.refuses("status", self.EXPECTED, answer(body, 200, headers.items()))

    def test_wrong_modified_index(self):
        self.wrong_body("body.node.modifiedIndex", "node", "modifiedIndex", value=44)

    def test_index_as_string(self):
        self.wrong_body("body.node.modifiedIndex", "node", "modifiedIndex", value="43")

    def test_index_as_float(self):
        self.wrong_body("body.node.modifiedIndex", "node", "modifiedIndex", value=43.0)

    def test_wrong_previous_index(self):
        self.wrong_body("body.prevNode.createdIndex", "prevNode", "createdIndex", value=43)

    def test_missing_field(self):
        self.wrong_body("body.node.value", "node", "value")

    def test_additional_field(self):
        self.wrong_body("body.node.dir", "node", "dir", value=False)

    def test_missing_previous_node(self):
        self.wrong_body("body.prevNode", "prevNode")

    def test_null_is_not_absence(self):
        self.wrong_body("body.node.nodes", "node", "nodes", value=None)

    def test_wrong_value(self):
        self.wrong_body("body.node.value", "node", "value", value="X")

    def test_wrong_action(self):
        self.wrong_body("body.action", "action", value="update")

    def test_key_not_padded(self):
        self.wrong_body("body.node.key", "node", "key", value=f"{DIRECTORY}/q/43")

    def test_key_with_another_index(self):
        self.wrong_body("body.node.key", "node", "key", value=f"{DIRECTORY}/q/{44:020d}")

    def test_key_of_another_directory(self):
        self.wrong_body("body.node.key", "node", "key", value=f"/c124/q/{43:020d}")

    def test_ttl_off_by_one(self):
        self.wrong_body("body.node.ttl", "node", "ttl", value=99)

    def test_expiration_too_late(self):
        self.wrong_body("body.node.expiration", "node", "expiration", value=rfc3339(NOW + 102.5))

    def test_expiration_too_early(self):
        self.wrong_body("body.node.expiration", "node", "expiration", value=rfc3339(NOW + 97.5))

    def test_expiration_in_another_form(self):
        self.wrong_body("body.node.expiration", "node", "expiration", value="2023-11-14 22:15:00")

    def test_expiration_missing(self):
        self.wrong_body("body.node.expiration", "node", "expiration")

    def test_previous_expiration_no_time(self):
        self.wrong_body("body.prevNode.expiration", "prevNode", "expiration", value="soon")

    def test_wrong_index_header(self):
        self.wrong_header("X-Etcd-Index", "42")

    def test_index_header_missing(self):
        self.wrong_header("X-Etcd-Index")

    def test_index_header_no_number(self):
        self.wrong_header("X-Raft-Index", "-1")

    def test_cluster_id_in_upper_case(self):
        self.wrong_header("X-Etcd-Cluster-Id", "CDF8")

    def test_content_type_text(self):
        self.wrong_header("Content-Type", "text/plain")

    def test_method_missing_in_allow(self):
        self.wrong_header("Allow", "GET")

    def test_header_twice(self):
        body, headers = self.right()
        doubled = [*headers.items(), ("X-Etcd-Index", "43")]
        self.refuses("header X-Etcd-Index", self.EXPECTED, answer(body, 201, doubled))

    def test_cors_header_nobody_asked_for(self):
        body, headers = self.right()
        headers["Access-Control-Max-Age"] = "5"
        self.refuses("header access-control-max-age", self.EXPECTED, answer(body, 201, headers.items()))

    def test_no_json(self):
        _, headers = self.right()
        for text in (b"", b"<html>", b'{"action":"set"', b'{"action":"set"}{}', b'{"action":"set","action":"set"}',
                     b'{"a":"\xff"}', b'{"a":NaN}'):
            with self.subTest(text=text):
                self.refuses("body", self.EXPECTED, answer(text, 201, headers.items()))

    def test_an_array_is_no_object(self):
        _, headers = self.right()
        self.refuses("body", self.EXPECTED, answer([], 201, headers.items()))

    def test_no_answer(self):
        self.refuses("answer", self.EXPECTED, {"failure": "connection: connection closed by the server"})


class ParallelIndexTest(CompareCase):
    """r1 < r2 < ...: each name always the same number, in order."""

    def body(self, created, modified):
        return answer({"node": {"createdIndex": created, "modifiedIndex": modified}})

    def expected(self, created, modified):
        return {"status": 200, "body": {"node": {"createdIndex": created, "modifiedIndex": modified}}}

    def test_in_order(self):
        context = Context(DIRECTORY, START)
        self.assertFalse(self.differences(self.expected("r1", "r1"), self.body(50, 50), context=context))
        self.assertFalse(self.differences(self.expected("r1", "r3"), self.body(50, 70), context=context))
        self.assertFalse(self.differences(self.expected("r2", "r3"), self.body(60, 70), context=context))
        self.assertFalse(self.differences(self.expected("int", "int"), self.body(1, 999), context=context))

    def test_same_name_other_number(self):
        self.refuses("body.node.modifiedIndex", self.expected("r1", "r1"), self.body(50, 51))

    def test_out_of_order(self):
        context = Context(DIRECTORY, START)
        self.differences(self.expected("r2", "r2"), self.body(50, 50), context=context)
        self.assertTrue(self.differences(self.expected("r1", "r2"), self.body(55, 50), context=context))
        self.assertTrue(self.differences(self.expected("r3", "r2"), self.body(45, 50), context=context))

    def test_two_names_one_number(self):
        self.refuses("body.node.modifiedIndex", self.expected("r1", "r2"), self.body(50, 50))

    def test_any_number_is_still_a_number(self):
        self.refuses("body.node.modifiedIndex", self.expected("int", "int"), self.body(5, "5"))
        self.refuses("body.node.modifiedIndex", self.expected("int", "int"), self.body(5, -5))
        self.refuses("body.node.modifiedIndex", self.expected("int", "int"), self.body(5, True))

    def test_old_index(self):
        self.accepts(self.expected("I-old", "I+0"), self.body(START - 1, START))
        self.refuses("body.node.createdIndex", self.expected("I-old", "I+0"), self.body(START, START))
        self.refuses("body.node.createdIndex", self.expected("I-old", "I+0"), self.body(0, START))

    def test_zero_is_zero(self):
        self.accepts({"status": 400, "headers": {"X-Etcd-Index": 0}}, answer(None, 400, [("X-Etcd-Index", "0")]))
        self.refuses("header X-Etcd-Index", {"status": 400, "headers": {"X-Etcd-Index": 0}},
                     answer(None, 400, [("X-Etcd-Index", "41")]))


class CauseTest(CompareCase):
    """Error bodies: the cause is compared as text, with the run's indices and directory in it."""

    def error(self, cause):
        return {"status": 412, "body": {"errorCode": 101, "message": "Compare failed", "cause": cause, "index": "I+1"}}

    def got(self, cause, **fields):
        return answer({"errorCode": 101, "message": "Compare failed", "cause": cause, "index": 42, **fields}, 412)

    def test_right(self):
        self.accepts(self.error("[I+2 != I+1]"), self.got("[43 != 42]"))
        self.accepts(self.error("[z != x] [I+2 != I+1]"), self.got("[z != x] [43 != 42]"))
        self.accepts(self.error("[99 != I+1]"), self.got("[99 != 42]"))
        self.accepts(self.error("{D}/a/<I+1:020>"), self.got(f"/c123/a/{42:020d}"))

    def test_wrong(self):
        for expected, got in (("[I+2 != I+1]", "[42 != 43]"), ("[I+2 != I+1]", "[I+2 != I+1]"),
                              ("[I+2 != I+1]", "[43 != 42] "), ("{D}/a", "{D}/a"), ("{D}/a", "/c123")):
            with self.subTest(expected=expected, got=got):
                self.refuses("body.cause", self.error(expected), self.got(got))

    def test_wrong_code_and_missing_cause(self):
        self.refuses("body.errorCode", self.error("/"), self.got("/", errorCode=100))
        self.refuses("body.errorCode", self.error("/"), self.got("/", errorCode="101"))
        without = {"status": 412, "body": {"errorCode": 101, "message": "Compare failed", "index": "I+1"}}
        self.refuses("body.cause", without, self.got(""))


class NodesTest(CompareCase):
    """Listings: any order, except where sorted=true asks for the keys' byte order."""

    EXPECTED = {"status": 200, "body": {"node": {"nodes": [{"key": "{D}/b", "modifiedIndex": "I+1"},
                                                           {"key": "{D}/a", "modifiedIndex": "I+2"}]}}}

    def got(self, *children):
        return answer({"node": {"nodes": [{"key": DIRECTORY + key, "modifiedIndex": index}
                                          for key, index in children]}})

    def test_any_order(self):
        self.accepts(self.EXPECTED, self.got(("/a", 43), ("/b", 42)))
        self.accepts(self.EXPECTED, self.got(("/b", 42), ("/a", 43)))

    def test_sorted(self):
        step = {"path": "/v2/keys{D}?recursive=true&sorted=true"}
        self.accepts(self.EXPECTED, self.got(("/a", 43), ("/b", 42)), step)
        self.refuses("body.node.nodes order", self.EXPECTED, self.got(("/b", 42), ("/a", 43)), step)

    def test_sorted_below(self):
        expected = {"status": 200, "body": {"node": {"nodes": [{"key": "/d", "nodes": [{"key": "/d/é"},
                                                                                       {"key": "/d/z"}]}]}}}
        got = answer({"node": {"nodes": [{"key": "/d", "nodes": [{"key": "/d/é"}, {"key": "/d/z"}]}]}})
        self.refuses("body.node.nodes[0].nodes order", expected, got, {"path": "/v2/keys/?sorted=true"})

    def test_missing_additional_and_doubled_child(self):
        for children in ([("/a", 43)], [("/a", 43), ("/b", 42), ("/c", 44)], [("/a", 43), ("/b", 42), ("/b", 42)]):
            with self.subTest(children=children):
                self.refuses("body.node.nodes keys", self.EXPECTED, self.got(*children))

    def test_wrong_child(self):
        self.refuses("body.node.nodes[{D}/b].modifiedIndex", self.EXPECTED, self.got(("/a", 42), ("/b", 43)))

    def test_own(self):
        body = {"node": {"nodes": [{"key": "/c1234", "modifiedIndex": 1}, {"key": "/c123", "modifiedIndex": 42}]}}
        expected = {"status": 200, "body": {"node": {"nodes": [{"key": "{D}", "modifiedIndex": "I+1"}]}}}
        self.accepts(expected, answer(body), {"own": True})
        self.refuses("body.node.nodes keys", expected, answer(body))
        self.accepts({"status": 200, "body": {"node": {"nodes": []}}}, answer({"node": {}}), {"own": True})


class TimeTest(CompareCase):
    """Cases in which time passes, and times that are not relative."""

    def test_ttl_in_a_case_that_waits(self):
        expected = {"status": 200, "body": {"node": {"ttl": 9}}}
        for ttl in (8, 9, 10):
            self.accepts(expected, answer({"node": {"ttl": ttl}}), waits=True)
        for ttl in (7, 11, 9.0, "9"):
            self.refuses("body.node.ttl", expected, answer({"node": {"ttl": ttl}}), waits=True)

    def test_special_times(self):
        some = {"status": 200, "body": {"node": {"expiration": "some time"}}}
        zero = {"status": 200, "body": {"node": {"expiration": "zero time"}}}
        self.accepts(some, answer({"node": {"expiration": "2031-01-01T00:00:00.5Z"}}))
        self.refuses("body.node.expiration", some, answer({"node": {"expiration": "later"}}))
        self.accepts(zero, answer({"node": {"expiration": "0001-01-01T00:00:00Z"}}))
        self.refuses("body.node.expiration", zero, answer({"node": {"expiration": "2031-01-01T00:00:00Z"}}))

    def test_parse_time(self):
        self.assertEqual(parse_time("1970-01-01T00:00:01.5Z"), 1.5)
        self.assertEqual(parse_time("1970-01-01T01:00:01+01:00"), 1.0)
        for bad in ("1970-01-01T00:00:01", "1970-13-01T00:00:01Z", "1970-01-01T00:00:01.1234567890Z", "", None, 5):
            self.assertIsNone(parse_time(bad), bad)

    def test_which_cases_wait(self):
        def case(step, answer_):
            return {"steps": [step], "expected": {"target": [answer_]}}
        self.assertTrue(waits(case({"do": "sleep", "s": 1}, {})))
        self.assertTrue(waits(case({"do": "join"}, {"events": [{"action": "expire"}]})))
        self.assertFalse(waits(case({"do": "join"}, {"events": [{"action": "set"}]})))


class TextTest(CompareCase):
    """Bodies that are no JSON, long texts, masks, shapes and picks."""

    LONG = "x" * 40 + "...(10000 characters, sha256 e4ee97ec252749d2)"

    def test_text(self):
        expected = {"status": 301, "headers": {"Location": "/v2/keys{D}/a", "Content-Type": "text/html"},
                    "body": '<a href="{D}/a">'}
        headers = [("Location", "/v2/keys/c123/a"), ("Content-Type", "text/html; charset=utf-8")]
        self.accepts(expected, answer(b'<a href="/c123/a">', 301, headers))
        self.refuses("body", expected, answer(b'<a href="/c123/b">', 301, headers))
        self.refuses("header Location", expected, answer(b"", 301, [("Location", "/v2/keys{D}/a")]))

    def test_error_page_texts_may_differ_but_not_their_kind(self):
        expected = {"status": 404, "headers": {"Content-Type": "text/plain; charset=utf-8"}, "body": "404 not found\n"}
        self.accepts(expected, answer(b"Nothing here.", 404, [("Content-Type", "text/html")]))
        self.refuses("header Content-Type", expected, answer(b"{}", 404, [("Content-Type", "application/json")]))

    def test_long_text(self):
        expected = {"status": 200, "body": {"node": {"value": self.LONG}}}
        self.accepts(expected, answer({"node": {"value": "x" * 10000}}))
        for value in ("x" * 9999, "x" * 9999 + "y", self.LONG, "y" + "x" * 9999):
            self.refuses("body.node.value", expected, answer({"node": {"value": value}}))

    def test_long_key_is_taken_with_the_directory_masked(self):
        expected = {"status": 200, "body": {"node": {"key": "{D}/" + "x" * 36
                                                     + "...(8004 characters, sha256 cfa03a48e0526cf2)"}}}
        self.accepts(expected, answer({"node": {"key": DIRECTORY + "/" + "x" * 8000}}))
        self.refuses("body.node.key", expected, answer({"node": {"key": "/c124/" + "x" * 8000}}))

    def test_a_value_that_looks_like_an_index(self):
        expected = {"status": 200, "body": {"node": {"value": "I+1"}}}
        self.accepts(expected, answer({"node": {"value": "I+1"}}))
        self.refuses("body.node.value", expected, answer({"node": {"value": "42"}}))

    def test_no_body_means_empty(self):
        self.accepts({"status": 200}, answer(b""))
        self.refuses("body", {"status": 200}, answer(b"\n"))

    def test_mask(self):
        step = {"mask": True}
        expected = {"status": 200, "body": {"members": [{"id": "ID", "name": "NAME", "peerURLs": ["http://HOST"]}],
                                            "etcdserver": "#.#.#"}}
        good = {"members": [{"id": "8e9e05c52164694d", "name": "m1", "peerURLs": ["http://127.0.0.1:2380"]}],
                "etcdserver": "3.7.1"}
        self.accepts(expected, answer(good), step)
        for change in ({"id": "8E9E"}, {"id": 5}, {"name": ""}, {"peerURLs": ["127.0.0.1:2380"]}, {"peerURLs": []},
                       {"peerURLs": ["http://127.0.0.1:2380/x"]}):
            wrong = copy.deepcopy(good)
            wrong["members"][0].update(change)
            with self.subTest(change=change):
                self.assertTrue(self.differences(expected, answer(wrong), step))
        self.refuses("body.etcdserver", expected, answer({**good, "etcdserver": "3.7"}), step)

    def test_mask_of_machines(self):
        expected = {"status": 200, "body": "{LEADER}, http://HOST"}
        options = {"leader_url": "http://127.0.0.1:5"}
        self.accepts(expected, answer(b"http://127.0.0.1:5, http://127.0.0.1:6"), {"mask": True}, **options)
        self.refuses("body", expected, answer(b"http://127.0.0.1:6, http://127.0.0.1:5"), {"mask": True}, **options)

    def test_shape(self):
        self.assertEqual(shape({"a": 1, "b": [{"c": None}, 2], "d": True, "e": [], "f": "x"}),
                         {"a": "number", "b": [{"c": "null"}], "d": "bool", "e": [], "f": "string"})
        expected = {"status": 200, "body": {"leader": "string", "n": "number"}}
        self.accepts(expected, answer({"leader": "x", "n": 5}), {"shape": True})
        self.refuses("body.n", expected, answer({"leader": "x", "n": "5"}), {"shape": True})
        self.refuses("body.n", expected, answer({"leader": "x"}), {"shape": True})
        self.refuses("body.m", expected, answer({"leader": "x", "n": 5, "m": 6}), {"shape": True})

    def test_pick(self):
        expected = {"status": 200, "body": {"state": "StateLeader"}}
        self.accepts(expected, answer({"state": "StateLeader", "id": "5"}), {"pick": ["state"]})
        self.refuses("body.state", expected, answer({"state": "StateFollower"}), {"pick": ["state"]})
        self.refuses("body.state", expected, answer({"id": "5"}), {"pick": ["state"]})

    def test_more_fields_only_where_the_design_allows_them(self):
        expected = {"status": 200, "body": {"etcdserver": "1"}}
        self.accepts(expected, answer({"etcdserver": "1", "storage": "2"}), {"path": "/version"})
        self.refuses("body.storage", expected, answer({"etcdserver": "1", "storage": "2"}), {"path": "/v2/version"})


class WatchAnswerTest(CompareCase):
    """Heads, events, silence, failures and statistics."""

    EVENT = {"action": "set", "node": {"key": "{D}/a", "modifiedIndex": "I+1"}}
    BYTES = b'{"action":"set","node":{"key":"/c123/a","modifiedIndex":42}}'

    def test_early(self):
        expected = {"status": 200, "headers": {}, "early": True}
        self.accepts(expected, {"status": 200, "headers": [], "early": True})
        self.refuses("early", expected, {"status": 200, "headers": [], "early": False})
        self.refuses("status", expected, {"early": False})

    def test_events(self):
        expected = {"events": [self.EVENT], "ended": True}
        self.accepts(expected, {"events": [self.BYTES], "ended": True, "arrived": NOW})
        self.refuses("ended", expected, {"events": [self.BYTES], "ended": False, "arrived": NOW})
        self.refuses("ended", expected, {"events": [self.BYTES], "ended": "cut off", "arrived": NOW})
        self.refuses("number of events", expected, {"events": [], "ended": True, "arrived": NOW})
        self.refuses("events[1]", expected, {"events": [self.BYTES] * 2, "ended": True, "arrived": NOW})
        self.refuses("events[0]", expected, {"events": [self.BYTES[:-1]], "ended": True, "arrived": NOW})
        self.refuses("events[0].node.modifiedIndex", expected,
                     {"events": [self.BYTES.replace(b"42", b"43")], "ended": True, "arrived": NOW})

    def test_events_out_of_order(self):
        second = {"action": "set", "node": {"key": "{D}/a", "modifiedIndex": "I+2"}}
        expected = {"events": [self.EVENT, second]}
        got = [self.BYTES.replace(b"42", b"43"), self.BYTES]
        self.refuses("events[0].node.modifiedIndex", expected, {"events": got, "arrived": NOW})

    def test_pending(self):
        self.accepts({"pending": True}, {"pending": True})
        self.refuses("pending", {"pending": True}, {"ended": True})
        self.refuses("events[0]", {"pending": True}, {"events": [self.BYTES], "arrived": NOW})
        self.refuses("pending", {"events": [self.EVENT]}, {"pending": True})

    def test_failure(self):
        closed = {"failure": "connection: connection closed by the server"}
        self.accepts(closed, closed)
        self.refuses("failure", closed, answer(b"", 400))
        self.refuses("failure", closed, {"failure": "timeout: no answer in time"})

    def test_delta(self):
        expected = {"delta": {"setsSuccess": 1, "watchers": -1, "getsSuccess": "more"}}
        self.accepts(expected, {"delta": {"setsSuccess": 1, "watchers": -1, "getsSuccess": "more"}})
        self.accepts(expected, {"delta": {"setsSuccess": 1, "watchers": -1, "getsSuccess": 5}})
        self.refuses("delta.getsSuccess", expected, {"delta": {"setsSuccess": 1, "watchers": -1, "getsSuccess": 0}})
        self.refuses("delta.setsSuccess", expected, {"delta": {"setsSuccess": 2, "watchers": -1, "getsSuccess": 1}})
        self.refuses("delta.setsSuccess", expected, {"delta": {"watchers": -1, "getsSuccess": 1}})
        self.refuses("delta.new", {"delta": {}}, {"delta": {"new": 0}})


class ExpandTest(unittest.TestCase):
    """The templates in steps."""

    def setUp(self):
        self.player = CasePlayer({"steps": [], "expected": {"target": []}}, Target("http://127.0.0.1:1"))
        self.player.context.directory = "/c1"
        self.player.context.start_index = 10
        self.player.answers = [
            {"headers": [("X-Etcd-Index", "12")],
             "body": b'{"node":{"modifiedIndex":12,"createdIndex":11,"key":"/c1/q"}}'},
            {"headers": [], "body": b'{"index":7}'}, {"headers": [], "body": b"text"}, {}]

    def test_all(self):
        for template, text in (("{D}/a", "/c1/a"), ("{I}", "10"), ("{I+3}", "13"), ("{s1.mod}", "12"),
                               ("{s1.mod+1}", "13"), ("{s1.created}", "11"), ("{s1.key}", "/c1/q"), ("{s1.idx}", "12"),
                               ("{s2.v1}", "7"), ("{s3.text}", "text"), ("{X*5}", "xxxxx"), ("{}", "{}"),
                               ('{"activeSize":7}', '{"activeSize":7}')):
            self.assertEqual(self.player.expand(template), text)

    def test_missing(self):
        for template in ("{s2.mod}", "{s4.mod}", "{s9.key}", "{s3.idx}"):
            with self.assertRaises(CannotExpand):
                self.player.expand(template)

    def test_repeat_counts_as_one_step(self):
        self.player._do_sleep = lambda step: {"n": 1}
        observed = self.player.do({"do": "repeat", "n": 3, "step": {"do": "sleep", "s": 0}})
        self.assertEqual(observed, {"n": 1})
        self.assertEqual(len(self.player.answers), 5)


class ScriptedServer:
    """Accepts one connection after another and plays a list of bytes and pauses on each."""

    def __init__(self, *script, close=True):
        self._script = script
        self._close = close
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._kept = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                connection, _ = self._listener.accept()
                connection.recv(65536)
                for part in self._script:
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        connection.sendall(part)
                if self._close:
                    connection.close()
                else:
                    self._kept.append(connection)
        except OSError:
            pass

    def stop(self):
        self._listener.close()
        for connection in self._kept:
            connection.close()


class WatchTest(unittest.TestCase):
    """The reading of watches, against scripted servers."""

    HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def watch(self, *script, close=True):
        server = ScriptedServer(*script, close=close)
        self.addCleanup(server.stop)
        watch = Watch(server.url, "GET", "/", {}, None)
        self.addCleanup(watch.close)
        return watch

    def test_events_across_pieces(self):
        watch = self.watch(self.HEAD, b'4\r\n{"a"\r\n', b'3\r\n:"\xc3\r\n', b'6\r\n\xa9"}{}\n\r\n', close=False)
        self.assertTrue(watch.first_answer()["early"])
        self.assertEqual(watch.read(1, 2.0)["events"], ['{"a":"é"}'.encode()])
        self.assertEqual(watch.read(1, 2.0)["events"], [b"{}"])
        self.assertEqual(watch.pending(0.05), {"pending": True})

    def test_join_to_the_end(self):
        watch = self.watch(self.HEAD, b'3\r\n{}\n\r\n0\r\n\r\n', close=False)
        watch.first_answer()
        observed = watch.join(2.0)
        self.assertEqual((observed["events"], observed["ended"]), ([b"{}"], True))

    def test_join_of_a_body_that_does_not_end(self):
        watch = self.watch(self.HEAD, b"3\r\n{}\n\r\n", close=False)
        watch.first_answer()
        self.assertFalse(watch.join(0.1)["ended"])

    def test_join_of_a_body_that_is_cut_off(self):
        watch = self.watch(self.HEAD, b"3\r\n{}\n\r\n")
        watch.first_answer()
        self.assertEqual(watch.join(2.0)["ended"], "cut off")

    def test_pending_of_a_body_that_ended(self):
        watch = self.watch(self.HEAD, b"0\r\n\r\n", close=False)
        watch.first_answer()
        self.assertEqual(watch.pending(1.0), {"ended": True})

    def test_half_an_event_is_no_silence(self):
        watch = self.watch(self.HEAD, b'4\r\n{"a"\r\n', close=False)
        watch.first_answer()
        self.assertIn("events", watch.pending(0.1))

    def test_late_head(self):
        watch = self.watch(close=False)
        watch._connection.timeout = 0.1
        import tests.conformance.player as player
        original, player.HEAD_TIMEOUT_S = player.HEAD_TIMEOUT_S, 0.1
        self.addCleanup(setattr, player, "HEAD_TIMEOUT_S", original)
        self.assertEqual(watch.first_answer(), {"early": False})


class RunnerTest(unittest.TestCase):
    """The runner: a case that fails or cannot be played must count as failed."""

    CASE = {"name": "n", "category": "c", "note": "", "profile": "default", "gen": "both", "mode": "serial",
            "steps": [{"do": "request", "method": "GET", "path": "/v2/keys{D}"}],
            "expected": {"target": [{"status": 404, "headers": {}, "body": {"index": "I+0"}}]}}

    def play(self, *script):
        server = ScriptedServer(*script)
        self.addCleanup(server.stop)
        return play_case(self.CASE, Target(server.url, writable=False))

    def response(self, status, body, index="5"):
        return (f"HTTP/1.1 {status} X\r\nX-Etcd-Index: {index}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()

    def test_pass_and_fail(self):
        self.assertTrue(self.play(self.response(404, '{"index":5}')).passed)
        self.assertFalse(self.play(self.response(404, '{"index":6}')).passed)
        self.assertFalse(self.play(self.response(200, '{"index":5}')).passed)

    def test_a_server_without_index(self):
        outcome = self.play(self.response(200, "{}", index="none"))
        self.assertIn("no X-Etcd-Index", outcome.trouble)

    def test_a_server_that_closes(self):
        self.assertFalse(self.play(b"").passed)

    def test_report(self):
        outcome = self.play(self.response(404, '{"index":6}'))
        text = v2_transcripts.describe_failure(outcome)
        for part in ("FAIL c/n", "step 1: GET", "body.index", '"I+0"', '"6 (I+1)"'):
            self.assertIn(part, text)

    def test_a_lane_without_server_fails_its_cases(self):
        report = v2_transcripts.Report(False)
        cases = v2_transcripts.as_queue([self.CASE, self.CASE])

        def broken():
            raise OSError("no binary")
        lane = v2_transcripts.Lane("x", cases, report, broken)
        report.add = lambda outcome: report.failed.append(outcome.trouble)
        lane.start()
        lane.join()
        self.assertEqual(report.failed, ["no server: no binary"] * 2)

    def test_every_case_has_one_lane(self):
        with open(v2_transcripts.DEFAULT_FILE, encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        lanes = v2_transcripts.plan_lanes(cases, 4, None)
        queues = {id(lane._cases): lane._cases for lane in lanes}
        planned = []
        for cases_of_lane in queues.values():
            while True:
                try:
                    planned.append(cases_of_lane.get_nowait()["name"])
                except queue.Empty:
                    break
        self.assertEqual(sorted(planned), sorted(case["name"] for case in cases))

    def test_trouble_is_no_pass(self):
        self.assertFalse(Outcome(self.CASE, trouble="x").passed)


if __name__ == "__main__":
    unittest.main()
