"""Faults under load, judged by histories: what was acknowledged is there, unchanged, in order, and comes again only for a reason.

Each fault is made twice, and in `tests/run --long` often.
"""
import random
import signal
import time

import pytest
from daemon import wait_for
from faults import ALL, SYNC, SYNC_WRITE, WRITE, Faults
from history.checker import OK, REJECTED
from history.disk import DiskDaemon, SmallDisk
from history.load import Load, times
from history.resets import Resetter

pytest_plugins = ["daemon_fixtures"]
STILL = 1.5  # seconds a process is stopped
VISIBILITY_MS = 1000
MIB = 1 << 20
RESERVE = 64 * MIB  # that the store keeps for deleting and for cursors
FULL = (REJECTED, 14)  # BACKEND_FULL


@pytest.fixture
def load(daemon, tmp_path):
    load = Load(daemon, tmp_path)
    yield load
    load.end()


@pytest.fixture
def resetter():
    resetter = Resetter()
    yield resetter
    resetter.end()


def test_without_faults_nothing_comes_twice(load):
    load.start().administer()
    load.progress(3000)
    report = load.finish()
    assert report.clean, report
    assert not report.seen["copies by resending"] and not report.seen["redelivered by fault"], report


@pytest.mark.timeout(900)
def test_daemon_killed(load):
    """With kill -9, at any moment of anything, also while its clients come back."""
    load.start().administer()
    for number in range(times(2, 20)):
        load.progress(500 * (1 + number % 4))
        load.kill_daemon(lives=1 + number % 2)
    report = load.finish()
    assert report.clean, report
    assert report.seen["redelivered by fault"], report


@pytest.mark.timeout(900)
def test_daemon_stopped_and_continued(start, tmp_path):
    """Longer than the visibility timeout: what was in flight has timed out when it wakes, and its clients are still there."""
    load = Load(start(), tmp_path, visibility_ms=VISIBILITY_MS)
    try:
        load.start().administer()
        for _ in range(times(2, 20)):
            load.progress(500)
            with load.fault("daemon stopped"):
                load.daemon.process.send_signal(signal.SIGSTOP)
                time.sleep(STILL * VISIBILITY_MS / 1000)
                load.daemon.process.send_signal(signal.SIGCONT)
        report = load.finish()
        assert report.clean, report
    finally:
        load.end()


def kill_while_it_holds(load, consumer):
    consumer.process.send_signal(signal.SIGSTOP)
    if load.holding(consumer):
        consumer.kill()
        return True
    consumer.process.send_signal(signal.SIGCONT)
    return False


@pytest.mark.timeout(900)
def test_consumers_stopped_and_killed(start, tmp_path):
    """A consumer that sleeps over its timeout gets STALE when it wakes; one that dies leaves what it held to the others."""
    load = Load(start(), tmp_path, visibility_ms=VISIBILITY_MS)
    try:
        load.start()
        for number in range(times(2, 20)):
            topic = ("d1", "d2")[number % 2]
            sleeper = next(one for one in load.consumers if one.group == f"{topic}-shared" and not one.killed)
            load.progress(500)
            with load.fault("consumer stopped"):
                sleeper.process.send_signal(signal.SIGSTOP)
                time.sleep(STILL * VISIBILITY_MS / 1000)
                sleeper.process.send_signal(signal.SIGCONT)
            load.progress(500)
            with load.fault("consumer killed"):
                wait_for(lambda sleeper=sleeper: kill_while_it_holds(load, sleeper), 60, "the consumer never holds a message")
            load.consume(f"{topic}-shared", "--mixed")
        report = load.finish()
        assert report.clean, report
        assert report.seen["redelivered by fault"], report
    finally:
        load.end()


@pytest.mark.timeout(900)
def test_connections_reset(start, tmp_path, resetter):
    """In the middle of frames, all at once, while both ends live on: the service must take back what it had handed out."""
    daemon = start(listen=[f"127.0.0.1:0 as {resetter.address}"])
    resetter.target = "127.0.0.1", daemon.port
    load = Load(daemon, tmp_path, address=resetter.address)
    try:
        load.start()
        for _ in range(times(2, 40)):
            load.progress(500)
            with load.fault("reset"):
                assert resetter.reset() >= 2 * len(load.producers + load.consumers)
        report = load.finish()
        assert report.clean, report
        assert report.seen["redelivered by fault"], report
    finally:
        load.end()


@pytest.fixture
def small_disk(tmp_path):
    disk = SmallDisk(tmp_path, times(256, 512))
    yield disk
    disk.end()


@pytest.mark.timeout(900)
def test_disk_full(small_disk, tmp_path):
    """Sends are told so and nothing of them is stored, consuming goes on, and with space everything goes on; dying in between changes nothing."""
    daemon = DiskDaemon(tmp_path, small_disk)
    load = Load(daemon, tmp_path)
    try:
        load.start(rates=2 * (times(2000, 400),), body=600, timeout=1500)
        for number in range(times(2, 12)):
            load.progress(500)
            with load.fault("disk full"):
                small_disk.leave(RESERVE + MIB)
                since = time.monotonic_ns()
                wait_for(lambda since=since: all(FULL in load.ends(one, since) for one in load.producers), 60, "no send is told that the disk is full")
                wait_for(lambda: not load.backlogs()["d1-solo"] and not load.backlogs()["d2-solo"], 60, "consuming does not go on")
                if number % 2:
                    load.daemon.kill()
                    load.daemon.start()
                else:
                    small_disk.leave(0)
                    time.sleep(1)
                small_disk.release()
                since = time.monotonic_ns()
                wait_for(lambda since=since: all((OK, 0) in load.ends(one, since) for one in load.producers), 60, "sends do not come back")
        report = load.finish()
        assert report.clean, report
        assert report.seen["rejected"], report
    finally:
        load.end()
        daemon.end()


# Which calls of which store fail, and whether it serves nothing then until it is opened again: when the write of its head may
# have failed, it is not known what is on the disk. A D1 store writes it like everything else.
DISK_FAULTS = [(WRITE, "d2", False), (SYNC, "d2", False), (SYNC_WRITE, "d2", True), (WRITE, "d1", True)]


@pytest.mark.timeout(900)
def test_disk_fails(start, tmp_path):
    """The n-th write or sync fails, once or for a while."""
    faults = Faults(tmp_path)
    load = Load(start(env=faults.environment), tmp_path)
    rng = random.Random(0)
    try:
        load.start().administer()
        for number in range(times(2, 20) * len(DISK_FAULTS)):
            calls, store, restart = DISK_FAULTS[number % len(DISK_FAULTS)]
            load.progress(200)
            with load.fault("disk fails"):
                faults.fail(calls, inside=f"/{store}/data.mdb", skip=rng.randrange(20), count=rng.choice((1, 3, ALL)))
                wait_for(lambda: faults.failed)
                faults.stop()
                if restart:
                    load.daemon.kill()
                    load.daemon.start()
        report = load.finish()
        assert report.clean, report
        assert load.daemon.events("STORE-WRITE")
    finally:
        load.end()
