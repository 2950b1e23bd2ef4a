"""What a running process takes, as /proc tells it, and what a directory takes on its disk."""
import os
import re

KILOBYTE = 1024
MEGABYTE = 1 << 20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def status_number(pid, field):
    """A number of /proc/PID/status; memory in bytes."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        found = re.search(rf"^{field}:\s*(\d+)( kB)?$", file.read(), re.MULTILINE)
    return int(found[1]) * (KILOBYTE if found[2] else 1)


def rss_anon(pid):
    """The bytes of memory of its own that a process has in use."""
    return status_number(pid, "RssAnon")


def vm_rss(pid):
    """The same with the pages of files that it maps."""
    return status_number(pid, "VmRSS")


def thread_count(pid):
    return status_number(pid, "Threads")


def open_file_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    """The processor time of all its threads since it began."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def disk_bytes(directory):
    """What the files of a directory and those below it take on disk; a file that vanishes meanwhile takes nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total
