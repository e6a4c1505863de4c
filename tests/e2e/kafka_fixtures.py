"""Fixtures with a real Kafka. Name this file in pytest_plugins: then one broker serves all files of a run."""
import kafka as brokers
import pytest


@pytest.fixture(scope="session")
def kafka_brokers(tmp_path_factory):
    """kafka_brokers(options…) is a Kafka with these options of deploy/brokers/kafka: started when it is first asked for, shared from then on."""
    started = {}

    def get(*options):
        if options not in started:
            started[options] = brokers.Kafka(tmp_path_factory.mktemp("kafka") / "brokers", *brokers.SMALL, *options)
        return started[options].up()

    yield get
    for one in started.values():
        one.down()


@pytest.fixture
def kafka(kafka_brokers):  # pylint: disable=redefined-outer-name
    """One node, as it comes; topics and groups of a test need names of their own."""
    return kafka_brokers()


@pytest.fixture
def own_kafka(tmp_path):
    """own_kafka(options…) is a Kafka that a test may kill and reconfigure; gone with the test."""
    started = []

    def begin(*options):
        started.append(brokers.Kafka(tmp_path / f"kafka-{len(started)}", *brokers.SMALL, *options))
        return started[-1].up()

    yield begin
    for one in started:
        one.down()


@pytest.fixture
def registered(start, kafka):  # pylint: disable=redefined-outer-name
    """A daemon on which that Kafka is the cluster "kafka", and has answered."""
    return brokers.register(start(), kafka)
