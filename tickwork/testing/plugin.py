"""The pytest plugin: a scheduler whose time the test advances, as a fixture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tickwork.testing import ManualClock, SteppedScheduler

__all__ = ["manual_clock", "stepped_scheduler"]


def pytest_configure() -> None:
    """Let the asserts of the contracts say what they compared."""
    pytest.register_assert_rewrite(
        "tickwork.testing.store_contract", "tickwork.testing.executor_contract"
    )


@pytest.fixture
def manual_clock() -> "ManualClock":
    """A clock that stands still until the test moves it."""
    from tickwork.testing import ManualClock  # noqa: PLC0415  only where it is used

    return ManualClock()


@pytest.fixture
def stepped_scheduler(manual_clock: "ManualClock") -> "Iterator[SteppedScheduler]":
    """A started scheduler over a memory store, whose time the test advances."""
    from tickwork.testing import SteppedScheduler  # noqa: PLC0415  only where it is used

    with SteppedScheduler(clock=manual_clock) as scheduler:
        yield scheduler
