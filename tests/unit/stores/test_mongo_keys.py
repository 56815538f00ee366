"""Documents of keys and how they are mended; what is made and kept, also of earlier versions."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest

from tests.unit.stores.mongo_commands import StoppedError
from tests.unit.stores.mongo_place import Place, placed
from tickwork.errors import InvalidInputError, NotFoundError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Batch, CancelRequest, LeaseRequest, Note, PruneRequest
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    MINUTE,
    NODE,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    raised,
    runs_now,
    task,
)


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        place.bench.open()
        yield place


def _named(place: Place) -> dict[str, list[str]]:
    """Return the holders of each key that has a document."""
    return {each["_id"]: each["holders"] for each in place.documents("keys")}


def _stopped(place: Place, step: Callable[[], object], when: Callable[[], bool]) -> None:
    """Take a step that ends as soon as something is so."""
    place.gate.arm(lambda _: when())
    with pytest.raises(StoppedError):
        step()


def _held(place: Place) -> list[str]:
    return [run.id for run in place.bench.runs() if run.holds_key]


def _submit(place: Place, key: str = "key", **fields: Any) -> RunRecord:
    return place.bench.submit(concurrency_key=key, **fields)


def _note(run: RunRecord, progress: str, log: str) -> Note:
    return Note(run.id, run.fence, progress, log)


def _mend(place: Place) -> None:
    place.bench.recover(decide_never, decide_never, node=OTHER)


def test_the_document_of_a_key_is_there_while_somebody_holds_it(place: Place) -> None:
    one, two = _submit(place), _submit(place)
    assert _named(place) == {"key": [one.id]}
    place.bench.cancel(one)
    assert _named(place) == {"key": [two.id]}
    place.bench.cancel(two)
    assert _named(place) == {}


def test_a_run_that_was_not_told_that_it_has_its_key_is_told(place: Place) -> None:
    _stopped(place, lambda: _submit(place), lambda: bool(_named(place)))
    [run] = place.bench.runs()
    assert (run.holds_key, run.gated_us) == (False, T0)
    _mend(place)
    assert _held(place) == [run.id]
    assert [each.run.id for each in place.bench.lease().leased] == [run.id]


def test_who_comes_first_now_finds_one_that_was_not_told(place: Place) -> None:
    _stopped(place, lambda: _submit(place), lambda: bool(_named(place)))
    [untold] = place.bench.runs()
    urgent = _submit(place, rank=-1)
    assert _held(place) == [untold.id]
    place.bench.cancel(untold)
    assert _held(place) == [urgent.id]


@pytest.mark.parametrize("gone", [False, True])
def test_a_run_that_is_over_keeps_nobody_waiting(place: Place, gone: bool) -> None:
    """As if who named it had stood still until then, and ended."""
    over = _submit(place)
    place.bench.cancel(over)
    named = "unknown" if gone else over.id
    keys = place.database[f"{place.prefix}keys"]
    keys.insert_one({"_id": "key", "holders": [named]})
    run = _submit(place)
    assert _held(place) == [run.id]
    assert _named(place) == {"key": [run.id]}


def test_a_run_that_ends_while_it_gets_its_key_is_struck(place: Place) -> None:
    """Before whichever command of the one who lets it in."""
    met: list[str] = []
    at = 0
    while len(met) == at:
        at += 1
        holder, waiting = _submit(place), _submit(place)

        def end(run: RunRecord = waiting) -> None:
            _cancel_by_another(place, run)
            met.append(run.id)

        place.gate.arm(at.__eq__, end)
        place.bench.cancel(holder)
        place.gate.disarm()
        place.bench.cancel(waiting)
        assert _named(place) == {}
        assert not [each for each in place.documents("runs") if {"opens", "gate"} & set(each)]
    assert at > 8


def _cancel_by_another(place: Place, run: RunRecord) -> None:
    other = place.bench.second
    assert isinstance(other, MongoStore)
    other.cancel(CancelRequest([run.id], "cancelled", T0, lambda *_: None))


def test_a_run_that_was_only_added_gets_its_key(place: Place) -> None:
    _stopped(place, lambda: _submit(place), lambda: bool(place.documents("runs")))
    assert _named(place) == {}
    _mend(place)
    assert len(_held(place)) == 1


def test_the_end_of_a_run_that_nobody_looked_after_is_looked_after(place: Place) -> None:
    one, two = _submit(place), _submit(place)
    [leased] = place.bench.lease().leased
    _stopped(
        place,
        lambda: place.bench.finish(finished(leased.run)),
        lambda: any("opens" in each for each in place.documents("runs")),
    )
    assert _named(place) == {"key": [one.id]}
    forgetting = PruneRequest({}, T0 + 100 * MINUTE)
    assert place.bench.store.prune(forgetting) == 0
    _mend(place)
    assert _named(place) == {"key": [two.id]}
    assert place.bench.store.prune(forgetting) == 1


def test_many_workers_never_hold_more_than_a_key_allows(place: Place) -> None:
    """Three processes with a store of their own."""
    for number in range(30):
        place.bench.submit(concurrency_key="key", concurrency_limit=3, available_us=T0 - number % 7)
    lock = Lock()
    now: set[str] = set()
    done: list[str] = []
    peaks: list[int] = []

    def work(number: int) -> None:
        node = f"worker-{number}"
        store = place.open(place.store())
        place.bench.register(node)
        request = place.bench.lease_request(node=node, capacity={EXECUTOR: 2})
        while len(done) < 30:
            _work_once(store, request)

    def _work_once(store: MongoStore, request: LeaseRequest) -> None:
        runs = [each.run for each in store.lease(request).leased]
        with lock:
            now.update(run.id for run in runs)
            peaks.append(len(now))
        batch = Batch(lambda *_: None)
        batch.finished += map(finished, runs)
        with lock:
            now.difference_update(run.id for run in runs)
            done.extend(run.id for run in runs)
        assert store.finish(batch) == frozenset()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert len(done) == len(set(done)) == 30
    assert max(peaks) <= 3
    assert _named(place) == {}
    assert {run.state for run in place.bench.runs()} == {RunState.COMPLETED}


def test_runs_whose_slots_are_taken_are_not_counted_as_made(place: Place) -> None:
    bench = place.bench
    bench.put(task())
    bench.plan(moves_on(pending(T0), queued(T0 + 1), next_us=T0 + 2, planned_us=T0 + 1))
    assert bench.task().made == 2
    [edited] = bench.edit(runs_now(pending(T0), pending(T0 + 9)))
    assert edited.task is not None
    assert edited.task.made == bench.task().made == 3
    bench.plan(moves_on(pending(T0), pending(T0 + 2), planned_us=T0 + 2), now_us=T0 + 2)
    assert bench.task().made == 4
    assert len(bench.runs()) == 4


@pytest.mark.parametrize("started", [False, True])
def test_a_run_whose_end_was_asked_for_is_available_at_once_whoever_dies(
    place: Place, started: bool
) -> None:
    """Its node ends right after the one write that gives it back."""
    bench = place.bench
    run = bench.submit()
    [leased] = bench.lease().leased
    bench.cancel(run)
    entry = given_back(leased.run, T0 + MINUTE, started=started)
    _stopped(
        place,
        lambda: bench.finish(entry),
        lambda: not any("node" in each for each in place.documents("runs")),
    )
    assert bench.run(run).available_us == T0
    assert bench.finish(entry) == frozenset()
    assert bench.run(run).attempt == started


# --- what earlier versions wrote ---------------------------------------------------------------

_NEW = ("rank", "key_limit", "holds_key")


def test_documents_of_an_earlier_version_go_on(place: Place) -> None:
    bench = place.bench
    bench.put(task(max_instances=1))
    bench.plan(moves_on(pending(T0), queued(T0 + 1)), capacity={})
    place.change("runs", {"$unset": dict.fromkeys(_NEW, "")})
    place.change("tasks", {"$unset": {"made": "", "streak": ""}})
    assert (bench.task().made, bench.task().streak) == (0, 0)
    bench.submit(rank=-5)
    urgent, old = (each.run for each in bench.lease().leased)
    assert (urgent.rank, old.rank, old.fire_us) == (-5, 0, T0)
    bench.finish(finished(old))
    [leased] = bench.lease(now_us=T0 + 1).leased
    assert leased.run.fire_us == T0 + 1


def test_marks_of_an_earlier_version_are_followed(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    bench.finish(finished(run))
    place.change("runs", {"$set": {"follows_of": "task", "follows_us": T0}})
    seen: list[str] = []
    bench.recover(decide_never, lambda record, _: seen.append(record.id), node=OTHER)
    assert seen == ["task"]
    assert not [
        each for each in place.documents("runs") if {"follows_of", "follows_us"} & set(each)
    ]


@pytest.mark.parametrize("earlier", [1, 2, 3])
def test_an_earlier_schema_is_brought_up_to_date(place: Place, earlier: int) -> None:
    schema = {"_id": "schema"}
    counters = place.database[f"{place.prefix}counters"]
    counters.update_one(schema, {"$set": {"value": earlier}})
    runs = place.database[f"{place.prefix}runs"]
    runs.drop_index("opens_1")
    locks = place.database[f"{place.prefix}locks"]
    locks.drop()
    documents = place.database[f"{place.prefix}documents"]
    documents.drop()
    looking = place.store()
    environment = StoreEnvironment(place.bench.codec, lambda: T0, existing=True)
    assert "of this version" in raised(NotFoundError, lambda: looking.open(environment))
    assert counters.find_one(schema) == {**schema, "value": earlier}
    assert "opens_1" not in runs.index_information()
    place.open(place.store())
    assert counters.find_one(schema) == {**schema, "value": 4}
    assert "opens_1" in runs.index_information()
    assert "until_us_1" in locks.index_information()
    assert "expires_us_1" in documents.index_information()
    assert counters.count_documents({}) == 2
    looking.open(environment)
    looking.close()


def test_own_definitions_that_are_too_large_are_refused(place: Place) -> None:
    message = raised(
        InvalidInputError, lambda: place.bench.submit(payload="x" * 4_000_000, task_id="large")
    )
    assert "'large'" in message
    assert place.bench.runs() == []


def test_a_run_with_everything_as_long_as_it_may_be_still_ends(place: Place) -> None:
    """All of it together fits into a document."""
    bench = place.bench
    bench.register(NODE)
    run = bench.submit(payload="x" * 3_900_000)
    [leased] = bench.lease().leased
    long = finished(
        leased.run, RunState.FAILED, result="r" * 5_000_000, errors="e" * 3_000_000,
        reason="w" * 2_000_000,
    )  # fmt: skip
    bench.finish(_note(leased.run, "p" * 500_000, "l" * 1_500_000), long)
    over = bench.run(run)
    assert (over.state, len(over.log or ""), len(over.progress or "")) == (
        RunState.FAILED, 1_500_000, 500_000,
    )  # fmt: skip
    bench.finish(_note(leased.run, "2", "l" * 1_500_001))
    assert (bench.run(run).progress, len(bench.run(run).log or "")) == ("2", 1_500_000)
