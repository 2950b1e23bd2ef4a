#!/usr/bin/env python3
"""Checks that the folder tree is the architecture: who includes whom, and which libraries stay behind a .cc file.

    python3 tools/check_layers.py                      checks src/ of this repository
    python3 tools/check_layers.py --drawing STYLE.md   also compares FLOORS below with the drawing in a text
    python3 tools/check_layers.py --self-test          plants one fault after another and expects to catch each

A room is a folder under src/. Its CMakeLists.txt says etcd_module(name PURPOSE "..." USES ...). Then:

    the drawing   every USES arrow is in FLOORS, and every arrow in FLOORS points down
    the includes  "room/file.h" only of the own room, of base, or of a room in USES; always with the room's name
    tests         *_test.cc and *_test.h may also use the rooms in TEST_USES, and gtest; others may not use gtest
    heavy headers (Asio, OpenSSL, ...) only in the .cc files that HEAVY lists, never in a header

Each finding is one line `file:line: what`. Exit code 0 when there is none, else 1.
"""
import argparse
import fnmatch
import os
import re
import sys
import tempfile
from dataclasses import dataclass

# The drawing, from floor 0 up: room -> (floor, rooms it may include besides base). ALL_BELOW: every lower room.
ALL_BELOW = "*"
FLOORS = {
    "base": (0, ""),
    "raft": (1, ""),
    "telemetry": (1, ""),
    "io": (1, ""),
    "codec": (1, ""),
    "wal": (2, "io codec"),
    "bolt": (2, "io codec"),
    "engine": (2, "io"),
    "net": (2, "io"),
    "mvcc": (3, "engine telemetry codec io"),
    "lease": (3, "engine telemetry codec io"),
    "auth": (3, "engine codec io"),
    "members": (3, "engine codec"),
    "snap": (3, "bolt engine io codec"),
    "config": (3, "io codec"),
    "client": (3, "net codec"),
    "tree": (4, "mvcc codec"),
    "apply": (5, "tree mvcc lease auth members engine telemetry codec io"),
    "replica": (6, "apply raft wal snap lease members engine telemetry io codec"),
    "service": (7, "replica apply tree mvcc lease auth members raft telemetry codec io"),
    "duties": (7, "replica apply mvcc lease members codec io"),
    "discovery": (7, "members net codec"),
    "peer": (7, "replica raft snap net codec io"),
    "api/v2": (8, "service tree mvcc members net codec"),
    "api/v3": (8, "service net codec"),
    "api/admin": (8, "service net telemetry codec io"),
    "server": (9, ALL_BELOW),
    "offline": (9, "bolt snap wal engine mvcc members raft codec"),
    "cmd": (10, "server offline client config"),
}

# What lies beside the building and is never included by it.
BESIDE = ("sim", "bench", "fuzz", "tests", "web", "tools", "docs")

# Heavy library headers: pattern of the include -> the .cc files (patterns under src/) that may have it.
HEAVY = {
    "boost/asio*": ["net/loop.cc", "net/server.cc", "net/http1_session.cc", "net/http_client.cc"],
    "boost/beast*": ["net/http1_session.cc"],
    "nghttp2/*": ["net/http2_session.cc"],
    "openssl/*": ["net/tls.cc", "net/loop.cc", "net/server.cc", "members/id.cc"],
    "yaml-cpp/*": ["config/yaml.cc"],
    "nlohmann/json*": ["cmd/*.cc"],
    "rapidjson/*": ["members/member.cc", "members/cluster_config.cc", "api/v2/json_body.cc"],
    "lmdb.h": ["engine/lmdb_engine.cc"],
    "spdlog/*": ["telemetry/log.cc"],
    "CLI/*": ["cmd/*.cc"],
    "ares.h": ["discovery/srv.cc"],
    "crypt.h": ["auth/password.cc"],
    "prometheus/*": ["telemetry/metrics.cc"],
    "systemd/*": ["server/systemd.cc"],
    "zlib.h": ["telemetry/rotating_file.cc", "telemetry/rotating_file_test.cc"],
}
# google/protobuf is heavy, too: only in codec, and in a .cc that itself includes one of our generated headers.
PROTOBUF = "google/protobuf/*"
GENERATED = re.compile(r"^codec/proto/\w+\.pb\.h$")
TEST_LIBRARIES = ("gtest/*", "gmock/*")

# Rooms whose CMakeLists.txt may do without etcd_module(): they make programs, not a library.
PROGRAM_ROOMS = ("cmd",)

SOURCE_ENDINGS = (".cc", ".h")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s()"]+|[()]')
KEYWORDS = ("PURPOSE", "USES", "LIBS", "TEST_USES", "TEST_LIBS")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    file: str
    line: int
    what: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.what}"


@dataclass
class Module:
    """What a room's CMakeLists.txt says about it."""

    name: str
    file: str
    line: int
    uses: tuple = ()
    test_uses: tuple = ()
    purpose: str = ""


# The drawing.


def allowed(room, floors):
    """The rooms that the drawing lets `room` include, besides itself and base."""
    floor, bracket = floors[room]
    if bracket == ALL_BELOW:
        return {other for other, (level, _) in floors.items() if level < floor}
    return set(bracket.split())


def check_drawing(floors):
    """The table's own consistency: known names, arrows that point down."""
    here = os.path.basename(__file__)
    for room, (floor, _) in floors.items():
        for other in sorted(allowed(room, floors)):
            if other not in floors:
                yield Finding(here, 1, f"the drawing lets {room} include {other}, which is no room")
            elif floors[other][0] >= floor:
                yield Finding(here, 1, f"the drawing's arrow from {room} (floor {floor}) to {other} "
                                       f"(floor {floors[other][0]}) does not point down")


def read_drawing(text):
    """FLOORS as drawn in a text: lines such as ' 2 | wal/   An append-only ... [io codec]'."""
    floors, floor = {}, None
    pattern = re.compile(r"^\s*(\d+)?\s+(?:[|v]\s+)?([a-z][a-z0-9]*(?:/[a-z0-9]+)*)/\s+.*\[([^\]]*)\]\s*$")
    for line in text.splitlines():
        if not (match := pattern.match(line)):
            continue
        floor = int(match[1]) if match[1] else floor
        bracket = match[3].strip()
        floors[match[2]] = (floor, ALL_BELOW if bracket == "every room below" else bracket)
    return floors


def compare_drawings(drawn, file, floors):
    """Where the drawing in a text and the table here disagree."""
    for room in sorted(set(drawn) | set(floors)):
        if room not in drawn or room not in floors:
            where = "tools/check_layers.py" if room in drawn else "the drawing"
            yield Finding(file, 1, f"{room} is missing in {where}")
        elif drawn[room][0] != floors[room][0] or set(drawn[room][1].split()) != set(floors[room][1].split()):
            yield Finding(file, 1, f"{room} is drawn as {drawn[room]}, tools/check_layers.py has {floors[room]}")


# The rooms' CMakeLists.txt.


def parse_modules(text, file):
    """Every etcd_module(...) call in a CMakeLists.txt."""
    lines = [re.sub(r'^((?:[^"#]|"[^"]*")*)#.*$', r"\1", line) for line in text.splitlines()]
    tokens = [(match[0], number) for number, line in enumerate(lines, 1) for match in TOKEN.finditer(line)]
    modules = []
    for place, (token, line) in enumerate(tokens):
        if token != "etcd_module" or place + 2 >= len(tokens) or tokens[place + 1][0] != "(":
            continue
        words = []
        for word, _ in tokens[place + 2:]:
            if word == ")":
                break
            words.append(word)
        modules.append(_module(words, file, line))
    return modules


def _module(words, file, line):
    values = {keyword: [] for keyword in KEYWORDS}
    current = None
    for word in words[1:]:
        if word in KEYWORDS:
            current = word
        elif current:
            values[current].append(word.strip('"'))
    return Module(words[0] if words else "", file, line, tuple(values["USES"]), tuple(values["TEST_USES"]),
                  " ".join(values["PURPOSE"]))


def check_module(module, room, floors):
    """One room's declaration against the drawing."""
    if module.name != room:
        yield Finding(module.file, module.line, f"etcd_module({module.name}) lies in the folder of {room}")
        return
    if not module.purpose:
        yield Finding(module.file, module.line, f"{room} has no PURPOSE")
    for other in module.uses:
        if other == "base":
            continue
        if other not in floors:
            yield Finding(module.file, module.line, f"{room} USES {other}, which is no room of the drawing")
        elif other not in allowed(room, floors):
            yield Finding(module.file, module.line, f"the drawing has no arrow from {room} to {other}")
    for other in module.test_uses:
        if other not in floors:
            yield Finding(module.file, module.line, f"{room} TEST_USES {other}, which is no room of the drawing")
        elif floors[other][0] > floors[room][0]:
            yield Finding(module.file, module.line, f"{room}'s tests use {other}, which is on a higher floor")


# The includes.


def room_of(path, floors):
    """The room that a path under src/ lies in; None when it lies in none."""
    parts = path.split("/")
    for count in range(len(parts) - 1, 0, -1):
        if "/".join(parts[:count]) in floors:
            return "/".join(parts[:count])
    return None


def is_test(path):
    return re.search(r"_test\.(cc|h)$", path) is not None


class Checker:
    """Checks one source tree."""

    def __init__(self, root, floors=None):
        self.root = root
        self.source = os.path.join(root, "src")
        self.floors = floors or FLOORS
        self.modules = {}  # room -> Module

    def findings(self):
        yield from check_drawing(self.floors)
        files = sorted(self._files())
        yield from self._check_places(files)
        yield from self._check_modules(files)
        for path in files:
            if path.endswith(SOURCE_ENDINGS):
                yield from self._check_includes(path)

    def _files(self):
        for folder, folders, names in os.walk(self.source):
            folders[:] = [name for name in folders if name not in ("testdata", "build")]
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.source).replace(os.sep, "/")
                if path.endswith(SOURCE_ENDINGS) or name == "CMakeLists.txt":
                    yield path

    def _check_places(self, files):
        """Every file lies in a room."""
        reported = set()
        for path in files:
            folder = path.rpartition("/")[0]
            if room_of(path, self.floors) or folder in reported or path == "CMakeLists.txt":
                continue
            if path.endswith("CMakeLists.txt") and any(room.startswith(folder + "/") for room in self.floors):
                continue  # src/api/CMakeLists.txt may gather its rooms
            reported.add(folder)
            what = f"the folder src/{folder} is no room of the drawing" if folder else "this file lies in no room"
            yield Finding("src/" + path, 1, what)

    def _check_modules(self, files):
        rooms = {room_of(path, self.floors) for path in files if path.endswith(SOURCE_ENDINGS)} - {None}
        for path in files:
            room = room_of(path, self.floors)
            if not path.endswith("CMakeLists.txt") or room is None:
                continue
            with open(os.path.join(self.source, path), encoding="utf-8") as file:
                for module in parse_modules(file.read(), "src/" + path):
                    yield from check_module(module, room, self.floors)
                    if room in self.modules:
                        yield Finding("src/" + path, module.line, f"{room} is declared twice")
                    self.modules[room] = module
        for room in sorted(rooms - set(self.modules)):
            file = f"src/{room}/CMakeLists.txt"
            if room not in PROGRAM_ROOMS:
                yield Finding(file, 1, f"{room} has no etcd_module() call")
            self.modules[room] = Module(room, file, 1, tuple(sorted(allowed(room, self.floors))))

    def _check_includes(self, path):
        room = room_of(path, self.floors)
        if room is None:
            return
        with open(os.path.join(self.source, path), encoding="utf-8") as file:
            includes = [(number, *match.groups()) for number, line in enumerate(file, 1)
                        if (match := INCLUDE.match(line))]
        generated = any(GENERATED.match(target) for _, _, target in includes)
        for number, quote, target in includes:
            if what := self._fault(path, room, quote, target, generated):
                yield Finding("src/" + path, number, what)

    def _fault(self, path, room, quote, target, includes_generated):
        """What is wrong with one include; None when nothing is."""
        first = target.split("/")[0]
        ours = quote == '"' or os.path.exists(os.path.join(self.source, target))
        if first in ("..", "."):
            return f'"{target}": an include names its room, not a way through the folders'
        if quote == '"' and "/" not in target and not self._is_heavy(target):
            return f'"{target}": an include names its room: "{room}/{target}"'
        if first in BESIDE and (quote == '"' or os.path.exists(os.path.join(self.root, target))):
            return f'"{target}": {first} lies beside the building and is never included by it'
        other = room_of(target, self.floors) if ours else None
        if other is not None:
            return self._room_fault(path, room, other, target)
        if what := self._library_fault(path, target, includes_generated):
            return what
        if quote == '"' and not self._is_heavy(target):
            return f'"{target}": {first} is no room of the drawing'
        return None

    def _room_fault(self, path, room, other, target):
        module = self.modules[room]
        uses = {room, "base", *module.uses, *(module.test_uses if is_test(path) else ())}
        if other in uses:
            return None
        if other in module.test_uses:
            return f'"{target}": {other} is in TEST_USES only, and this is no test'
        if other in self.floors and other in allowed(room, self.floors):
            return f'"{target}": {other} is not in the USES of {module.file}'
        return f'"{target}": the drawing has no arrow from {room} to {other}'

    def _library_fault(self, path, target, includes_generated):
        if any(fnmatch.fnmatch(target, pattern) for pattern in TEST_LIBRARIES):
            return None if is_test(path) else f"<{target}> belongs into tests"
        if fnmatch.fnmatch(target, PROTOBUF):
            if path.endswith(".h"):
                return f"<{target}> is a heavy header and belongs into a .cc file"
            if path.startswith("codec/") or includes_generated or is_test(path):
                return None
            return f"<{target}> only in codec, or beside a generated codec/proto header"
        for pattern, places in HEAVY.items():
            if not fnmatch.fnmatch(target, pattern):
                continue
            if path.endswith(".h"):
                return f"<{target}> is a heavy header and belongs into a .cc file"
            if any(fnmatch.fnmatch(path, place) for place in places):
                return None
            return f"<{target}> is a heavy header; tools/check_layers.py lists it for {', '.join(places)} only"
        return None

    @staticmethod
    def _is_heavy(target):
        patterns = (*HEAVY, PROTOBUF, *TEST_LIBRARIES)
        return any(fnmatch.fnmatch(target, pattern) for pattern in patterns)


# The self-test: a small tree without fault, then the same with one fault at a time.

GOOD_TREE = {
    "src/base/CMakeLists.txt": 'etcd_module(base PURPOSE "Vocabulary." LIBS fmt::fmt)\n',
    "src/base/ids.h": "#pragma once\n#include <fmt/format.h>\n",
    "src/io/CMakeLists.txt": '# etcd_module(nonsense USES server)\netcd_module(io PURPOSE "Doors; (a # here)." '
                             'LIBS Threads::Threads)\n',
    "src/io/file.h": '#include "base/ids.h"\n',
    "src/codec/CMakeLists.txt": 'etcd_module(codec PURPOSE "Messages.")\n',
    "src/codec/wire.cc": "#include <google/protobuf/message.h>\n",
    "src/raft/CMakeLists.txt": 'etcd_module(raft PURPOSE "Raft." TEST_USES codec)\n',
    "src/raft/core.h": '#include "base/ids.h"\n',
    "src/raft/core.cc": '#include "raft/core.h"\n',
    "src/raft/core_test.cc": '#include "raft/core.h"\n#include "codec/wire.h"\n#include <gtest/gtest.h>\n',
    "src/wal/CMakeLists.txt": 'etcd_module(wal PURPOSE "A log."\n            USES io codec)\n',
    "src/wal/writer.cc": '#include "io/file.h"\n#include "codec/proto/raft.pb.h"\n#include <google/protobuf/arena.h>\n',
    "src/engine/CMakeLists.txt": 'etcd_module(engine PURPOSE "A map." USES io LIBS PkgConfig::LMDB)\n',
    "src/engine/lmdb_engine.cc": "#include <lmdb.h>\n",
    "src/net/CMakeLists.txt": 'etcd_module(net PURPOSE "HTTP." USES io)\n',
    "src/net/http.h": "#include <net/if.h>\n",
    "src/net/loop.cc": "#include <boost/asio/io_context.hpp>\n",
    "src/api/CMakeLists.txt": "add_subdirectory(v2)\n",
    "src/api/v2/CMakeLists.txt": 'etcd_module(api/v2 PURPOSE "The 0.4 API." USES net codec)\n',
    "src/api/v2/handler.cc": '#include "api/v2/handler.h"\n#include "net/http.h"\n',
    "src/api/v2/handler.h": "",
    "src/cmd/CMakeLists.txt": "add_executable(etcd etcd.cc)\n",
    "src/cmd/etcd.cc": '#include "server/server.h"\n',
}

# What is planted: file, its text, and a part of the finding that must come (on the given line).
FAULTS = [
    ("src/wal/writer.cc", '\n#include "net/http.h"\n', 2, "no arrow from wal to net"),
    ("src/wal/writer.cc", '#include "mvcc/store.h"\n', 1, "no arrow from wal to mvcc"),
    ("src/engine/other.cc", '#include "codec/wire.h"\n', 1, "no arrow from engine to codec"),
    ("src/api/v2/handler.cc", '#include "service/service.h"\n', 1, "service is not in the USES"),
    ("src/api/v2/handler.cc", '#include "api/v3/handler.h"\n', 1, "no arrow from api/v2 to api/v3"),
    ("src/wal/reader.cc", '#include "raft/core.h"\n', 1, "no arrow from wal to raft"),
    ("src/raft/core.cc", '#include "codec/wire.h"\n', 1, "TEST_USES only"),
    ("src/raft/core.cc", "#include <gtest/gtest.h>\n", 1, "belongs into tests"),
    ("src/wal/writer.cc", '#include "writer.h"\n', 1, 'names its room: "wal/writer.h"'),
    ("src/wal/writer.cc", '#include "../io/file.h"\n', 1, "not a way through the folders"),
    ("src/wal/writer.cc", '  #  include "sim/disk.h"\n', 1, "beside the building"),
    ("src/wal/writer.cc", '#include "tests/helper.h"\n', 1, "beside the building"),
    ("src/wal/writer.cc", '#include "bench/helper.h"\n', 1, "beside the building"),
    ("src/wal/writer.cc", '#include "utils/strings.h"\n', 1, "utils is no room"),
    ("src/wal/writer.cc", "#include <net/http.h>\n", 1, "no arrow from wal to net"),
    ("src/utils/strings.h", "", 1, "src/utils is no room"),
    ("src/stray.h", "", 1, "lies in no room"),
    ("src/wal/CMakeLists.txt", 'etcd_module(wal PURPOSE "A log." USES io codec net)\n', 1, "no arrow from wal to net"),
    ("src/wal/CMakeLists.txt", 'etcd_module(wal PURPOSE "A log." USES io codec utils)\n', 1, "USES utils, which is no"),
    ("src/wal/CMakeLists.txt", 'etcd_module(wall PURPOSE "A log." USES io codec)\n', 1, "lies in the folder of wal"),
    ("src/wal/CMakeLists.txt", "etcd_module(wal USES io codec)\n", 1, "no PURPOSE"),
    ("src/wal/CMakeLists.txt", "add_library(wal)\n", 1, "no etcd_module() call"),
    ("src/wal/CMakeLists.txt", 'etcd_module(wal PURPOSE "A log." USES io codec TEST_USES mvcc)\n', 1, "higher floor"),
    ("src/net/http.h", "#include <boost/asio/ip/tcp.hpp>\n", 1, "belongs into a .cc file"),
    ("src/net/http.h", "#include <openssl/ssl.h>\n", 1, "belongs into a .cc file"),
    ("src/net/router.cc", "#include <boost/beast/http.hpp>\n", 1, "heavy header"),
    ("src/net/router.cc", "#include <nghttp2/nghttp2.h>\n", 1, "heavy header"),
    ("src/wal/writer.cc", "#include <spdlog/spdlog.h>\n", 1, "heavy header"),
    ("src/wal/writer.cc", "#include <nlohmann/json.hpp>\n", 1, "heavy header"),
    ("src/wal/writer.cc", "#include <yaml-cpp/yaml.h>\n", 1, "heavy header"),
    ("src/wal/writer.cc", "#include <rapidjson/writer.h>\n", 1, "heavy header"),
    ("src/engine/engine.h", "#include <lmdb.h>\n", 1, "belongs into a .cc file"),
    ("src/engine/engine.cc", '#include "lmdb.h"\n', 1, "heavy header"),
    ("src/wal/writer.cc", "#include <google/protobuf/message.h>\n", 1, "only in codec"),
    ("src/codec/wire.h", "#include <google/protobuf/message.h>\n", 1, "belongs into a .cc file"),
    ("src/cmd/etcd.cc", '#include "mvcc/store.h"\n', 1, "no arrow from cmd to mvcc"),
]

BAD_DRAWINGS = [
    ("tree", (4, "mvcc apply"), "does not point down"),
    ("mvcc", (3, "engine lease"), "does not point down"),
    ("raft", (1, "utils"), "which is no room"),
]


def write_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def findings_of(files, floors=None):
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, files)
        return list(Checker(root, floors).findings())


def self_test():
    """Returns how many of the planted faults were not caught (or not as expected)."""
    bad = 0
    for finding in findings_of(GOOD_TREE):
        bad += 1
        print(f"self-test: the good tree has a finding: {finding}")
    for path, text, line, part in FAULTS:
        found = findings_of({**GOOD_TREE, path: text})
        hits = [finding for finding in found if finding.file == path and finding.line == line and part in finding.what]
        if len(hits) != 1:
            bad += 1
            print(f"self-test: {path} with {text!r} should give one '{part}', gave {[str(item) for item in found]}")
    for room, value, part in BAD_DRAWINGS:
        found = findings_of(GOOD_TREE, {**FLOORS, room: value})
        if not any(part in finding.what for finding in found):
            bad += 1
            print(f"self-test: drawing {room} as {value} should give '{part}'")
    bad += _self_test_of_drawing()
    print(f"self-test: {len(FAULTS) + len(BAD_DRAWINGS) + 1} faults planted, {bad} not as expected")
    return bad


def _self_test_of_drawing():
    text = (" 3 | mvcc/   Keys. [engine codec io]\n   v lease/  Leases. [engine codec]\n"
            " 9 v server/ All. [every room below]\n")
    drawn = read_drawing(text)
    wanted = {"mvcc": (3, "engine codec io"), "lease": (3, "engine codec"), "server": (9, ALL_BELOW)}
    found = [str(finding) for finding in compare_drawings(drawn, "x", {**wanted, "lease": (3, "engine codec io")})]
    if drawn != wanted or len(found) != 1:
        print(f"self-test: the drawing was read as {drawn}, differences {found}")
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description="Checks the layers of src/.")
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("root", nargs="?", default=here, help="the repository")
    parser.add_argument("--drawing", help="a text with the drawing, to be compared with the table in this tool")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return 1 if self_test() else 0
    found = list(Checker(options.root).findings())
    if options.drawing:
        with open(options.drawing, encoding="utf-8") as file:
            found += compare_drawings(read_drawing(file.read()), options.drawing, FLOORS)
    for finding in found:
        print(finding)
    print(f"check_layers: {len(found)} findings" if found else "check_layers: the tree is as drawn")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
