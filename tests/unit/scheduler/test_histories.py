"""Forgetting in pieces, between which the loop does what is more urgent."""

from typing import Any, cast

from tickwork.interfaces import Store
from tickwork.model.instants import SECOND
from tickwork.model.steps import PruneRequest
from tickwork.scheduler.histories import Histories


class Pruned:
    """A store that notes what it is to forget."""

    def __init__(self) -> None:
        self.asked: list[PruneRequest] = []

    def prune(self, request: PruneRequest) -> int:
        self.asked.append(request)
        return 0


def histories(store: Pruned) -> Histories:
    """Return the histories of a store from which something is forgotten once a minute."""
    settings: dict[str, Any] = {"max_history": 5, "result_ttl_us": SECOND, "batch": 200}
    return Histories(cast("Store", store), prune_us=60 * SECOND, **settings)


def test_a_batch_of_tasks_is_looked_at_each_time_and_none_twice() -> None:
    store = Pruned()
    kept = histories(store)
    names = [f"task-{number}" for number in range(450)]
    for name in names:
        kept.note(name, None)
    now_us = 1_000 * SECOND
    while kept.is_due(now_us):
        assert not kept.prune(now_us)
    assert [len(each.histories) for each in store.asked] == [200, 200, 50]
    assert [name for each in store.asked for name in each.histories] == names


def test_there_is_something_to_do_at_once_until_all_were_looked_at() -> None:
    kept = histories(Pruned())
    for number in range(201):
        kept.note(f"task-{number}", None)
    now_us = 1_000 * SECOND
    kept.prune(now_us)
    next_us = kept.next_us()
    assert next_us is not None
    assert next_us <= now_us
    kept.prune(now_us)
    assert kept.next_us() is None


def test_what_ends_while_histories_are_looked_at_waits_for_the_next_time() -> None:
    store = Pruned()
    kept = histories(store)
    names = [f"task-{number}" for number in range(450)]
    now_us = 1_000 * SECOND
    for name in names:
        kept.note(name, None)
    for _ in range(3):
        assert kept.is_due(now_us)
        kept.prune(now_us)
        for name in names:
            kept.note(name, None)
    assert not kept.is_due(now_us)
    assert kept.next_us() == now_us + 60 * SECOND
    for _ in range(3):
        kept.prune(now_us + 60 * SECOND)
    assert [len(each.histories) for each in store.asked] == 2 * [200, 200, 50]
    assert [name for each in store.asked for name in each.histories] == 2 * names
