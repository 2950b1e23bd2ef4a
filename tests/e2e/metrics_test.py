"""/metrics and /debug/vars of the real binary: which names are there from the start, and what moves them.

The names, types and buckets are upstream's 3.7.1 (docs/metrics.md says which of them are left out, and why).
"""
import json
import threading
import unittest

from tests.harness import Client, Connection, ServerTestCase, pick_port
from tests.harness.http import FORM
from tests.harness.prometheus import parse
from tests.harness.v2 import Keys, wait_until

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

COUNTERS = """
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total etcd_debugging_lease_revoked_total
etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_events_total
etcd_debugging_server_lease_expired_total
etcd_debugging_store_expires_total etcd_debugging_store_watch_requests_total
etcd_mvcc_delete_total etcd_mvcc_put_total etcd_mvcc_range_total etcd_mvcc_txn_total
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
etcd_server_health_failures etcd_server_health_success
etcd_server_heartbeat_send_failures_total etcd_server_leader_changes_seen_total etcd_server_learner_promote_successes
etcd_server_proposals_failed_total etcd_server_read_indexes_failed_total etcd_server_slow_apply_total
etcd_server_slow_read_indexes_total
process_cpu_seconds_total process_network_receive_bytes_total process_network_transmit_bytes_total
promhttp_metric_handler_requests_total
""".split()

GAUGES = """
etcd_cluster_version
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_current_revision etcd_debugging_mvcc_db_compaction_last
etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_slow_watcher_total
etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_watcher_total
etcd_debugging_store_watchers
etcd_disk_defrag_inflight etcd_disk_wal_write_bytes_total
etcd_mvcc_db_open_read_transactions etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
etcd_server_feature_enabled etcd_server_has_leader etcd_server_id etcd_server_is_leader etcd_server_is_learner
etcd_server_proposals_applied_total etcd_server_proposals_committed_total etcd_server_proposals_pending
etcd_server_quota_backend_bytes etcd_server_snapshot_apply_in_progress_total etcd_server_version
os_fd_limit os_fd_used
process_max_fds process_open_fds process_resident_memory_bytes process_start_time_seconds
process_virtual_memory_bytes process_virtual_memory_max_bytes
promhttp_metric_handler_requests_in_flight
""".split()

# Name -> (first bucket, number of buckets); each is twice the one before.
HISTOGRAMS = {
    "etcd_disk_wal_fsync_duration_seconds": (0.001, 14),
    "etcd_disk_wal_write_duration_seconds": (0.001, 14),
    "etcd_disk_backend_commit_duration_seconds": (0.001, 14),
    "etcd_disk_backend_defrag_duration_seconds": (0.1, 13),
    "etcd_disk_backend_snapshot_duration_seconds": (0.01, 17),
    "etcd_mvcc_hash_duration_seconds": (0.01, 15),
    "etcd_mvcc_hash_rev_duration_seconds": (0.01, 15),
    "etcd_snap_db_fsync_duration_seconds": (0.001, 14),
    "etcd_snap_db_save_total_duration_seconds": (0.1, 10),
    "etcd_snap_fsync_duration_seconds": (0.001, 14),
    "etcd_debugging_lease_ttl_total": (1, 24),
    "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds": (1, 13),
    "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds": (100, 14),
    "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds": (0.5, 14),
    "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds": (0.001, 14),
    "etcd_debugging_server_watch_send_loop_progress_duration_seconds": (0.001, 14),
    "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds": (0.001, 14),
    "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds": (0.001, 14),
    "etcd_debugging_snap_save_marshalling_duration_seconds": (0.001, 14),
    "etcd_debugging_snap_save_total_duration_seconds": (0.001, 14),
}

# These have labels, and no series before something has happened.
ABSENT_AT_FIRST = """
etcd_server_healthcheck etcd_server_healthchecks_total
etcd_debugging_store_reads_total etcd_debugging_store_reads_failed_total
etcd_debugging_store_writes_total etcd_debugging_store_writes_failed_total
""".split()


class MetricsCase(ServerTestCase):
    """One member and a connection to it."""

    def begin(self, *flags):
        self.server = self.member(flags=flags)
        self.client = Client(self.server.client_url)
        self.addCleanup(self.client.close)
        self.keys = Keys(self.server.client_url)
        self.addCleanup(self.keys.close)

    def scrape(self):
        response = self.client.request("GET", "/metrics")
        self.assertEqual((response.status, response.header("Content-Type")), (200, CONTENT_TYPE))
        return parse(response.text())

    def wait_for(self, condition, what):
        """Scrapes until `condition(scrape)` is true; returns that scrape."""
        last = None

        def look():
            nonlocal last
            last = self.scrape()
            return condition(last)

        wait_until(look, what=what)
        return last

    def connect(self):
        connection = Connection("127.0.0.1", self.server.client_port)
        self.addCleanup(connection.close)
        return connection


class FromTheStartTest(MetricsCase):
    """What a dashboard finds on a member that nobody has used."""

    def test_names_types_and_buckets(self):
        self.begin()
        scrape = self.scrape()
        for kind, names in (("counter", COUNTERS), ("gauge", GAUGES), ("histogram", HISTOGRAMS)):
            for name in names:
                with self.subTest(name):
                    self.assertEqual(scrape.types.get(name), kind)
                    self.assertTrue(scrape.helps.get(name))
        for name, (first, count) in HISTOGRAMS.items():
            with self.subTest(name):
                self.assertEqual(scrape.buckets(name), [first * 2 ** step for step in range(count)])
        for name in ABSENT_AT_FIRST:
            self.assertNotIn(name, scrape.types)

    def test_every_name_is_known_here(self):
        """So that a metric that comes or goes is noticed, and put into docs/metrics.md."""
        self.begin()
        known = {*COUNTERS, *GAUGES, *HISTOGRAMS, "etcd_server_apply_duration_seconds"}
        self.assertEqual(set(self.scrape().types), known)

    def test_who_this_member_is(self):
        self.begin()
        scrape = self.scrape()
        member = json.loads(self.client.request("GET", "/v2/members").body)["members"][0]
        version = json.loads(self.client.request("GET", "/version").body)
        self.assertEqual(scrape.value("etcd_server_id", server_id=member["id"]), 1)
        self.assertEqual(scrape.value("etcd_server_version", server_version=version["etcdserver"]), 1)
        self.assertEqual(scrape.series("etcd_cluster_version"),
                         [{"cluster_version": version["etcdcluster"].rsplit(".", 1)[0]}])
        for name, value in (("etcd_server_has_leader", 1), ("etcd_server_is_leader", 1), ("etcd_server_is_learner", 0),
                            ("etcd_server_leader_changes_seen_total", 1), ("etcd_server_proposals_failed_total", 0),
                            ("etcd_debugging_mvcc_compact_revision", -1), ("etcd_debugging_mvcc_current_revision", 1),
                            ("etcd_mvcc_put_total", 0),
                            ("etcd_debugging_lease_granted_total", 0)):
            self.assertEqual(scrape.value(name), value, name)

    def test_the_process(self):
        self.begin()
        scrape = self.scrape()
        for name in ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_start_time_seconds",
                     "process_open_fds", "os_fd_used", "etcd_mvcc_db_total_size_in_bytes",
                     "etcd_mvcc_db_total_size_in_use_in_bytes", "etcd_disk_wal_write_bytes_total"):
            self.assertGreater(scrape.value(name), 0, name)
        self.assertEqual(scrape.value("os_fd_limit"), scrape.value("process_max_fds"))
        self.assertGreater(scrape.value("os_fd_limit"), scrape.value("os_fd_used"))

    def test_flags_that_show(self):
        self.begin("--quota-backend-bytes", "123456789", "--feature-gates", "CompactHashCheck=true",
                   "--warning-apply-duration", "1ns", "--metrics", "extensive")
        self.keys.put("/a", "1")
        scrape = self.scrape()
        self.assertEqual(scrape.value("etcd_server_quota_backend_bytes"), 123456789)
        self.assertEqual(scrape.value("etcd_server_feature_enabled", name="CompactHashCheck", stage="ALPHA"), 1)
        self.assertEqual(scrape.value("etcd_server_feature_enabled", name="LeaseCheckpoint", stage="ALPHA"), 0)
        self.assertEqual(scrape.value("etcd_server_feature_enabled", name="FastLeaseKeepAlive", stage="BETA"), 1)
        self.assertGreater(scrape.value("etcd_server_slow_apply_total"), 0, "everything is slower than 1 ns")


class MovesTest(MetricsCase):
    """What clients do moves the right series, and no other."""

    def test_writes(self):
        self.begin()
        before = self.scrape()
        self.keys.put("/a", "12345")
        self.keys.put("/a", "67890")
        self.keys.post("/queue", "x")
        self.assertEqual(self.keys.put("/a", "x", prevValue="other").status, 412)
        self.assertEqual(self.keys.delete("/a").status, 200)
        index = self.keys.get("/queue").index
        after = self.wait_for(lambda scrape: scrape.value("etcd_server_proposals_applied_total") ==
                              scrape.value("etcd_server_proposals_committed_total"), "everything is applied")

        def grown(series, **labels):
            return after.get(series, **labels) - before.get(series, **labels)

        for action, total, failed in (("set", 2, 0), ("create", 1, 0), ("compareAndSwap", 1, 1), ("delete", 1, 0)):
            with self.subTest(action):
                self.assertEqual(after.value("etcd_debugging_store_writes_total", action=action), total)
                self.assertEqual(after.get("etcd_debugging_store_writes_failed_total", action=action), failed)
        self.assertEqual(after.get("etcd_debugging_store_writes_total", action="update"), 0)
        applied = "etcd_server_apply_duration_seconds_count"
        for op, success, count in (("PUT", "true", 2), ("PUT", "false", 1), ("POST", "true", 1), ("DELETE", "true", 1)):
            self.assertEqual(grown(applied, version="v2", op=op, success=success), count, (op, success))
        self.assertGreaterEqual(grown("etcd_mvcc_put_total"), 3)
        self.assertGreaterEqual(grown("etcd_mvcc_delete_total"), 1)
        self.assertGreaterEqual(grown("etcd_debugging_mvcc_total_put_size_in_bytes"), 11)
        self.assertGreaterEqual(grown("etcd_server_proposals_committed_total"), 5)
        self.assertGreaterEqual(grown("etcd_disk_wal_fsync_duration_seconds_count"), 5, "one by one")
        self.assertEqual(after.value("etcd_disk_wal_fsync_duration_seconds_count"),
                         after.value("etcd_disk_wal_write_duration_seconds_count"))
        self.assertGreater(grown("etcd_disk_wal_write_bytes_total"), 50)
        self.assertEqual(after.value("etcd_debugging_mvcc_current_revision"), index)
        self.assertGreaterEqual(after.value("etcd_debugging_mvcc_keys_total"), 1)
        self.assertEqual(after.value("etcd_server_proposals_pending"), 0)
        self.assertEqual(after.value("etcd_server_proposals_failed_total"), 0)
        self.wait_for(lambda scrape: scrape.value("etcd_disk_backend_commit_duration_seconds_count") >= 1,
                      "a batch reaches the store")

    def test_reads(self):
        self.begin()
        self.keys.put("/a", "1")
        before = self.scrape()
        self.keys.get("/a")
        self.keys.get("/a", quorum="true")
        self.keys.get("/", recursive="true")
        self.keys.get("/none")
        after = self.scrape()
        reads, failed = "etcd_debugging_store_reads_total", "etcd_debugging_store_reads_failed_total"
        self.assertEqual(after.value(reads, action="get"), 3)
        self.assertEqual(after.value(reads, action="getRecursive"), 1)
        self.assertEqual(after.value(failed, action="get"), 1)
        self.assertEqual(after.get(failed, action="getRecursive"), 0)
        self.assertEqual(after.value("etcd_mvcc_range_total") - before.value("etcd_mvcc_range_total"), 4)
        self.assertEqual(after.value("etcd_mvcc_put_total"), before.value("etcd_mvcc_put_total"))

    def test_times_to_live(self):
        self.begin()
        self.keys.put("/long", "x", ttl=100)
        self.keys.put("/long", "x", ttl=200)
        self.keys.put("/gone", "x", ttl=100)
        self.keys.delete("/gone")
        scrape = self.scrape()
        self.assertEqual(scrape.value("etcd_debugging_lease_granted_total"), 2)
        self.assertEqual(scrape.value("etcd_debugging_lease_renewed_total"), 1)
        self.assertEqual(scrape.value("etcd_debugging_lease_revoked_total"), 1)
        self.assertEqual(scrape.value("etcd_debugging_lease_ttl_total_count"), 2)
        self.assertEqual(scrape.value("etcd_debugging_lease_ttl_total_bucket", le="64"), 0)
        self.assertEqual(scrape.value("etcd_debugging_lease_ttl_total_bucket", le="128"), 2)
        self.assertEqual(scrape.value("etcd_debugging_store_expires_total"), 0)
        self.keys.put("/short", "x", ttl=1)
        scrape = self.wait_for(lambda now: now.value("etcd_debugging_store_expires_total") == 1, "the key runs out")
        self.assertEqual(scrape.value("etcd_debugging_server_lease_expired_total"), 1)
        self.assertEqual(scrape.value("etcd_debugging_lease_granted_total"), 3)
        self.wait_for(lambda now: now.value("etcd_debugging_lease_revoked_total") == 2, "its lease has ended")

    def test_watchers(self):
        self.begin()
        stream, poll = self.connect(), self.connect()
        stream.send_request("GET", "/v2/keys/w?wait=true&stream=true&recursive=true")
        poll.send_request("GET", "/v2/keys/w/1?wait=true")
        scrape = self.wait_for(lambda now: self.watchers(now) == (2, 2), "both watch")
        self.assertEqual(scrape.value("etcd_debugging_mvcc_slow_watcher_total"), 0)
        self.assertEqual(scrape.value("etcd_debugging_store_watch_requests_total"), 2)
        self.assertEqual(scrape.value("etcd_debugging_mvcc_events_total"), 0)
        self.keys.put("/w/1", "x")
        self.assertEqual(poll.read_response().status, 200)
        self.wait_for(lambda now: self.watchers(now) == (1, 1), "the poll has ended")
        self.wait_for(lambda now: now.value("etcd_debugging_mvcc_events_total") >= 2, "both took it")
        stream.close()
        scrape = self.wait_for(lambda now: self.watchers(now) == (0, 0), "the stream has ended")
        self.assertEqual(scrape.value("etcd_debugging_store_watch_requests_total"), 2)

    def watchers(self, scrape):
        """As the v2 API counts them, and the store below it."""
        return scrape.value("etcd_debugging_store_watchers"), scrape.value("etcd_debugging_mvcc_watcher_total")

    def test_health(self):
        self.begin()
        self.assertEqual(self.client.request("GET", "/health").status, 200)
        self.assertEqual(self.client.request("POST", "/health").status, 405)
        self.assertEqual(self.client.request("GET", "/livez").status, 200)
        self.assertEqual(self.client.request("GET", "/readyz?exclude=data_corruption").status, 200)
        self.assertEqual(self.client.request("GET", "/readyz/linearizable_read").status, 200)
        scrape = self.scrape()
        self.assertEqual(scrape.value("etcd_server_health_success"), 1)
        self.assertEqual(scrape.value("etcd_server_health_failures"), 0)
        for kind, name, count in (("livez", "serializable_read", 1), ("readyz", "serializable_read", 1),
                                  ("readyz", "linearizable_read", 2), ("readyz", "non_learner", 1)):
            with self.subTest((kind, name)):
                self.assertEqual(scrape.value("etcd_server_healthcheck", type=kind, name=name), 1)
                self.assertEqual(scrape.value("etcd_server_healthchecks_total", type=kind, name=name, status="success"),
                                 count)
        self.assertNotIn({"type": "readyz", "name": "data_corruption"}, scrape.series("etcd_server_healthcheck"))

    def test_a_restart_begins_at_zero_and_knows_what_is_there(self):
        self.begin()
        self.keys.put("/a", "1", ttl=1000)
        before = self.scrape()
        self.client.close()
        self.keys.close()
        self.assertEqual(self.server.terminate(), 0)
        self.server.restart()
        after = self.scrape()
        for name in ("etcd_debugging_mvcc_current_revision", "etcd_debugging_mvcc_keys_total"):
            self.assertEqual(after.value(name), before.value(name), name)
        for name in ("etcd_mvcc_put_total", "etcd_debugging_lease_granted_total"):
            self.assertEqual(after.value(name), 0, name)
        self.assertEqual(after.value("etcd_server_leader_changes_seen_total"), 1)
        self.assertGreater(after.value("etcd_server_proposals_applied_total"),
                           before.value("etcd_server_proposals_applied_total"), "an index goes on")

    def test_scrapes_under_load(self):
        """Whatever happens meanwhile, each text is whole, and no counter goes back."""
        self.begin()
        ends = threading.Event()
        faults = []

        def write(number):
            with Keys(self.server.client_url) as keys:
                count = 0
                while not ends.is_set() or count < 20:
                    answer = keys.put(f"/load/{number}", str(count), ttl=1000 + count % 3)
                    count += 1
                    if answer.status not in (200, 201):
                        faults.append(answer)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        try:
            last = self.scrape()
            for _ in range(30):
                scrape = self.scrape()
                for (name, labels), value in scrape.samples.items():
                    family = name if name in scrape.types else name.rsplit("_", 1)[0]
                    if scrape.types[family] != "gauge":
                        self.assertGreaterEqual(value, last.samples.get((name, labels), 0), (name, labels))
                self.assertEqual(scrape.value("promhttp_metric_handler_requests_in_flight"), 1)
                last = scrape
        finally:
            ends.set()
            for writer in writers:
                writer.join()
        self.assertEqual(faults, [])
        last = self.scrape()
        self.assertEqual(last.value("promhttp_metric_handler_requests_total", code="200"), 31, "the ones before")
        self.assertGreaterEqual(last.value("etcd_debugging_store_writes_total", action="set"), 80)
        self.assertEqual(last.value("etcd_debugging_lease_granted_total"), 4)


class EndpointTest(MetricsCase):
    """Where the metrics are, and how one asks for them."""

    def test_methods(self):
        self.begin()
        for method in ("GET", "POST", "PUT", "DELETE"):
            with self.subTest(method):
                response = self.client.request(method, "/metrics", FORM if method in ("POST", "PUT") else None)
                self.assertEqual((response.status, response.header("Content-Type")), (200, CONTENT_TYPE))
                parse(response.text())
        head = self.client.request("HEAD", "/metrics")
        self.assertEqual((head.status, head.body), (200, b""))
        accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;version=0.0.4;q=0.5"}
        self.assertEqual(self.client.request("GET", "/metrics", accept).header("Content-Type"), CONTENT_TYPE)

    def test_not_on_the_peer_port(self):
        self.begin()
        with Client(self.server.peer_url) as client:
            for path in ("/metrics", "/debug/vars"):
                self.assertEqual(client.request("GET", path).status, 404, path)

    def test_listeners_of_their_own(self):
        ports = [pick_port(), pick_port()]
        self.begin("--listen-metrics-urls", ",".join(f"http://127.0.0.1:{port}" for port in ports))
        for port in ports:
            with Client(f"http://127.0.0.1:{port}") as client:
                scrape = parse(client.request("GET", "/metrics").text())
                self.assertEqual(scrape.value("etcd_server_has_leader"), 1)
                self.assertEqual(json.loads(client.request("GET", "/health").body)["health"], "true")
                for path in ("/livez", "/readyz", "/readyz/non_learner"):
                    self.assertEqual(client.request("GET", path).body, b"ok\n", path)
                for path in ("/version", "/v2/keys/", "/debug/vars", "/"):
                    self.assertEqual(client.request("GET", path).status, 404, path)
        self.scrape()  # the client port has them, too
        self.assertEqual(self.server.terminate(), 0)

    def test_a_taken_port_is_refused(self):
        self.begin()
        other = self.member("m2", flags=["--listen-metrics-urls", self.server.client_url], start=False)
        other.launch()
        self.assertEqual(other.process.wait(20), 1)
        self.assertIn(str(self.server.client_port), other.process.tail())


class DebugVarsTest(MetricsCase):
    """/debug/vars: one JSON object, a variable a line."""

    def test_what_it_says(self):
        self.begin()
        self.keys.put("/a", "1")
        response = self.client.request("GET", "/debug/vars")
        self.assertEqual((response.status, response.header("Content-Type")), (200, "application/json; charset=utf-8"))
        text = response.text()
        self.assertTrue(text.startswith("{\n") and text.endswith("\n}\n"), text)
        variables = json.loads(text)
        self.assertEqual(list(variables), ["cmdline", "file_descriptor_limit", "memstats", "raft.status"])
        self.assertEqual(len(text.split("\n")), len(variables) + 3, "one line for each")
        self.assertEqual(variables["cmdline"], self.server.arguments())
        self.assertEqual(variables["file_descriptor_limit"], self.scrape().value("os_fd_limit"))
        memory = variables["memstats"]
        self.assertGreater(memory["HeapAlloc"], 0)
        self.assertEqual(memory["HeapSys"], memory["HeapInuse"] + memory["HeapIdle"])
        self.check_raft(variables["raft.status"])

    def check_raft(self, status):
        own = json.loads(self.client.request("GET", "/v2/members").body)["members"][0]["id"]
        self.assertEqual((status["id"], status["lead"], status["raftState"]), (own, own, "StateLeader"))
        self.assertEqual((status["vote"], status["leadtransferee"]), (own, "0"))
        self.assertGreaterEqual(status["commit"], status["applied"])
        self.assertGreater(status["applied"], 1)
        self.assertGreater(status["term"], 1)
        self.assertEqual(list(status["progress"]), [own])
        progress = status["progress"][own]
        self.assertEqual((progress["state"], progress["next"]), ("StateReplicate", progress["match"] + 1))

    def test_get_only(self):
        self.begin()
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            with self.subTest(method):
                response = self.client.request(method, "/debug/vars")
                self.assertEqual((response.status, response.header("Allow")), (405, "GET"))


if __name__ == "__main__":
    unittest.main()
