"""The data plane alone (proxy_standin), with a tenant, keys, topics and groups to try things on."""
import json
import os
import signal
import subprocess

import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MQPAAS_BUILD", os.path.join(ROOT, "build"))
PRODUCE, CONSUME = 1, 2
READY = 1  # model_state
EARLIEST = 0  # group_start
D2 = 2  # durability
WAIT, REJECT = 0, 1  # quota_over
UNLIMITED = 2**63 - 1
TENANT, KEY, CLUSTER = 1, 2, 3
SECRET = "correct-horse"


class Plane:
    """A running stand-in. put() and gone() change its catalog, query() sends it a live query."""

    def __init__(self, folder, descriptors=None, **settings):
        self.folder, self.next_id = str(folder), 100
        command = [os.path.join(BUILD, "tests/proxy_standin"), self.folder, *(f"{name}={value}" for name, value in settings.items())]
        self.log = open(os.path.join(self.folder, "log.jsonl"), "wb")  # pylint: disable=consider-using-with
        if descriptors:
            command = ["prlimit", f"--nofile={descriptors}", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.host, port = self.answer()["address"].split(":")
        self.port = int(port)
        self.put("cluster", CLUSTER, name="memory", kind="memory")
        self.put("tenant", TENANT, name="acme", clusters=[CLUSTER])
        self.put("access_key", KEY, key_id="AK1", tenant=TENANT, secret=SECRET, grants=[["*", PRODUCE | CONSUME]])

    def answer(self):
        line = self.process.stdout.readline()
        assert line, "the stand-in has ended: " + open(self.log.name, encoding="utf-8").read()[-4000:]
        return json.loads(line)

    def command(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def put(self, object, id, **fields):
        assert self.command(do="put", object=object, id=id, **fields) == {"result": 0}
        return id

    def gone(self, kind, id):
        assert self.command(do="gone", object=kind, id=id) == {"result": 0}

    def query(self, kind, deadline_ms=5000, **parameters):
        answer = self.command(do="query", kind=kind, parameters=parameters, deadline_ms=deadline_ms)
        return answer.get("answer") if answer["code"] == "OK" else answer["code"]

    def new_id(self):
        self.next_id += 1
        return self.next_id

    def topic(self, name, id=None, **fields):
        """A topic that is ready; "physical" chooses the faults of the memory backend."""
        row = {"name": name, "physical": name, "tenant": TENANT, "cluster": CLUSTER, "partitions": 1, "incarnation": 1, "state": READY, "message_bytes": 1 << 20, "durability": D2}
        return self.put("topic", id or self.new_id(), **{**row, **fields})

    def group(self, name, topic, id=None, **fields):
        row = {"name": name, "physical": name, "tenant": TENANT, "topic": topic, "visibility_ms": 30000, "start.from": EARLIEST, "incarnation": 1, "state": READY}
        return self.put("group", id or self.new_id(), **{**row, **fields})

    def dead_lettered(self, name, topic, **fields):
        """A group with its dead-letter topic, and a group on that one."""
        group, dead = self.new_id(), self.new_id()
        self.topic(name + ".dead", dead, dead_letter_of=group)
        self.group(name + ".dead-readers", dead)
        return self.group(name, topic, group, dead_letter_topic=dead, **fields)

    def tenant(self, **limits):
        self.put("tenant", TENANT, name="acme", clusters=[CLUSTER], **{f"limits.{name}": value for name, value in limits.items()})

    def connect(self, key_id="AK1", secret=SECRET, **options):
        return wire.Connection(self.host, self.port, key_id, secret, **options)

    def strange(self, **options):
        """A connection that has said nothing."""
        return wire.Connection(self.host, self.port, start=False, **options)

    def totals(self):
        (tenant,) = [row for row in self.query("TOTALS")["tenants"] if row["id"] == TENANT]
        return tenant

    def drain(self, deadline_ms=1000):
        self.process.stdin.write(json.dumps({"do": "drain", "deadline_ms": deadline_ms}) + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends it in order; a leak or a sanitizer's finding fails here."""
        if self.process.poll() is None:
            self.process.stdin.close()
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            status = self.process.wait()
        self.log.close()
        assert status == 0, open(self.log.name, encoding="utf-8").read()[-8000:]
