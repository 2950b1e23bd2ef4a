#!/usr/bin/env python3
"""Plays the recorded v2 transcripts against the real binary.

    python3 tests/conformance/v2_transcripts.py                              all cases
    python3 tests/conformance/v2_transcripts.py --categories watch,stream    some categories
    python3 tests/conformance/v2_transcripts.py --case watch-one-shot -v     one case, every answer shown
    python3 tests/conformance/v2_transcripts.py --endpoint http://127.0.0.1:2379

Cases run in lanes that overlap. A lane has servers of its own: one for the serial cases that do not wait (one after
another, indices are exact), several for the serial ones that do, and one for the parallel ones, which share it. Each
other profile is a lane, too. Ends with `N passed, N failed`, and with exit code 1 if any failed.
"""
import argparse
import json
import os
import queue
import signal
import sys
import threading
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if REPOSITORY not in sys.path:
    sys.path.insert(0, REPOSITORY)

from tests.conformance.compare import show  # noqa: E402
from tests.conformance.player import Outcome, Target, play_case, waits  # noqa: E402
from tests.harness.http import Client, HttpFailure  # noqa: E402
from tests.harness.member import Cluster, Member  # noqa: E402
from tests.harness.v2 import wait_until  # noqa: E402

DEFAULT_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v2-transcripts.json")
CORS = {"cors": "http://one.example:9000,http://two.example:8080", "cors-any": "*"}
WAITING_SERVERS_MAX = 4
STEPS_SHOWN = 3
NAMES_SHOWN = 60


# Servers, one maker for each profile. Each has .target, .tail() and .stop().


class OneMember:
    """A cluster of one, for every profile that is not about clusters."""

    def __init__(self, profile):
        self._member = Member("conformance", cors=CORS.get(profile)).start()
        settle(self._member.client_url)
        self.target = Target(self._member.client_url, self._member.peer_url, self._member.client_url)

    def tail(self):
        return self._member.tail()

    def stop(self):
        self._member.stop()


class ThreeMembers:
    """A cluster whose steps go to a follower."""

    def __init__(self, profile):
        self._cluster = Cluster().start()
        leader = wait_until(lambda: find_leader(self._cluster.members), what="a leader")
        follower = next(member for member in self._cluster.members if member is not leader)
        settle(follower.client_url)
        self.target = Target(follower.client_url, follower.peer_url, leader.client_url, in_cluster=True)
        if profile == "leaderless":
            self._lose_quorum(follower)

    def _lose_quorum(self, survivor):
        """Kills the others, and waits until the survivor knows that nobody leads."""
        for member in self._cluster.members:
            if member is not survivor:
                member.kill()
        wait_until(lambda: not has_leader(survivor.client_url), what="the survivor to notice")
        self.target = Target(survivor.client_url, survivor.peer_url, writable=False)

    def tail(self):
        return "\n".join(member.tail() for member in self._cluster.members)

    def stop(self):
        self._cluster.stop()


class GivenEndpoint:
    """A server that somebody else runs."""

    def __init__(self, url):
        self.target = Target(url, None, url)

    def tail(self):
        return ""

    def stop(self):
        pass


def get_json(url, path):
    with Client(url, 5.0) as client:
        return json.loads(client.request("GET", path).body)


def find_leader(members):
    """The member whose own statistics say that it leads, once the others follow it."""
    states = {member.name: get_json(member.client_url, "/v2/stats/self")["state"] for member in members}
    leaders = [member for member in members if states[member.name] == "StateLeader"]
    followers = [name for name, state in states.items() if state == "StateFollower"]
    return leaders[0] if len(leaders) == 1 and len(followers) == len(members) - 1 else None


def has_leader(url):
    """Whether the member, a follower until now, still believes that somebody leads."""
    try:
        stats = get_json(url, "/v2/stats/self")
    except (HttpFailure, ValueError):
        return True
    return bool(stats["leaderInfo"]["leader"].strip("0")) and stats["state"] == "StateFollower"


def settle(url):
    """Waits until the cluster has agreed on its version, which is a write of its own that upstream counts."""
    wait_until(lambda: get_json(url, "/version").get("etcdcluster", "") not in ("", "not_decided"), what="a version")


def start_server(profile):
    return ThreeMembers(profile) if profile in ("cluster", "leaderless") else OneMember(profile)


# Lanes.


class Lane:
    """Plays the cases of one queue on one server, which `threads` cases may use at a time."""

    def __init__(self, name, cases, report, make_server, threads=1):
        self.name = name
        self._cases = cases
        self._report = report
        self._make_server = make_server
        self._thread_count = threads
        self._server = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self):
        self._thread.start()

    def join(self):
        self._thread.join()

    def _run(self):
        if self._cases.empty():
            return
        try:
            self._server = self._make_server()
        except Exception as error:  # each case then says why it was not played
            self._drain(f"no server: {error}")
            return
        try:
            players = [threading.Thread(target=self._play_all, daemon=True) for _ in range(self._thread_count)]
            for player in players:
                player.start()
            for player in players:
                player.join()
        finally:
            if self._server is not None:
                self._server.stop()

    def _play_all(self):
        while (case := _take(self._cases)) is not None:
            try:
                outcome = play_case(case, self._server.target)
            except Exception as error:  # a bug of ours must not look like a pass
                outcome = Outcome(case, trouble=f"the runner failed: {type(error).__name__}: {error}")
            if outcome.trouble:
                outcome.trouble += "\n" + self._server.tail()
            self._report.add(outcome)
            if not outcome.passed and self._thread_count == 1 and leaves_traces(outcome):
                self._replace_server()

    def _replace_server(self):
        self._server.stop()
        try:
            self._server = self._make_server()
        except Exception as error:
            self._drain(f"no server: {error}")

    def _drain(self, why):
        while (case := _take(self._cases)) is not None:
            self._report.add(Outcome(case, trouble=why))


def leaves_traces(outcome):
    """Whether a failed case may have left the server in a state that fails the next ones."""
    paths = [step.get("path", "") for step in outcome.case["steps"]]
    return bool(outcome.trouble) or any(path.startswith(("/v2/auth", "/v2/admin", "/v2/members")) for path in paths)


def _take(cases):
    try:
        return cases.get_nowait()
    except queue.Empty:
        return None


def as_queue(cases):
    filled = queue.SimpleQueue()
    for case in cases:
        filled.put(case)
    return filled


def slow(case):
    """Whether a case mostly waits: for a time, for an expiry, or for a timeout."""
    return waits(case) or case["profile"] == "leaderless"


def plan_lanes(cases, jobs, report, endpoint=None):
    """Which cases run where."""
    lanes = []
    for profile in dict.fromkeys(case["profile"] for case in cases):
        def make_server(profile=profile):
            return GivenEndpoint(endpoint) if endpoint else start_server(profile)

        mine = [case for case in cases if case["profile"] == profile]
        serial = [case for case in mine if case["mode"] == "serial"]
        parallel = [case for case in mine if case["mode"] == "parallel"]
        if endpoint:  # one server: the serial cases need it for themselves
            lanes.append(Lane(f"{profile}-serial", as_queue(serial), report, make_server))
            lanes.append(Lane(f"{profile}-parallel", as_queue(parallel), report, make_server, jobs))
            continue
        quick = [case for case in serial if not slow(case)]
        waiting = as_queue(case for case in serial if slow(case))
        lanes.append(Lane(f"{profile}-serial", as_queue(quick), report, make_server))
        lanes.append(Lane(f"{profile}-parallel", as_queue(parallel), report, make_server, min(jobs, len(parallel))))
        for number in range(min(jobs, WAITING_SERVERS_MAX, waiting.qsize())):
            lanes.append(Lane(f"{profile}-waiting-{number}", waiting, report, make_server))
    return lanes


def run_lanes(lanes, one_by_one):
    """Starts all lanes and waits for them; one after another if they share a server."""
    if one_by_one:
        for lane in lanes:
            lane.start()
            lane.join()
        return
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()


# Reporting.


class Report:
    """Counts outcomes and prints what failed, as it happens."""

    def __init__(self, verbose):
        self._lock = threading.Lock()
        self._verbose = verbose
        self.passed = 0
        self.failed = []

    def add(self, outcome):
        with self._lock:
            if outcome.passed:
                self.passed += 1
                if self._verbose:
                    print(f"ok   {title(outcome)}  {outcome.seconds:.2f} s", flush=True)
            else:
                self.failed.append(outcome.case["name"])
                print(describe_failure(outcome, self._verbose), flush=True)

    def summary(self, skipped):
        text = f"{self.passed} passed, {len(self.failed)} failed"
        return text + (f", {skipped} skipped" if skipped else "")


def title(outcome):
    case = outcome.case
    return f"{case['category']}/{case['name']} ({case['profile']}, {case['gen']}, {case['mode']})"


def describe_failure(outcome, verbose=False):
    """The case, the steps that differ, and in them what was expected and what came."""
    lines = [f"FAIL {title(outcome)}"]
    if outcome.case["note"]:
        lines.append(f"  note: {outcome.case['note']}")
    shown = outcome.failed_steps if verbose else outcome.failed_steps[:STEPS_SHOWN]
    for number, step, observed, differences in shown:
        lines.append(f"  step {number}: {describe_step(step)}")
        lines += [f"    {difference}" for difference in differences]
        lines.append(f"    the answer was {describe_answer(observed)}")
    if len(shown) < len(outcome.failed_steps):
        lines.append(f"  ... and {len(outcome.failed_steps) - len(shown)} more steps")
    if outcome.trouble:
        lines.append(f"  {outcome.trouble}")
    return "\n".join(lines)


def describe_step(step):
    rest = {name: value for name, value in step.items() if name not in ("do", "method", "path", "body", "headers")}
    words = [step.get("method", step["do"]), step.get("path", ""), shorten(step.get("body", ""))]
    return " ".join(word for word in words if word) + (f"  {show(rest)}" if rest else "")


def describe_answer(observed):
    if "status" not in observed:
        return show(observed)
    return f"{observed['status']} {shorten(observed.get('body', b'').decode('utf-8', 'replace').strip())}"


def shorten(text, limit=400):
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


# The command line.


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Plays recorded v2 transcripts against the real binary.")
    parser.add_argument("file", nargs="?", default=DEFAULT_FILE, help="the transcript file")
    parser.add_argument("--categories", help="only these, separated by commas")
    parser.add_argument("--profile", help="only these profiles, separated by commas")
    parser.add_argument("--gen", help="only cases of these generations: both, 0.4, 2.x, separated by commas")
    parser.add_argument("--case", action="append", help="only this case (may be given several times)")
    parser.add_argument("--except", dest="excluded", default="", help="not these cases, separated by commas")
    parser.add_argument("--endpoint", help="a running server to play against, such as http://127.0.0.1:2379")
    parser.add_argument("--jobs", type=int, default=16, help="how many waiting or parallel cases overlap")
    parser.add_argument("--list", action="store_true", help="only list the chosen cases")
    parser.add_argument("-v", "--verbose", action="store_true", help="every case, and every step that differs")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def choose(cases, options):
    """The cases that the options name; a name that nothing has is an error."""
    def wanted(given, field):
        if not given:
            return cases
        names = set(given if isinstance(given, list) else given.split(","))
        if unknown := names - {case[field] for case in cases}:
            sys.exit(f"no case has {field} {', '.join(sorted(unknown))}")
        return [case for case in cases if case[field] in names]

    chosen = [case["name"] for case in cases if case["name"] not in options.excluded.split(",")]
    for given, field in ((options.categories, "category"), (options.profile, "profile"), (options.gen, "gen"),
                         (options.case, "name")):
        keep = {case["name"] for case in wanted(given, field)}
        chosen = [name for name in chosen if name in keep]
    return [case for case in cases if case["name"] in set(chosen)]


def needs_own_servers(case):
    """Whether a case cannot be played against --endpoint, of which we know one client URL only."""
    return case["profile"] != "default" or any("node" in step for step in case["steps"])


def main(arguments=None):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = parse_arguments(arguments)
    with open(options.file, encoding="utf-8") as file:
        everything = json.load(file)["cases"]
    cases = choose(everything, options)
    skipped = len(everything) - len(cases) if options.excluded else 0
    if options.endpoint:
        playable = [case for case in cases if not needs_own_servers(case)]
        skipped += len(cases) - len(playable)
        cases = playable
    if options.list:
        for case in cases:
            print(f"{case['category']:12} {case['name']:40} {case['profile']:10} {case['gen']:4} {case['mode']}")
        return 0
    begin = time.monotonic()
    report = Report(options.verbose)
    run_lanes(plan_lanes(cases, options.jobs, report, options.endpoint), bool(options.endpoint))
    if report.failed:
        more = f" and {len(report.failed) - NAMES_SHOWN} more" if len(report.failed) > NAMES_SHOWN else ""
        print("failed:", " ".join(sorted(report.failed)[:NAMES_SHOWN]) + more)
    print(f"{time.monotonic() - begin:.1f} s")
    print(report.summary(skipped))
    return 0 if not report.failed and report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
