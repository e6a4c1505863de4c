"""A load on a daemon: client processes that write histories, the faults that a test makes, and the verdict at the end."""
import collections
import contextlib
import copy
import os
import signal
import subprocess
import time

from daemon import wait_for
from history import checker
from history.administrator import Administrator
from history.balance import Balance
from history.queues import over_queue
from rest import BUILD

CLIENT = os.path.join(BUILD, "tests", "e2e", "history", "history_client")
LONG = bool(os.environ.get("MQPAAS_LONG"))
PARTITIONS = 3
ON_THE_WAY_NS = 250_000_000  # an answer of the daemon to a client on a busy machine
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
        self.topic = None  # of a producer
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


EMBEDDED = {"d1": {"durability": "D1"}, "d2": {"durability": "D2"}}


class Load:
    """Two topics, each with a group of one consumer and a group of several, and its dead letters; as it comes, of both durability classes.

    `cluster` is a cluster that is made first, `topics` what their topics are made of.
    """

    queue = False  # whether that cluster is made of queues

    def __init__(self, daemon, folder, visibility_ms=3000, address=None, cluster=None, topics=None):
        self.daemon = daemon
        self.folder = str(folder)
        self.address = address or daemon.addresses["clients"][0]
        self.groups = []
        self.faults = []
        self.lives = collections.defaultdict(list)
        self.producers, self.consumers = [], []
        self.sizes = {}  # of the histories when the last fault began
        self.numbers = 0
        self.balance = self.administrator = None
        self.topics = topics or EMBEDDED
        self.visibility_ms = visibility_ms
        if cluster:
            daemon.make("clusters", cluster)
        daemon.make("tenants", {"name": "acme", "clusters": [cluster["name"], "local"] if cluster else ["local"]})
        for topic in self.topics:
            self.groups += self.make_topic(topic)
        key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
        self.environment = {**os.environ, "MQPAAS_ADDRESS": self.address, "MQPAAS_ACCESS_KEY": key["key_id"], "MQPAAS_SECRET": key["secret"]}

    def over(self, daemon, folder):
        """The same world and what was sent to it so far, on another daemon that has a copy of the data; with consumers of its own."""
        other = copy.copy(self)
        other.daemon, other.folder, other.consumers, other.faults = daemon, str(folder), [], []
        other.balance, other.administrator = Balance(daemon, self.groups), None
        other.environment = {**self.environment, "MQPAAS_ADDRESS": daemon.addresses["clients"][0]}
        return other

    def make_topic(self, topic):
        """With its groups; returns what is expected of those."""
        self.daemon.make("tenants/acme/topics", {"name": topic, "partitions": PARTITIONS, **self.topics[topic]})
        return [
            # What waits too long for a push callback is released and comes behind what was seen since: not where order is looked at.
            self.make_group(f"{topic}-solo", 30000, topic=topic),
            self.make_group(f"{topic}-shared", self.visibility_ms, topic=topic),
            self.make_group(f"{topic}-dead", self.visibility_ms, dead_of=f"{topic}-shared"),
        ]

    def make_group(self, name, visibility_ms, topic=None, dead_of=None):
        body = {"name": name, "topic": topic or f"{dead_of}.dead", "visibility_ms": visibility_ms, "max_attempts": 0}
        self.daemon.make("tenants/acme/groups", {**body, "dead_letter": bool(topic) and name.endswith("shared")})
        group = checker.Group(name, topic, dead_of, visibility_ms)
        elsewhere = self.topics[topic or dead_of.removesuffix("-shared")].get("cluster")
        return over_queue(group) if self.queue and not elsewhere else group

    # ---- Client processes

    def client(self, *options):
        self.numbers += 1
        path = os.path.join(self.folder, f"history-{self.numbers}")
        return Client(path, [CLIENT, "--history", path, *map(str, options)], self.environment)

    def produce(self, topic, rate=3000, sync=2, **more):
        """A process that sends; every sender in it has a number of its own."""
        options = [part for name, value in more.items() for part in (f"--{name}", value)]
        self.producers.append(self.client("--topic", topic, "--producer", 1 + 100 * self.numbers, "--rate", rate, "--sync", sync, *options))
        self.producers[-1].topic = topic
        return self.producers[-1]

    def consume(self, group, *options):
        self.consumers.append(self.client("--group", group, *options))
        self.consumers[-1].group = group
        return self.consumers[-1]

    def start(self, rates=(3000, 3000), **more):
        """The whole of it: push and pull, alone and shared, in both topics; with small batches many of them wait to be resent."""
        first, second = self.topics
        self.produce(first, rates[0], **more)
        self.produce(second, rates[1], batch=2, **more)
        self.consume(f"{first}-solo")
        self.consume(f"{first}-shared", "--mixed")
        self.consume(f"{first}-shared", "--mixed", "--push", "--threads", 2)
        self.consume(f"{second}-solo", "--push")
        self.consume(f"{second}-shared", "--mixed")
        self.consume(f"{second}-shared", "--mixed")
        self.consume(f"{first}-dead")
        self.consume(f"{second}-dead", "--push")
        self.balance = Balance(self.daemon, self.groups)
        self.progress()
        return self

    def administer(self):
        """From here on an operator makes, lists, changes, resets, purges and deletes beside it."""
        self.administrator = Administrator(self.daemon, self.topics.values())
        return self

    def progress(self, records=200, seconds=120):
        """Waits until every process has got on: a fault is made under load, and recovery is real. Dead letters come slowly."""
        dead = [group.name for group in self.groups if group.dead_of]
        clients = [one for one in self.producers + self.consumers if not (one.killed or one.stopped or one.group in dead)]
        enough = {one: one.size + checker.RECORD.size * records for one in clients}
        deadline = time.monotonic() + seconds
        while behind := [one for one in clients if one.size < enough[one]]:
            self.all_alive()
            assert time.monotonic() < deadline, f"no progress: {[one.name for one in behind]}, backlogs {self.backlogs()}"
            time.sleep(0.02)

    def all_alive(self):
        """A process that has ended unasked is the reason for whatever is waited for in vain."""
        for one in self.producers + self.consumers:
            if not (one.killed or one.stopped) and one.process.poll() is not None:
                one.wait()
                raise AssertionError(f"{one.name} has ended unasked")

    def recent(self, client):
        """What a process has written since the last fault began: all of it grows large."""
        return checker.read(client.path, whole=False, begin=self.sizes.get(client, 0))

    def holding(self, consumer):
        """Messages that a consumer has noted and not settled; of one that stands still."""
        open_ones = set()
        for record in self.recent(consumer).records:
            place = record.partition, record.offset
            if record.kind == checker.DELIVERY:
                open_ones.add(place)
            elif record.kind == checker.SETTLE:
                open_ones.discard(place)
        return len(open_ones)

    def ends(self, producer, since=0):
        """How the sends of a process that ended after `since`, in the last fault, ended: (outcome, code) of each."""
        return [(record.what, record.code) for record in self.recent(producer).records if record.kind == checker.SENT and record.time > since]

    def answer_times(self, topic, since):
        """Seconds from the start to the end of each send to a topic after `since`, in the last fault; to now for those that have not ended."""
        taken, now = [], time.monotonic_ns()
        for one in self.producers:
            history = self.recent(one)
            if history.name != topic:
                continue
            begun = {(record.producer, record.sequence): record.time for record in history.records if record.kind == checker.SEND}
            for record in history.records:
                if record.kind == checker.SENT and (begin := begun.pop((record.producer, record.sequence), 0)) > since:
                    taken.append((record.time - begin) / 1e9)
            taken += [(now - begin) / 1e9 for begin in begun.values()]
        return taken

    def recovery(self, since):
        """Seconds from `since`, in the last fault, until every producer had an OK and every group of one consumer a delivery."""
        first = []
        for one, kind in [(one, checker.SENT) for one in self.producers] + [(one, checker.DELIVERY) for one in self.consumers if one.group.endswith("-solo")]:
            records = (record for record in self.recent(one).records if record.time > since and record.kind == kind)
            first.append(next(record.time for record in records if kind == checker.DELIVERY or record.what == checker.OK))
        return (max(first) - since) / 1e9

    def deleted(self, topic, kept):
        """Deletes what lies below `kept` in a topic, past the service."""
        for group in self.groups:
            if group.topic == topic:
                group.kept = dict(kept)

    def begins_anew(self, topic, dead=False):
        """A topic was deleted past the service and is made anew, from here on; `dead`: also the one of its dead letters."""
        groups = [group for group in self.groups if group.topic == topic or (dead and group.dead_of == f"{topic}-shared")]
        for name in [topic, *(group.name for group in groups)]:
            self.lives[name].append(time.monotonic_ns())
        for group in groups:
            group.kept = {number: len(self.lives[group.name]) * checker.LIFE for number in range(PARTITIONS)}

    def found_anew(self, topic):
        """The service has found out that it did; earlier answers may still be on their way."""
        for group in self.groups:
            if group.topic == topic:
                group.void.append((self.lives[topic][-1], time.monotonic_ns() + ON_THE_WAY_NS))

    def stillness(self, topic, seconds=1, limit=120):
        """Waits until no client has received or settled anything of a topic for that long, and the others have got on meanwhile."""
        own = [one for one in self.consumers if one.group.startswith(f"{topic}-")]
        others = [one for one in self.consumers if one not in own]
        deadline = time.monotonic() + limit
        before = None
        while before != (before := [one.size for one in own]):
            assert time.monotonic() < deadline, f"{topic} does not come to rest"
            others_before = [one.size for one in others]
            time.sleep(seconds)
            wait_for(lambda sizes=others_before: [one.size for one in others] != sizes, 60, "no other topic gets on")

    # ---- Faults

    @contextlib.contextmanager
    def consumers_held(self):
        """Stops them, so that their groups fall behind."""
        running = [one.process for one in self.consumers if not (one.killed or one.stopped)]
        for process in running:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in running:
                process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def fault(self, what):
        """Marks the time in which deliveries may end for no fault of their own: until everybody has done what was begun before."""
        self.sizes = {one: one.size for one in self.producers + self.consumers}
        fault = checker.Fault(what, time.monotonic_ns())
        self.faults.append(fault)
        yield
        self.progress(RECOVERED)
        fault.end = time.monotonic_ns()

    def kill_daemon(self, lives=1):
        """`lives` times, each as soon as it serves again."""
        with self.fault("kill"):
            for _ in range(lives):
                self.daemon.kill()
                self.daemon.start()

    # ---- The end

    def backlogs(self, part="backlog"):
        """{group: how much of it, or of a part of it, there is}"""
        return {group.name: self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{group.name}/backlog").json[part] for group in self.groups}

    def consumed(self):
        """Whether the groups that are being consumed have nothing left."""
        answers = [self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{one.group}/backlog") for one in self.consumers]
        return all(answer.status == 200 and answer.json["backlog"] == 0 for answer in answers)

    def drained(self, seconds, groups=None):
        """Waits until some groups, or all, have nothing left."""
        groups = groups or [group.name for group in self.groups]
        deadline = time.monotonic() + seconds
        while any((left := self.backlogs())[name] for name in groups):
            self.all_alive()
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
        self.at_rest()
        return self.judge()

    def at_rest(self):
        """Nothing is left; what is dead has a copy, and what was acknowledged to its sender is there."""
        sent, dead = self.backlogs("sent"), self.backlogs("dead")
        for group in self.groups:
            assert group.judge or not group.topic or dead[group.name] <= sent.get(f"{group.topic}-dead", 0), (group.name, dead, sent)
        if self.administrator:
            self.administrator.end()
        if self.balance:
            self.balance.end()
            assert self.balance.samples, "the groups were not looked at"

    def judge(self):
        assert self.balance, "nothing checks whether what is told of the groups adds up"
        histories = [checker.read(one.path) for one in self.producers + self.consumers]
        calls = [call for one in (self.balance, self.administrator) if one for call in one.calls]
        report = checker.check(histories, self.groups, self.faults, self.lives, calls)
        print(report)
        return report

    def end(self):
        if self.balance:
            self.balance.stopping.set()
        if self.administrator:
            self.administrator.last.set()
        for one in self.producers + self.consumers:
            if one.process.poll() is None:
                one.kill()
            one.stop()
