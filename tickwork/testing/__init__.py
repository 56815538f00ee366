"""What tests of applications, stores and executors need: real parts, and time at their command."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickwork.testing.clock import ManualClock
    from tickwork.testing.faults import Fault, FaultyStore
    from tickwork.testing.runs_contract import RunsContract
    from tickwork.testing.stepping import SteppedScheduler
    from tickwork.testing.store_contract import StoreComparison, StoreContract

__all__ = [
    "Fault",
    "FaultyStore",
    "ManualClock",
    "RunsContract",
    "SteppedScheduler",
    "StoreComparison",
    "StoreContract",
]

_HOMES = {
    "Fault": "tickwork.testing.faults",
    "FaultyStore": "tickwork.testing.faults",
    "ManualClock": "tickwork.testing.clock",
    "RunsContract": "tickwork.testing.runs_contract",
    "SteppedScheduler": "tickwork.testing.stepping",
    "StoreComparison": "tickwork.testing.store_contract",
    "StoreContract": "tickwork.testing.store_contract",
}


def __getattr__(name: str) -> Any:
    # The pytest plugin imports this package in every project that has tickwork installed.
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'tickwork.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
