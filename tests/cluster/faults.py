"""Steps that raise although nothing is wrong, before or after they have taken effect."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tickwork.interfaces import Store
from tickwork.testing import Fault, FaultyStore
from tickwork.testing.faults import STEPS

__all__ = ["BY_CLIENTS", "BY_WORKERS", "Faults", "faulty"]

BY_CLIENTS = ("put", "edit", "submit", "cancel")
"""Steps that change tasks: whoever asked for them is told of the error, and asks again."""

_BY_SERVICE = ("keep", "forget")

BY_WORKERS = tuple(step for step in reversed(STEPS) if step not in {*BY_CLIENTS, *_BY_SERVICE})
"""Steps that the loop of a scheduler does, and repeats; the rarest first."""


class Faults(NamedTuple):
    """Both faults at early calls of each step, and with a `chance` each at later ones."""

    seed: int
    chance: float
    steps: Sequence[str] = BY_WORKERS


def faulty(store: Store, faults: Faults) -> FaultyStore:
    """Return the store with faults."""
    chances = {Fault.BEFORE: faults.chance, Fault.AFTER: faults.chance}
    wrapped = FaultyStore(
        store, chances=chances, random=Random(faults.seed), methods=[*faults.steps]
    )
    for number, step in enumerate(faults.steps):
        # Loops fail now and then: each failure in a row makes the pause before the next try longer.
        calm = [None] if step in BY_WORKERS else []
        wrapped.script(step, *calm * number, Fault.BEFORE, *calm, Fault.AFTER)
    return wrapped
