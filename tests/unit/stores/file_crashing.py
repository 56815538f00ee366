"""Steps of a file store, ended by a crash at every operation: each happened, or it did not."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.unit.stores.file_mishaps import FailingDisk, ForgetfulDisk, StoppedError, StoppingDisk
from tickwork.errors import StoreUnavailableError
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.policies import ScheduleState
from tickwork.stores.file import FileStore
from tickwork.stores.file.disk import Disk
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Dump,
    moves_on,
    pending,
    queued,
    runs_now,
    task,
)

__all__ = [
    "CHECKS",
    "Place",
    "Step",
    "abandon",
    "bench_on",
    "checked",
    "crashes",
    "file_store",
    "prepare",
]

Step = Callable[[Bench], object]

_UNSURE = {"beat", "leave", "renew"}
"""Steps that a power cut may undo, since those who took them don't survive it."""


class Seen(NamedTuple):
    """What a client shows, and which locks it knows."""

    shown: Dump
    locks: dict[str, LockRecord]


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
    _take_locks(bench)
    bench.close()


def _take_locks(bench: Bench) -> None:
    """Have locks that are held, over, given back and forgotten, and kept for labels."""
    store = file_store(bench)
    store.acquire_lock(LockRequest("held", "a", 10 * LEASE_US, "worker 1"))
    store.acquire_lock(LockRequest("over", "b", 1))
    store.acquire_lock(LockRequest("kept", "c", LEASE_US, "", T0, MINUTE))
    assert store.renew_lock("kept", "c", 0)


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

    def look(self, folder: Path) -> Seen:
        """Return what a newcomer sees; it checks the counts, and that the files say the same."""
        bench = bench_on(folder)
        bench.open()
        seen = checked(bench)
        abandon(bench)
        names = {path.name for path in (folder / "tasks").iterdir()} - {".new"}
        assert names == {file_of(each) for each in seen.shown.tasks}
        return seen

    def happened(self, seen: Seen) -> bool:
        """Whether the step happened whole; it did or it did not."""
        assert seen in (self.before, self.after)
        return seen == self.after


def abandon(bench: Bench) -> None:
    """Close a client's files, as the system does when its process dies."""
    file_store(bench).forsake()


def file_of(task_id: str) -> str:
    return f"{task_id.replace(' ', '%20')}.json"


def file_store(bench: Bench) -> FileStore:
    """Return the store of a bench."""
    assert isinstance(bench.store, FileStore)
    return bench.store


def checked(bench: Bench) -> Seen:
    """Return what a client shows, and look whether its counts are right."""
    dump = bench.dump()
    for name in dump.tasks:
        bench.active(name)
    with file_store(bench)._open.reading() as shelves:  # noqa: SLF001
        return Seen(dump, dict(shelves.locks))


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


def can_be_repeated(prepared: Path, tmp_path: Path, step: Step) -> None:
    """The disk is full at one operation; then the same client goes on."""
    place = Place(prepared, tmp_path, step)
    for operations in count():
        folder = place.copy()
        bench = bench_on(folder)
        bench.open()
        disk = FailingDisk(operations)
        opened = file_store(bench)._open  # noqa: SLF001
        opened._disk = opened._log.disk = opened._files._disk = disk  # noqa: SLF001
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
        assert happened or not told or step.__name__ in _UNSURE
        if disk.left >= 0:
            break


CHECKS = (happens_or_does_not, is_seen_by_who_was_there, can_be_repeated, survives_a_power_cut)
