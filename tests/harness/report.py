"""Figures for reading: a Markdown table, what they depend on, and their place in a page, between two marks."""
import datetime
import os
import platform
import re
import shlex
import subprocess

from tests.harness.member import REPOSITORY


def table_text(table):
    """A Markdown table whose columns also line up in a terminal; the first line is its head."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    head, *lines = table
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
                     for line in [head, rule] + lines)


# What the figures depend on.


def circumstances(command, directory):
    """A Markdown list: the command (a list), the machine, the commit, and the file system that holds `directory`."""
    processor = first_match("/proc/cpuinfo", r"^model name\s*:\s*(.+)$", platform.machine())
    memory_kb = int(first_match("/proc/meminfo", r"^MemTotal:\s*(\d+) kB", "0"))
    system = first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)', platform.system())
    facts = [
        ("command", "`" + shlex.join(command) + "`"),
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", commit()),
        ("machine", f"{processor}, {os.cpu_count()} cores, {memory_kb / 1e6:.1f} GB of memory"),
        ("system", f"{system}, Linux {platform.release()}"),
        ("files on", file_system_of(directory)),
    ]
    return "\n".join(f"- {what}: {text}" for what, text in facts)


def first_match(path, pattern, default):
    try:
        with open(path, encoding="utf-8") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return default
    return found[1] if found else default


def file_system_of(path):
    """The type of the file system that holds `path`, such as ext4."""
    best, kind = "", "unknown"
    try:
        with open("/proc/self/mounts", encoding="utf-8") as file:
            for line in file:
                _, mount, mount_kind = line.split()[:3]
                inside = (os.path.realpath(path) + "/").startswith(mount.rstrip("/") + "/")
                if inside and len(mount) >= len(best):
                    best, kind = mount, mount_kind
    except OSError:
        pass
    return kind


def commit():
    """The commit that is checked out; `+` when files differ from it."""
    try:
        done = subprocess.run(["git", "-C", REPOSITORY, "describe", "--always", "--dirty=+", "--exclude=*"],
                              capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


# A page.


class PageUnfit(Exception):
    """A page that we would spoil."""


class PagePart:
    """What stands in a page between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

    def __init__(self, path, name):
        self._path = path
        self._begin, self._end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"

    def check(self):
        """Raises PageUnfit when the page is there and has no such marks."""
        if os.path.exists(self._path):
            with open(self._path, encoding="utf-8") as file:
                text = file.read()
            if not 0 <= text.find(self._begin) < text.find(self._end):
                raise PageUnfit(f"{self._path} exists and has no lines {self._begin} and {self._end}")

    def write(self, text):
        """Replaces it; a page that is not there yet is made of it alone."""
        before, after = "# Benchmarks\n\n", "\n"
        if os.path.exists(self._path):
            with open(self._path, encoding="utf-8") as file:
                before, _, rest = file.read().partition(self._begin)
            after = rest.partition(self._end)[2]
        with open(self._path, "w", encoding="utf-8") as file:
            file.write(f"{before}{self._begin}\n\n{text}\n\n{self._end}{after}")
