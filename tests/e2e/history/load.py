"""A load on a daemon: client processes that write histories, the faults that a test makes, and the verdict at the end."""
import contextlib
import copy
import os
import signal
import subprocess
import time

from daemon import wait_for
from history import checker
from rest import BUILD

CLIENT = os.path.join(BUILD, "tests", "e2e", "history", "history_client")
LONG = bool(os.environ.get("MQPAAS_LONG"))
PARTITIONS = 3
RECOVERED = 600  # records of a process, more than a consumer can have in hand


def times(few, many):
    """How often a fault is made: in tests/run, and in tests/run --long."""
    return many if LONG else few


class Client:
    """One process of the workload. It ends in order when its standard input is closed."""

    def __init__(self, path, command, environment):
        self.path = path
        self.name = " ".join(command[3:])
        with open(path + ".log", "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.killed = self.stopped = False
        self.group = None  # of a consumer

    @property
    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def stop(self):
        self.stopped = True
        self.process.stdin.close()

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()

    def wait(self, seconds=120):
        status = self.process.wait(seconds)
        with open(self.path + ".log", encoding="utf-8", errors="replace") as log:
            assert status == (-signal.SIGKILL if self.killed else 0), f"{self.path} ended with {status}:\n{log.read()[-4000:]}"


class Load:
    """Topics of both durability classes, each with a group of one consumer and a group of several, and its dead letters."""

    def __init__(self, daemon, folder, visibility_ms=3000, address=None):
        self.daemon = daemon
        self.folder = str(folder)
        self.address = address or daemon.addresses["clients"][0]
        self.groups = []
        self.faults = []
        self.producers, self.consumers = [], []
        self.numbers = 0
        daemon.make("tenants", {"name": "acme", "clusters": ["local"]})
        for durability in ("d1", "d2"):
            daemon.make("tenants/acme/topics", {"name": durability, "partitions": PARTITIONS, "durability": durability.upper()})
            # What waits too long for a push callback is released and comes behind what was seen since: not where order is looked at.
            self.make_group(f"{durability}-solo", 30000, topic=durability)
            self.make_group(f"{durability}-shared", visibility_ms, topic=durability)
            self.make_group(f"{durability}-dead", visibility_ms, dead_of=f"{durability}-shared")
        key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
        self.environment = {**os.environ, "MQPAAS_ADDRESS": self.address, "MQPAAS_ACCESS_KEY": key["key_id"], "MQPAAS_SECRET": key["secret"]}

    def over(self, daemon, folder):
        """The same world and what was sent to it so far, on another daemon that has a copy of the data; with consumers of its own."""
        other = copy.copy(self)
        other.daemon, other.folder, other.consumers, other.faults = daemon, str(folder), [], []
        other.environment = {**self.environment, "MQPAAS_ADDRESS": daemon.addresses["clients"][0]}
        return other

    def make_group(self, name, visibility_ms, topic=None, dead_of=None):
        body = {"name": name, "topic": topic or f"{dead_of}.dead", "visibility_ms": visibility_ms, "max_attempts": 0}
        self.daemon.make("tenants/acme/groups", {**body, "dead_letter": bool(topic) and name.endswith("shared")})
        self.groups.append(checker.Group(name, topic, dead_of, visibility_ms))

    # ---- Client processes

    def client(self, *options):
        self.numbers += 1
        path = os.path.join(self.folder, f"history-{self.numbers}")
        return Client(path, [CLIENT, "--history", path, *map(str, options)], self.environment)

    def produce(self, topic, rate=3000, sync=2, **more):
        """A process that sends; every sender in it has a number of its own."""
        options = [part for name, value in more.items() for part in (f"--{name}", value)]
        self.producers.append(self.client("--topic", topic, "--producer", 1 + 100 * self.numbers, "--rate", rate, "--sync", sync, *options))
        return self.producers[-1]

    def consume(self, group, *options):
        self.consumers.append(self.client("--group", group, *options))
        self.consumers[-1].group = group
        return self.consumers[-1]

    def start(self, **more):
        """The whole of it: push and pull, alone and shared, in both classes; with small batches many of them wait to be resent."""
        self.produce("d1", **more)
        self.produce("d2", batch=2, **more)
        self.consume("d1-solo")
        self.consume("d1-shared", "--mixed")
        self.consume("d1-shared", "--mixed", "--push", "--threads", 2)
        self.consume("d2-solo", "--push")
        self.consume("d2-shared", "--mixed")
        self.consume("d2-shared", "--mixed")
        self.consume("d1-dead")
        self.consume("d2-dead", "--push")
        self.progress()
        return self

    def progress(self, records=200, seconds=60):
        """Waits until every process has got on: a fault is made under load, and recovery is real. Dead letters come slowly."""
        dead = [group.name for group in self.groups if group.dead_of]
        clients = [one for one in self.producers + self.consumers if not (one.killed or one.stopped or one.group in dead)]
        enough = {one: one.size + checker.RECORD.size * records for one in clients}
        deadline = time.monotonic() + seconds
        while behind := [one for one in clients if one.size < enough[one]]:
            assert time.monotonic() < deadline, f"no progress: {[one.name for one in behind]}, backlogs {self.backlogs()}"
            time.sleep(0.02)

    def ends(self, producer, since=0):
        """How the sends of a process that ended after `since` ended: (outcome, code) of each."""
        history = checker.read(producer.path, whole=False)
        return [(record.what, record.code) for record in history.records if record.kind == checker.SENT and record.time > since]

    # ---- Faults

    @contextlib.contextmanager
    def fault(self, what):
        """Marks the time in which deliveries may end for no fault of their own: until everybody has done what was begun before."""
        fault = checker.Fault(what, time.monotonic_ns())
        self.faults.append(fault)
        yield
        self.progress(RECOVERED)
        fault.end = time.monotonic_ns()

    def kill_daemon(self, lives=1):
        """So many times, each as soon as it serves again."""
        with self.fault("kill"):
            for _ in range(lives):
                self.daemon.kill()
                self.daemon.start()

    # ---- The end

    def backlogs(self):
        return {group.name: self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{group.name}/backlog").json["backlog"] for group in self.groups}

    def consumed(self):
        """Whether the groups that are being consumed have nothing left."""
        answers = [self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{one.group}/backlog") for one in self.consumers]
        return all(answer.status == 200 and answer.json["backlog"] == 0 for answer in answers)

    def drained(self, seconds):
        deadline = time.monotonic() + seconds
        while any((left := self.backlogs()).values()):
            assert time.monotonic() < deadline, f"this never came to an end: {left}"
            time.sleep(0.05)

    def stop_producers(self):
        self.stop(self.producers)

    def stop_consumers(self):
        self.stop(self.consumers)

    @staticmethod
    def stop(clients):
        """Lets those that still run end in order."""
        for one in clients:
            one.stop()
        for one in clients:
            one.wait()

    def finish(self, seconds=90):
        """Sends end, everything is consumed, everybody leaves; then the daemon dies once more and must have nothing left."""
        self.stop_producers()
        self.drained(seconds)
        self.stop_consumers()
        self.daemon.kill()
        self.daemon.start()
        assert not any(self.backlogs().values()), self.backlogs()
        return self.judge()

    def judge(self):
        histories = [checker.read(one.path) for one in self.producers + self.consumers]
        report = checker.check(histories, self.groups, self.faults)
        print(report)
        return report

    def end(self):
        for one in self.producers + self.consumers:
            if one.process.poll() is None:
                one.kill()
            one.stop()
