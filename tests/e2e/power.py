"""Power cuts of the whole daemon: what it did to its data directory is recorded, and any moment's disk can be made from that.

At a cut the disk holds what was durable. Of the rest it has, by mode: nothing, everything, some, or some sectors of it. Names
(files that came, went or were renamed) are durable when their directory was synced; before that, the first few of them are
there, as journaling file systems do it.
"""
import dataclasses
import os
import random
import struct

from rest import BUILD

LIBRARY = os.path.join(BUILD, "tests", "faults", "libfaultrecorder.so")
HEAD = struct.Struct("=IIQQQQQ")
CREATE, MKDIR, RENAME, UNLINK, WRITE, TRUNCATE, DURABLE = range(1, 8)
NAMES = (CREATE, MKDIR, RENAME, UNLINK)
MODES = ("dropped", "kept", "some kept", "torn")
SECTOR = 512


def environment(folder, log, synced=True):
    """What a program needs to be recorded; `synced` False: as if it had no fsync in it."""
    return {**os.environ, "LD_PRELOAD": LIBRARY, "RECORD_DIR": folder, "RECORD_LOG": log, **({} if synced else {"RECORD_UNSYNCED": "1"})}


@dataclasses.dataclass
class Event:
    kind: int
    time: int  # CLOCK_MONOTONIC, ns, as time.monotonic_ns()
    inode: int
    first: int
    until: int
    path: str
    data: bytes


def read(log):
    with open(log, "rb") as file:
        text = memoryview(file.read())
    at, events = 0, []
    while at < len(text):
        kind, path_size, data_size, time, inode, first, until = HEAD.unpack_from(text, at)
        at += HEAD.size
        path = bytes(text[at : at + path_size]).decode()
        at += path_size
        events.append(Event(kind, time, inode, first, until, path, bytes(text[at : at + data_size])))
        at += data_size
    assert at == len(text), "the record is cut short"
    return events


class Content:
    """A file, whatever its names: what the disk has for certain, and what was done to it since."""

    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (number, event)


def lay(content, event, sectors=None):
    """Does a write or truncation to the bytes of a file; sectors: which parts of a write come through."""
    if event.kind == TRUNCATE:
        del content[event.first :]
        content.extend(bytes(event.first - len(content)))
        return
    at = 0
    while at < len(event.data):
        size = min(len(event.data) - at, SECTOR - (event.first + at) % SECTOR) if sectors else len(event.data)
        if not sectors or sectors():
            start = event.first + at
            content.extend(bytes(max(0, start - len(content))))
            content[start : start + size] = event.data[at : at + size]
        at += size


def rename(names, event, content):
    """Does a change of names to {path: Content, or None for a directory}."""
    if event.kind == UNLINK:
        names.pop(event.path, None)
    elif event.kind == RENAME:
        target = event.data.decode()
        for path in [path for path in names if path == event.path or path.startswith(event.path + "/")]:
            names[target + path[len(event.path) :]] = names.pop(path)
    else:
        names[event.path] = content


class Disk:
    """The disk while the record goes by."""

    def __init__(self, events, folder):
        self.events, self.folder = events, folder
        self.number = 0
        self.inodes = {}  # the file that was created last with a number
        self.directories = {folder}
        self.names = {}  # durable: {path: Content or None}
        self.pending = []  # (number, event, content) of names

    def begin_with(self):
        """What is in the folder now was durable before the record began."""
        for place, folders, names in os.walk(self.folder):
            self.names[place] = None
            self.directories.update([place], (os.path.join(place, name) for name in folders))
            for name in names:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    content = Content()
                    content.durable = bytearray(file.read())
                self.names[path] = self.inodes[os.stat(path).st_ino] = content
        return self

    def advance(self, cut):
        """`cut` events have happened."""
        for number in range(self.number, cut):
            event = self.events[number]
            if event.kind in NAMES:
                content = None
                if event.kind == CREATE:
                    content = self.inodes[event.inode] = Content()
                elif event.kind == MKDIR:
                    self.directories.add(event.path)
                self.pending.append((number, event, content))
            elif event.kind == DURABLE:
                self._durable(event)
            else:
                self.inodes[event.inode].pending.append((number, event))
        self.number = cut

    def _durable(self, event):
        if event.path not in self.directories:
            content = self.inodes[event.inode]
            for number, write in content.pending:
                if event.first <= number < event.until:
                    lay(content.durable, write)
            content.pending = [row for row in content.pending if not event.first <= row[0] < event.until]
            return
        left = []
        for row in self.pending:
            number, change, of = row
            paths = (change.path, change.data.decode()) if change.kind == RENAME else (change.path,)
            if number < event.until and event.path in map(os.path.dirname, paths):
                rename(self.names, change, of)
            else:
                left.append(row)
        self.pending = left

    def write(self, target, mode, seed):
        """Makes the directory as a power cut now would leave it."""
        chance = random.Random(seed)
        names = dict(self.names)
        some = chance.randrange(len(self.pending) + 1)
        for _, event, content in self.pending[: {"dropped": 0, "kept": None}.get(mode, some)]:
            rename(names, event, content)
        os.makedirs(target)
        done = {}
        for path in sorted(names):
            place = os.path.join(target, os.path.relpath(path, self.folder))
            if not os.path.isdir(os.path.dirname(place)):
                continue  # its directory did not come through
            if names[path] is None:
                os.makedirs(place, exist_ok=True)
                continue
            content = names[path]
            if id(content) not in done:
                done[id(content)] = self._bytes(content, mode, chance)
            with open(place, "wb") as file:
                file.write(done[id(content)])
            os.chmod(place, 0o600)

    @staticmethod
    def _bytes(content, mode, chance):
        text = bytearray(content.durable)
        for _, event in content.pending:
            if mode == "kept" or mode == "some kept" and chance.randrange(2):
                lay(text, event)
            elif mode == "torn":
                lay(text, event, lambda: chance.randrange(2))
        return text
