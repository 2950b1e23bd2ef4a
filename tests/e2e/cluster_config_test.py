"""0.4's cluster size control on the peer port: changed through the log, kept, and set by a new cluster's flags."""
import json
import unittest

from tests.harness import Client, ServerTestCase


class ClusterConfigTest(ServerTestCase):
    """PUT /v2/admin/config changes what it names."""

    def put(self, member, change):
        with Client(member.peer_url) as client:
            response = client.request("PUT", "/v2/admin/config", {"Content-Type": "application/json"},
                                      json.dumps(change).encode())
            self.assertEqual(response.status, 200, response.body)
            return json.loads(response.body)

    def get(self, member):
        with Client(member.peer_url) as client:
            return json.loads(client.request("GET", "/v2/admin/config").body)

    def test_changes_are_partial_bounded_and_survive_a_kill(self):
        member = self.member()
        self.assertEqual(self.get(member), {"activeSize": 9, "removeDelay": 1800, "syncInterval": 5})
        self.assertEqual(self.put(member, {"activeSize": 5}), {"activeSize": 5, "removeDelay": 1800, "syncInterval": 5})
        wanted = {"activeSize": 5, "removeDelay": 2, "syncInterval": 1.5}
        self.assertEqual(self.put(member, {"removeDelay": 0.1, "syncInterval": 1.5}), wanted)
        member.kill()
        member.restart()
        self.assertEqual(self.get(member), wanted)
        with Client(member.client_url) as client:
            node = json.loads(client.request("GET", "/v2/keys/_etcd/config").body)["node"]
        self.assertEqual(json.loads(node["value"]), wanted)

    def test_the_flags_count_for_a_new_cluster_only(self):
        member = self.member(flags=["-cluster-active-size=7", "-cluster-remove-delay=60"])
        self.assertEqual(self.get(member), {"activeSize": 7, "removeDelay": 60, "syncInterval": 5})
        self.put(member, {"activeSize": 3})
        member.terminate()
        member.restart()
        self.assertEqual(self.get(member), {"activeSize": 3, "removeDelay": 60, "syncInterval": 5})


if __name__ == "__main__":
    unittest.main()
