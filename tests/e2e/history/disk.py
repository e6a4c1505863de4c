"""A small disk of its own for a daemon, that a test can fill: a tmpfs in a mount namespace, so that nothing stays mounted."""
import contextlib
import os
import subprocess

from daemon import Daemon


class SmallDisk:
    """Lives as long as its holder process. What is in it is seen from outside under `outside`."""

    def __init__(self, folder, megabytes):
        self.inside = os.path.join(str(folder), "disk")
        os.mkdir(self.inside)
        script = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && echo mounted && exec cat'
        self.holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, self.inside], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout.readline() == b"mounted\n"
        self.outside = f"/proc/{self.holder.pid}/root{self.inside}"
        self.ballast = os.path.join(self.outside, "ballast")

    def enter(self):
        """The command that runs another one on the disk."""
        return ["nsenter", "--target", str(self.holder.pid), "--user", "--mount", "--preserve-credentials", "--"]

    @property
    def free(self):
        state = os.statvfs(self.outside)
        return state.f_bavail * state.f_frsize

    def leave(self, bytes_free):
        """Fills the disk until about so many bytes are free; 0: really all."""
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
