"""Locks in the log of a file store: how they are written, kept, shared and forgotten."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.stores.file_locker import LOCK, ROUNDS, lines_of
from tests.unit.stores.file_mishaps import CountingDisk
from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.locks import LockRequest
from tickwork.model.records import NodeRecord
from tickwork.model.steps import PruneRequest
from tickwork.stores.file import FileStore, log
from tickwork.stores.file.steps import Mark, sealed
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import LEASE_US, MINUTE, NODE, T0

ROOT = Path(__file__).parents[3]
_DEADLINE_S = 60.0


class Folder:
    """A folder with clients on it, which have one clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = CountingDisk()
        store = FileStore(path)
        self.bench = Bench(store, store)
        self.clients: list[FileStore] = []

    def client(self) -> FileStore:
        """Return another client, open."""
        store = FileStore(self.path)
        store._disk = self.disk  # noqa: SLF001  where a test takes the place of the system
        store.open(StoreEnvironment(self.bench.codec, lambda: self.bench.now_us, simulated=True))
        self.clients.append(store)
        return store

    @property
    def log(self) -> Path:
        [path] = self.path.glob("runs-*")
        return path

    def said(self) -> list[str]:
        """Return the lines of the log, without seals."""
        lines = self.log.read_text("utf-8").splitlines()
        return [each for each in lines if not each.startswith('{"step":')]

    def close(self) -> None:
        for store in self.clients:
            store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "store")
    yield folder
    folder.close()


@pytest.fixture
def renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step begin a new log."""
    monkeypatch.setattr(log, "_SHORT", 0)
    monkeypatch.setattr(log, "_TIMES", 0)


def _gets(store: FileStore, owner: str, name: str = "door", lease_us: int = LEASE_US) -> bool:
    return store.acquire_lock(LockRequest(name, owner, lease_us)).owner == owner


# --- what is written ----------------------------------------------------------------------------


def test_the_log_says_who_has_a_lock(folder: Folder) -> None:
    store = folder.client()
    store.acquire_lock(LockRequest("tür", "a", 9, "worker 1", T0, 20))
    folder.bench.now_us += 1
    store.renew_lock("tür", "a", 0)
    folder.bench.now_us += 39
    store.prune(PruneRequest({}, 0, now_us=folder.bench.now_us))
    acquired, given_back, forgotten = folder.said()[1:]
    assert acquired == (
        '{"lock":{"name":"tür","owner":"a","about":"worker 1","fence":1,'
        '"acquired_us":1767225600000000,"expires_us":1767225600000009,'
        '"kept_us":1767225600000020,"forgotten_us":1767225600000040}}'
    )
    assert given_back == (
        '{"lock":{"name":"tür","owner":"","about":"worker 1","fence":1,'
        '"acquired_us":1767225600000000,"expires_us":0,'
        '"kept_us":1767225600000020,"forgotten_us":1767225600000040}}'
    )
    assert forgotten == '{"lapsed":["tür"]}'
    assert store.acquire_lock(LockRequest("tür", "b", 9)).fence == 2


def test_who_is_refused_or_only_looks_writes_nothing(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    assert _gets(one, "a")
    before = folder.log.read_bytes()
    for store in (one, two):
        assert not _gets(store, "b")
        assert not store.renew_lock("door", "b", LEASE_US)
        assert not store.renew_lock("other", "a", 0)
        assert [lock.owner for lock in store.locks()] == ["a"]
        assert store.prune(PruneRequest({}, 0, now_us=folder.bench.now_us)) == 0
        # The same lease as before.
        assert _gets(store, "a")
    assert folder.log.read_bytes() == before


def test_who_gets_a_lock_or_gives_it_back_waits_for_the_disk(folder: Folder) -> None:
    """Who only goes on having it doesn't."""
    store = folder.client()

    def syncs(step: Callable[[], bool]) -> int:
        before = folder.disk.syncs
        assert step()
        return folder.disk.syncs - before

    assert syncs(lambda: _gets(store, "a")) == 1
    assert syncs(lambda: not _gets(store, "b")) == 0
    assert syncs(lambda: store.renew_lock("door", "a", MINUTE)) == 0
    # Who is refused relies on what isn't on the disk yet.
    assert syncs(lambda: not _gets(store, "b")) == 1
    assert syncs(lambda: store.renew_lock("door", "a", MINUTE, T0 + 9)) == 1
    assert syncs(lambda: store.renew_lock("door", "a", 0)) == 1


_ODD = ["", " ", "$door", "a.b", '{"step":1', "d:o/o*r\\", "a\0b", "tür\r\n", "\u2028", "\ud800"]


def test_names_and_owners_are_any_text(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    for name in _ODD:
        assert _gets(one, f"{name} of", name)
    late = folder.client()
    for store in (one, two, late):
        locks = store.locks()
        assert [lock.name for lock in locks] == sorted(_ODD)
        assert [lock.owner for lock in locks] == [f"{name} of" for name in sorted(_ODD)]
    for name in _ODD:
        assert not two.renew_lock(name, name, 0)
        assert two.renew_lock(name, f"{name} of", 0)
    assert one.locks() == late.locks() == folder.client().locks() == []


# --- what is kept -------------------------------------------------------------------------------


@pytest.mark.usefixtures("renewing")
@pytest.mark.parametrize("missed", [1, 2, 5])
def test_new_logs_say_all_locks(folder: Folder, missed: int) -> None:
    """Also to a client that has read none of them."""
    one, two = folder.client(), folder.client()
    assert _gets(one, "a", "first", 2)
    assert _gets(one, "a", "second")
    assert two.locks() == one.locks()
    for number in range(missed):
        assert _gets(one, "b", f"later {number}")
    folder.bench.now_us += 2
    one.prune(PruneRequest({}, 0, now_us=folder.bench.now_us))
    assert '"first"' not in folder.log.read_text("utf-8")
    names = [*(f"later {number}" for number in range(missed)), "second"]
    for store in (one, two, folder.client()):
        assert [lock.name for lock in store.locks()] == names
    assert not _gets(two, "b", "second")
    assert two.acquire_lock(LockRequest("first", "c", 1)).fence == missed + 3


def test_a_folder_of_a_version_without_locks_gets_them(folder: Folder) -> None:
    (folder.path / "tasks").mkdir(parents=True)
    lines = [b'{"log":1}\n', b'{"node":{"id":"node-1","beat_us":1}}\n']
    before = sealed(lines, 0, 41, Mark.BASE)
    (folder.path / "runs-1.jsonl").write_bytes(before)
    store = folder.client()
    assert store.nodes() == [NodeRecord(id=NODE, beat_us=1)]
    assert store.locks() == []
    assert folder.log.read_bytes() == before
    assert store.acquire_lock(LockRequest("door", "a", 1)).fence == 42


def test_what_a_later_version_says_of_a_lock_besides_is_passed_over(folder: Folder) -> None:
    store = folder.client()
    assert _gets(store, "a")
    store.close()
    said = json.loads(folder.said()[-1])
    said["lock"] |= {"name": "other", "colour": "red"}
    data = folder.log.read_bytes()
    folder.log.write_bytes(data + sealed([json.dumps(said).encode() + b"\n"], 2, 9))
    assert [lock.name for lock in folder.client().locks()] == ["door", "other"]


def test_a_line_about_locks_that_is_not_known_is_refused(folder: Folder) -> None:
    """As versions before locks refuse a log with some: they say what to do, and change nothing."""
    folder.client().close()
    data = folder.log.read_bytes() + sealed([b'{"lock of tomorrow":{}}\n'], 1, 0)
    folder.log.write_bytes(data)
    with pytest.raises(StoreUnavailableError, match=r"'lock of tomorrow' .* update tickwork"):
        folder.client()
    assert folder.log.read_bytes() == data


# --- several processes --------------------------------------------------------------------------


@contextmanager
def _lockers(path: Path, kind: str, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a process for each name; none is left at the end."""
    command = [sys.executable, "-m", "tests.unit.stores.file_locker", str(path)]
    started = [
        subprocess.Popen(
            [*command, name, kind],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


def test_processes_have_a_lock_one_after_the_other(folder: Folder) -> None:
    store = folder.client()
    lines_of(str(folder.path)).write_text("")
    with _lockers(folder.path, "counter", "one", "two") as processes:
        for each in processes:
            each.communicate(timeout=_DEADLINE_S)
        assert [each.returncode for each in processes] == [0, 0]
    fences = [int(each) for each in lines_of(str(folder.path)).read_text().splitlines()]
    assert fences == list(range(1, 2 * ROUNDS + 1))
    assert store.locks() == []


def test_the_lock_of_a_killed_process_is_free_when_its_lease_is_over(folder: Folder) -> None:
    store = folder.client()
    with _lockers(folder.path, "holder", "one") as [holder]:
        assert holder.stdout is not None
        fence = int(holder.stdout.readline())
        holder.kill()
        holder.communicate(timeout=_DEADLINE_S)
    [lock] = store.locks()
    assert (lock.owner, lock.fence) == ("one", fence)
    folder.bench.now_us = lock.expires_us - 1
    assert not _gets(store, "other", LOCK)
    folder.bench.now_us += 1
    assert store.acquire_lock(LockRequest(LOCK, "other", 1)).fence == fence + 1
