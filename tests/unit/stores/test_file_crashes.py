"""Every step of a file store, ended by a crash at every operation: it happened, or it did not."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.unit.stores.file_mishaps import FailingDisk, ForgetfulDisk, StoppedError, StoppingDisk
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, TaskRecord
from tickwork.model.steps import Edit, Ended, Mark, PruneRequest, Verdict
from tickwork.stores.file import FileStore, log
from tickwork.stores.file.disk import Disk
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Dump,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    runs_now,
    task,
)

Step = Callable[[Bench], object]


def bench_on(folder: Path, disk: Disk | None = None) -> Bench:
    """Return a bench, not open, on a folder that `prepare` has filled."""
    store = FileStore(folder)
    if disk is not None:
        store._disk = disk  # noqa: SLF001  where a test takes the place of the system
    bench = Bench(store, store)
    bench._made = count(1_000)  # noqa: SLF001  the same ids whatever went before
    bench._registered |= {NODE, OTHER}  # noqa: SLF001
    bench.now_us = T0 + LEASE_US - 1
    return bench


def prepare(folder: Path, disk: Disk | None = None) -> None:
    """Fill a folder with something of everything."""
    bench = bench_on(folder, disk)
    bench.now_us, bench._made = T0, count()  # noqa: SLF001
    bench.open()
    bench.register(NODE, OTHER)
    bench.register("dead", lease_us=1)
    bench.put(task("queue", due_us=T0 - 9))
    bench.plan(moves_on(pending(T0), queued(T0 + 1), queued(T0 + 2), planned_us=T0 + 2))
    bench.leased(task("a", T0 - 3), task("b", T0 - 2), task("c", T0 - 1))
    bench.leased(task("dying", T0 - 1), node="dead")
    bench.put(task("over", None, state=ScheduleState.FINISHED, disposable=True))
    bench.put(task("waits", None), task("due", T0), task("due too", T0))
    bench.edit(runs_now(pending(None), queued(T0)), "waits")
    bench.close()


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
    assert isinstance(bench.store, FileStore)
    bench.store.prune(PruneRequest({"a": 0}, T0 + MINUTE))


def nothing(bench: Bench) -> None:
    """Open and close only."""


STEPS = (put, put_anew, edit, remove, plan, lease, finish, beat, leave, recover, prune, nothing)


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


class Place:
    """Copies of the prepared folder, and what a step makes of it."""

    def __init__(self, prepared: Path, folder: Path, step: Step) -> None:
        self._prepared = prepared
        self._folders = (folder / str(number) for number in count())
        self.step = step
        self.before = self.look(self.copy())
        folder = self.copy()
        self.whole(bench_on(folder))
        self.after = self.look(folder)

    def copy(self) -> Path:
        folder = next(self._folders)
        shutil.copytree(self._prepared, folder)
        return folder

    def fresh(self) -> Path:
        return next(self._folders)

    def whole(self, bench: Bench) -> None:
        """Open, take the step, close."""
        bench.open()
        self.step(bench)
        bench.close()

    def look(self, folder: Path) -> Dump:
        """Return what a newcomer sees; it checks the counts, and that the files say the same."""
        bench = bench_on(folder)
        bench.open()
        dump = checked(bench)
        abandon(bench)
        names = {path.name for path in (folder / "tasks").iterdir()} - {".new"}
        assert names == {file_of(each) for each in dump.tasks}
        return dump

    def happened(self, dump: Dump) -> bool:
        """Whether the step happened whole; it did or it did not."""
        assert dump in (self.before, self.after)
        return dump == self.after


def abandon(bench: Bench) -> None:
    """Close a client's files, as the system does when its process dies."""
    assert isinstance(bench.store, FileStore)
    bench.store.forsake()


def file_of(task_id: str) -> str:
    return f"{task_id.replace(' ', '%20')}.json"


def checked(bench: Bench) -> Dump:
    dump = bench.dump()
    for name in dump.tasks:
        bench.active(name)
    return dump


def crashes(place: Place, folders: Callable[[], Path]) -> Iterator[Path]:
    """Yield folders in each of which the step was ended one operation later."""
    for operations in count():
        folder = folders()
        bench = bench_on(folder, StoppingDisk(operations))
        try:
            place.whole(bench)
        except StoppedError:
            yield folder
        else:
            assert place.look(folder) == place.after
            return
        finally:
            abandon(bench)


def happens_or_does_not(prepared: Path, tmp_path: Path, step: Step) -> None:
    place = Place(prepared, tmp_path, step)
    seen = set()
    for folder in crashes(place, place.copy):
        seen.add(place.happened(place.look(folder)))
        place.whole(bench_on(folder))
        assert place.look(folder) == place.after
    assert False in seen or place.before == place.after


def is_seen_by_who_was_there(prepared: Path, tmp_path: Path, step: Step) -> None:
    place = Place(prepared, tmp_path, step)
    others: list[Bench] = []

    def with_company() -> Path:
        folder = place.copy()
        others.append(bench_on(folder))
        others[-1].open()
        return folder

    for folder in crashes(place, with_company):
        other = others[-1]
        place.happened(checked(other))
        place.step(other)
        assert checked(other) == place.after == place.look(folder)
    for other in others:
        other.close()


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


def can_be_repeated(prepared: Path, tmp_path: Path, step: Step) -> None:
    """The disk is full at one operation; then the same client goes on."""
    place = Place(prepared, tmp_path, step)
    for operations in count():
        folder = place.copy()
        bench = bench_on(folder)
        bench.open()
        assert isinstance(bench.store, FileStore)
        disk = FailingDisk(operations)
        bench.store._open._disk = disk  # noqa: SLF001
        bench.store._open._log.disk = disk  # noqa: SLF001
        bench.store._open._files._disk = disk  # noqa: SLF001
        try:
            place.step(bench)
        except StoreUnavailableError:
            failed = True
            assert checked(bench) == place.look(folder)
            bench._made = count(1_000)  # noqa: SLF001
        else:
            failed = disk.left < 0
        disk.left = -1
        place.step(bench)
        assert checked(bench) == place.after
        bench.close()
        assert place.look(folder) == place.after
        if not failed:
            break


def test_a_step_that_could_not_be_synced_did_not_happen(prepared: Path, tmp_path: Path) -> None:
    """Nobody must rely on what the disk has refused to keep, however often it is asked later."""
    place = Place(prepared, tmp_path, put)
    folder = place.copy()
    bench = bench_on(folder)
    bench.open()
    assert isinstance(bench.store, FileStore)
    write_and_then_fail = FailingDisk(1)
    bench.store._open._log.disk = write_and_then_fail  # noqa: SLF001
    with pytest.raises(StoreUnavailableError, match="No space left"):
        put(bench)
    assert bench.dump() == place.look(folder) == place.before
    bench.close()


def survives_a_power_cut(prepared: Path, tmp_path: Path, step: Step) -> None:
    place = Place(prepared, tmp_path, step)
    for operations in count():
        folder = place.fresh()
        disk = ForgetfulDisk()
        prepare(folder, disk)
        disk.left = operations
        bench = bench_on(folder, disk)
        told = False
        try:
            bench.open()
            step(bench)
            told = True
            bench.close()
        except StoppedError:
            pass
        abandon(bench)
        left = place.fresh()
        disk.what_survives(folder, left)
        happened = place.happened(place.look(left))
        assert happened or not told or step in {beat, leave}
        if disk.left >= 0:
            break


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


CHECKS = (happens_or_does_not, is_seen_by_who_was_there, can_be_repeated, survives_a_power_cut)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step(
    prepared: Path, tmp_path: Path, step: Step, check: Callable[[Path, Path, Step], None]
) -> None:
    check(prepared, tmp_path, step)


@pytest.mark.usefixtures("renewing")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("step", [remove, plan, finish])
def test_a_step_that_renews_the_log(
    prepared: Path, tmp_path: Path, step: Step, check: Callable[[Path, Path, Step], None]
) -> None:
    check(prepared, tmp_path, step)
