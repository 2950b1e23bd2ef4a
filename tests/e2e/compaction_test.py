"""Compaction by itself: what it takes away, what stays, and that a restart remembers."""
import unittest

from tests.harness import Client, ServerTestCase
from tests.harness.prometheus import parse
from tests.harness.v2 import Keys, wait_until

PERIODIC = ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "300ms"]


def compacted(member):
    """The revision that the member is compacted to."""
    with Client(member.client_url) as client:
        return int(parse(client.request("GET", "/metrics").text()).value("etcd_debugging_mvcc_compact_revision"))


class CompactionTest(ServerTestCase):
    """A short retention, so that it happens while we look."""

    def write_until_compacted(self, member, keys, past):
        """Overwrites one key until revisions up to `past` are gone."""
        def step():
            self.assertIn(keys.put("/busy", "x").status, (200, 201))
            return compacted(member) > past
        wait_until(step, timeout=20.0, what="compaction")

    def test_what_is_gone_is_401_and_what_is_new_stays(self):
        member = self.member(flags=PERIODIC)
        with Keys(member.client_url) as keys:
            kept = keys.put("/kept", "1").node
            keys.put("/gone", "1")
            last = keys.delete("/gone").index
            self.write_until_compacted(member, keys, last)

            answer = keys.get("/kept")
            self.assertEqual((answer.status, answer.node), (200, kept))
            self.assertEqual(keys.get("/gone").body["errorCode"], 100)
            answer = keys.get("/gone", wait="true", waitIndex=str(kept["modifiedIndex"]))
            self.assertEqual((answer.status, answer.body["errorCode"]), (400, 401))
            self.assertIn("the requested history has been cleared", answer.body["cause"])

            # A watch from an index that is still there answers at once.
            newest = keys.put("/kept", "2").node
            seen = keys.get("/kept", wait="true", waitIndex=str(newest["modifiedIndex"]))
            self.assertEqual(seen.node, newest)
            self.assertEqual(seen.body["prevNode"], kept)

    def test_a_restart_remembers_and_loses_nothing(self):
        member = self.member(flags=PERIODIC)
        with Keys(member.client_url) as keys:
            nodes = [keys.put(f"/d/k{number}", "v" * number).node for number in range(1, 50)]
            for number in range(1, 50, 3):
                keys.delete(f"/d/k{number}")
            self.write_until_compacted(member, keys, nodes[-1]["modifiedIndex"] + 17)
        before = compacted(member)
        member.kill()
        member.restart()
        self.assertGreaterEqual(compacted(member), before)
        with Keys(member.client_url) as keys:
            left = {node["key"]: node for node in keys.get("/d").node["nodes"]}
            self.assertEqual(left, {node["key"]: node for place, node in enumerate(nodes) if place % 3 != 0})
            answer = keys.get("/d", recursive="true", wait="true", waitIndex=str(nodes[1]["modifiedIndex"]))
            self.assertEqual(answer.body["errorCode"], 401)

    def test_it_can_be_turned_off(self):
        member = self.member(flags=["--auto-compaction-retention", "0"])
        with Keys(member.client_url) as keys:
            first = keys.put("/a", "1").node
            for number in range(200):
                keys.put("/a", str(number))
            self.assertEqual(keys.get("/a", wait="true", waitIndex=str(first["modifiedIndex"])).node, first)
        self.assertEqual(compacted(member), -1)


if __name__ == "__main__":
    unittest.main()
