"""Fixtures of the data-plane tests."""
import pytest
from plane import Plane


@pytest.fixture
def plane_with(tmp_path):
    """Makes a plane with settings of its own."""
    planes = []

    def make(**settings):
        folder = tmp_path / str(len(planes))
        folder.mkdir()
        planes.append(Plane(folder, **settings))
        return planes[-1]

    yield make
    for plane in planes:
        plane.stop()


@pytest.fixture
def plane(plane_with):  # pylint: disable=redefined-outer-name
    return plane_with()
