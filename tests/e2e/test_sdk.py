"""The C library's example programs against the real daemon: what each says must add up with what REST says."""
import json
import os
import re
import signal
import subprocess
import time

import pytest
from rest import BUILD, PASSWORD, ROOT, Rest

EVENTS = os.path.join(ROOT, "deploy", "sample", "earthquakes.jsonl")
SENDERS = ("send_sync", "send_async", "send_oneway", "event_loop")
LINES = 300


def wait_for(condition, what, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"never so: {what}"
        time.sleep(0.02)


class Daemon:
    """mqpaasd with everything in one process, on ports that the system chose, and a tenant on it."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        self.listen = self.portal_listen = "127.0.0.1:0"
        self.process = self.rest = self.key = None

    def provision(self):
        token = (self.data / "bootstrap-token").read_text().strip()
        session = self.rest.post("/api/v1/bootstrap", {"token": token, "user": "root", "password": PASSWORD})
        assert session.status == 201, session.body
        self.rest = self.rest.with_token(session.json["token"])
        cluster = self.rest.get("/api/v1/clusters").json["items"][0]["name"]
        self.create("/api/v1/tenants", {"name": "acme", "clusters": [cluster]})
        self.create("/api/v1/tenants/acme/topics", {"name": "quakes", "partitions": 2})
        self.create("/api/v1/tenants/acme/groups", {"name": "readers", "topic": "quakes"})
        grants = [{"pattern": "*", "rights": ["produce", "consume"]}]
        self.key = self.create("/api/v1/tenants/acme/access-keys", {"grants": grants})
        for kind, name in (("topics", "quakes"), ("groups", "readers")):
            wait_for(lambda k=kind, n=name: self.rest.get(f"/api/v1/tenants/acme/{k}/{n}").json["state"] == "ready", f"{name} ready")

    def create(self, target, body):
        answer = self.rest.post(target, body)
        assert answer.status == 201, answer.body
        return answer.json

    def start(self):
        ready, tell = os.pipe()
        os.set_inheritable(tell, True)
        with open(self.folder / "log", "ab") as log:
            start = log.tell()
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "server", "mqpaasd"), "--data-dir", str(self.data), "--listen", self.listen, "--portal-listen", self.portal_listen,
                 "--ready-fd", str(tell)], pass_fds=[tell], stdout=log, stderr=log)
        os.close(tell)
        told = os.read(ready, 64)
        os.close(ready)
        text = (self.folder / "log").read_text()[start:]
        assert told, text
        clients, rest = (re.search(pattern, text).group(1) for pattern in (r"clients on 127\.0\.0\.1:(\d+)", r"REST on port (\d+)"))
        self.listen, self.portal_listen = f"127.0.0.1:{clients}", f"127.0.0.1:{rest}"
        self.rest = Rest(int(rest), self.rest and self.rest.token)

    def stop(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        return self.process.wait(60)

    def environment(self):
        return {**os.environ, "MQPAAS_ADDRESS": self.listen, "MQPAAS_ACCESS_KEY": self.key["key_id"], "MQPAAS_SECRET": self.key["secret"]}

    def example(self, name, *arguments):
        """Starts an example program; its summary line is read by `summary`."""
        program = os.path.join(BUILD, "sdk", "c", "examples", name)
        return subprocess.Popen([program, *arguments], env=self.environment(), stdout=subprocess.PIPE, text=True)

    def backlog(self):
        return self.rest.get("/api/v1/tenants/acme/groups/readers/backlog").json


def summary(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return json.loads(output)


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path)
    try:
        daemon.start()
        daemon.provision()
        yield daemon
    finally:
        if daemon.process and daemon.process.poll() is None:
            assert daemon.stop() == 0, (tmp_path / "log").read_text()[-2000:]


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.jsonl"
    with open(EVENTS, encoding="utf-8") as source:
        path.write_text("".join(source.readline() for _ in range(LINES)))
    return str(path)


def test_every_way_to_send_and_consume(daemon, events):
    for name in SENDERS:
        told = summary(daemon.example(name, "--topic", "quakes", "--file", events, "--key", "net"))
        assert told["sent"] == LINES
        assert told["oneway_written" if name == "send_oneway" else "acknowledged"] == LINES
    total = LINES * len(SENDERS)
    wait_for(lambda: daemon.backlog()["ready"] == total, "all of it is backlog")
    pushed = summary(daemon.example("consume_push", "--group", "readers", "--count", str(total // 2), "--threads", "4"))
    assert pushed["acked"] == total // 2
    wait_for(lambda: daemon.backlog()["ready"] == total // 2, "the other half")
    pulled = summary(daemon.example("consume_pull", "--group", "readers", "--count", str(total // 2)))
    assert (pulled["acked"], pulled["redelivered"], pulled["stale"]) == (total // 2, 0, 0)
    backlog = daemon.backlog()
    assert (backlog["ready"], backlog["in_flight"]) == (0, 0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_senders_outlive_the_daemon(daemon, events, how):
    """What was acknowledged is there after the daemon has come back on the same address; keys keep their order."""
    lines = "".join(f'{{"n":{n},"net":"k{n % 10}"}}\n' for n in range(40000))
    with open(events, "w", encoding="utf-8") as file:
        file.write(lines)
    sender = daemon.example("send_async", "--topic", "quakes", "--file", events, "--key", "net")
    wait_for(lambda: daemon.backlog()["ready"] > 0, "sending has begun")
    status = daemon.stop(how)
    assert status == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    daemon.start()
    told = summary(sender)
    assert told["acknowledged"] == 40000 and told["rejected"] == 0
    wait_for(lambda: daemon.backlog()["ready"] >= 40000, "everything is there")
    # A repetition is explained by a send whose answer was lost.
    assert daemon.backlog()["ready"] <= 40000 + told["retries"]


def test_reasons_are_told(daemon, events):
    def failure(name, *arguments, **environment):
        program = os.path.join(BUILD, "sdk", "c", "examples", name)
        done = subprocess.run([program, *arguments], env={**daemon.environment(), **environment}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "UNAUTHENTICATED" in failure("send_sync", "--topic", "quakes", "--file", events, MQPAAS_SECRET="wrong")
    assert "NOT_FOUND" in failure("send_sync", "--topic", "nowhere", "--file", events)
    assert "NOT_FOUND" in failure("consume_pull", "--group", "nobody")
    assert "NOT_CONNECTED" in failure("consume_pull", "--group", "readers", MQPAAS_ADDRESS="127.0.0.1:1")
