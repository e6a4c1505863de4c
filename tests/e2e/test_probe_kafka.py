"""The standing probe on a real Kafka: it says when messages do not go through, and goes on by itself."""
import shutil
import signal

from daemon import wait_for
from kafka import register
from test_probe import configure, probe, probed, total, until
from test_server import metrics  # pylint: disable=unused-import

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]


def ours(kafka):
    """The topics of probes that are on a cluster."""
    return {name for name in kafka.topics() if name.startswith("mqp.probe-")}


def test_a_silent_broker_is_told_and_comes_back(start, own_kafka):
    """Within the deadline, without any traffic, and without a circuit of its own making."""
    kafka = own_kafka()
    daemon = register(probed(start), kafka)
    until(daemon, "ok", "kafka")
    with kafka.paused():
        configure(daemon, "200ms", timeout="2s")
        daemon.signal(signal.SIGHUP)
        told = until(daemon, "failing", "kafka")
        assert told["error"].split(":")[0] in ("setup", "send", "receive", "settle"), told
        assert told["last_ms"] > told["last_ok_ms"]
        assert probe(daemon)["state"] == "ok"  # of the other cluster
        wait_for(lambda: metrics(daemon).get(("mqpaas_probe_failing", (("cluster", "kafka"),))) == 1, 30, "it is no metric")
    configure(daemon, "200ms")
    daemon.signal(signal.SIGHUP)
    until(daemon, "ok", "kafka")
    kafka.kill()
    configure(daemon, "200ms", timeout="2s")
    daemon.signal(signal.SIGHUP)
    until(daemon, "failing", "kafka")
    kafka.up()
    until(daemon, "ok", "kafka", 120)
    counts = total(metrics(daemon), "kafka")
    assert counts["ok"] and sum(counts.values()) > counts["ok"], counts
    daemon.stop(60)


def test_two_proxies_share_a_topic_and_do_not_disturb_each_other(start, kafka):
    """Two of one installation have one topic and a group each; another installation has its own. All is hidden from what can be imported."""
    before = ours(kafka)
    one = register(start("--proxy-id", "p.1"), kafka)
    one.stop()
    two = start("--proxy-id", "p.2", start=False)
    shutil.copytree(one.data, two.data)  # as a proxy that follows the same portal
    two.token = one.token
    other = register(start(), kafka)
    all_three = one, two, other
    for each in all_three:
        each.options += ["--config", f"{each.folder}/mqpaasd.conf"]
        configure(each, "200ms")
        if each is other:
            each.stop()
        each.start()
    for each in all_three:
        until(each, "ok", "kafka")
    made = ours(kafka) - before
    assert len(made) == 2
    for name in made:
        assert kafka.config(name)["retention.ms"] == "600000" and kafka.topics()[name] == 1
    existing = one.admin.get("/api/v1/clusters/kafka/existing").json
    assert not [row["name"] for row in existing["topics"] + existing["groups"] if row["name"].startswith("mqp.probe-")]
    was = [total(metrics(each), "kafka")["ok"] for each in all_three]
    wait_for(lambda: all(total(metrics(each), "kafka")["ok"] > ok + 5 for each, ok in zip(all_three, was)), 60, "they do not go on")
    for each in all_three:
        counts = total(metrics(each), "kafka")
        assert sum(counts.values()) == counts["ok"], counts
    assert other.admin.delete("/api/v1/clusters/kafka").status in (200, 204)
    wait_for(lambda: len(ours(kafka) - before) == 1, 60, "the topic of a deleted cluster stays behind")
    configure(two, "0")
    two.signal(signal.SIGHUP)
    two.wait_event("PROBE-REMOVED", seconds=60)
    until(one, "ok", "kafka")  # whose topic that was, too
    configure(one, "0")
    one.signal(signal.SIGHUP)
    wait_for(lambda: not ours(kafka) - before, 60, "the topic stays behind")


def test_a_topic_that_somebody_deletes_is_made_again(start, kafka):
    before = ours(kafka)
    daemon = register(probed(start), kafka)
    until(daemon, "ok", "kafka")
    (topic,) = ours(kafka) - before
    kafka.delete(topic)
    since = probe(daemon, "kafka")["last_ok_ms"]
    wait_for(lambda: topic in ours(kafka) and (now := probe(daemon, "kafka"))["state"] == "ok" and now["last_ok_ms"] > since + 2000, 90, "it does not come back")
    daemon.kill()
    daemon.start()
    until(daemon, "ok", "kafka")
    configure(daemon, "0")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: topic not in ours(kafka), 60, "the topic stays behind")
