"""SIGKILL in the middle of writes, many times over: nothing that was acknowledged may be lost, changed or reused.

After each restart (see harness/workload.py):
    every acknowledged write is there, with its value and its modifiedIndex, or a newer one of the same writer
    a write without an answer was done wholly or not at all
    no compare-and-swap increment that was acknowledged is missing, and none was done twice
    X-Etcd-Index has not gone back, and no index ever belongs to two writes

Environment: ETCD_KILL_ROUNDS (default 20), ETCD_KILL_SEED (default: a new one, printed).
"""
import os
import random
import sys
import time
import unittest

from tests.harness import ServerTestCase
from tests.harness.workload import Ledger, Writers

ROUNDS = int(os.environ.get("ETCD_KILL_ROUNDS", "20"))
WRITES_MAX = 400
EARLY_KILL_SHARE = 0.25  # of the restarts are killed themselves, somewhere on their way
EARLY_KILL_MAX_S = 0.05


class KillTest(ServerTestCase):
    """One member, killed again and again on one data directory."""

    def setUp(self):
        super().setUp()
        self.seed = os.environ.get("ETCD_KILL_SEED") or str(random.SystemRandom().randrange(1 << 32))
        self.rng = random.Random(self.seed)
        print(f"\nkill_test: ETCD_KILL_SEED={self.seed} ETCD_KILL_ROUNDS={ROUNDS}", file=sys.stderr)

    def test_acknowledged_writes_survive(self):
        ledger = Ledger(self.seed)
        member = self.member()
        for number in range(ROUNDS):
            writers = Writers(ledger, member.client_url)
            try:
                ledger.wait_for_acknowledged(self.rng.randrange(1, WRITES_MAX))
            finally:
                member.kill()
                writers.join()
            self.restart(member)
            faults = ledger.verify(member.client_url)
            self.assertEqual(faults, [], f"round {number + 1}, seed {self.seed}")
        print(f"kill_test: {ROUNDS} kills, {ledger.acknowledged} acknowledged writes, all there", file=sys.stderr)

    def restart(self, member):
        """Restarts the member; sometimes it is killed while it recovers, and has to recover from that."""
        while self.rng.random() < EARLY_KILL_SHARE:
            member.launch()
            time.sleep(self.rng.random() * EARLY_KILL_MAX_S)  # when the blow falls, not a wait for anything
            member.kill()
        member.restart()

    def test_kill_without_writes(self):
        """A member that was killed as soon as it was ready starts again, with its index."""
        member = self.member()
        for _ in range(3):
            member.kill()
            member.restart()
            self.assertEqual(Ledger(self.seed).verify(member.client_url), [])


if __name__ == "__main__":
    unittest.main()
