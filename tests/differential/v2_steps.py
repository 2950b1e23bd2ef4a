"""The random steps of v2_fuzz.py.

A step is what the transcripts have, with templates that are filled in when it is played: {D} is the sequence's
directory; {V} and {I} are the value and the index that the step's key has just then; {N-3} and {N+1} the store's
index, less or more; {P} the name of the last in-order key.
"""
import random

from tests.harness.http import FORM

PLAIN_NAMES = ["a", "b", "c", "d", "dd", "d-e", "_h", "f"]
ODD_NAMES = ["_", "__", "a_", "%5Fh", "a%20b", "a+b", "a%2Bb", "%C3%A9", "%c3%a9", "%E4%BD%A0", "%F0%9F%98%80", "%FF",
             "%E4%BD", "a%FFb", "%ED%A0%80", "%00", "%0A", "%09", "%7F", "%3F", "%23", "%25", "a%25zz", "a;b", "a%3Bb",
             "a&b=c", "%22", "%3Ca%3E", "a%5Cb", "a:b@c,d", "~!$'()*", "..a", "a..", "...", ".a", "0", "01", "{P}",
             "keys", "v2", "[a]", "%5Ba%5D", "%7Ba%7D", "%60", "%5E", "%7C", "%2E", "\xe9", '"q"',
             "<t>", "b\\", "^", "`", "{x}", "|", "#h", "[", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"]
BENT_NAMES = ["", ".", "..", "%2e", "%2e%2e", "%2F", "b%2Fc", "%zz", "%4", "%", "%2F%2F", "%2e.", "\x7f"]
VALUES = ["x", "y", "", "one+two", "%C3%A9", "a%FFb", "%00", "a%3Bb", "TRUE", "true", "a%26b%3Dc", "%3Cb%3E", "%0A",
          "%E2%80%A8", "a=b", "%22%5C", "x" * 300, "%EF%BF%BD", "%C0%AF"]
TRUES, FALSES = ["true", "1", "t", "T", "TRUE", "True"], ["false", "0", "f", "F", "FALSE", "False"]
JUNK = ["yes", "", "tRue", "2", "abc", "-1", "%20true", "true%00"]
NUMBERS_JUNK = ["abc", "", "-1", "1.5", "%2B7", "18446744073709551616", "0x1", "1_0", "%201", "1e3",
                "%D9%A1"]
UNKNOWN = ["foo=bar", "baz", "Value=z", "Recursive=true", "=x", "&", "value[]=q", "consistent=true", "WAIT=true",
           "x=%00", "x=?", "x=#", "x=<>", "?recursive=true", "recursive=true?", "x=\xe9"]
BROKEN = ["x=%zz", "%zz=x", "a;b", "x=%4", "value=a;b", "x=%", ";"]
CONTENT_TYPES = ["text/plain", "application/json", "application/x-www-form-urlencoded; charset=utf-8",
                 "Application/X-WWW-Form-URLencoded", None, "multipart/form-data; boundary=B", ""]


class Generator:
    """Random steps, few of them nonsense."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.watches = 0
        self.written = []  # paths that probably exist

    def steps(self, count):
        return [self.step() for _ in range(count)] + [{"do": "stats"}]

    def chance(self, probability):
        return self.random.random() < probability

    def step(self):
        kind = self.random.choices(("put", "get", "post", "delete", "watch", "join", "odd"),
                                   (40, 20, 6, 14, 12, 6, 2))[0]
        return getattr(self, "_" + kind)()

    # Paths.

    def path(self):
        roll = self.random.random()
        if roll < 0.03:
            return self.random.choice(("/v2/keys", "/v2/keys/"))
        end = "/" if self.chance(0.04) else ""
        if self.written and self.chance(0.6):
            path = self.random.choice(self.written[-10:])
            return self.random.choices((path, path.rpartition("/")[0], path + "/" + self.name()), (7, 2, 1))[0] + end
        names = [self.name() for _ in range(self.random.choices((0, 1, 2, 3, 4), (4, 46, 30, 15, 5))[0])]
        return "/v2/keys{D}" + "".join("/" + name for name in names) + end

    def name(self):
        roll = self.random.random()
        if roll < 0.86:
            return self.random.choice(PLAIN_NAMES)
        return self.random.choice(ODD_NAMES if roll < 0.985 else BENT_NAMES)

    # Parameters.

    def boolean(self, yes=0.8):
        roll = self.random.random()
        if roll < 0.06:
            return self.random.choice(JUNK)
        return self.random.choice(TRUES if self.chance(yes) else FALSES) if roll < 0.3 else (
            "true" if self.chance(yes) else "false")

    def number(self, good):
        roll = self.random.random()
        if roll < 0.06:
            return self.random.choice(NUMBERS_JUNK)
        return self.random.choice(("99999999", "0", "18446744073709551615", "00")) if roll < 0.15 else good

    def ttl(self):
        roll = self.random.random()
        if roll < 0.12:
            return self.random.choice(NUMBERS_JUNK)
        return self.random.choice(("1000", "2000", "0500", "4000000000"))

    def value(self):
        return self.random.choice(VALUES)

    def extras(self):
        """Parameters that should not matter, and few that break the form."""
        fields = []
        if self.chance(0.04):
            fields.append(self.random.choice(UNKNOWN))
        if self.chance(0.01):
            fields.append(self.random.choice(BROKEN))
        if self.chance(0.03):
            fields.append("noValueOnSuccess=" + self.boolean())
        if self.chance(0.015):
            name = self.random.choice(("recursive", "sorted", "stream", "quorum", "wait", "dir", "refresh",
                                       "prevExist"))
            fields.append(f"{name}={self.boolean()}")
        if self.chance(0.01):
            name = self.random.choice(("prevIndex", "waitIndex", "ttl", "prevValue"))
            fields.append(f"{name}={self.ttl() if name == 'ttl' else self.number('{I}')}")
        return fields

    def conditions(self):
        fields = []
        which = self.random.choices(("value", "index", "both"), (4, 4, 2))[0]
        if which != "index":
            fields.append("prevValue=" + ("{V}" if self.chance(0.65) else self.value()))
        if which != "value":
            fields.append("prevIndex=" + self.number(self.random.choice(("{I}", "{I}", "{I}", "{N+0}", "{N+1}"))))
        return fields

    # Kinds of steps.

    def _put(self):
        fields = []
        if self.chance(0.8):
            fields.append("value=" + self.value())
        if self.chance(0.12):
            fields.append("dir=" + self.boolean())
        if self.chance(0.2):
            fields.append("ttl=" + self.ttl())
        if self.chance(0.25):
            fields.append("prevExist=" + self.boolean(0.6))
        if self.chance(0.25):
            fields += self.conditions()
        if self.chance(0.1):
            fields.append("refresh=" + self.boolean())
            if self.chance(0.8):
                fields = [field for field in fields if not field.startswith(("value=", "ttl="))] + ["ttl=" + self.ttl()]
        return self._form("PUT", fields)

    def _post(self):
        fields = ["value=" + self.value()] if self.chance(0.8) else []
        if self.chance(0.15):
            fields.append("dir=" + self.boolean())
        if self.chance(0.15):
            fields.append("ttl=" + self.ttl())
        if self.chance(0.05):
            fields += self.conditions()
        return self._form("POST", fields)

    def _form(self, method, fields):
        fields += self.extras()
        self.random.shuffle(fields)
        step = {"do": "request", "method": method, "path": self.path()}
        if step["path"].startswith("/v2/keys{D}"):
            self.written.append(step["path"].rstrip("/") + ("/{P}" if method == "POST" else ""))
        query = [field for field in fields if self.chance(0.12)]
        body = [field for field in fields if field not in query]
        if self.chance(0.04) and fields:  # both, to see which one wins
            query.append(self.random.choice(fields).partition("=")[0] + "=" + self.value())
        if query:
            step["path"] += "?" + "&".join(query)
        if body or self.chance(0.5):
            step["body"] = "&".join(body)
            step["headers"] = dict(FORM)
            if self.chance(0.03):
                kind = self.random.choice(CONTENT_TYPES)
                step["headers"] = {} if kind is None else {"Content-Type": kind}
        return step

    def _delete(self):
        fields = []
        if self.chance(0.3):
            fields.append("dir=" + self.boolean())
        if self.chance(0.3):
            fields.append("recursive=" + self.boolean())
        if self.chance(0.3):
            fields += self.conditions()
        return self._query("DELETE", fields + self.extras())

    def _get(self):
        fields = []
        for name, probability in (("recursive", 0.35), ("sorted", 0.35), ("quorum", 0.15)):
            if self.chance(probability):
                fields.append(f"{name}={self.boolean()}")
        if self.chance(0.05):
            fields.append(f"waitIndex={self.number('{N+0}')}")
        fields += [field for field in self.extras() if not field.startswith("wait=")]
        return self._query("HEAD" if self.chance(0.1) else "GET", fields)

    def _query(self, method, fields):
        self.random.shuffle(fields)
        step = {"do": "request", "method": method, "path": self.path()}
        if fields or self.chance(0.02):
            step["path"] += "?" + "&".join(fields)
        if self.chance(0.02):
            step |= {"body": "value=z&recursive=true", "headers": dict(FORM)}
        return step

    def _watch(self):
        self.watches += 1
        fields = ["wait=" + (self.boolean(0.97) if self.chance(0.2) else "true")]
        if self.chance(0.5):
            fields.append("recursive=" + self.boolean())
        from_history = self.chance(0.6)
        if from_history:
            back = min(int(self.random.expovariate(0.15)), 60)
            fields.append("waitIndex=" + self.number(self.random.choice((f"{{N-{back}}}", f"{{N-{back}}}", "{I}",
                                                                         "{N+1}", "{N+3}"))))
        if self.chance(0.15):
            fields.append("stream=" + self.boolean())
        if self.chance(0.05):
            fields.append("quorum=" + self.boolean(0.5))
        if self.chance(0.03):
            fields.append(self.random.choice(("sorted=true", "sorted=yes", "value=x", "dir=true", "prevExist=maybe")))
        step = self._query("GET", fields)
        step.pop("body", None)
        step.pop("headers", None)
        return step | {"bg": f"w{self.watches}"}

    def _join(self):
        return {"do": "join", "id": f"w{self.random.randint(1, max(1, self.watches))}"}

    def _odd(self):
        method = self.random.choice(("PATCH", "OPTIONS", "HEAD", "HEAD", "GET", "TRACE", "put", "FOO"))
        step = self._query(method, ["wait=true"] if method == "HEAD" else [])
        if self.chance(0.2):
            step["path"] = self.random.choice(("/v2/keysx", "/v2/key", "/v2", "/v2/", "/", "/v2//keys/a",
                                               "/v2/./keys/a", "/v2/keys/../keys/a", "/v2/keys/a/../../../version/x"))
        return step
