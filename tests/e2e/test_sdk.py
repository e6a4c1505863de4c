"""The C library's example programs against the real daemon: what each says must add up with what REST says."""
import json
import os
import signal
import subprocess

import daemon as daemons
import pytest
from daemon import wait_for
from rest import BUILD, ROOT

EVENTS = os.path.join(ROOT, "deploy", "sample", "earthquakes.jsonl")
SENDERS = ("send_sync", "send_async", "send_oneway", "event_loop")
LINES = 300


class Daemon(daemons.Daemon):
    """mqpaasd with a tenant on it, and the examples that speak to it."""

    def environment(self):
        return {**os.environ, "MQPAAS_ADDRESS": self.addresses["clients"][0], "MQPAAS_ACCESS_KEY": self.key[0], "MQPAAS_SECRET": self.key[1]}

    def example(self, name, *arguments):
        """Starts an example program; its summary line is read by `summary`."""
        program = os.path.join(BUILD, "sdk", "c", "examples", name)
        return subprocess.Popen([program, *arguments], env=self.environment(), stdout=subprocess.PIPE, text=True)

    def backlog(self):
        return self.admin.get("/api/v1/tenants/acme/groups/readers/backlog").json


def summary(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return json.loads(output)


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon.world(topic="quakes", group="readers", partitions=2)
    daemon.end()


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
    wait_for(lambda: daemon.backlog()["ready"] == total, what="all of it is backlog")
    pushed = summary(daemon.example("consume_push", "--group", "readers", "--count", str(total // 2), "--threads", "4"))
    assert pushed["acked"] == total // 2
    wait_for(lambda: daemon.backlog()["ready"] == total // 2, what="the other half")
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
    wait_for(lambda: daemon.backlog()["ready"] > 0, what="sending has begun")
    daemon.signal(how)
    assert daemon.wait(60) == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    daemon.start()
    told = summary(sender)
    assert told["acknowledged"] == 40000 and told["rejected"] == 0
    wait_for(lambda: daemon.backlog()["ready"] >= 40000, what="everything is there")
    # A repetition is explained by a send whose answer was lost.
    assert daemon.backlog()["ready"] <= 40000 + told["retries"]


def test_consumers_and_senders_through_a_drain(daemon, events):
    """SIGTERM under load: what consumers hold is settled before the daemon ends, so nothing of it comes again."""
    total = 100000
    with open(events, "w", encoding="utf-8") as file:
        file.write("".join(f'{{"n":{n},"net":"k{n % 10}"}}\n' for n in range(total)))
    consumer = daemon.example("consume_push", "--group", "readers", "--count", str(total), "--threads", "2")
    sender = daemon.example("send_async", "--topic", "quakes", "--file", events, "--key", "net")
    wait_for(lambda: daemon.admin.get("/api/v1/tenants/acme/stats").json["consume"]["acked"] > 0, what="consuming has begun")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    daemon.start()
    sent, consumed = summary(sender), summary(consumer)
    assert (sent["acknowledged"], sent["rejected"]) == (total, 0)
    assert (consumed["acked"], consumed["redelivered"], consumed["stale"]) == (total, 0, 0)
    backlog = daemon.backlog()
    assert backlog["ready"] + backlog["in_flight"] <= sent["retries"]


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
