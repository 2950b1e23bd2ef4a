"""The ways to damage a member's files: damage_test.py starts members on what is left.

    copy_base(base.directory, directory)
    base_name, damage = KINDS["swap segments 0 and 1 of 3"]
    done = damage(Damager(base, directory, random.Random(seed), other_directory))
    print(done.text)
"""
import glob
import os
import re
import shutil
from dataclasses import dataclass

from tests.harness import lmdb_file, wal_file

LATE_WRITES = 60  # so many of the last writes only the log has, in a killed member's directory


@dataclass
class Base:
    """A directory to be copied and damaged."""

    directory: str
    story: object  # what was written: the test's
    killed: bool
    older_store: str = ""  # a copy of its store from before its last writes

    def segments(self):
        return sorted(glob.glob(os.path.join(self.directory, "member", "wal", "*.wal")))


def store_of(directory):
    return os.path.join(directory, "member", "store", "store.mdb")


def copy_base(source, target):
    """Full segments but the newest are linked: the member only reads them, and damage() makes a copy first."""
    newest = max(glob.glob(os.path.join(source, "member", "wal", "*.wal")), default=None)

    def take(path, copy):
        if path.endswith(".wal") and path != newest:
            os.link(path, copy)
        else:
            shutil.copy2(path, copy)

    shutil.copytree(source, target, copy_function=take, ignore=shutil.ignore_patterns("*.tmp"))


@dataclass
class Done:
    """What was damaged."""

    text: str
    lost_from: int = 0  # the first entry that may be gone because the log looks as if it had ended there; 0: none may
    wal: bool = False
    store: bool = False


class Damager:
    """Damages a copy of `base`."""

    def __init__(self, base, directory, rng, other):
        self.base = base
        self.directory = directory
        self.rng = rng
        self.other = other  # another member's directory
        self.wal = os.path.join(directory, "member", "wal")
        self.segments = sorted(glob.glob(os.path.join(self.wal, "*.wal")))
        self.store = store_of(directory)

    # Bytes.

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def write(self, path, data):
        os.unlink(path)  # it may be a link to the base's
        with open(path, "wb") as file:
            file.write(data)

    def change(self, path, at, data):
        old = self.read(path)
        self.write(path, old[:at] + data + old[at + len(data):])

    def flip(self, path, at, bit=None):
        bit = self.rng.randrange(8) if bit is None else bit
        self.change(path, at, bytes([self.read(path)[at] ^ 1 << bit]))
        return f"{os.path.basename(path)}: bit {bit} flipped at offset {at}"

    def frames(self, segment=-1):
        return wal_file.read_frames(self.read(self.segments[segment]))

    def lost_behind(self, offset):
        """What Done.lost_from is when the newest segment looks as if it ended at `offset`."""
        if not self.base.killed:
            return 0
        left = [frame.index for frame in self.frames() if frame.kind == wal_file.ENTRY and frame.end > offset]
        return min(left, default=0)

    # The log.

    def cut_newest(self, place):
        path = self.segments[-1]
        frames = self.frames()
        frame = frames[{"head": self.rng.randrange(4), "middle": self.rng.randrange(4, len(frames)),
                        "end": len(frames) - 1 - self.rng.randrange(3)}.get(place, 0)]
        offset = {"nothing": 0, "behind": self.rng.randrange(frames[-1].end, os.path.getsize(path)),
                  "border": self.rng.choice(frames[4:]).begin}.get(place, self.rng.randrange(frame.begin, frame.end))
        lost = self.lost_behind(offset)
        self.write(path, self.read(path)[:offset])
        return Done(f"{os.path.basename(path)}: cut at offset {offset}", lost, wal=True)

    def flip_in_newest(self, place):
        frames = self.frames()
        begin, end = {"head": (0, frames[3].end), "middle": (frames[4].begin, frames[-4].begin),
                      "end": (frames[-4].begin, frames[-1].end),
                      "behind": (frames[-1].end, frames[-1].end + 64)}[place]
        return Done(self.flip(self.segments[-1], self.rng.randrange(begin, end)), wal=True)

    def flip_a_length(self, bits, place="any"):
        """One bit of a record's length field, such that the padding in its top byte still fits for bits 3 and up."""
        frames = [frame for frame in self.frames()[4:] if frame.kind == wal_file.ENTRY]
        frame = frames[-1] if place == "last" else self.rng.choice(frames[-LATE_WRITES:])
        bit = self.rng.choice(bits)
        return Done(self.flip(self.segments[-1], frame.begin + bit // 8, bit % 8) + " (a length field)", wal=True)

    def zero_a_sector(self):
        """In the middle of records that were synced long before the last ones."""
        frames = self.frames()
        first = frames[len(frames) // 3].begin // wal_file.SECTOR
        last = frames[-40].begin // wal_file.SECTOR
        offset = self.rng.randrange(first, last) * wal_file.SECTOR
        self.change(self.segments[-1], offset, bytes(wal_file.SECTOR))
        return Done(f"{os.path.basename(self.segments[-1])}: a sector zeroed at offset {offset}", wal=True)

    def zero_the_end(self):
        """From a sector's border on, as if nothing had been written there."""
        frames = self.frames()
        offset = frames[self.rng.randrange(4, len(frames))].begin // wal_file.SECTOR * wal_file.SECTOR
        lost = self.lost_behind(offset)
        path = self.segments[-1]
        self.change(path, offset, bytes(os.path.getsize(path) - offset))
        return Done(f"{os.path.basename(path)}: zeros from offset {offset} on", lost, wal=True)

    def add_a_torn_record(self):
        """A record behind the last one, whose sectors came to the disk only in part: nothing is lost by that."""
        frames = self.frames()
        index = max(frame.index for frame in frames) + 1
        entry = wal_file.make_entry(2, index, b"t" * self.rng.randrange(600, 5000))
        frame = bytearray(wal_file.make_frame(wal_file.ENTRY, entry, frames[-1].crc))
        begin = frames[-1].end
        borders = range(begin // wal_file.SECTOR + 1, (begin + len(frame)) // wal_file.SECTOR)
        for sector in self.rng.sample(borders, self.rng.randrange(1, len(borders) + 1)) if borders else ():
            at = sector * wal_file.SECTOR - begin
            frame[at:at + wal_file.SECTOR] = bytes(wal_file.SECTOR)
        if not borders:
            frame = frame[:len(frame) // 2]
        path = self.segments[-1]
        data = self.read(path)[:begin] + frame
        self.write(path, data if self.rng.randrange(2) else data + bytes(1 << 20))
        return Done(f"{os.path.basename(path)}: a torn record at offset {begin}", wal=True)

    def repeat_records(self):
        """A piece of the log stands where another one should."""
        frames = self.frames()
        source, target = self.rng.sample(range(4, len(frames) - 4), 2)
        data = self.read(self.segments[-1])
        piece = data[frames[source].begin:frames[source + 3].end]
        self.change(self.segments[-1], frames[target].begin, piece)
        return Done(f"{os.path.basename(self.segments[-1])}: what was at {frames[source].begin} is at "
                    f"{frames[target].begin}, too", wal=True)

    def remove_segment(self, number):
        os.unlink(self.segments[number])
        return Done(f"{os.path.basename(self.segments[number])}: removed", wal=True)

    def replace_segment(self, number, what):
        path = self.segments[number]
        size = os.path.getsize(path)
        others = sorted(glob.glob(os.path.join(self.other, "member", "wal", "*.wal")))
        data = {"zeros": lambda: bytes(size), "noise": lambda: self.rng.randbytes(size),
                "nothing": lambda: b"", "other": lambda: self.read(others[0])}[what]()
        self.write(path, data)
        return Done(f"{os.path.basename(path)}: replaced by {what}", wal=True)

    def swap_segments(self, one, two):
        first, second = self.segments[one], self.segments[two]
        os.rename(first, first + ".x")
        os.rename(second, first)
        os.rename(first + ".x", second)
        return Done(f"{os.path.basename(first)} and {os.path.basename(second)}: swapped", wal=True)

    def flip_in_segment(self, number):
        """Somewhere in an older segment, its large records included."""
        end = self.frames(number)[-1].end
        return Done(self.flip(self.segments[number], self.rng.randrange(end)), wal=True)

    def cut_segment(self, number):
        path = self.segments[number]
        offset = self.rng.randrange(self.frames(number)[-1].end)
        self.write(path, self.read(path)[:offset])
        return Done(f"{os.path.basename(path)}: cut at offset {offset}", wal=True)

    # The store.

    def cut_store(self, place):
        size = os.path.getsize(self.store)
        offset = {"nothing": 0, "metas": self.rng.randrange(1, 2 * lmdb_file.PAGE_BYTES),
                  "anywhere": self.rng.randrange(size),
                  "page": self.rng.randrange(2, lmdb_file.page_count(self.read(self.store))) * lmdb_file.PAGE_BYTES,
                  "end": size - 1 - self.rng.randrange(lmdb_file.PAGE_BYTES)}[place]
        self.write(self.store, self.read(self.store)[:offset])
        return Done(f"store.mdb: cut at offset {offset} of {size}", store=True)

    def flip_in_store(self, place):
        data = self.read(self.store)
        if place == "meta":
            page = self.rng.randrange(2)
            at = page * lmdb_file.PAGE_BYTES + self.rng.randrange(lmdb_file.PAGE_HEADER_BYTES + lmdb_file.META_BYTES)
        elif place == "anywhere":
            at = self.rng.randrange(len(data))
        else:
            kinds = (lmdb_file.BRANCH, lmdb_file.LEAF)
            if place == "page header":
                kinds += (lmdb_file.OVERFLOW,)
            page = self.rng.choice([page for page in range(2, lmdb_file.page_count(data))
                                    if lmdb_file.page_kind(data, page) in kinds])
            begin = page * lmdb_file.PAGE_BYTES
            nodes = lmdb_file.node_places(data, page) if place != "page header" else []
            if place == "page header" or not nodes:
                at = begin + self.rng.randrange(lmdb_file.PAGE_HEADER_BYTES)
            elif place == "places":
                at = begin + lmdb_file.PAGE_HEADER_BYTES + self.rng.randrange(2 * len(nodes))
            else:
                at = self.rng.choice(nodes) + self.rng.randrange(lmdb_file.NODE_HEADER_BYTES)
        return Done(self.flip(self.store, at) + f" ({place})", store=True)

    def flip_in_row(self, table, key):
        """In the value of a row that is found by its key: every copy of it, since old pages hold older ones."""
        data = self.read(self.store)
        places = [found.end() for found in re.finditer(re.escape(key), data)]
        if not places:
            raise AssertionError(f"the store has no row {key!r}")
        distance, bit = self.rng.randrange(8), self.rng.randrange(8)
        for at in places:
            self.flip(self.store, at + distance, bit)
        return Done(f"store.mdb: bit {bit} flipped {distance} bytes behind {key!r} (table {table}) at {places}",
                    store=True)

    def swap_pages(self):
        data = self.read(self.store)
        pages = [page for page in range(2, lmdb_file.page_count(data)) if lmdb_file.page_kind(data, page)]
        one, two = (page * lmdb_file.PAGE_BYTES for page in self.rng.sample(pages, 2))
        first, second = data[one:one + lmdb_file.PAGE_BYTES], data[two:two + lmdb_file.PAGE_BYTES]
        self.change(self.store, one, second)
        self.change(self.store, two, first)
        return Done(f"store.mdb: pages at offsets {one} and {two} swapped", store=True)

    def overwrite_page(self, what):
        page = self.rng.randrange(lmdb_file.page_count(self.read(self.store))) * lmdb_file.PAGE_BYTES
        self.change(self.store, page, {"zeros": bytes, "noise": self.rng.randbytes}[what](lmdb_file.PAGE_BYTES))
        return Done(f"store.mdb: {what} in the page at offset {page}", store=True)

    def replace_store(self, what):
        size = os.path.getsize(self.store)
        os.unlink(self.store)
        if what in ("other", "older"):
            shutil.copy2(store_of(self.other) if what == "other" else self.base.older_store, self.store)
        elif what != "none":
            with open(self.store, "wb") as file:
                file.write({"zeros": bytes, "noise": self.rng.randbytes}[what](size))
        # What is whole but does not fit the log: either may be blamed.
        return Done(f"store.mdb: replaced by {what}", store=True, wal=what in ("other", "older", "none"))

    # Both.

    def both(self, first, second):
        one, two = first(self), second(self)
        return Done(f"{one.text}; {two.text}", one.lost_from or two.lost_from, wal=True, store=True)


KINDS = {  # name: (base, damage)
    **{f"cut the killed log, {place}": ("killed", lambda d, place=place: d.cut_newest(place))
       for place in ("nothing", "head", "middle", "border", "end", "behind")},
    **{f"cut the stopped log, {place}": ("stopped", lambda d, place=place: d.cut_newest(place))
       for place in ("middle", "border", "end", "behind")},
    **{f"flip in the killed log, {place}": ("killed", lambda d, place=place: d.flip_in_newest(place))
       for place in ("head", "middle", "end", "behind")},
    **{f"flip in the stopped log, {place}": ("stopped", lambda d, place=place: d.flip_in_newest(place))
       for place in ("head", "middle", "end", "behind")},
    "flip a length, low bits": ("killed", lambda d: d.flip_a_length(range(3))),
    "flip a length, bits 3 to 8": ("killed", lambda d: d.flip_a_length(range(3, 9))),
    "flip a length, bits 9 to 19": ("killed", lambda d: d.flip_a_length(range(9, 20))),
    "flip the last length, bits 9 to 19": ("killed", lambda d: d.flip_a_length(range(9, 20), "last")),
    "flip a length, high bits": ("killed", lambda d: d.flip_a_length(range(20, 64))),
    "zero a sector of the killed log": ("killed", lambda d: d.zero_a_sector()),
    "zero a sector of the stopped log": ("stopped", lambda d: d.zero_a_sector()),
    "zero the killed log's end": ("killed", lambda d: d.zero_the_end()),
    "zero the stopped log's end": ("stopped", lambda d: d.zero_the_end()),
    "a torn record behind the killed log": ("killed", lambda d: d.add_a_torn_record()),
    "repeat records": ("killed", lambda d: d.repeat_records()),
    "remove the only segment": ("stopped", lambda d: d.remove_segment(0)),
    "empty the only segment": ("stopped", lambda d: d.replace_segment(0, "nothing")),
    "zero the only segment": ("stopped", lambda d: d.replace_segment(0, "zeros")),
    "noise in the only segment": ("stopped", lambda d: d.replace_segment(0, "noise")),
    "another member's only segment": ("stopped", lambda d: d.replace_segment(0, "other")),
    **{f"remove segment {number} of 3": ("segments", lambda d, number=number: d.remove_segment(number))
       for number in range(3)},
    **{f"swap segments {one} and {two} of 3": ("segments", lambda d, one=one, two=two: d.swap_segments(one, two))
       for one, two in ((0, 1), (1, 2))},
    **{f"flip in segment {number} of 3": ("segments", lambda d, number=number: d.flip_in_segment(number))
       for number in range(2)},
    "cut segment 1 of 3": ("segments", lambda d: d.cut_segment(1)),
    "zero segment 1 of 3": ("segments", lambda d: d.replace_segment(1, "zeros")),
    "another member's segment 0 of 3": ("segments", lambda d: d.replace_segment(0, "other")),
    **{f"cut the store, {place}": ("stopped", lambda d, place=place: d.cut_store(place))
       for place in ("nothing", "metas", "page", "anywhere", "end")},
    **{f"flip in the store, {place}": ("stopped", lambda d, place=place: d.flip_in_store(place))
       for place in ("meta", "page header", "places", "node header", "anywhere")},
    **{f"flip in the killed store, {place}": ("killed", lambda d, place=place: d.flip_in_store(place))
       for place in ("meta", "anywhere")},
    "flip in the applied index": ("stopped", lambda d: d.flip_in_row("applied", b"applied")),
    "flip in the revision": ("stopped", lambda d: d.flip_in_row("mvcc", b"revision")),
    "swap pages of the store": ("stopped", lambda d: d.swap_pages()),
    "zero a page of the store": ("stopped", lambda d: d.overwrite_page("zeros")),
    "noise in a page of the store": ("stopped", lambda d: d.overwrite_page("noise")),
    "zero the store": ("stopped", lambda d: d.replace_store("zeros")),
    "another member's store": ("stopped", lambda d: d.replace_store("other")),
    "an older store": ("stopped", lambda d: d.replace_store("older")),
    "an older store beside a killed log": ("killed", lambda d: d.replace_store("older")),
    "no store": ("stopped", lambda d: d.replace_store("none")),
    "no store, many segments": ("segments", lambda d: d.replace_store("none")),
    "flip in log and store": ("killed", lambda d: d.both(lambda d: d.flip_in_newest("middle"),
                                                         lambda d: d.flip_in_store("anywhere"))),
    "cut log and store": ("killed", lambda d: d.both(lambda d: d.cut_newest("end"),
                                                     lambda d: d.cut_store("anywhere"))),
}
