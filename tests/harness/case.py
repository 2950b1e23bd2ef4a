"""The unittest base class of the end-to-end tests."""
import os
import sys
import unittest

from tests.harness.member import Cluster, Member, binary_path, keep_directories


class ServerTestCase(unittest.TestCase):
    """Members made with member() and cluster() end with their test; when it fails, their logs' ends are shown."""

    def setUp(self):
        self._members = []
        self._clusters = []

    @classmethod
    def setUpClass(cls):
        if not os.access(binary_path(), os.X_OK):
            raise FileNotFoundError(f"no binary at {binary_path()}: build it, or set ETCD_BIN")

    def member(self, *arguments, start=True, **options):
        member = Member(*arguments, **options)
        self._members.append(member)
        return member.start() if start else member

    def cluster(self, *arguments, **options):
        cluster = Cluster(*arguments, **options)
        self._clusters.append(cluster)
        return cluster.start()

    def all_members(self):
        return self._members + [member for cluster in self._clusters for member in cluster.members]

    def run(self, result=None):
        """As unittest's, and then: show the logs if this test failed, end every member."""
        before = _bad_count(result)
        try:
            return super().run(result)
        finally:
            members = self.all_members() if hasattr(self, "_members") else []
            if _bad_count(result) > before and members:
                keep_directories([member.directory for member in members])
                for member in members:
                    print(f"\n{self.id()} failed\n{member.tail()}", file=sys.stderr)
            for member in members:
                member.stop()


def _bad_count(result):
    return len(result.failures) + len(result.errors) if result is not None else 0
