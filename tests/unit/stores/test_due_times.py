"""When tasks in memory are due: in order of time, those of an instant as they came."""

import gc

from tickwork.stores.shelves.due import DueTimes


def test_tasks_come_in_order_of_time_and_those_of_an_instant_as_they_were_added() -> None:
    times = DueTimes()
    for due_us, task_id in [(3, "c"), (1, "a"), (3, "b"), (2, "x"), (3, "a")]:
        times.add(due_us, task_id)
    assert times.first() == (1, "a")
    assert list(times.taken(3)) == [(1, "a"), (2, "x"), (3, "c"), (3, "b"), (3, "a")]
    assert times.first() is None
    assert list(times.taken(9)) == []


def test_only_what_is_due_is_taken_and_only_as_far_as_somebody_looks() -> None:
    times = DueTimes()
    for due_us, task_id in [(1, "a"), (1, "b"), (2, "c"), (5, "d")]:
        times.add(due_us, task_id)
    assert next(times.taken(4)) == (1, "a")
    assert len(times) == 3
    assert list(times.taken(4)) == [(1, "b"), (2, "c")]
    times.drop_first()
    assert len(times) == 0


def test_single_tasks_are_nothing_to_look_into_for_the_garbage_collector() -> None:
    times = DueTimes()
    for number in range(100):
        times.add(number, f"task-{number}")
    assert not gc.is_tracked(times._ids)  # noqa: SLF001
