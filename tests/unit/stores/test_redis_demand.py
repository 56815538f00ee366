"""Keys, ends on demand, lingering runs and notes: what others do meanwhile, and what is kept."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import redis

from tests.unit.stores.redis_first_version import IDS, write_first_version
from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import (
    UNREADABLE_AGAIN_US,
    Edit,
    Ended,
    Mark,
    Note,
    PruneRequest,
    Verdict,
)
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    removed,
    runs_now,
    task,
)

_CANCELLED = RunState.CANCELLED


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        place.bench.open()
        yield place
        found, expected = orders_of(place)
        assert found == expected


def keyed(bench: Bench, limit: int = 1, key: str = "key", **fields: Any) -> RunRecord:
    """Submit a run with a key."""
    return bench.submit(concurrency_key=key, concurrency_limit=limit, **fields)


def held(bench: Bench) -> list[str]:
    return [run.id for run in bench.runs() if run.holds_key]


def meanwhile(step: Callable[[], object], answer: Any = None) -> Callable[..., Any]:
    """Return a decision during the first asking of which somebody else takes a step."""
    left = [step]

    def deciding(*asked: Any) -> Any:
        if left:
            left.pop()()
        return answer(*asked) if callable(answer) else answer

    return deciding


# --- the gate of a key -------------------------------------------------------------------------


def test_two_clients_let_no_more_hold_a_key_than_it_allows(place: Place) -> None:
    bench = place.bench
    bench.register(NODE, OTHER)
    stores, new_id, lock = (bench.store, bench.second), count(), threading.Lock()
    template = keyed(bench, limit=3)
    done: list[str] = []
    peaks: list[int] = []

    def work(number: int) -> None:
        store, node = stores[number % 2], (NODE, OTHER)[number % 2]
        for _ in range(10):
            run = replace(template, id=f"{template.id}{next(new_id):04}", holds_key=False)
            store.submit([run])  # type: ignore[attr-defined]
            leased = store.lease(bench.lease_request(node=node, capacity={EXECUTOR: 1})).leased
            holding = [int(each) for each in place.client.hvals(place.keys["holders"])]
            entries = [finished(each.run) for each in leased]
            assert bench.finish(*entries, store=store) == frozenset()
            with lock:
                done.extend(each.run.id for each in leased)
                peaks.extend(holding)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    while leased := bench.lease().leased:
        assert len(leased) <= 3
        bench.finish(*(finished(each.run) for each in leased))
        done.extend(each.run.id for each in leased)
    assert (len(done), len(set(done))) == (41, 41)
    assert max(peaks) == 3
    assert held(bench) == []


def test_a_run_that_gets_its_key_while_its_task_is_removed_is_cancelled(place: Place) -> None:
    bench = place.bench
    bench.put(task("task", None, concurrency_key="key"), task("other", None, concurrency_key="key"))
    bench.edit(runs_now(pending(None)), "other")
    bench.edit(runs_now(pending(None)), "task")
    last = keyed(bench)
    [leased] = bench.lease().leased
    end = lambda: bench.finish(finished(leased.run), store=bench.second)  # noqa: E731
    bench.edit(meanwhile(end, removed("gone")), "task")
    assert [run.state for run in bench.runs("task")] == [_CANCELLED]
    assert held(bench) == [last.id]


def test_a_holder_that_ends_while_it_is_taken_over_lets_go_once(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    first, second, third = (keyed(bench) for _ in range(3))
    [leased] = bench.lease().leased
    assert leased.run.id == first.id
    bench.now_us += LEASE_US
    end = lambda: bench.finish(finished(leased.run), store=bench.second)  # noqa: E731
    lost = lambda *_: Verdict(RunState.LOST, 1, suspect=True)  # noqa: E731
    assert bench.recover(meanwhile(end, lost), node=OTHER).runs == ()
    assert held(bench) == [second.id]
    assert bench.run(third).gated_us == T0


def _with_queue(bench: Bench, limit: int) -> RunRecord:
    """Make a task with a key, one leased run, and a queued one; return the latter."""
    bench.put(task(concurrency_key="key", concurrency_limit=limit))
    bench.plan(moves_on(pending(T0), queued(T0 + 1), planned_us=T0 + 1))
    return bench.runs("task")[-1]


def test_what_waits_is_let_through_before_what_waits_only_from_now_on(place: Place) -> None:
    bench = place.bench
    following = _with_queue(bench, 1)
    other = keyed(bench, available_us=T0 + 5)
    [leased] = bench.lease().leased
    bench.finish(finished(leased.run))
    assert held(bench) == [other.id]
    assert bench.run(following).gated_us == T0 + 1


def test_runs_that_end_at_once_let_others_go_one_after_the_other(place: Place) -> None:
    bench = place.bench
    following = _with_queue(bench, 2)
    second = keyed(bench, 2)
    third, last = (keyed(bench, 2, available_us=T0 + each) for each in (5, 9))
    # What the first end lets go of its task comes before what the second one leaves.
    bench.cancel(bench.runs("task")[0], second)
    assert held(bench) == [following.id, third.id]
    assert bench.run(last).gated_us == T0 + 9


def test_a_task_is_told_how_many_are_active_but_for_strays(place: Place) -> None:
    bench = place.bench
    bench.register(NODE, "dead")
    bench.put(task("task", None, max_instances=3))
    bench.edit(runs_now(pending(None), pending(None)))
    for node in ("dead", NODE):
        [leased] = bench.lease(node=node, capacity={EXECUTOR: 1}).leased
    bench.finish(finished(leased.run, RunState.TIMEOUT, lingers=True))
    bench.now_us += LEASE_US
    told: list[tuple[int, Sequence[Ended]]] = []
    bench.recover(
        lambda *_: Verdict(RunState.LOST, 1, suspect=True),
        lambda record, ended: told.append((record.active, ended)),
        held=frozenset(),
    )
    assert told == [(1, [Ended(RunState.LOST, bench.now_us)])]
    assert bench.active() == (0, 0)


def test_a_run_cancelled_with_what_it_would_have_let_go_leaves_nothing(place: Place) -> None:
    bench = place.bench
    bench.put(task(concurrency_key="key"))
    bench.plan(moves_on(*(pending(T0), queued(T0 + 1), queued(T0 + 2)), planned_us=T0 + 2))
    first, second, third = bench.runs()
    bench.cancel(first, second)
    assert held(bench) == [third.id]
    assert bench.active() == (1, 0)
    waiting = keyed(bench)
    bench.cancel(third, waiting)
    assert held(bench) == []
    assert bench.active() == (0, 0)


def test_the_answers_say_who_holds_a_key(place: Place) -> None:
    bench = place.bench
    bench.put(task("a", concurrency_key="key"), task("b", None, concurrency_key="key"))
    reply = bench.plan()
    [edited] = bench.edit(runs_now(pending(None)), "b")
    assert [run.holds_key for run in (*reply.recorded, *edited.runs)] == [True, False]
    assert [*reply.recorded, *edited.runs] == bench.runs()


# --- submit ------------------------------------------------------------------------------------


def test_who_submits_the_same_at_once_adds_it_once(place: Place) -> None:
    bench = place.bench
    run = bench.submit()
    runs = [replace(run, id=f"{run.id}{number:02}") for number in range(50)]

    def submit(number: int) -> None:
        store = (bench.store, bench.second)[number % 2]
        store.submit([*runs[: 10 * number], *runs])  # type: ignore[attr-defined]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submit, range(4)))
    assert bench.runs() == [run, *runs]
    assert len(bench.lease().leased) == 51


# --- cancel ------------------------------------------------------------------------------------


def _asked_during(place: Place, step: Callable[[RunRecord], object]) -> list[RunRecord]:
    """Cancel a leased run and another while something happens; return what is answered."""
    bench = place.bench
    bench.register(NODE)
    [leased] = bench.leased(task("leased"))
    bench.put(task("waits", None))
    bench.edit(runs_now(pending(None)), "waits")
    [waiting] = bench.runs("waits")
    found = bench.cancel(leased, waiting, after_run=meanwhile(lambda: step(leased)))
    assert (bench.run(waiting).state, bench.active("waits")) == (_CANCELLED, (0, 0))
    assert found == [bench.run(leased), bench.run(waiting)]
    return [each for each in found if each is not None]


def test_a_run_that_starts_while_its_end_is_asked_for_is_asked(place: Place) -> None:
    bench = place.bench
    [run, _] = _asked_during(
        place, lambda run: bench.finish(Mark(run.id, run.fence, T0), store=bench.second)
    )
    assert (run.state, run.cancel_us) == (RunState.RUNNING, T0)
    assert bench.demand.asked(NODE) == [run.id]


def test_a_run_that_ends_while_its_end_is_asked_for_has_ended(place: Place) -> None:
    bench = place.bench
    [run, _] = _asked_during(place, lambda run: bench.finish(finished(run), store=bench.second))
    assert (run.state, run.cancel_us) == (RunState.COMPLETED, None)
    assert bench.demand.asked(NODE) == []


def test_a_run_given_back_while_its_end_is_asked_for_is_cancelled(place: Place) -> None:
    bench = place.bench
    [run, _] = _asked_during(place, lambda run: bench.finish(given_back(run), store=bench.second))
    assert (run.state, run.cancel_us) == (_CANCELLED, None)
    assert bench.active("leased") == (0, 0)


def test_who_takes_a_run_over_learns_that_its_end_was_asked_for_meanwhile(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    [run] = bench.leased(task())
    bench.now_us += LEASE_US
    asked = bench.now_us
    seen: list[int | None] = []

    def decide(record: RunRecord, _: object) -> Verdict:
        seen.append(record.cancel_us)
        return Verdict(RunState.PENDING, 1, suspect=True)

    bench.recover(meanwhile(lambda: bench.cancel(run), decide), node=OTHER)
    assert seen == [None, asked]
    assert bench.demand.asked(NODE) == []
    # It is asked again whoever executes it next.
    assert len(bench.lease(node=OTHER).leased) == 1
    assert bench.demand.asked(OTHER) == [run.id]
    bench.finish(finished(bench.run(run), _CANCELLED))
    assert bench.demand.asked(OTHER) == []


def test_a_queued_run_that_is_let_go_while_it_is_cancelled_is_cancelled(place: Place) -> None:
    bench = place.bench
    leased, [second, third] = bench.leased_with_queue(T0, T0 + 1, T0 + 2)
    end = lambda: bench.finish(finished(leased), store=bench.second)  # noqa: E731
    seen: list[int] = []

    def after_run(record: TaskRecord, ended: Sequence[Ended]) -> None:
        seen.append(record.active)
        assert ended == [Ended(_CANCELLED, T0)]

    bench.cancel(second, after_run=meanwhile(end, after_run))
    assert seen == [2, 1]
    assert bench.run(second).state is _CANCELLED
    assert bench.run(third).available_us == T0 + 2
    assert bench.active() == (1, 0)


def test_what_is_not_understood_hides_nothing(place: Place) -> None:
    bench = place.bench
    run = bench.submit()
    [leased] = bench.lease().leased
    bench.cancel(run)
    bench.finish(given_back(leased.run))
    odd = [run, bench.submit(name="odd"), bench.submit(rank=-1, name="odd")]
    bench.codec.refused |= {bench.codec.encode(each.definition) for each in odd if each.definition}  # type: ignore[arg-type]
    plain = bench.submit(name="plain")
    found = bench.lease(capacity={EXECUTOR: 1})
    assert ([each.run.id for each in found.leased], found.deferred) == ([plain.id], ())
    again = T0 + UNREADABLE_AGAIN_US
    assert [bench.run(each).available_us for each in odd] == [again] * 3
    assert bench.lease() == ((), again, ())


# --- notes -------------------------------------------------------------------------------------


def test_a_note_written_while_a_run_is_taken_over_is_kept(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    [run] = bench.leased(task())
    bench.now_us += LEASE_US
    note = Note(run.id, run.fence, progress='"half"')
    write = lambda: bench.finish(note, store=bench.second)  # noqa: E731
    again = lambda *_: Verdict(RunState.PENDING, 1, suspect=True)  # noqa: E731
    assert len(bench.recover(meanwhile(write, again), node=OTHER).runs) == 1
    assert bench.run(run).progress == '"half"'


def test_notes_take_no_more_room_than_the_last(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    sizes = set()
    for number in range(100, 120):
        bench.finish(Note(run.id, run.fence, f"{number}", f'["line\\n{number}"]'))
        sizes.add(place.client.hstrlen(place.keys["runs"], run.id))
    assert len(sizes) == 1
    bench.finish(Mark(run.id, run.fence, T0), Note(run.id, run.fence, log="[2]"))
    marked = replace(run, state=RunState.RUNNING, started_us=T0, progress="119", log="[2]")
    assert bench.run(run) == marked
    bench.finish(given_back(run, started=True))
    [again] = bench.lease().leased
    assert (again.run.progress, again.run.log) == ("119", "[2]")


def test_a_run_may_say_something_linger_and_end_in_one_batch(place: Place) -> None:
    bench = place.bench
    run = keyed(bench)
    last = keyed(bench)
    [leased] = bench.lease().leased
    entry = finished(leased.run, RunState.TIMEOUT, errors="[1]", expires_us=T0 + 5)
    rejected = bench.finish(
        Note(run.id, leased.run.fence, progress="1"),
        Mark(run.id, leased.run.fence, T0),
        entry._replace(lingers=True),
        entry._replace(errors=None, reason="has returned"),
    )
    assert rejected == frozenset()
    found = bench.run(run)
    assert (found.state, found.node, found.failures) == (RunState.TIMEOUT, None, 1)
    assert (found.progress, found.reason, found.errors) == ("1", "has returned", "[1]")
    assert held(bench) == [last.id]


def test_what_queues_behind_a_stray_that_lingered_is_let_go(place: Place) -> None:
    bench = place.bench
    leased, [waiting] = bench.leased_with_queue(T0, T0 + 1)
    bench.finish(finished(leased, RunState.TIMEOUT, lingers=True))
    assert len(bench.recover(decide_never, decide_never, held=frozenset()).runs) == 1
    assert bench.run(waiting).available_us == T0 + 1
    assert bench.active() == (1, 0)


def test_what_lingered_and_is_given_back_unheard_is_over(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    run, waiting = keyed(bench), keyed(bench)
    [leased] = bench.lease().leased
    entry = finished(leased.run, RunState.TIMEOUT, lingers=True, expires_us=T0 + 5)
    bench.finish(entry)
    assert bench.finish(given_back(leased.run)) == {run.id}
    assert bench.finish(Mark(run.id, leased.run.fence, T0)) == frozenset()
    [stray] = bench.recover(decide_never, held=frozenset()).runs
    assert (stray.id, stray.state, stray.node) == (run.id, RunState.TIMEOUT, None)
    assert held(bench) == [waiting.id]
    assert bench.store.prune(PruneRequest({}, 0, now_us=T0 + 5)) == 1


# --- crashes -----------------------------------------------------------------------------------


class Dying:
    """A client that fails at its n-th script: before it is sent, or after it was done."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.left = -1
        self.sends = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.left -= arguments[0] == "EVALSHA"
        if self.left:
            return self._client.execute_command(*arguments, **options)
        if self.sends:
            self._client.execute_command(*arguments, **options)
        raise redis.ConnectionError("Connection reset by peer")


def _situation(place: Place, client: Dying) -> dict[str, RunRecord]:
    """Make tasks and runs of which something follows for others, under a prefix of their own."""
    place.bench.close()
    place.look_at(f"{place.prefix}x")
    bench = place.bench = Bench(place.store(client), place.store())
    bench.open()
    bench.register("dead", NODE)
    bench.put(task(concurrency_key="key"))
    bench.plan(moves_on(*(pending(T0), queued(T0 + 1), queued(T0 + 2)), planned_us=T0 + 2))
    runs = {"waits": keyed(bench), "second": keyed(bench, limit=2)}
    [runs["leased"]] = [each.run for each in bench.lease(node="dead").leased]
    runs["queued"] = bench.runs("task")[-1]
    return runs


def _submits(bench: Bench, runs: dict[str, RunRecord]) -> None:
    new = [replace(runs["waits"], id=f"{runs['waits'].id}{each}") for each in range(3)]
    bench.demand.submit(new)


def _cancels(bench: Bench, runs: dict[str, RunRecord]) -> None:
    bench.cancel(*(runs[name] for name in ("leased", "queued", "waits")))


def _ends(bench: Bench, runs: dict[str, RunRecord]) -> None:
    note = Note(runs["leased"].id, runs["leased"].fence, progress="1")
    entry = finished(runs["leased"], follows=True, expires_us=T0)
    assert bench.finish(note, entry) == frozenset()


def _lingers(bench: Bench, runs: dict[str, RunRecord]) -> None:
    entry = finished(runs["leased"], RunState.TIMEOUT, lingers=True)
    assert bench.finish(entry) == frozenset()


def _takes_over(bench: Bench, _: dict[str, RunRecord]) -> None:
    bench.now_us = T0 + LEASE_US
    bench.recover(lambda *_: Verdict(RunState.LOST, 1, suspect=True), node="new")


def _removes(bench: Bench, _: dict[str, RunRecord]) -> None:
    bench.edit(removed("gone"))


@pytest.mark.parametrize(
    "step",
    [_submits, _cancels, _ends, _lingers, _takes_over, _removes],
    ids=lambda each: each.__name__,
)
def test_who_dies_within_a_step_leaves_all_or_nothing(
    place: Place, step: Callable[[Bench, dict[str, RunRecord]], None]
) -> None:
    with redis.Redis.from_url(place.url) as connection:
        client = Dying(connection)
        runs = _situation(place, client)
        before = _plain(place)
        step(place.bench, runs)
        after = _plain(place)
        assert before != after
        outcomes = []
        for sends in (False, True):
            for number in range(1, 20):
                runs = _situation(place, client)
                client.left, client.sends = number, sends
                try:
                    step(place.bench, runs)
                except StoreUnavailableError:
                    outcomes.append(_plain(place))
                    step(place.bench, runs)
                alive, client.left = client.left > 0, -1
                assert _plain(place) == after
                if alive:
                    break
    assert all(each in (before, after) for each in outcomes)
    # Only where the last script was sent has it happened.
    assert [each == after for each in outcomes].count(True) == 1
    assert outcomes[-1] == after


def _plain(place: Place) -> Any:
    """Return what is kept but for numbers that differ each time; it fits together."""
    found, expected = orders_of(place)
    assert found == expected
    dump = place.bench.dump()
    tasks = {name: replace(each, revision=0) for name, each in dump.tasks.items()}
    runs = [replace(each, fence=0) for each in dump.runs.values()]
    return tasks, runs, sorted(dump.nodes)


# --- data of the first version -----------------------------------------------------------------


def test_data_of_the_first_version_goes_on(place: Place) -> None:
    write_first_version(place)
    bench = place.bench
    found, expected = orders_of(place)
    assert found == expected
    assert {name: (each.made, each.streak) for name, each in bench.dump().tasks.items()} == (
        dict.fromkeys(("due", "leased", "marked", "over", "task"), (0, 0))
    )
    runs = {name: bench.run(run_id) for name, run_id in IDS.items()}
    assert [(run.rank, run.key, run.holds_key) for run in runs.values()] == [(0, None, False)] * 5
    # A new one of each kind beside them, then all come to their end.
    urgent = bench.submit(id="f" * 28, rank=-1, available_us=T0 + 2)
    bench.cancel(runs["leased"])
    assert bench.demand.asked(NODE) == [IDS["leased"]]
    entries = [finished(runs[name]) for name in ("leased", "marked")]
    assert bench.finish(Note(IDS["over"], runs["over"].fence, "1"), *entries) == frozenset()
    leased = [each.run for each in bench.lease(now_us=T0 + 2).leased]
    assert [run.id for run in leased] == [urgent.id, IDS["retry"]]
    assert bench.finish(*map(finished, leased)) == frozenset()
    [last] = bench.lease(now_us=T0 + 2).leased
    assert (last.run.id, last.run.attempt) == (IDS["queued"], 1)
    bench.finish(finished(last.run))
    [planned] = bench.plan(now_us=T0 + 1).leased
    assert (planned.run.task_id, bench.task("due").made) == ("due", 1)
    assert bench.active() == (0, 0)
    assert bench.edit(Edit, "leased")[0].task is not None
    assert bench.run(IDS["over"]).progress == "1"
    assert bench.store.prune(PruneRequest({}, T0 + MINUTE)) == 6
