"""Every step of a file store, ended by a crash at every operation: it happened, or it did not."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.unit.stores.file_crashing import (
    CHECKS,
    Place,
    Step,
    abandon,
    bench_on,
    checked,
    crashes,
    file_store,
    prepare,
)
from tests.unit.stores.file_mishaps import FailingDisk, ForgetfulDisk, StoppedError, StoppingDisk
from tickwork.errors import StoreUnavailableError
from tickwork.model.locks import LockRequest
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, TaskRecord
from tickwork.model.steps import Edit, Ended, Mark, PruneRequest, Verdict
from tickwork.stores.file import log
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    finished,
    given_back,
    task,
)


def put(bench: Bench) -> None:
    new = task("new"), task("newer", due_us=None)
    bench.put(*new, decide=lambda old, _: Edit(old, unchanged=True))


def put_anew(bench: Bench) -> None:
    def decide(old: TaskRecord, new: TaskRecord) -> Edit:
        return Edit(new, unchanged=old.generation == new.generation)

    bench.put(task("queue", generation=2), task("waits", generation=3), decide=decide)


def edit(bench: Bench) -> None:
    def decide(record: TaskRecord) -> Edit:
        return Edit(replace(record, problem="seen"), unchanged=record.problem == "seen")

    bench.edit(decide, "queue", "a", "due")


def remove(bench: Bench) -> None:
    bench.edit(lambda _: Edit(None), "queue", "waits", "a")


def plan(bench: Bench) -> None:
    bench.plan(node=OTHER, capacity={EXECUTOR: 1})


def lease(bench: Bench) -> None:
    bench.lease(node=OTHER, capacity={EXECUTOR: 5})


def finish(bench: Bench) -> None:
    runs = {run.task_id: run for run in bench.runs() if run.fence and run.task_id in "queue a b c"}
    one = runs["queue"]
    bench.finish(
        Mark(runs["a"].id, 4, T0),
        Mark(runs["a"].id, 2, T0),
        given_back(runs["b"], started=True, error="[]"),
        finished(runs["c"], RunState.FAILED, errors="[]"),
        finished(one, follows=True),
        after_run=_noted,
    )


def _noted(record: TaskRecord, ended: Sequence[Ended]) -> None:
    record.problem = f"{record.active} at {ended[0].finished_us}"


def beat(bench: Bench) -> None:
    bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US)


def leave(bench: Bench) -> None:
    bench.store.beat(NodeRecord(id=OTHER, beat_us=T0), LEASE_US, leaving=True)


def recover(bench: Bench) -> None:
    bench.recover(lambda *_: Verdict(RunState.LOST, 1, suspect=True), _noted, node=NODE)


def prune(bench: Bench) -> None:
    bench.store.prune(PruneRequest({"a": 0}, T0 + MINUTE, now_us=bench.now_us))


def take_a_lock(bench: Bench) -> None:
    file_store(bench).acquire_lock(LockRequest('new {"step":1}', "x", LEASE_US, "worker 2"))


def take_over(bench: Bench) -> None:
    file_store(bench).acquire_lock(LockRequest("over", "x", LEASE_US))


def take_for_a_label(bench: Bench) -> None:
    request = LockRequest("kept", "x", LEASE_US, "", T0 + MINUTE, MINUTE)
    file_store(bench).acquire_lock(request)


def ask_again(bench: Bench) -> None:
    file_store(bench).acquire_lock(LockRequest("held", "a", 20 * LEASE_US))


def be_refused(bench: Bench) -> None:
    assert file_store(bench).acquire_lock(LockRequest("held", "x", LEASE_US)).owner == "a"


def renew(bench: Bench) -> None:
    assert file_store(bench).renew_lock("held", "a", 20 * LEASE_US)


def keep(bench: Bench) -> None:
    assert file_store(bench).renew_lock("held", "a", LEASE_US, T0 + MINUTE)


def give_back(bench: Bench) -> None:
    file_store(bench).renew_lock("held", "a", 0, T0 + MINUTE)


def nothing(bench: Bench) -> None:
    """Open and close only."""


STEPS = (put, put_anew, edit, remove, plan, lease, finish, beat, leave, recover, prune, nothing)
LOCKS = (
    *(take_a_lock, take_over, take_for_a_label, ask_again, be_refused),
    *(renew, keep, give_back),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("file") / "prepared"
    prepare(folder)
    return folder


@pytest.fixture
def renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step begin a new log."""
    monkeypatch.setattr(log, "_SHORT", 0)
    monkeypatch.setattr(log, "_TIMES", 0)


@pytest.mark.parametrize("step", [put, remove, plan, finish])
def test_a_crash_while_a_crash_is_repaired(prepared: Path, tmp_path: Path, step: Step) -> None:
    place = Place(prepared, tmp_path, step)
    for folder in crashes(place, place.copy):
        for operations in count():
            twice = place.fresh()
            shutil.copytree(folder, twice)
            bench = bench_on(twice, StoppingDisk(operations))
            try:
                bench.open()
                bench.close()
                break
            except StoppedError:
                place.happened(place.look(twice))
            finally:
                abandon(bench)


def test_a_step_that_could_not_be_synced_did_not_happen(prepared: Path, tmp_path: Path) -> None:
    """Nobody must rely on what the disk has refused to keep, however often it is asked later."""
    place = Place(prepared, tmp_path, put)
    folder = place.copy()
    bench = bench_on(folder)
    bench.open()
    write_and_then_fail = FailingDisk(1)
    file_store(bench)._open._log.disk = write_and_then_fail  # noqa: SLF001
    with pytest.raises(StoreUnavailableError, match="No space left"):
        put(bench)
    assert checked(bench) == place.look(folder) == place.before
    bench.close()


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("renews", [False, True])
def test_what_another_found_done_survives_a_power_cut(  # noqa: PLR0917  pytest's own calling
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renews: bool,
    late: bool,
    goes_on: bool,
) -> None:
    """One client dies at any operation of a step, another repeats it and goes on."""

    def finish_and_put(bench: Bench) -> None:
        finish(bench)
        put(bench)

    place = Place(prepared, tmp_path, finish_and_put if goes_on else finish)
    for operations in count():
        folder, disk = place.fresh(), ForgetfulDisk()
        prepare(folder, disk)
        first, other = bench_on(folder, disk), bench_on(folder, disk)
        first.open()
        if not late:
            other.open()
        disk.left = operations
        with monkeypatch.context() as patch:
            if renews:
                patch.setattr(log, "_SHORT", 0)
                patch.setattr(log, "_TIMES", 0)
            try:
                finish(first)
                ended = False
            except StoppedError:
                ended = True
        abandon(first)
        disk.left = 1_000_000
        if late:
            other.open()
        place.step(other)
        abandon(other)
        left = place.fresh()
        disk.what_survives(folder, left)
        assert place.look(left) == place.after
        if not ended:
            break


def test_what_another_was_refused_for_survives_a_power_cut(prepared: Path, tmp_path: Path) -> None:
    """One client dies at any operation while it gets a lock for a label, another asks as well."""
    place = Place(prepared, tmp_path, nothing)
    owners = []
    for operations in count():
        folder, disk = place.fresh(), ForgetfulDisk()
        prepare(folder, disk)
        first, other = bench_on(folder, disk), bench_on(folder, disk)
        first.open()
        other.open()
        disk.left = operations
        try:
            _ask_for_label(first, "first")
            ended = False
        except StoppedError:
            ended = True
        abandon(first)
        disk.left = 1_000_000
        owners.append(_ask_for_label(other, "other"))
        abandon(other)
        left = place.fresh()
        disk.what_survives(folder, left)
        assert place.look(left).locks["slot"].owner == owners[-1]
        if not ended:
            break
    # It has to be written; from then on, whoever asks makes sure that it is on the disk.
    assert owners == ["other", "first", "first"]


def _ask_for_label(bench: Bench, owner: str) -> str:
    request = LockRequest("slot", owner, LEASE_US, "", T0, MINUTE)
    return file_store(bench).acquire_lock(request).owner


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("step", [*STEPS, *LOCKS])
def test_a_step(
    prepared: Path, tmp_path: Path, step: Step, check: Callable[[Path, Path, Step], None]
) -> None:
    check(prepared, tmp_path, step)


@pytest.mark.usefixtures("renewing")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("step", [remove, plan, finish, prune, take_over])
def test_a_step_that_renews_the_log(
    prepared: Path, tmp_path: Path, step: Step, check: Callable[[Path, Path, Step], None]
) -> None:
    check(prepared, tmp_path, step)
