"""A small file system of its own for a member's data: a tmpfs that only the member and those who know its keeper see.

    with SmallDisk(256 << 20) as disk:              # raises NoSmallDisk where the system does not let us
        member = DiskMember(disk)
        ...
        disk.free_bytes()

It is mounted in a mount namespace that a sleeping process keeps, so it outlives a killed member, and goes with its
keeper. Without root that takes a user namespace.
"""
import os
import signal
import subprocess

from tests.harness.member import Member, clean_environment, temporary_directory

# Without privileges first: many systems let anybody do that, and as root both do.
WAYS = (("--user", "--map-root-user", "--mount"), ("--mount",))
KEEP = 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$2" && echo mounted && exec cat'


class NoSmallDisk(Exception):
    """This system does not let us mount anything; the text says what it answered."""


class SmallDisk:
    """A tmpfs of `size_bytes`."""

    def __init__(self, size_bytes):
        self.path = temporary_directory("etcd-disk-")
        reasons = []
        for way in WAYS:
            try:
                self._keeper = subprocess.Popen(["unshare", *way, "sh", "-c", KEEP, "sh", str(size_bytes), self.path],
                                                env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                stderr=subprocess.PIPE)
            except FileNotFoundError as error:
                raise NoSmallDisk(f"no small file system can be mounted here: {error}") from error
            if self._keeper.stdout.readline() == b"mounted\n":
                self._way = way
                return
            reasons.append(f"unshare {' '.join(way)}: " + self._end().decode("utf-8", "replace").strip())
        raise NoSmallDisk("no small file system can be mounted here: " + "; ".join(reasons))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """Ends the keeper; the file system goes with the last process that uses it."""
        if self._keeper is not None:
            self._end()

    def _end(self):
        keeper, self._keeper = self._keeper, None
        keeper.stdin.close()  # which ends it
        said = keeper.stderr.read()
        try:
            keeper.wait(10)
        except subprocess.TimeoutExpired:
            keeper.send_signal(signal.SIGKILL)
            keeper.wait(10)
        keeper.stdout.close()
        keeper.stderr.close()
        return said

    @property
    def from_outside(self):
        """The same directory, for processes that are not in the namespace."""
        return f"/proc/{self._keeper.pid}/root{self.path}"

    def prefix(self):
        """What runs a command where the file system can be seen, as the same process."""
        flags = ["--user", "--preserve-credentials"] if "--user" in self._way else []
        return ["nsenter", "--target", str(self._keeper.pid), *flags, "--mount", "--"]

    def free_bytes(self):
        found = os.statvfs(self.from_outside)
        return found.f_bavail * found.f_frsize


class DiskMember(Member):
    """A member whose data lie on a SmallDisk, which must outlive it."""

    def __init__(self, disk, **options):
        super().__init__(data_dir=os.path.join(disk.path, "data"), **options)
        self._disk = disk

    def arguments(self):
        return self._disk.prefix() + super().arguments()
