"""Kafka as a backend, through the whole daemon, with native clients beside it."""

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]


def test_the_broker_serves_native_clients(kafka):
    kafka.create("e2e.native", 2)
    kafka.send("e2e.native", [{"key": f"k{n}", "value": f"v{n}", "headers": [("n", b"\0")]} for n in range(20)])
    assert sorted(message.value() for message in kafka.read("e2e.native")) == sorted(f"v{n}".encode() for n in range(20))
    kafka.commit("e2e.readers", "e2e.native", {0: 1, 1: 2})
    assert kafka.committed("e2e.readers") == {("e2e.native", 0): 1, ("e2e.native", 1): 2}
    kafka.grow("e2e.native", 3)
    kafka.delete("e2e.native")


def test_a_killed_node_comes_back(own_kafka):
    kafka = own_kafka()
    kafka.create("e2e.kept", 1)
    kafka.send("e2e.kept", [{"value": "kept"}])
    kafka.kill()
    kafka.up()
    assert [message.value() for message in kafka.read("e2e.kept")] == [b"kept"]
