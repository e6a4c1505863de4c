"""A disk that fails, or a clock that is set, on demand, for a program that runs: tests/faults/README.md."""
import contextlib
import errno
import mmap
import os
import struct

from rest import BUILD

LIBRARY = os.path.join(BUILD, "tests", "faults", "libfailing.so")
CLOCK_LIBRARY = os.path.join(BUILD, "tests", "faults", "libsteppedclock.so")
WRITE, SYNC_WRITE, SYNC, TRUNCATE = 1, 2, 4, 8
ALL = 2**64 - 1
RULE = struct.Struct("=iQQQQ216s")  # behind `calls`: error, skip, count, seen, failed, inside
COUNTS = struct.Struct("=QQ")
COUNTS_AT = 24


class Faults:
    """The switch of one program: its environment, and what fails in it."""

    def __init__(self, folder):
        path = os.path.join(str(folder), "faults")
        with open(path, "w+b") as file:
            file.truncate(4 + RULE.size)
            self.control = mmap.mmap(file.fileno(), 4 + RULE.size)
        self.environment = {**os.environ, "LD_PRELOAD": LIBRARY, "FAULTS_CONTROL": path}

    def fail(self, calls, error=errno.EIO, inside="", skip=0, count=ALL):
        """From here on; a rule takes the place of the one before."""
        self.stop()
        self.control[4:] = RULE.pack(error, skip, count, 0, 0, inside.encode())
        self.control[:4] = calls.to_bytes(4, "little")

    def stop(self):
        self.control[:4] = bytes(4)

    @contextlib.contextmanager
    def failing(self, calls, **rule):
        self.fail(calls, **rule)
        try:
            yield
        finally:
            self.stop()

    @property
    def failed(self):
        """How many calls the last rule let fail."""
        return COUNTS.unpack_from(self.control, COUNTS_AT)[1]


class SteppedClock:
    """The wall clock of one program: its environment, and how far it is off."""

    def __init__(self, folder):
        path = os.path.join(str(folder), "clock")
        with open(path, "w+b") as file:
            file.truncate(8)
            self.control = mmap.mmap(file.fileno(), 8)
        self.environment = {**os.environ, "LD_PRELOAD": CLOCK_LIBRARY, "CLOCK_STEP": path}

    def step(self, seconds):
        """Sets it forward, or back."""
        off = int.from_bytes(self.control[:], "little", signed=True)
        self.control[:] = (off + seconds * 1000).to_bytes(8, "little", signed=True)
