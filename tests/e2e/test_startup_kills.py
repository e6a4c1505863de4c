"""A daemon that is killed while it starts, again and again, has everything it had: what was acknowledged is never set aside for it."""
import glob
import os
import random
import signal
import subprocess
import time

import pytest
from history.balance import problems

pytest_plugins = ["daemon_fixtures"]
KILLS = 600 if os.environ.get("MQPAAS_LONG") else 40
MESSAGES = 2000


def start_killed(daemon, seconds):
    """Starts it and kills it that much later."""
    with open(daemon.log_path, "ab") as log:
        process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # pylint: disable=consider-using-with
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def backlog(daemon):
    answer = daemon.admin.get("/api/v1/tenants/acme/groups/billing/backlog").json
    assert not problems(answer)
    return answer["ready"]


@pytest.mark.parametrize("durability", ["D1", "D2"])
def test_killed_while_starting(start, durability):
    daemon = start()
    daemon.make("tenants", {"name": "acme", "clusters": ["local"]})
    daemon.make("tenants/acme/topics", {"name": "orders", "partitions": 1, "durability": durability})
    daemon.make("tenants/acme/groups", {"name": "billing", "topic": "orders"})
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    conn = daemon.connect()
    topic = conn.open_topic("orders")
    for _ in range(MESSAGES // 100):
        assert all(result.outcome == 0 for result in topic.send(*[b"order"] * 100))
    conn.close()
    daemon.kill()
    began = time.monotonic()
    daemon.start()
    takes = time.monotonic() - began
    daemon.kill()
    chance = random.Random(1)
    for _ in range(KILLS):
        start_killed(daemon, chance.uniform(0, takes))
    daemon.start()
    assert backlog(daemon) == MESSAGES
    assert not glob.glob(daemon.data + "/clusters/*/*torn*")
