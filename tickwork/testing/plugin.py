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
    """Return a clock that stands still until the test moves it."""
    from tickwork.testing import ManualClock

    return ManualClock()


@pytest.fixture
def stepped_scheduler(manual_clock: "ManualClock") -> "Iterator[SteppedScheduler]":
    """Return a started scheduler over a memory store, whose time the test advances."""
    from tickwork.testing import SteppedScheduler

    with SteppedScheduler(clock=manual_clock) as scheduler:
        yield scheduler
