"""What every test of the real binary needs: members to start and stop, and an HTTP client that hides nothing.

    member.py     starts, stops, kills and restarts members and clusters
    http.py       HTTP/1.1 over a plain socket: exact bytes out, exact bytes in, every wait with a deadline
    v2.py         a few v2 calls on top of http.py, for tests that are about something else
    workload.py   writers that remember what was acknowledged, and check it after a restart
    bulk.py       many writes in little time
    usage.py      what a process takes, as /proc tells it
    small_disk.py a small file system of its own for a member
    wal_file.py   the way around in a segment of the log, and
    lmdb_file.py  in the store, for tests that damage them
    prometheus.py a strict reader of metrics
    report.py     tables and circumstances for pages, for bench/ and soak/
    case.py       the unittest base class: members end with their test, their logs are shown when it fails

Standard library only.
"""
from tests.harness.case import ServerTestCase
from tests.harness.http import Client, Closed, Connection, ProtocolError, Response, TimedOut
from tests.harness.member import Cluster, Member, MemberFailed, binary_path, clean_environment, pick_port

__all__ = ["Client", "Closed", "Cluster", "Connection", "Member", "MemberFailed", "ProtocolError", "Response",
           "ServerTestCase", "TimedOut", "binary_path", "clean_environment", "pick_port"]
