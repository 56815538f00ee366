"""Tasks with a gate in several real processes: who executes what, when processes end or stand.

What is asserted holds however busy the machine is: a fire time for which no process was there in
time is accounted for in what all of them wrote down, and the locks themselves say when they end.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, cast
from uuid import uuid4

import pytest

from tests.cluster.cluster import ROOT, Worker, now_us, until
from tests.cluster.gated_worker import TASK, Execution, GatedConfig, Record
from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import Locking, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.scheduler.clock import SystemClock
from tickwork.wiring import build_store, load_trigger

_READY_S = 60.0
_PATIENCE_S = 60.0
_TRIES = 10
_LONG_S = 600.0
"""Longer than any test: what happens before this is over, didn't wait for it."""


class Gated:
    """Processes that share a store, and the record of what they executed."""

    def __init__(self, store: str | dict[str, Any], folder: Path) -> None:
        self._place = store
        self._folder = folder
        self.workers: list[Worker] = []
        self.record, self.known = folder / "record", folder / "known"
        self.record.touch()
        self.known.touch()
        self._store = build_store(store)

    def __enter__(self) -> Self:
        codec = DefinitionCodec(load_trigger)
        self._store.open(StoreEnvironment(codec, SystemClock().now_us))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for worker in self.workers:
                if worker.alive:
                    worker.signal(signal.SIGKILL)
            for worker in self.workers:
                worker.reap()
        finally:
            self._store.close()
            for worker in self.workers:
                lines = worker.output.read_text(errors="replace").splitlines()
                print(f"--- {worker.name}, pid {worker.pid}", *lines[-25:], sep="\n")

    def start(self, count: int, **options: Any) -> list[Worker]:
        """Start so many workers, and wait until all are ready."""
        for _ in range(count):
            self.launch(**options)
        self.await_ready()
        return self.workers

    def await_ready(self) -> None:
        """Wait until all workers are ready."""
        for worker in self.workers:
            until(partial(_is_ready, worker), _READY_S, f"{worker.name} is ready")
            assert worker.alive

    def launch(self, **options: Any) -> None:
        """Start a worker."""
        name = f"{len(self.workers):02}"
        config = GatedConfig(
            store=self._place,
            record=str(self.record),
            runs=str(self._folder / f"{name}.runs"),
            known=str(self.known),
            **options,
        )
        path, output = self._folder / f"{name}.json", self._folder / f"{name}.out"
        config.write(path)
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.gated_worker", str(path)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": ""},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(Worker(name, process, output, Path(config.runs)))

    def set_clocks(self, now_us: int) -> None:
        """Tell all workers, whose clocks stand still, what time it is."""
        for worker in self.workers:
            assert worker.process.stdin is not None
            worker.process.stdin.write(f"{now_us}\n".encode())
            worker.process.stdin.flush()

    def await_known(self, count: int) -> None:
        """Wait until workers know of so many fire times, each for itself, what became of them."""

        def enough() -> bool:
            return self.known.read_bytes().count(b"\n") >= count

        until(enough, _PATIENCE_S, f"{count} fire times are known of", every_s=0.005)

    def freeze_leader(self) -> tuple[Worker, LockRecord]:
        """Have the leader stand still while it leads; return it, and its lead."""
        for _ in range(_TRIES):
            leader = self.worker_of(self.executions()[-1])
            self.freeze(leader)
            # Its lease may have ended while it took some tries to have it stand still.
            if (lock := self.held("leader:cluster", leader)) is not None:
                return leader, lock
            leader.signal(signal.SIGCONT)
        raise AssertionError("nobody leads for longer than it takes to look")

    def freeze(self, worker: Worker) -> None:
        """Have a worker stand still; not in the middle of a write, which stops all of SQLite."""
        for _ in range(_TRIES):
            worker.signal(signal.SIGSTOP)
            until(worker.stands, 10, "it stands still")
            if self._others_write():
                return
            worker.signal(signal.SIGCONT)
            # Not stopped again before it is out of what it was writing.
            until(self._others_write, _PATIENCE_S, "others write again")
        raise AssertionError(f"{worker.name} does nothing but write")

    def _others_write(self) -> bool:
        try:
            cast("Locking", self._store).acquire_lock(LockRequest("probe", uuid4().hex, 1))
        except StoreUnavailableError:
            return False
        return True

    def stop(self, workers: Sequence[Worker]) -> None:
        """Stop workers cleanly, and wait for their end."""
        for worker in workers:
            worker.signal(signal.SIGTERM)
        for worker in workers:
            assert worker.reap() == 0, "a clean stop ends with status 0"
            assert worker.said("stopped") is not None

    def executions(self) -> list[Execution]:
        """Return all executions so far, in the order in which they were written down."""
        lines = self.record.read_bytes().splitlines(keepends=True)
        return [Execution(**json.loads(line)) for line in lines if line.endswith(b"\n")]

    def await_executions(
        self, count: int, *, of: Callable[[Execution], bool] | None = None
    ) -> list[Execution]:
        """Wait for so many executions, or so many of a kind; return them."""
        found: list[Execution] = []

        def enough() -> bool:
            found[:] = [each for each in self.executions() if of is None or of(each)]
            return len(found) >= count

        until(enough, _PATIENCE_S, lambda: f"{count} executions, there are {len(found)}")
        return found

    def lock(self, name: str, holder: Worker) -> LockRecord:
        """Return a lock as it stands in the store, which this worker has."""
        lock = self.held(name, holder)
        assert lock is not None
        return lock

    def held(self, name: str, holder: Worker) -> LockRecord | None:
        """Return a lock as it stands in the store, if this worker has it."""
        about = f"process {holder.pid} on "
        locks = cast("Locking", self._store).locks()
        return next((x for x in locks if x.name == name and x.about.startswith(about)), None)

    def worker_of(self, execution: Execution) -> Worker:
        """Return the worker that executed something."""
        return next(worker for worker in self.workers if worker.pid == execution.pid)


def _is_ready(worker: Worker) -> bool:
    return worker.said("ready") is not None or not worker.alive


def _records(worker: Worker) -> list[Record]:
    """Return what became of fire times in one process, the first ones first."""
    return [Record(**words) for words in reversed(json.loads(worker.log.read_text()))]


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Gated]:
    folder = tmp_path / "sqlite"
    folder.mkdir()
    with Gated(f"sqlite:///{folder / 'locks.db'}", folder) as place:
        yield place


@pytest.fixture
def on_redis(redis_url: str, tmp_path: Path) -> Iterator[Gated]:
    folder = tmp_path / "redis"
    folder.mkdir()
    store = {"type": "redis", "url": redis_url, "prefix": f"gated-{uuid4().hex}"}
    with Gated(store, folder) as place:
        yield place


@pytest.fixture(params=["sqlite", "redis"])
def gated(request: pytest.FixtureRequest) -> Gated:
    place: Gated = request.getfixturevalue(f"on_{request.param}")
    return place


def none_twice(executions: Sequence[Execution]) -> None:
    counts = Counter(each.fire_us for each in executions)
    twice = [each for each in executions if counts[each.fire_us] > 1]
    assert twice == []


def by_others(worker: Worker, since_us: int = 0) -> Callable[[Execution], bool]:
    return lambda each: each.pid != worker.pid and each.at_us >= since_us


# --- each interval once -------------------------------------------------------------------------

_TICK_S = 0.1
_TICK_US = round(_TICK_S * SECOND)


def test_of_eight_workers_one_executes_each_interval(on_sqlite: Gated, on_redis: Gated) -> None:
    """200 intervals, none left out: it is only time when all eight know what became of the last.

    On both stores at the same time.
    """
    places = on_sqlite, on_redis
    first_us = now_us() // _TICK_US * _TICK_US + _TICK_US
    grid = [first_us + number * _TICK_US for number in range(200)]
    _start_eight(places, standing_us=first_us - _TICK_US + 1)
    for number, fire_us in enumerate(grid, start=1):
        for place in places:
            place.set_clocks(fire_us)
        for place in places:
            place.await_known(8 * number)
    for place in places:
        place.stop(place.workers)
        assert sorted(each.fire_us for each in place.executions()) == grid
        for worker in place.workers:
            records = _records(worker)
            assert [each.fire_us for each in records] == grid
            assert {each.count for each in records} == {1}


def _start_eight(places: Sequence[Gated], **options: Any) -> None:
    for place in places:
        for _ in range(8):
            place.launch(seconds=_TICK_S, options={"max_lock_seconds": 30}, **options)
    for place in places:
        place.await_ready()


def test_each_interval_is_executed_once_or_has_its_reasons(
    on_sqlite: Gated, on_redis: Gated
) -> None:
    """As time goes by, whether or not eight processes keep up with it; on both stores at once."""
    places = on_sqlite, on_redis
    _start_eight(places)
    counts = [len(place.executions()) for place in places]
    for place, count in zip(places, counts, strict=True):
        place.await_executions(count + 50)
    for place in places:
        place.stop(place.workers)
        _check(place)


def _check(place: Gated) -> None:
    executions = place.executions()
    none_twice(executions)
    executed = {each.fire_us for each in executions}
    assert all(fire_us % _TICK_US == 0 for fire_us in executed), "all tick at the same instants"
    records = {worker.pid: _records(worker) for worker in place.workers}
    _check_accounts(records)
    _check_executions(records, executions)
    grid = range(min(executed), max(executed) + _TICK_US, _TICK_US)
    for fire_us in grid:
        if fire_us not in executed:
            _check_passed_over(fire_us, records)
    workers = len({each.pid for each in executions})
    print(f"{len(executed)} of {len(grid)} intervals executed, by {workers} processes")


def _check_accounts(records: dict[int, list[Record]]) -> None:
    """In each process, records lie side by side: no fire time is in two of them, or in none."""
    for of_one in records.values():
        assert of_one
        for record in of_one:
            assert record.first_us <= record.fire_us <= record.last_us
            assert record.last_us - record.first_us == (record.count - 1) * _TICK_US
        for earlier, later in pairwise(of_one):
            assert later.first_us == earlier.last_us + _TICK_US


def _check_executions(records: dict[int, list[Record]], executions: Sequence[Execution]) -> None:
    """What a process says that it has executed, it has, and nothing else."""
    for pid, of_one in records.items():
        said = [record.fire_us for record in of_one if record.state == "completed"]
        done = [each.fire_us for each in executions if each.pid == pid]
        assert said == done
        others = {record.state for record in of_one if record.state != "completed"}
        assert others <= {"skipped"}


def _check_passed_over(fire_us: int, records: dict[int, list[Record]]) -> None:
    """Each process that knew of it was refused, or came so late that a later one stood for it."""
    told = [
        record
        for of_one in records.values()
        for record in of_one
        if record.first_us <= fire_us <= record.last_us
    ]
    assert told
    for record in told:
        if record.state == "completed":
            assert record.fire_us != fire_us
        else:
            assert record.reason


# --- processes that end -------------------------------------------------------------------------


def test_a_killed_holder_is_followed_after_its_longest_time_and_not_before(
    gated: Gated, tmp_path: Path
) -> None:
    workers = gated.start(
        3, seconds=0.2, options={"max_lock_seconds": 5}, mark=str(tmp_path / "mark")
    )
    [held] = gated.await_executions(1)
    holder = gated.worker_of(held)
    lock = gated.lock(f"task:{TASK}", holder)
    assert lock.expires_us - lock.acquired_us == 5 * SECOND
    holder.signal(signal.SIGKILL)
    holder.reap()
    follower = gated.await_executions(10, of=by_others(holder))[0]
    assert follower.at_us >= lock.expires_us
    gated.stop([worker for worker in workers if worker is not holder])
    executions = gated.executions()
    none_twice(executions)
    assert [each for each in executions if each.pid == holder.pid] == [held]


_LED: dict[str, Any] = {
    "seconds": 0.1,
    "options": {"max_lock_seconds": 1},
    "leader": {"lease": 3, "renew_deadline": 2, "retry_interval": 0.1},
}


def test_a_killed_leader_is_followed_after_its_lease_and_not_before(gated: Gated) -> None:
    workers = gated.start(3, **_LED)
    gated.await_executions(10)
    leader, lock = gated.freeze_leader()
    leader.signal(signal.SIGKILL)
    leader.reap()
    follower = gated.await_executions(10, of=by_others(leader, lock.acquired_us))[0]
    assert follower.at_us >= lock.expires_us
    gated.stop([worker for worker in workers if worker is not leader])
    none_twice(gated.executions())


def test_a_leader_that_stood_still_does_no_harm(gated: Gated) -> None:
    """It is followed after its lease; when it goes on, it executes nothing again."""
    workers = gated.start(3, **_LED)
    gated.await_executions(10)
    leader, lock = gated.freeze_leader()
    follower = gated.await_executions(10, of=by_others(leader, lock.acquired_us))[0]
    assert follower.at_us >= lock.expires_us
    leader.signal(signal.SIGCONT)
    gated.await_executions(len(gated.executions()) + 30)
    gated.stop(workers)
    none_twice(gated.executions())


def test_a_stopped_leader_is_followed_at_once_also_in_the_middle_of_a_body(
    gated: Gated, tmp_path: Path
) -> None:
    """Its lead, its lock and its resource would last for minutes."""
    workers = gated.start(
        3,
        seconds=0.1,
        options={"max_lock_seconds": _LONG_S},
        leader={"lease": _LONG_S, "renew_deadline": _LONG_S / 2, "retry_interval": 0.1},
        sync=True,
        mark=str(tmp_path / "mark"),
        stop_within_s=0.2,
    )
    [held] = gated.await_executions(1)
    leader = gated.worker_of(held)
    for name in ("leader:cluster", f"task:{TASK}", "cluster"):
        assert gated.lock(name, leader).owner
    gated.stop([leader])
    assert str(leader.said("stopped")).startswith('stopped {"given_back": ["')
    gated.await_executions(10, of=by_others(leader))
    gated.stop([worker for worker in workers if worker is not leader])
    executions = gated.executions()
    assert [each for each in executions if each.pid == leader.pid] == [held]
    none_twice([each for each in executions if each.pid != leader.pid])
