"""A small disk of its own for a daemon, that a test can fill: a tmpfs in a mount namespace, so that nothing stays mounted."""
import contextlib
import os
import subprocess

from daemon import Daemon


def in_chroot():
    """In one there is no mount at "/", no user namespace may be made, and a mount's propagation cannot be changed."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return all(line.split()[4] != "/" for line in file)


class SmallDisk:
    """Lives as long as its holder process. What is in it is seen from outside under `outside`."""

    def __init__(self, folder, megabytes):
        self.inside = os.path.join(str(folder), "disk")
        os.mkdir(self.inside)
        script = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && echo mounted && exec cat'
        self.own_users = [] if in_chroot() else ["--user"]
        how = ["--map-root-user"] if self.own_users else ["--propagation", "unchanged"]
        command = ["unshare", *self.own_users, *how, "--mount", "sh", "-c", script, self.inside]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"mounted\n"
        self.outside = f"/proc/{self.holder.pid}/root{self.inside}"
        self.ballast = os.path.join(self.outside, "ballast")

    def enter(self):
        """The command that runs another one on the disk."""
        as_whom = [*self.own_users, "--preserve-credentials"] if self.own_users else ["--root"]
        return ["nsenter", "--target", str(self.holder.pid), *as_whom, "--mount", "--"]

    @property
    def free(self):
        state = os.statvfs(self.outside)
        return state.f_bavail * state.f_frsize

    def leave(self, bytes_free):
        """Fills the disk until about `bytes_free` are free; 0: really all."""
        with open(self.ballast, "ab") as file, contextlib.suppress(OSError):
            while self.free > bytes_free:
                file.write(bytes(min(max(self.free - bytes_free, 4096), 1 << 20)))
                file.flush()

    def release(self):
        os.unlink(self.ballast)

    def end(self):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()


class DiskDaemon(Daemon):
    """mqpaasd with its data on a small disk."""

    def __init__(self, folder, disk):
        self.disk = disk
        super().__init__(folder, start=False)
        self.options = ["--data-dir", os.path.join(disk.inside, "data")]
        self.data = os.path.join(disk.outside, "data")
        self.start()

    def command(self):
        return [*self.disk.enter(), *super().command()]
