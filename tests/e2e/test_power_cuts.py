"""The whole daemon at a power cut: what it had told clients and operators by then is there when it starts again.

tests/crash cuts the store alone, thousands of times. Here the recorder is preloaded into mqpaasd and has everything in its data
directory: the registry, the copy of the catalog, secrets, the clusters' stores.
"""
import filecmp
import glob
import os
import random
import shutil
import time

import pytest
import rest
import wire
from daemon import Daemon, wait_for
from history.balance import problems
from history.load import times
from power import MODES, Disk, environment, read

ROUNDS, BATCH = 12, 5
SEED = 1


class Promises:
    """What was told, and when: [(time, …)]."""

    def __init__(self):
        self.made = []  # (time, REST target)
        self.begun, self.sent, self.acks_begun, self.acked = {}, {}, {}, {}  # {body: time}

    @staticmethod
    def by(cut, which):
        return {key for key, at in which.items() if at < cut}


class Recorded:
    """A daemon's life under the recorder, and what it promised."""

    def __init__(self, folder, synced=True):
        os.mkdir(folder)
        self.folder, self.log = os.path.join(folder, "data"), os.path.join(folder, "record")
        self.promises = Promises()
        self.daemon = Daemon(folder, env=environment(self.folder, self.log, synced))
        try:
            self.live()
            self.daemon.kill()
        finally:
            self.daemon.end()
        self.events = read(self.log)

    def promised(self, path, name):
        self.promises.made.append((time.monotonic_ns(), f"/api/v1/{path}/{name}"))

    def live(self):
        chance = random.Random(SEED)
        self.daemon.world()
        self.promised("tenants/acme/topics", "orders")
        self.promised("tenants/acme/groups", "billing")
        with self.daemon.connect() as conn:
            topic, subscription = conn.open_topic("orders"), conn.subscribe("billing")
            for number in range(ROUNDS):
                self.send(topic, number, chance)
                self.settle(subscription, chance)
                if number % 3 == 0:
                    self.daemon.make("tenants", {"name": f"tenant-{number}", "clusters": ["local"]})
                    self.promised("tenants", f"tenant-{number}")
                if number == ROUNDS // 2:
                    answer = self.daemon.admin.delete("/api/v1/tenants/tenant-0")
                    assert answer.status in (202, 204), answer.body
                    self.promises.made = [row for row in self.promises.made if not row[1].endswith("tenant-0")]

    def send(self, topic, number, chance):
        bodies = [b"%d-%d " % (number, step) + chance.randbytes(chance.randrange(6000)) for step in range(BATCH)]
        now = time.monotonic_ns()
        self.promises.begun.update(dict.fromkeys(bodies, now))
        assert all(result.outcome == wire.OK for result in topic.send(*bodies))
        now = time.monotonic_ns()
        self.promises.sent.update(dict.fromkeys(bodies, now))

    def settle(self, subscription, chance):
        got = subscription.receive(chance.randrange(1, BATCH))
        bodies = [delivery.record.body for delivery in got]
        now = time.monotonic_ns()
        self.promises.acks_begun.update(dict.fromkeys(bodies, now))
        assert all(code == "OK" for code, _ in subscription.ack(*got))
        now = time.monotonic_ns()
        self.promises.acked.update(dict.fromkeys(bodies, now))

    # ---- Cuts

    def broken(self, folder, cut, disk, number):
        """What of the promises the disk of that moment breaks, with the daemon started on it; None: nothing."""
        disk.advance(cut)
        os.mkdir(folder)
        disk.write(os.path.join(folder, "data"), MODES[number % len(MODES)], SEED + number)
        for mark in glob.glob(folder + "/data/clusters/*/d1/boot"):  # of a boot that is over
            with open(mark, "w", encoding="ascii") as file:
                file.write("another-boot ea201241\n")
        one = Daemon(folder, start=False)
        try:
            one.start()
            self.check(one, self.events[cut].time)
        except (AssertionError, wire.Refused) as error:
            return f"event {cut} of {len(self.events)}, {MODES[number % len(MODES)]}, in {folder}: {error}"
        finally:
            if one.process.poll() is None:
                one.kill()
        return None

    def check(self, one, cut):
        promises = self.promises
        made = [target for at, target in promises.made if at < cut]
        if not made:
            return
        answer = one.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD})
        assert answer.status == 201, answer.body
        one.token = answer.json["token"]
        for target in made:
            assert one.admin.get(target).status == 200, f"{target} is lost"
        sent, acked = promises.by(cut, promises.sent), promises.by(cut, promises.acked)
        if not sent:
            return
        wait_for(lambda: one.admin.get("/api/v1/tenants/acme/topics/orders").json["state"] == "ready")
        one.key = self.daemon.key
        backlog = wait_for(lambda: (answer := one.admin.get("/api/v1/tenants/acme/groups/billing/backlog")).status == 200 and answer, what="the group is not served")
        assert not problems(backlog.json)
        ready = backlog.json["ready"]
        with one.connect() as conn:
            came = [delivery.record.body for delivery in conn.subscribe("billing").receive(ready)] if ready else []
        assert len(set(came)) == len(came), "a message is there twice"
        assert not set(came) - promises.by(cut, promises.begun), "a message is there that was never sent"
        assert not set(came) & acked, "an acknowledged message comes again"
        assert not sent - set(came) - promises.by(cut, promises.acks_begun), "an acknowledged send is lost"

    def cuts(self, folder, count):
        """Cuts spread over the whole life; yields what each breaks."""
        disk = Disk(self.events, self.folder)
        for number in range(count):
            place = os.path.join(folder, f"cut-{number}")
            broken = self.broken(place, (len(self.events) - 1) * (number + 1) // count, disk, number)
            if not broken:
                shutil.rmtree(place)
            yield broken


def test_the_record_is_whole(tmp_path):
    """With everything kept its last moment is the directory as it is: nothing escapes the recorder. Maps are not recorded, nor what is only a lock."""
    recorded = Recorded(str(tmp_path / "life"))
    disk = Disk(recorded.events, recorded.folder)
    disk.advance(len(recorded.events))
    disk.write(str(tmp_path / "copy"), "kept", SEED)
    compared = 0
    for place, _, names in os.walk(recorded.folder):
        for name in names:
            if name not in ("lock", "lock.mdb") and not name.endswith("-shm"):
                path = os.path.join(place, name)
                assert filecmp.cmp(path, os.path.join(tmp_path, "copy", os.path.relpath(path, recorded.folder)), shallow=False), path
                compared += 1
    assert compared >= 5


@pytest.mark.timeout(900)
def test_every_promise_holds(tmp_path):
    recorded = Recorded(str(tmp_path / "life"))
    broken = [broken for broken in recorded.cuts(str(tmp_path), times(24, 400)) if broken]
    assert not broken, "\n".join(broken)


@pytest.mark.timeout(900)
def test_without_syncs_promises_break(tmp_path):
    """The same daemon as if no fsync were in it: this test can fail."""
    recorded = Recorded(str(tmp_path / "life"), synced=False)
    assert any(recorded.cuts(str(tmp_path), 8))
