"""Fixtures of the tests that drive mqpaasd itself."""
import daemon as daemons
import pytest


@pytest.fixture
def start(tmp_path):
    """start(options…) is a daemon of its own, in a folder of its own unless one is named; ended with the test."""
    started = []

    def begin(*options, folder=None, **more):
        if folder is None:
            folder = tmp_path / f"daemon-{len(started)}"
            folder.mkdir()
        started.append(daemons.Daemon(folder, *options, **more))
        return started[-1]

    yield begin
    for one in started:
        one.end()


@pytest.fixture
def daemon(start):  # pylint: disable=redefined-outer-name
    """A standalone daemon as it comes."""
    return start()
