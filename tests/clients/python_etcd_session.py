"""python-etcd's whole interface against the server at argv[1]. Prints a line of JSON for each check.

Run by session_test.py with the Python that has the library; imports nothing of this repository.
"""
import json
import sys
import threading
import traceback
import urllib.parse

import etcd

URL = urllib.parse.urlsplit(sys.argv[1])
client = etcd.Client(host=URL.hostname, port=URL.port, read_timeout=10)


def connect(**options):
    return etcd.Client(host=URL.hostname, port=URL.port, read_timeout=10, **options)


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def raises(kind, call, *arguments, **options):
    try:
        result = call(*arguments, **options)
    except kind as error:
        same(type(error), kind)
        return error
    raise AssertionError(f"{result!r} instead of {kind.__name__}")


def in_background(call):
    """Runs a call in a thread; returns how to get its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()

    def result():
        thread.join(10)
        assert results, "no result within 10 s"
        return results[0]
    return result


def wait_for_watchers(count):
    while client.store_stats["watchers"] < count:
        pass  # each question takes a round trip


# Checks.


def write_and_read():
    made = client.write("/nodes/n1", 1)
    same((made.action, made.key, made.value, made.newKey), ("set", "/nodes/n1", "1", True))
    got = client.read("/nodes/n1")
    same((got.value, got.createdIndex, got.modifiedIndex), ("1", made.createdIndex, made.modifiedIndex))
    assert got.etcd_index >= made.modifiedIndex and got.raft_index > 0
    same(client.write("/nodes/n1", 2)._prev_node.value, "1")
    same(client.get("/nodes/n1").value, "2")
    same(client.set("/nodes/n3", "x").value, "x")
    same(client.read("/nodes/n1", quorum=True).value, "2")
    assert "/nodes/n1" in client and "/nodes/none" not in client


def unicode_values():
    client.write("/uni/ключ", "значение 😀 & = ; %")
    same(client.read("/uni/ключ").value, "значение 😀 & = ; %")


def missing_key():
    error = raises(etcd.EtcdKeyNotFound, client.read, "/none/at/all")
    same(error.payload["errorCode"], 100)
    raises(etcd.EtcdKeyNotFound, client.delete, "/none/at/all")


def compare_and_swap():
    client.write("/cas", "one")
    same(client.test_and_set("/cas", "two", "one").value, "two")
    raises(etcd.EtcdCompareFailed, client.test_and_set, "/cas", "three", "one")
    index = client.read("/cas").modifiedIndex
    same(client.write("/cas", "four", prevIndex=index).value, "four")
    raises(etcd.EtcdCompareFailed, client.write, "/cas", "five", prevIndex=index)
    raises(etcd.EtcdAlreadyExist, client.write, "/cas", "six", prevExist=False)
    raises(etcd.EtcdKeyNotFound, client.write, "/cas-none", "six", prevExist=True)


def update_an_object():
    client.write("/obj", "before")
    got = client.read("/obj")
    got.value = "after"
    same(client.update(got).value, "after")
    client.write("/obj", "meanwhile")
    raises(etcd.EtcdCompareFailed, client.update, got)


def delete():
    client.write("/del", "x")
    raises(etcd.EtcdCompareFailed, client.delete, "/del", prevValue="y")
    same(client.delete("/del", prevValue="x").action, "compareAndDelete")
    client.write("/del", "y")
    same(client.pop("/del").value, "y")
    raises(etcd.EtcdKeyNotFound, client.read, "/del")


def directories():
    same(client.write("/dir", None, dir=True).dir, True)
    raises(etcd.EtcdNotFile, client.write, "/dir", "x")
    for name in ("a", "b/c", "b/d"):
        client.write("/dir/" + name, name)
    tree = client.read("/dir", recursive=True, sorted=True)
    same([leaf.key for leaf in tree.leaves], ["/dir/a", "/dir/b/c", "/dir/b/d"])
    same([child.key for child in client.read("/dir").children], ["/dir/a", "/dir/b"])
    raises(etcd.EtcdDirNotEmpty, client.delete, "/dir", dir=True)
    raises(etcd.EtcdNotFile, client.delete, "/dir")
    raises(etcd.EtcdNotDir, client.write, "/dir/a/x", "y")
    same(client.delete("/dir", recursive=True).action, "delete")
    raises(etcd.EtcdRootReadOnly, client.delete, "/", recursive=True)


def in_order_keys():
    made = [client.write("/queue", f"job{number}", append=True) for number in range(3)]
    same([one.action for one in made], ["create"] * 3)
    listed = client.read("/queue", recursive=True, sorted=True)
    same([child.key for child in listed.children], [one.key for one in made])


def time_to_live():
    made = client.write("/ttl", "x", ttl=100)
    same(made.ttl, 100)
    same(client.refresh("/ttl", 300).ttl, 300)
    same(client.read("/ttl").value, "x")
    client.write("/ttl", "y", ttl=1)
    index = client.read("/ttl").modifiedIndex
    same(client.watch("/ttl", index=index + 1, timeout=8).action, "expire")


def watch():
    other = connect()
    before = client.store_stats["watchers"]
    result = in_background(lambda: other.watch("/watched", timeout=10))
    wait_for_watchers(before + 1)
    made = client.write("/watched", "x")
    same((result().value, result().modifiedIndex), ("x", made.modifiedIndex))
    same(client.watch("/watched", index=made.modifiedIndex).value, "x")
    client.write("/below/a/b", "y")
    same(client.read("/below", wait=True, recursive=True, waitIndex=made.modifiedIndex).key, "/below/a/b")
    raises(etcd.EtcdWatchTimedOut, client.watch, "/silent", timeout=1)


def eternal_watch():
    first = client.write("/eternal", 0).modifiedIndex
    for number in (1, 2, 3):
        client.write("/eternal", number)
    events = connect().eternal_watch("/eternal", index=first)
    same([next(events).value for _ in range(4)], ["0", "1", "2", "3"])


def lock():
    one, other = etcd.Lock(client, "l"), etcd.Lock(connect(), "l")
    same(one.acquire(blocking=True, lock_ttl=60), True)
    same(other.acquire(blocking=False, lock_ttl=60), False)
    result = in_background(lambda: other.acquire(blocking=True, lock_ttl=60, timeout=10))
    one.release()
    same((result(), other.is_acquired, one.is_acquired), (True, True, False))
    other.release()
    with etcd.Lock(client, "l") as held:
        same(held.is_acquired, True)


def cluster():
    same([urllib.parse.urlsplit(url).port for url in client.machines], [URL.port])
    same(len(client.members), 1)
    same(client.leader["id"], next(iter(client.members)))
    same(client.stats["state"], "StateLeader")
    same(client.leader_stats["leader"], client.leader["id"])
    assert client.store_stats["setsSuccess"] > 0
    assert client.version and client.cluster_version, (client.version, client.cluster_version)
    same(connect(allow_reconnect=True, version_prefix="/v2").read("/cas").value, "four")


CHECKS = [write_and_read, unicode_values, missing_key, compare_and_swap, update_an_object, delete, directories,
          in_order_keys, time_to_live, watch, eternal_watch, lock, cluster]

failed = False
for check in CHECKS:
    line = {"check": check.__name__, "ok": True}
    try:
        check()
    except Exception:
        line |= {"ok": False, "why": traceback.format_exc()[-1500:]}
        failed = True
    print(json.dumps(line), flush=True)
print(json.dumps({"check": "the end", "ok": True}), flush=True)
sys.exit(1 if failed else 0)
