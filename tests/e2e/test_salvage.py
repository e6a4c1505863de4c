"""A store that is refused because its pages are out of order is salvaged offline: one chunk is lost, and said, and the rest is served."""
import glob
import os
import struct
import subprocess

import pytest

pytest_plugins = ["daemon_fixtures"]
BATCH = 100
BATCHES = 20
LOST = 1000  # the first offset of the batch whose key is harmed
TOPIC = "/api/v1/tenants/acme/topics/orders"


def fill(daemon, durability):
    daemon.make("tenants", {"name": "acme", "clusters": ["local"]})
    daemon.make("tenants/acme/topics", {"name": "orders", "partitions": 1, "durability": durability})
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    conn = daemon.connect()
    topic = conn.open_topic("orders")
    for _ in range(BATCHES):
        assert all(result.outcome == 0 for result in topic.send(*[b"order"] * BATCH))
    conn.close()


def harm(path):
    """One bit, wherever the key of the batch's chunk stands."""
    with open(path, "r+b") as file:
        content = file.read()
        for topic in range(1, 100):
            key = struct.pack(">QIQ", topic, 0, LOST)
            at = content.find(key)
            while at >= 0:
                file.seek(at + 12)
                file.write(bytes([content[at + 12] ^ 1]))
                at = content.find(key, at + 1)


def salvage(daemon, path):
    return subprocess.run([daemon.command()[0], "--salvage", path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("durability", ["D1", "D2"])
def test_salvage(start, durability):
    daemon = start()
    fill(daemon, durability)
    store = glob.glob(f"{daemon.data}/clusters/*/{durability.lower()}")[0]
    used = salvage(daemon, store)
    assert used.returncode == 1 and "it is in use by another process" in used.stderr
    daemon.stop()
    harm(store + "/data.mdb")
    daemon.start()
    assert f"mqpaasd --salvage {store}" in daemon.events("CLUSTER-OPEN")[-1]["message"]
    daemon.stop()
    done = salvage(daemon, store)
    assert done.returncode == 0, done.stderr
    assert f"offsets {LOST} to {LOST + BATCH} are missing" in done.stdout
    assert len(glob.glob(store + ".damaged-*")) == 1 and not os.path.exists(store + ".salvage")
    daemon.start()
    read = daemon.admin.get(f"{TOPIC}/messages?offset={LOST}&limit=1")
    assert read.status >= 500
    given_up = [{"partition": 0, "first": LOST, "end": LOST + BATCH}]
    assert daemon.admin.post(f"{TOPIC}/skip-damage", {"preview": True}).json == {"preview": True, "partitions": given_up}
    assert daemon.admin.post(f"{TOPIC}/skip-damage", {"preview": False}).json == {"preview": False, "partitions": given_up}
    for offset in (0, LOST - 1, LOST + BATCH, BATCH * BATCHES - 1):
        assert daemon.admin.get(f"{TOPIC}/messages?offset={offset}&limit=1").json["messages"][0]["offset"] == offset


def test_what_is_no_store(start):
    daemon = start()
    for path in (daemon.data, daemon.data + "/nowhere/d1"):
        assert salvage(daemon, path).returncode == 1
