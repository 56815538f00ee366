import pytest

from tests.unit.coordination.places import Site
from tickwork.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def site(clock: ManualClock) -> Site:
    return Site(clock)
