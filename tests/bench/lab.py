"""What the groups measure with: a daemon of their own, load programs, the clock of a process, the reference servers."""
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

import daemon as daemons
import rest

PROGRAMS = os.path.join(rest.BUILD, "tests", "bench")
PROGRAM_SECONDS = 600
kept = contextlib.ExitStack()  # what serves more than one group; gone with the run


def program(name):
    """Path of a load program; None: it was not built because a library is missing."""
    path = os.path.join(PROGRAMS, "bench_" + name)
    return path if os.path.exists(path) else None


def arguments(values):
    return [f"{name}={value}" for name, value in values.items()]


def load(name, **values):
    """Runs a load program to its end; what it printed."""
    done = subprocess.run([program(name), *arguments(values)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"bench_{name} {values}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def rate(result):
    """Messages a second of what a load program printed; refused ones make it no measurement."""
    if result.get("refused"):
        raise RuntimeError(f"{result['refused']} messages were refused: {result.get('first_code')}")
    return result["messages"] / result["seconds"]


@contextlib.contextmanager
def certificate():
    """PEM files of a certificate for 127.0.0.1 that signs itself, and of its key."""
    with folder() as path:
        cert, key = path + "/cert.pem", path + "/key.pem"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(["openssl", "req", "-x509", *kind, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
        yield cert, key


class Counted(daemons.Daemon):
    """mqpaasd in callgrind. The store it begins with cannot be mapped there, a smaller one can."""

    def command(self):
        return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/counts", *super().command()]

    def instructions(self):
        """User instructions of all threads since the last look."""
        before = set(pathlib.Path(self.folder).glob("counts*"))
        subprocess.run(["callgrind_control", "-d", str(self.process.pid)], check=True, capture_output=True)
        made = daemons.wait_for(lambda: set(pathlib.Path(self.folder).glob("counts*")) - before, 30, "callgrind writes no counts").pop()
        total = daemons.wait_for(lambda: re.search(r"^totals: (\d+)$", made.read_text(encoding="ascii", errors="replace"), re.M), 30, "the counts have no end")
        return int(total[1])


def cpu_ns(pid):
    """User and system time that all threads of a process have used so far."""
    return sum(int(path.read_text(encoding="ascii").split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def children_ns():
    """User and system time of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def proxied_small(service, server, target, producers, seconds):
    """Many producers with one message under way each: their rate, and the CPU time a message of everybody and of the process `server` behind the proxy."""
    pids = (service.pid, server)
    before, clients = [cpu_ns(pid) for pid in pids], children_ns()
    found = load("frames", **target, connections=producers, seconds=seconds)
    clients = children_ns() - clients
    proxy, behind = (cpu_ns(pid) - was for pid, was in zip(pids, before))
    count = found["messages"]
    return rate(found), (clients + proxy + behind) / count, behind / count


def memory_bytes(pid, name="VmRSS"):
    """A size from /proc/PID/status."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no {name}")


def settle(read, seconds=10, within=0.002):
    """A size that has stopped to change: read until two looks in a row agree."""
    before, deadline = read(), time.monotonic() + seconds
    while True:
        time.sleep(0.2)
        now = read()
        if abs(now - before) <= within * before or time.monotonic() > deadline:
            return now
        before = now


@contextlib.contextmanager
def folder():
    """A folder for data; removed afterwards. MQPAAS_BENCH_DIR says on which disk."""
    path = tempfile.mkdtemp(prefix="mqpaas-bench-", dir=os.environ.get("MQPAAS_BENCH_DIR"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def bare():
    """The bare acknowledging server: its process, with .address."""
    process = subprocess.Popen([program("bare")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        process.address = json.loads(process.stdout.readline())["address"]
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Service:
    """mqpaasd with one tenant, whose topics lie on a cluster of the kind asked for."""

    def __init__(self, path, kind, *options, limits=None, backend=None, make=daemons.Daemon, **more):
        self.daemon = make(path, "--log-level", "warn", *options, **more)
        cluster = "local"
        if kind != "embedded" or backend:
            cluster = self.daemon.make("clusters", {"name": "own-" + kind, "kind": kind, "options": backend or {}})["name"]
        self.cluster = cluster
        self.key = self.tenant("bench", limits)

    @property
    def pid(self):
        return self.daemon.process.pid

    @property
    def address(self):
        return self.daemon.addresses["clients"][0]

    def tenant(self, name, limits=None):
        """A tenant on the service's cluster; returns a key of it."""
        self.daemon.make("tenants", {"name": name, "clusters": [self.cluster], **({"limits": limits} if limits else {})})
        key = self.daemon.make(f"tenants/{name}/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
        return {"key": key["key_id"], "secret": key["secret"]}

    def topic(self, name, **more):
        """A topic, unless told otherwise with one partition; returns the arguments with which load programs reach it."""
        self.daemon.make("tenants/bench/topics", {"name": name, "partitions": 1, **more})
        return {"address": self.address, **self.key, "topic": name}

    def group(self, name, topic, **more):
        self.daemon.make("tenants/bench/groups", {"name": name, "topic": topic, **more})
        return {"address": self.address, **self.key, "group": name}


@contextlib.contextmanager
def service(kind, *options, **more):
    """A Service that is stopped in order afterwards."""
    with folder() as path:
        made = None
        try:
            made = Service(path, kind, *options, **more)
            yield made
        finally:
            if made:
                made.daemon.end()
