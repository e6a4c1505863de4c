"""A tenant's storage limit on a real Kafka: an estimate, marked so."""
import os

from daemon import wait_for
from test_storage import MIB, TENANT, fill, purge, storage
from test_server import metrics

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]


def test_kafka_is_estimated(registered):
    """Marked so; refused near the limit, also by the first message after a restart; room comes back by a purge."""
    one = registered.world(cluster="kafka", storage_bytes=4 * MIB)
    sent = fill(one, count=150)
    assert 60 < sent < 100  # 83 would be exact
    told = wait_for(lambda: (s := storage(one))["stored_bytes"] >= sent * 50000 and s, 60, "it is not counted")
    assert told["estimated"] and told["stored_bytes"] < 4.5 * MIB
    one.stop()
    one.start()
    with one.connect() as conn:
        topic = conn.open_topic("orders")
        codes = [topic.send(os.urandom(50000))[0].code for _ in range(4)]
        assert codes[2:] == ["LIMIT_EXCEEDED"] * 2, codes
        purge(one)
        wait_for(lambda: topic.send(os.urandom(50000))[0].code == "OK", 60, "nothing passes after a purge")
    assert metrics(one)["mqpaas_tenant_storage_estimated", TENANT] == 1
