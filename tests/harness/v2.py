"""A few v2 calls, for tests whose subject is something else."""
import json
import time
import urllib.parse

from tests.harness.http import FORM, Client


class Answer:
    """A v2 answer: status, parsed body, and the index header."""

    def __init__(self, response):
        self.status = response.status
        self.response = response
        self.body = json.loads(response.body) if response.body else None

    @property
    def index(self):
        return int(self.response.header("X-Etcd-Index", "0"))

    @property
    def node(self):
        return self.body["node"]

    def __repr__(self):
        return f"<{self.status} {self.body}>"


class Keys:
    """The keys API of one server over one keep-alive connection. For one thread."""

    def __init__(self, url, timeout=10.0):
        self._client = Client(url, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self._client.close()

    def put(self, key, value, **conditions):
        form = urllib.parse.urlencode({"value": value, **conditions})
        return Answer(self._client.request("PUT", "/v2/keys" + key, FORM, form))

    def post(self, directory, value):
        form = urllib.parse.urlencode({"value": value})
        return Answer(self._client.request("POST", "/v2/keys" + directory, FORM, form))

    def get(self, key, **query):
        return Answer(self._client.request("GET", _path(key, query)))

    def delete(self, key, **query):
        return Answer(self._client.request("DELETE", _path(key, query)))


def _path(key, query):
    return "/v2/keys" + key + ("?" + urllib.parse.urlencode(query) if query else "")


def wait_until(condition, timeout=10.0, what="the condition"):
    """Asks again and again until `condition()` is true; returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: still not so after {timeout} s")
        time.sleep(0.01)  # only the distance between two questions
