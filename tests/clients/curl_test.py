"""curl through the pages that taught the API: every chapter as a newcomer types it, and what the page promises."""
import json
import os
import subprocess
import time
import unittest

from tests.harness import ServerTestCase
from tests.harness.member import temporary_directory
from tests.harness.v2 import wait_until

RUN_TIMEOUT_S = 20.0
OPTIONS = ["curl", "-sS", "-L", "--noproxy", "*", "--max-time", "15"]


class CurlTest(ServerTestCase):
    """One member for all chapters; each has keys of its own."""

    def setUp(self):
        super().setUp()
        self.url = self.member().client_url

    def text(self, path, *arguments):
        """What curl prints."""
        done = subprocess.run([*OPTIONS, self.url + path, *arguments], capture_output=True, text=True,
                              timeout=RUN_TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def curl(self, path, *arguments):
        return json.loads(self.text(path, *arguments))

    def keys(self, key, *arguments):
        return self.curl("/v2/keys" + key, *arguments)

    def put(self, key, *fields):
        return self.keys(key, "-XPUT", *[part for field in fields for part in ("-d", field)])

    def waiting(self, path):
        """A curl that waits; ended with the test whatever happens."""
        watchers = self.curl("/v2/stats/store")["watchers"]
        process = subprocess.Popen([*OPTIONS, self.url + path], stdout=subprocess.PIPE, text=True)
        self.addCleanup(end, process)
        wait_until(lambda: self.curl("/v2/stats/store")["watchers"] > watchers, what="the watcher")
        return process

    def event(self, process):
        return json.loads(process.communicate(timeout=RUN_TIMEOUT_S)[0])

    def assert_error(self, answer, code, cause):
        self.assertEqual((answer["errorCode"], answer["cause"]), (code, cause), answer)

    # Chapters.

    def test_set_get_change_and_delete(self):
        made = self.put("/message", "value=Hello world")
        self.assertEqual(made["action"], "set")
        self.assertEqual((made["node"]["key"], made["node"]["value"]), ("/message", "Hello world"))
        self.assertEqual(self.keys("/message"), {"action": "get", "node": made["node"]})
        changed = self.put("/message", "value=Hello etcd")
        self.assertEqual(changed["prevNode"], made["node"])
        gone = self.keys("/message", "-XDELETE")
        self.assertEqual((gone["action"], gone["prevNode"]), ("delete", changed["node"]))
        self.assertNotIn("value", gone["node"])
        self.assert_error(self.keys("/message"), 100, "/message")

    def test_headers(self):
        self.put("/message", "value=x")
        head, _, body = self.text("/v2/keys/message", "-i").partition("\n\n")
        self.assertIn('"value":"x"', body)
        names = [line.partition(":")[0].lower() for line in head.splitlines()[1:]]
        for name in ("x-etcd-index", "x-raft-index", "x-raft-term", "content-type"):
            self.assertIn(name, names)
        self.assertIn("200 OK", self.text("/v2/keys/message", "-I").splitlines()[0])

    def test_time_to_live(self):
        made = self.put("/foo", "value=bar", "ttl=1")
        self.assertEqual(made["node"]["ttl"], 1)
        self.assertRegex(made["node"]["expiration"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
        wait_until(lambda: self.keys("/foo").get("errorCode") == 100, 5, "the key to expire")
        self.put("/foo", "value=bar", "ttl=100")
        kept = self.put("/foo", "value=bar", "ttl=", "prevExist=true")
        self.assertEqual((kept["action"], kept["prevNode"]["ttl"]), ("update", 100))
        self.assertNotIn("ttl", self.keys("/foo")["node"])
        refreshed = self.put("/foo", "ttl=200", "refresh=true", "prevExist=true")
        self.assertEqual((refreshed["node"]["ttl"], refreshed["node"]["value"]), (200, "bar"))

    def test_wait_for_a_change(self):
        waiting = self.waiting("/v2/keys/foo?wait=true")
        made = self.put("/foo", "value=bar")
        self.assertEqual(self.event(waiting), made)
        index = made["node"]["modifiedIndex"]
        self.assertEqual(self.keys(f"/foo?wait=true&waitIndex={index}"), made)
        below = self.waiting("/v2/keys/dir?wait=true&recursive=true")
        self.put("/foo", "value=another")
        deep = self.put("/dir/one/two", "value=x")
        self.assertEqual(self.event(below), deep)

    def test_wait_for_an_expiry(self):
        made = self.put("/dir", "ttl=1", "dir=true")
        self.assertEqual((made["node"]["dir"], made["node"]["ttl"]), (True, 1))
        self.put("/dir/asdf", "value=x")
        event = self.event(self.waiting("/v2/keys/dir/asdf?consistent=true&wait=true"))
        self.assertEqual((event["action"], event["node"]["key"]), ("expire", "/dir"))
        self.assert_error(self.keys("/dir/asdf"), 100, "/dir")

    def test_stream(self):
        process = subprocess.Popen([*OPTIONS, "-N", self.url + "/v2/keys/s?wait=true&stream=true&recursive=true"],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(end, process)
        wait_until(lambda: self.curl("/v2/stats/store")["watchers"] == 1, what="the watcher")
        sent = [self.put(f"/s/{number}", "value=x") for number in range(3)]
        self.assertEqual([json.loads(process.stdout.readline()) for _ in sent], sent)

    def test_in_order_keys(self):
        names = [self.keys("/queue", "-XPOST", "-d", f"value=Job{number}")["node"]["key"] for number in range(3)]
        self.assertEqual(names, sorted(names))
        self.assertTrue(all(len(name) == len("/queue/") + 20 for name in names), names)
        listed = self.keys("/queue?recursive=true&sorted=true")["node"]["nodes"]
        self.assertEqual([node["key"] for node in listed], names)
        self.assertEqual([node["value"] for node in listed], ["Job0", "Job1", "Job2"])

    def test_compare_and_swap(self):
        self.put("/foo", "value=one")
        self.assert_error(self.put("/foo?prevExist=false", "value=three"), 105, "/foo")
        self.assert_error(self.put("/foo?prevValue=two", "value=three"), 101, "[two != one]")
        swapped = self.put("/foo?prevValue=one", "value=two")
        self.assertEqual((swapped["action"], swapped["prevNode"]["value"]), ("compareAndSwap", "one"))
        again = self.put(f"/foo?prevIndex={swapped['node']['modifiedIndex']}", "value=three")
        self.assertEqual(again["node"]["createdIndex"], swapped["node"]["createdIndex"])

    def test_compare_and_delete(self):
        index = self.put("/foo", "value=one")["node"]["modifiedIndex"]
        self.assert_error(self.keys("/foo?prevValue=two", "-XDELETE"), 101, "[two != one]")
        self.assert_error(self.keys(f"/foo?prevIndex={index + 7}", "-XDELETE"), 101, f"[{index + 7} != {index}]")
        gone = self.keys("/foo?prevValue=one", "-XDELETE")
        self.assertEqual((gone["action"], gone["prevNode"]["value"]), ("compareAndDelete", "one"))

    def test_directories(self):
        self.assertEqual(self.put("/dir", "dir=true")["node"]["dir"], True)
        self.assert_error(self.put("/dir", "dir=true"), 102, "/dir")
        self.put("/foo_dir/foo", "value=bar")
        top = self.keys("/")["node"]
        self.assertEqual(sorted(node["key"] for node in top["nodes"]), ["/dir", "/foo_dir"])
        self.assertNotIn("nodes", top["nodes"][0])
        whole = self.keys("/?recursive=true&sorted=true")["node"]["nodes"][1]
        self.assertEqual(whole["nodes"][0]["value"], "bar")
        self.assert_error(self.keys("/foo_dir", "-XDELETE"), 102, "/foo_dir")
        self.assert_error(self.keys("/foo_dir?dir=true", "-XDELETE"), 108, "/foo_dir")
        self.assertEqual(self.keys("/dir?dir=true", "-XDELETE")["action"], "delete")
        self.assertEqual(self.keys("/foo_dir?recursive=true", "-XDELETE")["node"]["dir"], True)
        self.assertEqual(self.keys("/")["node"], {"dir": True})

    def test_hidden_nodes(self):
        self.put("/_message", "value=Hello hidden world")
        self.put("/message", "value=Hello world")
        self.assertEqual([node["key"] for node in self.keys("/")["node"]["nodes"]], ["/message"])
        self.assertEqual(self.keys("/_message")["node"]["value"], "Hello hidden world")

    def test_a_file_as_value(self):
        path = os.path.join(temporary_directory(), "afile.txt")
        value = "Hello\nWorld & = ; % é\n" * 100
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)
        self.keys("/afile", "-XPUT", "--data-urlencode", f"value@{path}")
        self.assertEqual(self.keys("/afile")["node"]["value"], value)

    def test_quorum_read(self):
        made = self.put("/foo", "value=bar")
        self.assertEqual(self.keys("/foo?quorum=true")["node"], made["node"])

    def test_statistics(self):
        before = self.curl("/v2/stats/store")
        self.put("/foo", "value=bar")
        after = self.curl("/v2/stats/store")
        self.assertEqual(after["setsSuccess"], before["setsSuccess"] + 1)
        myself = self.curl("/v2/stats/self")
        self.assertEqual(myself["state"], "StateLeader")
        leader = self.curl("/v2/stats/leader")
        self.assertEqual((leader["leader"], leader["followers"]), (myself["id"], {}))

    def test_the_cluster(self):
        self.assertEqual(self.text("/v2/machines"), self.url)
        self.assertTrue(self.text("/v2/leader").startswith("http://"))
        members = self.curl("/v2/members")["members"]
        self.assertEqual([member["clientURLs"] for member in members], [[self.url]])
        self.assertIn("etcd", self.text("/version"))
        machines = self.keys("/_etcd/machines")["node"]["nodes"]
        self.assertEqual(len(machines), 1)
        begin = time.monotonic()
        self.assertEqual(self.curl("/health")["health"], "true")
        self.assertLess(time.monotonic() - begin, 5)


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


if __name__ == "__main__":
    unittest.main()
