"""Steps of many tasks and runs, which are sent in parts while the server is at work."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import LeaseLostError, StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Edit, Mark, Note, Plan
from tickwork.stores.redis.server import Stream
from tickwork.stores.redis.session import PART
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    moves_on,
    once,
    pending,
    queued,
    raised,
    task,
)

MANY = 4 * PART - 2
"""Four parts, the last of which is smaller."""

NAMES = [f"t{number:03}" for number in range(MANY)]


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        place.bench.open()
        yield place
        found, expected = orders_of(place)
        assert found == expected


def at(name: str, step: Callable[[], object]) -> Callable[[TaskRecord], Plan]:
    """Return a decision before which, for one task, something happens, once."""
    left = [step]

    def decide(record: TaskRecord) -> Plan:
        if record.id == name and left:
            left.pop()()
        return once(record)

    return decide


def until_leased(place: Place, name: str) -> None:
    """Wait for the server, which others may ask before it comes to a part that was sent."""
    for _ in range(10_000):
        if place.bench.active(name) == (1, 0):
            return
    pytest.fail(f"{name} is not leased, though it was sent")


def declared(record: TaskRecord) -> Edit:
    return Edit(replace(record, declared="again"))


def leased_runs(place: Place) -> list[RunRecord]:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    runs = [each.run for each in bench.plan().leased]
    assert [run.task_id for run in runs] == NAMES
    return runs


# --- plan --------------------------------------------------------------------------------------


def test_many_tasks_are_leased_in_order_as_far_as_there_are_places(place: Place) -> None:
    bench = place.bench
    places = MANY - PART // 2
    bench.put(*(task(name, T0 - MANY + place) for place, name in enumerate(NAMES)))
    reply = bench.plan(capacity={EXECUTOR: places})
    assert [each.run.task_id for each in reply.leased] == NAMES[:places]
    assert [run.task_id for run in reply.recorded] == NAMES[places:]
    assert (reply.next_us, reply.more) == (None, False)
    fences = [each.run.fence for each in reply.leased]
    assert len(set(fences)) == 4
    assert fences == sorted(fences)
    [later] = bench.leased(task("later"))
    assert later.fence > fences[-1]
    assert {run.id: run for run in bench.runs()} == {
        run.id: run for run in (*(each.run for each in reply.leased), *reply.recorded, later)
    }


def test_what_is_left_of_a_full_batch_is_more(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    assert bench.plan(limit=MANY).more
    bench.put(task("later", T0 + 5))
    assert bench.plan()[-2:] == (T0 + 5, False)


@pytest.mark.parametrize("when", [0, PART, MANY - 1])
@pytest.mark.parametrize("which", [0, 2 * PART, MANY - 1])
def test_a_task_that_is_changed_meanwhile_is_left_out(place: Place, when: int, which: int) -> None:
    """Unless it was written by then: whoever changes it comes behind, and is asked anew."""
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    changed = NAMES[which]
    sent = which < when // PART * PART

    def change() -> None:
        if sent:
            until_leased(place, changed)
        bench.second.edit([changed], declared, bench.new_id)

    reply = bench.plan(at(NAMES[when], change))
    others = [name for name in NAMES if name != changed]
    planned = [each.run.task_id for each in reply.leased]
    assert planned == (NAMES if sent else others)
    assert reply.more is not sent
    bench.plan()
    assert sorted(run.task_id for run in bench.runs()) == NAMES
    assert bench.task(changed).declared == "again"


def test_who_loses_all_plans_nothing(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    win = lambda: bench.plan(store=bench.second, node=OTHER)  # noqa: E731
    assert bench.plan(at(NAMES[0], win)) == ((), (), (), None, True)
    assert {run.node for run in bench.runs()} == {OTHER}


def test_who_dies_while_planning_leaves_what_it_leased_to_others(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    bench.register("dying", lease_us=LEASE_US)

    def die() -> None:
        until_leased(place, NAMES[0])
        bench.now_us += LEASE_US
        bench.recover(node=OTHER)

    raised(LeaseLostError, lambda: bench.plan(at(NAMES[2 * PART], die), node="dying"))
    bench.recover(node=OTHER)
    runs = bench.runs()
    assert 0 < len(runs) < MANY
    assert {run.node for run in runs} == {None}
    bench.plan(node=OTHER)
    bench.lease(node=OTHER)
    assert sorted(run.task_id for run in bench.runs()) == NAMES
    assert {run.node for run in bench.runs()} == {OTHER}


def test_scripts_that_the_server_forgets_meanwhile_are_sent_again(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    forget = at(NAMES[0], place.client.script_flush)
    runs = [each.run for each in bench.plan(forget).leased]
    assert [run.task_id for run in runs] == NAMES
    place.client.script_flush()
    assert bench.finish(*map(finished, runs)) == frozenset()
    assert {run.state for run in bench.runs()} == {RunState.COMPLETED}


def hang_up(place: Place) -> None:
    """End all connections but our own."""
    own = place.client.client_id()
    for each in place.client.client_list():
        if int(each["id"]) != own:
            place.client.client_kill_filter(_id=each["id"])


def test_a_connection_that_breaks_meanwhile_loses_nothing(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    broken = at(NAMES[2 * PART], lambda: hang_up(place))
    raised(StoreUnavailableError, lambda: bench.plan(broken))
    # Nobody has received what was leased by then.
    strays = bench.recover(held=frozenset()).runs
    assert len(strays) == len(bench.runs()) < MANY
    bench.plan()
    bench.lease()
    assert sorted(run.task_id for run in bench.runs()) == NAMES
    assert {run.attempt for run in bench.runs()} == {1}


def test_a_decision_that_fails_leaves_no_answer_for_the_next_step(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))

    def fail() -> None:
        raise ZeroDivisionError

    raised(ZeroDivisionError, lambda: bench.plan(at(NAMES[2 * PART], fail)))
    bench.recover(held=frozenset())
    bench.plan()
    bench.lease()
    assert sorted(run.task_id for run in bench.runs()) == NAMES
    assert bench.finish(*map(finished, bench.runs())) == frozenset()


# --- finish ------------------------------------------------------------------------------------


def test_many_ends_are_written_with_what_happened_before_them(place: Place) -> None:
    bench = place.bench
    runs = leased_runs(place)
    back, going_on, *over = runs
    entries: list[Any] = [Mark(run.id, run.fence, T0) for run in runs]
    entries += [Note(run.id, run.fence, progress="1") for run in runs]
    entries += [given_back(back), *map(finished, over)]
    assert bench.finish(*entries) == frozenset()
    kept = {run.id: run for run in bench.runs()}
    assert kept[back.id].state is RunState.PENDING
    assert kept[going_on.id].state is RunState.RUNNING
    assert {kept[run.id].state for run in over} == {RunState.COMPLETED}
    assert [run.task_id for run in kept.values() if run.progress != "1"] == []
    assert [bench.active(name) for name in NAMES] == [(1, 0)] * 2 + [(0, 0)] * (MANY - 2)
    # The same once more changes nothing.
    before = bench.dump()
    assert bench.finish(*map(finished, over)) == frozenset()
    assert bench.dump() == before


def test_leases_that_are_lost_are_told_of_all_parts(place: Place) -> None:
    bench = place.bench
    runs = leased_runs(place)
    lost = [runs[number] for number in (0, PART, MANY - 1)]
    bench.finish(*(given_back(run) for run in lost))
    again = [each.run for each in bench.lease(node=OTHER).leased]
    assert bench.finish(*map(finished, runs)) == {run.id for run in lost}
    assert {run.id for run in bench.runs() if run.state is RunState.PENDING} == {
        run.id for run in again
    }


def test_ends_in_any_part_let_queued_runs_go(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(name) for name in NAMES))
    bench.plan(moves_on(pending(T0 - 1), queued(T0), planned_us=T0))
    runs = [run for run in bench.runs() if run.node is not None]
    assert bench.finish(*map(finished, runs)) == frozenset()
    assert bench.finish(*(finished(each.run) for each in bench.lease().leased)) == frozenset()
    assert len(bench.runs()) == 2 * MANY
    assert {run.state for run in bench.runs()} == {RunState.COMPLETED}


def test_ends_of_which_nobody_knows_are_written_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = place.bench
    runs = leased_runs(place)
    send = Stream.send
    sent: list[Stream] = []

    def send_two(stream: Stream, name: str, *arguments: str) -> None:
        sent.append(stream)
        if len(sent) == 3:
            hang_up(place)
        send(stream, name, *arguments)

    monkeypatch.setattr(Stream, "send", send_two)
    raised(StoreUnavailableError, lambda: bench.finish(*map(finished, runs)))
    states = Counter(run.state for run in bench.runs())
    assert states[RunState.COMPLETED] <= 2 * PART
    assert bench.finish(*map(finished, runs)) == frozenset()
    assert {run.state for run in bench.runs()} == {RunState.COMPLETED}
    assert bench.recover(decide_never, held=frozenset()).runs == ()
