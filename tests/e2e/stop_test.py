"""SIGTERM under load: a clean end, soon, with nothing lost, and a quick start afterwards."""
import os
import random
import signal
import sys
import time
import unittest

from tests.harness import Connection, ServerTestCase
from tests.harness.workload import Ledger, Writers

ROUNDS = int(os.environ.get("ETCD_STOP_ROUNDS", "5"))
STOP_MAX_S = 5.0
RESTART_MAX_S = float(os.environ.get("ETCD_RESTART_MAX_S", "3"))  # an instrumented build may need more


class StopUnderLoadTest(ServerTestCase):
    """Writers work at full speed when the signal comes."""

    def check_rounds(self, number):
        seed = str(random.SystemRandom().randrange(1 << 32))
        print(f"\nstop_test: seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        ledger = Ledger(seed)
        member = self.member()
        for _ in range(ROUNDS):
            writers = Writers(ledger, member.client_url)
            try:
                ledger.wait_for_acknowledged(rng.randrange(50, 500))
                begin = time.monotonic()
                code = member.terminate(number)
                self.assertLess(time.monotonic() - begin, STOP_MAX_S, "the stop took too long")
            finally:
                member.kill()
                writers.join()
            self.assertEqual(code, 0)
            self.assertLess(member.restart(), RESTART_MAX_S, "the restart took too long")
            self.assertEqual(ledger.verify(member.client_url), [], f"seed {seed}")

    def test_sigterm(self):
        self.check_rounds(signal.SIGTERM)

    def test_sigint(self):
        self.check_rounds(signal.SIGINT)

    def test_a_second_signal_does_no_harm(self):
        ledger = Ledger("second")
        member = self.member()
        writers = Writers(ledger, member.client_url)
        try:
            ledger.wait_for_acknowledged(100)
            member.process.signal(signal.SIGTERM)
            member.process.signal(signal.SIGTERM)
            self.assertIsNotNone(member.process.wait(STOP_MAX_S), "it still runs")
        finally:
            member.kill()
            writers.join()
        member.restart()
        self.assertEqual(ledger.verify(member.client_url), [])

    def test_every_open_request_ends(self):
        """Watches and half-sent requests are cut off, not left hanging."""
        member = self.member()
        watches = [Connection("127.0.0.1", member.client_port) for _ in range(20)]
        for watch in watches:
            self.addCleanup(watch.close)
            watch.send_request("GET", "/v2/keys/x?wait=true")
            self.assertEqual(watch.read_head(time.monotonic() + 5).status, 200)
        half = Connection("127.0.0.1", member.client_port)
        self.addCleanup(half.close)
        half.send("PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nval")
        member.terminate()
        for connection in [*watches, half]:
            connection.expect_close(STOP_MAX_S)


if __name__ == "__main__":
    unittest.main()
