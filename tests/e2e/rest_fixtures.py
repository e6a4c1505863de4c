"""Fixtures of the REST tests: the portal alone, and a portal with tenants, resources and a caller for each role."""
import pytest
import rest


@pytest.fixture
def portal(tmp_path):
    """A portal of its own, without a first user."""
    portal = rest.Portal(tmp_path)
    yield portal
    portal.stop()


@pytest.fixture
def world(portal):  # pylint: disable=redefined-outer-name
    """A world of its own: a test may do what it likes with it."""
    return rest.World(portal)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    """One world for tests that leave it as it was."""
    portal = rest.Portal(tmp_path_factory.mktemp("portal"))  # pylint: disable=redefined-outer-name
    yield rest.World(portal)
    portal.stop()
