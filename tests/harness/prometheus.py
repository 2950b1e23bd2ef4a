"""Prometheus' text form 0.0.4, read strictly: what a lenient reader would let pass is an error here.

    scrape = parse(response.text())
    scrape.types["etcd_mvcc_put_total"]                                  # "counter"
    scrape.value("etcd_server_healthcheck", type="livez", name="x")      # a number; KeyError when it is not there
    scrape.value("etcd_disk_wal_fsync_duration_seconds_count")
"""
import math
import re
from dataclasses import dataclass, field

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|[+-]?Inf$|NaN$")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class FormatError(Exception):
    """The text is not in the form; the message has the line's number."""


@dataclass
class Scrape:
    """Everything that one text says."""

    types: dict = field(default_factory=dict)  # family -> type
    helps: dict = field(default_factory=dict)  # family -> text
    samples: dict = field(default_factory=dict)  # (name, frozenset of label items) -> number

    def value(self, series, **labels):
        return self.samples[(series, frozenset(labels.items()))]

    def get(self, series, default=0.0, **labels):
        return self.samples.get((series, frozenset(labels.items())), default)

    def series(self, name):
        """The labels of every sample of that name, as dictionaries."""
        return [dict(labels) for (sample, labels) in self.samples if sample == name]

    def buckets(self, family, **labels):
        """A histogram's upper bounds in order, without infinity."""
        bounds = [float(found["le"]) for found in self.series(family + "_bucket")
                  if {key: value for key, value in found.items() if key != "le"} == labels]
        return sorted(bound for bound in bounds if not math.isinf(bound))


def parse(text):
    """Reads a whole text, or raises FormatError."""
    if text and not text.endswith("\n"):
        raise FormatError("the last line does not end")
    scrape = Scrape()
    family = None  # the one that samples belong to
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            family = _take_line(scrape, line, family)
        except FormatError as error:
            raise FormatError(f"line {number}: {error}: {line!r}") from None
    for name, kind in scrape.types.items():
        _check_family(scrape, name, kind)
    return scrape


def _take_line(scrape, line, family):
    if line.startswith("# HELP "):
        name, _, text = line[7:].partition(" ")
        if not NAME.fullmatch(name) or name in scrape.helps or name in scrape.types:
            raise FormatError("HELP of no name, once more, or behind TYPE")
        scrape.helps[name] = text
        return family
    if line.startswith("# TYPE "):
        name, _, kind = line[7:].partition(" ")
        if not NAME.fullmatch(name) or kind not in TYPES or name in scrape.types:
            raise FormatError("TYPE of no name, of no type, or once more")
        scrape.types[name] = kind
        return name
    if line.startswith("#") or not line:
        raise FormatError("neither HELP nor TYPE nor a sample")
    name, labels, value = _parse_sample(line)
    suffixes = ("_bucket", "_sum", "_count") if scrape.types.get(family) == "histogram" else ("",)
    if family is None or name not in [family + suffix for suffix in suffixes]:
        raise FormatError(f"a sample among those of {family}")
    if (name, labels) in scrape.samples:
        raise FormatError("a series twice")
    scrape.samples[(name, labels)] = value
    return family


def _parse_sample(line):
    start = NAME.match(line)
    if not start:
        raise FormatError("a sample without a name")
    at = start.end()
    labels = []
    if line[at:at + 1] == "{":
        at += 1
        while line[at:at + 1] != "}":
            found = LABEL.match(line, at)
            if not found:
                raise FormatError("a bad label")
            labels.append((found[1], re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], found[2])))
            at = found.end()
            if line[at:at + 1] == ",":
                at += 1
            elif line[at:at + 1] != "}":
                raise FormatError("labels that do not end")
        at += 1
    if len(dict(labels)) != len(labels):
        raise FormatError("a label twice")
    value = line[at + 1:]
    if line[at:at + 1] != " " or not NUMBER.match(value):
        raise FormatError("a bad number")
    return start[0], frozenset(labels), float(value)


def _check_family(scrape, name, kind):
    samples = {key: value for key, value in scrape.samples.items()
               if key[0] == name or (kind == "histogram" and key[0] in (name + "_sum", name + "_bucket", name + "_count"))}
    if not samples:
        raise FormatError(f"{name} has no sample")
    if kind == "counter" and any(not value >= 0 for value in samples.values()):
        raise FormatError(f"{name} is a counter below zero")
    if kind == "histogram":
        for series, labels in samples:
            if series == name + "_count":
                _check_histogram(samples, name, labels)


def _check_histogram(samples, name, labels):
    buckets = sorted((float(dict(own)["le"]), value) for (series, own), value in samples.items()
                     if series == name + "_bucket" and frozenset(item for item in own if item[0] != "le") == labels)
    counts = [value for _, value in buckets]
    if not buckets or not math.isinf(buckets[-1][0]) or counts != sorted(counts):
        raise FormatError(f"{name}: buckets that do not grow, or without infinity")
    if counts[-1] != samples[(name + "_count", labels)] or (name + "_sum", labels) not in samples:
        raise FormatError(f"{name}: count or sum do not fit the buckets")
