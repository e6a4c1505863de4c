"""A tenant's storage limit (docs/storage-limits.md): a tenant that is full is refused, and no other; the service's own copies go on."""
import json
import os
import subprocess
import threading

import pytest
import wire
from ctl import CTL, Ctl
from daemon import wait_for
from daemon_fixtures import daemon, start  # noqa: F401  pylint: disable=unused-import
from test_server import metrics

MIB = 1 << 20
RESERVE = 64 * MIB  # of a limit below 640 MiB
TENANT = (("tenant", "acme"),)


def stats(one, tenant="acme"):
    return one.admin.get(f"/api/v1/tenants/{tenant}/stats").json


def storage(one, tenant="acme"):
    return stats(one, tenant)["storage"]


def limit(one, bytes, tenant="acme"):
    answer = one.admin.put(f"/api/v1/tenants/{tenant}", {"limits": {"storage_bytes": bytes}})
    assert answer.status == 200, answer.body


def in_store(one, *topics, tenant="acme"):
    """Bytes of the topics as their backend tells them."""
    partitions = [one.admin.get(f"/api/v1/tenants/{tenant}/topics/{topic}/partitions").json["partitions"] for topic in topics]
    return sum(row["bytes"] for rows in partitions for row in rows)


def purge(one, topic="orders", tenant="acme"):
    answer = one.admin.post(f"/api/v1/tenants/{tenant}/topics/{topic}/purge", {})
    assert answer.status == 200, answer.body


def loading(one, size, count, topic="orders", mode="async"):
    """A process that sends by the C library; results() are of it."""
    environment = {**os.environ, "MQPAAS_ADDRESS": one.addresses["clients"][0], "MQPAAS_CONFIG": os.path.join(one.folder, "none")}
    environment.update(MQPAAS_ACCESS_KEY=one.key[0], MQPAAS_SECRET=one.key[1])
    command = [CTL, "perf", "produce", topic, "--size", str(size), "--count", str(count), "--mode", mode, "--quiet", "-o", "json"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(process):
    """(acknowledged, failed, what it says of the first failure)."""
    out, said = process.communicate(timeout=120)
    told = json.loads(out)
    return told["acknowledged"], told["failed"], said


def fill(one, size=50000, topic="orders", count=100):
    """Sends more than fits; how many messages did."""
    acknowledged, failed, said = results(loading(one, size, count, topic, "sync"))
    assert acknowledged + failed == count and failed and "LIMIT_EXCEEDED" in said, said
    return acknowledged


def test_many_producers_do_not_pass_the_limit(daemon):
    """Eight processes send large and small messages with and without waiting, three times of what fits: what is stored is never above the limit, and near it (a batch passes whole or not at all)."""
    bytes = 64 * MIB
    daemon.world(partitions=4, storage_bytes=bytes)
    end, seen = threading.Event(), [0]

    def look():
        while not end.wait(0.05):
            seen.append(in_store(daemon, "orders"))

    looker = threading.Thread(target=look)
    looker.start()
    running = [loading(daemon, size, 24 * MIB // size, mode=mode) for size in (900000, 300000, 100000, 10000) for mode in ("async", "sync")]
    told = [results(process) for process in running]
    end.set()
    looker.join(60)
    stored = in_store(daemon, "orders")
    assert bytes - 2 * MIB < stored <= bytes and max(seen) <= stored
    assert all(not failed or "LIMIT_EXCEEDED" in said for _, failed, said in told) and any(failed for _, failed, _ in told)
    wait_for(lambda: storage(daemon)["stored_bytes"] == stored, 30, "the count is not what is stored")
    told = stats(daemon)
    assert told["storage"] == {"stored_bytes": stored, "estimated": False, "reserve_bytes": RESERVE, "reserve_used_bytes": 0, "waiting": []}
    assert told["quota"]["storage_bytes"] == {"limit": bytes, "used": stored, "ratio": stored / bytes}
    assert daemon.events("STORAGE-LIMIT")


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_refused_send_is_final(daemon, mode):
    """The library tells LIMIT_EXCEEDED at once and does not try again."""
    daemon.world(storage_bytes=0)
    acknowledged, failed, said = results(loading(daemon, 1000, 50, mode=mode))
    assert (acknowledged, failed) == (0, 50) and "LIMIT_EXCEEDED" in said
    produce = stats(daemon)["produce"]
    assert produce["offered"] == 50 and produce["rejected"] == 50


def test_a_full_tenant_stops_nobody_else_and_its_groups_go_on(daemon):
    daemon.world("other", "things", "readers")
    other = daemon.key
    daemon.world(storage_bytes=2 * MIB)
    assert fill(daemon) * 50000 > 1.9 * MIB
    with daemon.connect() as conn, wire.Connection("127.0.0.1", daemon.port, *other) as theirs:
        assert {result.code for result in theirs.open_topic("things").send(*[os.urandom(50000)] * 3)} == {"OK"}
        group = conn.subscribe("billing")
        acked, nacked, rejected, late = group.receive(4)
        group.ack(acked)
        group.nack(nacked, delay_ms=0)
        group.nack(late, delay_ms=3600 * 1000)  # is put aside: a copy
        group.reject(rejected)
        wait_for(lambda: stats(daemon)["consume"]["dead"] == 1, 30, "no dead letter")
        again = group.receive(1)[0]
        assert again.offset == nacked.offset and again.attempt == 2
    dead = next(topic["name"] for topic in daemon.admin.get("/api/v1/tenants/acme/topics").json["items"] if topic["name"] != "orders")
    assert in_store(daemon, dead) > 50000
    copies = 2 * 50000
    wait_for(lambda: storage(daemon)["stored_bytes"] > in_store(daemon, "orders") + copies, 30, "copies are not counted")
    wait_for(lambda: storage(daemon)["reserve_used_bytes"] > 0, 30, "the copies are within the limit")
    assert not daemon.events("STORAGE-RESERVE-FULL") and not storage(daemon)["waiting"]
    found = metrics(daemon)
    assert found["mqpaas_tenant_storage_used_bytes", TENANT] > found["mqpaas_tenant_storage_limit_bytes", TENANT] == 2 * MIB
    assert found["mqpaas_tenant_storage_reserve_bytes", TENANT] == RESERVE > found["mqpaas_tenant_storage_reserve_used_bytes", TENANT] > 0
    assert found["mqpaas_tenant_storage_estimated", TENANT] == 0


def test_room_comes_back(daemon, tmp_path):
    """By a purge, a deleted topic, or a higher limit; a limit below what is stored refuses at once and loses nothing."""
    daemon.world(storage_bytes=MIB)
    daemon.make("tenants/acme/topics", {"name": "extra"})
    fill(daemon, topic="extra")
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")

        def passes():
            return topic.send(os.urandom(50000))[0].code == "OK"

        assert not passes()
        purge(daemon, "extra")
        wait_for(passes, 30, "nothing passes after a purge")
        fill(daemon, topic="extra")
        assert daemon.admin.delete("/api/v1/tenants/acme/topics/extra").status in (200, 202, 204)
        wait_for(passes, 30, "nothing passes after a topic was deleted")
        fill(daemon)
        limit(daemon, 2 * MIB)
        wait_for(passes, 30, "nothing passes below a higher limit")
        stored = in_store(daemon, "orders")
        limit(daemon, 1000)
        wait_for(lambda: not passes(), 30, "sends pass above a lower limit")
        assert in_store(daemon, "orders") >= stored
        limit(daemon, None)
        wait_for(passes, 30, "nothing passes without a limit")
    ctl = Ctl(tmp_path)
    ctl("context", "set", "here", "--url", "http://" + daemon.addresses["rest"][0], "--token", daemon.token)
    ctl("tenant", "set", "acme", "--storage-bytes", "3MiB")
    assert ctl.json("tenant", "show", "acme")["limits"]["storage_bytes"] == 3 * MIB


def test_the_count_outlives_the_process(start):
    one = start().world(storage_bytes=MIB)
    fill(one)
    stored = in_store(one, "orders")
    for end in (one.stop, one.kill):
        end()
        one.start()
        with one.connect() as conn:
            topic = conn.open_topic("orders")
            codes = [topic.send(os.urandom(50000))[0].code for _ in range(3)]
        # One may pass: the last that passed before counted twice until the next look.
        assert codes[1:] == ["LIMIT_EXCEEDED"] * 2, codes
        assert stored <= in_store(one, "orders") <= MIB


def test_oneway_is_dropped_and_counted(daemon):
    daemon.world(storage_bytes=MIB)
    fill(daemon)
    stored = in_store(daemon, "orders")
    before = stats(daemon)["produce"]["dropped"]
    with daemon.connect() as conn:
        conn.open_topic("orders").produce([wire.Record(body=os.urandom(50000)) for _ in range(3)], oneway=True)
        wait_for(lambda: stats(daemon)["produce"]["dropped"] == before + 3, 30, "they are not counted")
    assert in_store(daemon, "orders") == stored


def test_a_full_reserve_is_an_incident(daemon):
    """The dead letter and the retry that find no room wait and are named; with room again both go where they belong."""
    daemon.world()
    with daemon.connect() as conn:
        assert results(loading(daemon, 1000000, 80))[0] == 80
        limit(daemon, MIB)  # and the reserve beyond it is in use, too
        wait_for(lambda: storage(daemon)["reserve_used_bytes"] == RESERVE, 30, "the reserve is not in use")
        group = conn.subscribe("billing")
        group.credit(2, 4 * MIB)
        first, second = group.receive(2, credit=False)
        group.reject(first, wait=False)
        (incident,) = wait_for(lambda: storage(daemon)["waiting"], 30, "no incident")
        assert (incident["group"], incident["waits"]) == ("billing", "dead_letter")
        assert "billing" in daemon.wait_event("STORAGE-RESERVE-FULL")["message"]
        labels = (("tenant", "acme"), ("group", "billing"), ("what", "dead_letter"))
        assert metrics(daemon)["mqpaas_group_storage_waiting", labels] == 1
        group.nack(second, delay_ms=3600 * 1000, wait=False)
        assert storage(daemon)["waiting"] and len(daemon.events("STORAGE-RESERVE-FULL")) == 1
        assert storage(daemon)["waiting"][0]["since_ms"] == incident["since_ms"]
        limit(daemon, 500 * MIB)
        wait_for(lambda: not storage(daemon)["waiting"], 60, "the incident stays")
        wait_for(lambda: stats(daemon)["consume"]["dead"] == 1, 60, "the dead letter is lost")
        backlog = wait_for(lambda: (b := daemon.admin.get("/api/v1/tenants/acme/groups/billing/backlog").json)["delayed"] + b["retrying"] == 1 and b, 60, "the retry is lost")
        assert backlog["dead"] == 1
    daemon.wait_event("STORAGE-RESERVE-OK")


def test_a_retry_waits_for_the_reserve(daemon):
    """What is to be put aside waits with every later settle of its group; nothing is lost by a kill, and the group goes on when there is room."""
    daemon.world()
    assert results(loading(daemon, 1000000, 70))[0] == 70
    limit(daemon, MIB)
    wait_for(lambda: storage(daemon)["reserve_used_bytes"] == RESERVE, 30, "the reserve is not in use")
    for end in (daemon.kill, daemon.stop):
        with daemon.connect() as conn:
            group = conn.subscribe("billing")
            group.credit(2, 4 * MIB)
            first, second = group.receive(2, credit=False, timeout=30)
            assert first.offset == 0  # again, after the kill
            group.nack(first, delay_ms=3600 * 1000, wait=False)
            group.ack(second, wait=False)
            (incident,) = wait_for(lambda: storage(daemon)["waiting"], 30, "no incident")
            assert (incident["group"], incident["waits"]) == ("billing", "retry")
            if end == daemon.kill:
                end()
                daemon.start()
                wait_for(lambda: storage(daemon)["reserve_used_bytes"] == RESERVE, 30, "the reserve is not in use")
                continue
            limit(daemon, None)
            wait_for(lambda: not storage(daemon)["waiting"], 30, "the incident stays")
    path = "/api/v1/tenants/acme/groups/billing/backlog"
    wait_for(lambda: (told := daemon.admin.get(path).json)["delayed"] + told["retrying"] == 1, 30, "the retry is lost")
