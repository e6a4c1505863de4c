"""The standing probe of each cluster (docs/probe.md): a message of the service's own that goes the way of tenants' messages."""
import glob
import os
import re
import signal
import time

import wire
from ctl import Ctl
from daemon import wait_for
from daemon_fixtures import start  # noqa: F401  pylint: disable=unused-import
from test_recovery import back_up, log_in, lose, restore
from test_server import metrics  # pylint: disable=unused-import

STEPS = "setup", "send", "receive", "settle", "ok"


def probe(daemon, cluster="local"):
    """What GET says of a cluster's probe; {}: it is off."""
    return (daemon.admin.get(f"/api/v1/clusters/{cluster}").json["status"] or {}).get("probe", {})


def until(daemon, state, cluster="local", seconds=60):
    return wait_for(lambda: (now := probe(daemon, cluster)).get("state") == state and now, seconds, f"the probe is not {state}: {probe(daemon, cluster)}")


def total(found, cluster="local"):
    return {result: found["mqpaas_probe_total", (("cluster", cluster), ("result", result))] for result in STEPS}


def histogram(found, step, cluster="local"):
    return found["mqpaas_probe_delay_seconds_count", (("cluster", cluster), ("step", step))]


def probed(start, *options, interval="200ms", **more):
    """A daemon whose settings are in a file, so that they can change."""
    one = start(*options, start=False, **more)
    one.options += ["--config", f"{one.folder}/mqpaasd.conf"]
    configure(one, interval)
    return one.start()


def configure(one, interval, timeout="30s"):
    with open(f"{one.folder}/mqpaasd.conf", "w", encoding="ascii") as file:
        file.write(f"probe-interval = {interval}\nprobe-timeout = {timeout}\n")


def test_every_round_is_measured_and_shown(start, tmp_path):
    daemon = probed(start)
    daemon.make("clusters", {"name": "void", "kind": "discard"})
    until(daemon, "ok")
    found = wait_for(lambda: (now := metrics(daemon)).get(("mqpaas_probe_total", (("cluster", "local"), ("result", "ok"))), 0) >= 3 and now, 60, "no rounds are counted")
    counts = total(found)
    assert sum(counts.values()) == counts["ok"], counts
    assert histogram(found, "send") >= histogram(found, "receive") >= histogram(found, "settle") >= counts["ok"]
    assert found["mqpaas_probe_failing", (("cluster", "local"),)] == 0
    assert abs(found["mqpaas_probe_last_success_timestamp_seconds", (("cluster", "local"),)] - time.time()) < 60
    one = probe(daemon)
    assert 0 < one["send_us"] and 0 < one["receive_us"] <= one["settle_us"] < 60e6 and one["error"] is None
    assert one["last_ok_ms"] == one["last_ms"] and abs(one["last_ms"] / 1000 - time.time()) < 60
    assert until(daemon, "unsupported", "void")["last_ms"] is None
    assert not any(dict(labels).get("cluster") == "void" and value for (name, labels), value in found.items() if name.startswith("mqpaas_probe"))
    ctl = Ctl(tmp_path)
    ctl.env.update(MQPAAS_URL="http://" + daemon.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=daemon.admin.token)
    daemon.make("tenants", {"name": "acme", "clusters": ["local"]})
    assert ctl.json("cluster", "show", "local")["status"]["probe"]["state"] == "ok"
    for shown in (ctl("cluster", "list").stdout, ctl("top", "--rounds", "1").stdout):
        (row,) = [line.split() for line in shown.splitlines() if line.startswith("local")]
        assert "ok" in row


def test_nothing_of_it_is_anybodys(start):
    """It is in no list, sum or count of tenants, and what a tenant's topic holds is as if it were not there."""
    daemon = probed(start, interval="100ms").world()
    with daemon.connect() as conn:
        group = conn.subscribe("billing")
        conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(7)))
        group.ack(*group.receive(7))
        assert group.receive_nothing(0.5)
    found = wait_for(lambda: (now := metrics(daemon, detailed=True)).get(("mqpaas_probe_total", (("cluster", "local"), ("result", "ok"))), 0) >= 10 and now, 60, "no rounds are counted")
    assert {value for (name, labels), value in found.items() if re.search("_(offered|stored|delivered)_messages_total$", name)} == {7}
    kinds = {dict(labels)["kind"]: value for (name, labels), value in found.items() if name == "mqpaas_resources" and dict(labels)["state"] == "ready"}
    assert (kinds["tenant"], kinds["topic"], kinds["group"]) == (1, 2, 1)  # with the group's dead letters
    rows = wait_for(lambda: daemon.admin.get("/api/v1/backlogs").json["items"], 30, "no backlog is told")
    assert [row["group"] for row in rows] == ["billing"]
    assert [row["name"] for row in daemon.admin.get("/api/v1/tenants").json["items"]] == ["acme"]
    assert "mqp.probe" not in daemon.admin.get("/api/v1/definitions").body.decode()


def test_it_goes_on_after_kill_9_and_ends_by_setting(start):
    daemon = probed(start)
    for _ in range(3):
        until(daemon, "ok")
        daemon.kill()
        daemon.start()
    first = until(daemon, "ok")["last_ok_ms"]
    configure(daemon, "0")
    daemon.signal(signal.SIGHUP)
    daemon.wait_event("PROBE-REMOVED", seconds=30)
    wait_for(lambda: probe(daemon) == {}, 30, "it is still told")
    assert not any(name.startswith("mqpaas_probe") for name, _ in metrics(daemon))
    configure(daemon, "200ms")
    daemon.signal(signal.SIGHUP)
    assert until(daemon, "ok")["last_ok_ms"] > first
    daemon.stop()


def test_off_makes_nothing(start):
    daemon = start().world()
    assert "probe" not in daemon.admin.get("/api/v1/clusters/local").json["status"]
    daemon.stop()
    assert not [path for path in glob.glob(os.path.join(daemon.data, "clusters", "*", "d2", "data.mdb")) if b"mqp.probe-" in open(path, "rb").read()]


def test_a_store_with_nothing_but_probes_is_as_good_as_unused(start):
    """A restore finds no orphan in it, and a registry that was lost before anything was made begins anew in silence."""
    daemon = probed(start)
    until(daemon, "ok")
    path = back_up(daemon)
    daemon.kill()
    assert "found-in-stores" not in restore(daemon, path)
    daemon.start()
    log_in(daemon)
    until(daemon, "ok")
    assert [row["name"] for row in daemon.admin.get("/api/v1/tenants").json["items"]] == []
    daemon.stop()
    lose(daemon)
    os.unlink(os.path.join(daemon.data, "catalog"))
    daemon.token = None
    daemon.start()
    until(daemon, "ok")
