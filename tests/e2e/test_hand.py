"""What lies in a consumer's hand, with the C library and the real daemon: which messages die of a crash loop, what keeps its order, what counts."""
import collections
import os
import signal
import subprocess
import time

import daemon as daemons
import pytest
from daemon import wait_for
from rest import BUILD
from wire import Record

LONG = "MQPAAS_LONG" in os.environ
VISIBILITY_S = 5  # of one that is frozen: no machine is so slow that it seems to be, too
GROUP = {"retry_delay_ms": 10, "retry_delay_max_ms": 10}
Begin = collections.namedtuple("Begin", "pid group key number attempt")


class Daemon(daemons.Daemon):
    """mqpaasd with a topic and a group of the same name for each purpose, and processes that consume and die."""

    def __init__(self, folder, *options):
        super().__init__(folder, *options)
        self.log_of_begins = os.path.join(self.folder, "begins")
        self.consumers = []

    def group(self, name, **fields):
        self.make("tenants/acme/topics", {"name": name, "partitions": 1})
        self.make("tenants/acme/groups", {"name": name, "topic": name, **GROUP, **fields})

    def publish(self, topic, messages, begin=0):
        """Messages of four keys, in order; `messages` is their kinds."""
        with self.connect() as conn:
            stream, records = conn.open_topic(topic), []
            for at, kind in enumerate(messages, begin):
                key = f"k{at % 4}"
                records.append(Record(key=key.encode(), body=f"{key} {at // 4} {kind}".encode()))
            for at in range(0, len(records), 500):
                assert {result.code for result in stream.send(*records[at : at + 500])} == {"OK"}

    def consume(self, *options):
        environment = {**os.environ, "MQPAAS_ADDRESS": self.addresses["clients"][0], "MQPAAS_ACCESS_KEY": self.key[0], "MQPAAS_SECRET": self.key[1]}
        command = [os.path.join(BUILD, "tests", "hand_client"), f"log={self.log_of_begins}", *options]
        self.consumers.append(subprocess.Popen(command, env=environment))
        return self.consumers[-1]

    def stats(self, group):
        return self.admin.get(f"/api/v1/tenants/acme/groups/{group}/stats").json["consume"]

    def left(self, group):
        backlog = self.admin.get(f"/api/v1/tenants/acme/groups/{group}/backlog").json
        return sum(backlog[name] for name in ("ready", "in_flight", "retrying"))

    def begins(self, group=None):
        if not os.path.exists(self.log_of_begins):
            return []
        with open(self.log_of_begins, encoding="ascii") as file:
            rows = [Begin(pid, name, key, int(number), int(attempt)) for pid, name, key, number, attempt in map(str.split, file.read().splitlines())]
        return [row for row in rows if group in (None, row.group)]

    def run_until(self, done, *options, seconds=150):
        """Starts the process again each time that it dies; returns how often it died."""
        deaths, process, deadline = 0, self.consume(*options), time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, (deaths, len(self.begins()))
            if process.poll() is None:
                time.sleep(0.01)
                continue
            assert process.returncode == -signal.SIGKILL
            deaths += 1
            process = self.consume(*options)
        self.end_consumers()
        return deaths + (process.returncode == -signal.SIGKILL)  # the daemon may have heard of the last death first

    def end_consumers(self):
        for process in self.consumers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.consumers:
            assert process.wait(60) in (0, -signal.SIGKILL, -signal.SIGTERM)  # SIGTERM: it had hardly begun
        self.consumers = []

    def end(self):
        for process in self.consumers:
            if process.poll() is None:
                process.kill()
                process.wait()
        super().end()


@pytest.fixture
def daemon_with(tmp_path):
    made = []

    def make(*options):
        made.append(Daemon(tmp_path, *options))
        return made[-1].world(topic="unused", group="unused")

    yield make
    for daemon in made:
        daemon.end()


def in_order(begins):
    """First begins of each key are in the order in which they were sent."""
    last, seen = {}, set()
    for row in begins:
        if (row.key, row.number) in seen:
            continue
        seen.add((row.key, row.number))
        assert row.number > last.get(row.key, -1), row
        last[row.key] = row.number
    return len(seen)


CRASHES = 32 if LONG else 6
LOOPS = [(mode, us, threads) for mode in ("push", "pull") for us in (10, 50_000) for threads in (1, 8)]
FEW = [("push", 10, 1), ("push", 50_000, 8), ("pull", 10, 1)]


@pytest.mark.parametrize("mode, callback_us, threads", LOOPS if LONG else FEW)
def test_only_the_message_that_kills_dies(daemon_with, mode, callback_us, threads):
    """Killed at the start of a callback, again and again, with another group in the process: one dead letter, and no other message has an attempt more."""
    daemon = daemon_with()
    total, attempts = 300 if callback_us < 1000 else 60, CRASHES - 1
    daemon.group("poisoned", max_attempts=attempts)
    daemon.group("beside", max_attempts=attempts)
    daemon.publish("poisoned", ["kill" if at == total // 3 else "ok" for at in range(total)])
    daemon.publish("beside", ["ok"] * total)
    options = [f"mode={mode}", f"threads={threads}", f"callback_us={callback_us}", "group=poisoned", "mode=push", "threads=2", "group=beside"]
    deaths = daemon.run_until(lambda: daemon.left("poisoned") == daemon.left("beside") == 0, *options, seconds=170)
    assert deaths == attempts + 1
    assert (daemon.stats("poisoned")["dead"], daemon.stats("beside")["dead"]) == (1, 0)
    begins = daemon.begins()
    poison = (f"k{total // 3 % 4}", total // 3 // 4)
    assert {row.attempt for row in begins if row.group == "beside" or (row.key, row.number) != poison} == {1}
    for group in ("poisoned", "beside"):
        assert len({(row.key, row.number) for row in begins if row.group == group}) == total
    if threads == 1:
        assert in_order(daemon.begins("poisoned")) == total


@pytest.mark.parametrize("callback_us, slow_us, prefetch", [(10, 0, 0), (50_000, 0, 0), (50_000, 0, 1024), (10, 3_500_000, 0)])
def test_order_with_slow_callbacks(daemon_with, callback_us, slow_us, prefetch):
    """No fault, one consumer: first begins of a key are in order, also when the hand waits for longer than the visibility timeout, and nothing counts."""
    daemon = daemon_with()
    daemon.group("slow", visibility_ms=3000, max_attempts=5)
    total = 36 if slow_us else 10_000 if callback_us < 1000 else 90
    daemon.consume(f"prefetch={prefetch}", f"callback_us={callback_us}", f"slow_us={slow_us}", "group=slow")
    for part in range(6):  # what came early has waited for long when the rest comes
        daemon.publish("slow", ["ok"] * (total // 6), begin=part * (total // 6))
        time.sleep(0.15)
    total = total // 6 * 6
    wait_for(lambda: daemon.left("slow") == 0, 60, "all of it is acked")
    daemon.end_consumers()
    begins = daemon.begins("slow")
    assert in_order(begins) == total == len(begins)
    assert {row.attempt for row in begins} == {1}
    assert daemon.stats("slow")["timeouts"] == 0


def test_rolling_kills_leave_nobody_dead(daemon_with):
    daemon = daemon_with()
    daemon.group("rolling", max_attempts=5)
    daemon.publish("rolling", ["ok"] * 1200)
    options = ("threads=4", "callback_us=20000", "group=rolling")
    processes = [daemon.consume(*options) for _ in range(3)]
    for turn in range(10):
        time.sleep(0.15)
        processes[turn % 3].kill()
        processes[turn % 3] = daemon.consume(*options)
    wait_for(lambda: daemon.left("rolling") == 0, 60, "all of it is acked")
    daemon.end_consumers()
    assert daemon.stats("rolling")["dead"] == 0
    assert max(row.attempt for row in daemon.begins()) < 5


@pytest.mark.parametrize("part", [0.6, 1.6])
def test_a_frozen_process_costs_no_attempt(daemon_with, part):
    daemon = daemon_with()
    daemon.group("frozen", visibility_ms=1000 * VISIBILITY_S, max_attempts=2)
    daemon.publish("frozen", ["ok"] * 200)
    process = daemon.consume("threads=2", "callback_us=20000", "group=frozen")
    wait_for(lambda: len(daemon.begins()) > 20, what="it has begun")
    process.send_signal(signal.SIGSTOP)
    time.sleep(VISIBILITY_S * part)
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: daemon.left("frozen") == 0, 60, "all of it is acked")
    daemon.end_consumers()
    assert {row.attempt for row in daemon.begins()} == {1}
    stats = daemon.stats("frozen")
    assert (stats["dead"], stats["timeouts"]) == (0, 0)
    assert stats["lost"] > 0 if part > 1 else stats["lost"] == 0


def test_a_drain_counts_no_attempt(daemon_with):
    """Callbacks that run beyond the deadline of a drain: what they work on comes again, as its first attempt and as no suspect."""
    daemon = daemon_with("--drain", "1s")
    daemon.group("drained", max_attempts=1)
    daemon.publish("drained", ["ok"] * 6)
    daemon.consume("threads=4", "callback_us=2000000", "group=drained")
    wait_for(lambda: len(daemon.begins()) >= 4, what="its threads work")
    daemon.stop()
    daemon.start()
    wait_for(lambda: daemon.left("drained") == 0, 60, "all of it is acked")
    daemon.end_consumers()
    assert {row.attempt for row in daemon.begins()} == {1}
    assert (daemon.stats("drained")["dead"], daemon.stats("drained")["lost"]) == (0, 0)
