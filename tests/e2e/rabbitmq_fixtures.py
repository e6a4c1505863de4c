"""Fixtures with a real RabbitMQ. Name this file in pytest_plugins: then one broker serves all files of a run, and with MQPAAS_RABBITMQ all suites of tests/run."""
import os

import pytest
import rabbitmq as brokers


@pytest.fixture(scope="session")
def rabbitmq_brokers(tmp_path_factory):
    """rabbitmq_brokers(options…) is a RabbitMQ with these options of deploy/brokers/rabbitmq: started when it is first asked for, shared from then on."""
    started = {}
    shared = os.environ.get("MQPAAS_RABBITMQ")

    def get(*options):
        if options not in started:
            folder = shared if shared and not options else tmp_path_factory.mktemp("rabbitmq") / "brokers"
            started[options] = brokers.Rabbitmq(folder, *options)
        return started[options].up()

    yield get
    for one in started.values():
        if one.folder != shared:
            one.down()


@pytest.fixture
def rabbitmq(rabbitmq_brokers):  # pylint: disable=redefined-outer-name
    """One node, as it comes."""
    return rabbitmq_brokers()


@pytest.fixture
def host(rabbitmq):  # pylint: disable=redefined-outer-name
    """A virtual host of it for a test of its own."""
    made = rabbitmq.host()
    yield made
    rabbitmq.up()
    made.gone()


@pytest.fixture
def own_rabbitmq(tmp_path):
    """own_rabbitmq(options…) is a RabbitMQ that a test may kill and reconfigure; gone with the test."""
    started = []

    def begin(*options):
        started.append(brokers.Rabbitmq(tmp_path / f"rabbitmq-{len(started)}", *options))
        return started[-1].up()

    yield begin
    for one in started:
        one.down()


@pytest.fixture
def registered(start, host):  # pylint: disable=redefined-outer-name
    """A daemon on which that host is the cluster "rabbitmq", and has answered."""
    return brokers.register(start(), host)
