"""The C library on the real data plane: producers come and go with batches in flight, beside an innocent consumer."""
import json
import os
import subprocess

from plane import BUILD
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from wire import Record

LONG = os.environ.get("MQPAAS_LONG")
HELD = 50


def test_producers_freed_with_batches_in_flight(plane):
    rounds = 300 if LONG else 25
    plane.group("readers", plane.topic("held"))
    plane.topic("cut", physical="slow-cut")
    kept = plane.topic("kept", physical="slow-kept", incarnation=2)
    with plane.connect() as conn:
        conn.open_topic("held").send(*(Record(body=b"held") for _ in range(HELD)))
    environment = {**os.environ, "MQPAAS_ADDRESS": f"{plane.host}:{plane.port}", "MQPAAS_ACCESS_KEY": "AK1", "MQPAAS_SECRET": "correct-horse"}
    command = [os.path.join(BUILD, "tests/sdk/churn"), str(rounds), "cut", "kept", "readers", str(HELD)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"ended": 4 * rounds, "stored": 3 * rounds, "foreign": 0, "bad_stored": 0, "connects": 1}
    (row,) = [row for row in plane.totals()["topics"] if row["id"] == kept]
    assert row["ok"] == told["stored"]
