"""A store whose file was damaged while the daemon was away: refused, or served in part, and said so; never wrong data, never a crash.

What it served is judged by histories: what is missing may be missing, but nothing may be wrong.
"""
import glob
import json
import os
import random
import shutil
import time

import pytest
from daemon import Daemon, wait_for
from history.load import Load, times

PAGE = 4096
QUIET = 0.2  # seconds in which no consumer got anything, several times: then a damaged store has served what it can
MOMENTS = 4
KINDS = ("cut", "overwritten", "zeroed", "mixed")
CASES = [(kind, number) for kind in KINDS for number in range(times(2, 20))]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Messages that no group has consumed: the load that sent them, and the data of a stopped daemon at two times."""
    folder = tmp_path_factory.mktemp("filled")
    daemon = Daemon(folder)
    load = Load(daemon, folder)
    copies = []
    try:
        for name in ("earlier", "later"):
            load.produce("d1")
            load.produce("d2", batch=2)
            load.progress(2000)
            load.stop_producers()
            daemon.stop()
            copies.append(shutil.copytree(daemon.data, f"{folder}-{name}"))
            if name == "earlier":
                daemon.start()
        yield load, *copies
    finally:
        load.end()


def store_file(data, durability):
    (path,) = glob.glob(f"{data}/clusters/*/{durability}/data.mdb")
    return path


def damage(kind, rng, path, earlier):
    size = os.path.getsize(path)
    at = rng.randrange(2, size // PAGE) * PAGE
    if kind == "cut":
        os.truncate(path, at - rng.choice((0, 1, 100)))
        return
    with open(path, "rb+") as file:
        if kind == "mixed":  # half of a copy, over an earlier one
            with open(earlier, "rb") as old:
                old.seek(at)
                file.seek(at)
                file.write(old.read())
            return
        for _ in range(rng.choice((1, 3, 30))):
            file.seek(rng.randrange(2, size // PAGE) * PAGE)
            file.write(bytes(PAGE) if kind == "zeroed" else rng.randbytes(PAGE))


def errors(daemon):
    """Ids of what the log calls warnings and errors."""
    lines = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    return {line["id"] for line in lines if line["level"] in ("warn", "error")}


def serve(load, daemon):
    """Starts the daemon and consumes all that it delivers; it must still live then and end in order."""
    daemon.token = load.daemon.token
    load = load.over(daemon.start(), daemon.folder)
    try:
        for topic in ("d1", "d2"):
            load.consume(f"{topic}-solo")
            load.consume(f"{topic}-shared", "--push")
        wait_for(lambda: load.consumed() or errors(daemon), 60, "it delivers no more, and does not say why")
        sizes = []
        while not load.consumed() and (len(sizes) < MOMENTS or len(set(sizes[-MOMENTS:])) > 1):
            sizes.append(sum(one.size for one in load.consumers))
            time.sleep(QUIET)
        daemon.stop()
        load.stop_consumers()
        assert not load.balance.stop() or errors(daemon), load.balance.found  # what is damaged may not add up, but it is said
        return load.judge()
    finally:
        load.end()


@pytest.fixture
def copied(filled, tmp_path):  # pylint: disable=redefined-outer-name
    """A daemon that has not been started, with the later data."""
    daemon = Daemon(tmp_path, start=False)
    shutil.copytree(filled[2], daemon.data)
    yield daemon
    daemon.end()


def test_undamaged(filled, copied):
    report = serve(filled[0], copied)
    assert report.clean and not errors(copied), (report, errors(copied))


@pytest.mark.parametrize("kind, number", CASES)
def test_damaged(filled, copied, kind, number):
    load, earlier, _ = filled
    rng = random.Random(f"{kind} {number}")
    durability = rng.choice(("d1", "d2"))
    damage(kind, rng, store_file(copied.data, durability), store_file(earlier, durability))
    report = serve(load, copied)
    lost = report.counts.pop("lost")
    assert report.clean, report
    assert not lost or errors(copied), report
    if kind == "cut":
        assert lost and "CLUSTER-OPEN" in errors(copied), report


@pytest.mark.parametrize("durability, said", [("d1", "STORE-LOST"), ("d2", "TOPIC-MISSING")])
def test_emptied(filled, copied, durability, said):
    """An empty file is what a first start leaves behind when it dies, so it is opened; what should be in it is missed."""
    os.truncate(store_file(copied.data, durability), 0)
    report = serve(filled[0], copied)
    assert report.counts.pop("lost") and report.clean, report
    assert said in errors(copied)


def test_begun_anew(filled, copied):
    """As the message advises: the directory is moved away, and the topics are made again."""
    os.truncate(store_file(copied.data, "d2"), 5 * PAGE)
    copied.token = filled[0].daemon.token
    copied.start()
    assert "move the directory away" in copied.events("CLUSTER-OPEN")[0]["message"]
    copied.stop()
    os.rename(os.path.dirname(store_file(copied.data, "d2")), copied.data + "-damaged")
    copied.start()
    for name in ("groups/d2-dead", "groups/d2-shared", "groups/d2-solo", "topics/d2"):
        path = f"/api/v1/tenants/acme/{name}"
        assert copied.admin.delete(path).status in (202, 204)
        wait_for(lambda path=path: copied.admin.get(path).status == 404, what=f"{path} does not go")
    copied.make("tenants/acme/topics", {"name": "d2", "partitions": 1})
    copied.stop()
