"""The log of a file store: torn ends, damage, renewal, and clients that are behind."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stores.file_mishaps import FailingDisk
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Deferral, Edit, PruneRequest
from tickwork.stores.file import FileStore, log
from tickwork.stores.file.steps import holds_steps, sealed, steps_in
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    T0,
    finished,
    given_back,
    pending,
    queued,
    runs_now,
    task,
)


class Folder:
    """A folder with clients on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clients: list[Bench] = []

    def client(self) -> Bench:
        """Return another client, open."""
        store = FileStore(self.path, durability="normal")
        bench = Bench(store, store)
        bench._made = count(1_000 * len(self.clients))  # noqa: SLF001
        bench._registered.update(*(each._registered for each in self.clients))  # noqa: SLF001
        bench.open()
        self.clients.append(bench)
        return bench

    def close(self) -> None:
        for bench in self.clients:
            bench.close()

    def crash(self) -> None:
        """End all clients as a crash does."""
        for bench in self.clients:
            assert isinstance(bench.store, FileStore)
            bench.store.forsake()

    @property
    def logs(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("runs-*"))

    @property
    def log(self) -> Path:
        [path] = self.path.glob("runs-*")
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "store")
    yield folder
    folder.close()


@pytest.fixture
def renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_SHORT", 0)
    monkeypatch.setattr(log, "_TIMES", 0)


def test_steps_stand_in_data_until_the_first_that_is_not_whole() -> None:
    lines = [b'{"run":{"id":"a\\n{\\"step\\":1"}}\n', b'{"left":"node"}\n']
    one, two, mark = sealed(lines, 7, 3), sealed([], 8, 3), sealed(lines[1:], 9, 4)
    data = one + two + mark
    whole = list(steps_in(data))
    assert [(step.number, step.fence, len(step.lines)) for step in whole] == [
        (7, 3, 2),
        (8, 3, 0),
        (9, 4, 1),
    ]
    ends = [len(one), len(one + two), len(data)]
    assert [step.end for step in whole] == ends
    for size in range(len(data)):
        assert len(list(steps_in(data[:size]))) == sum(end <= size for end in ends)
        assert holds_steps(b"x" + data[:size]) == (size >= len(one))


def test_a_changed_byte_makes_a_step_and_those_behind_it_void() -> None:
    one, two = sealed([b'{"left":"a"}\n'], 1, 1), sealed([b'{"left":"b"}\n'], 2, 1)
    for place in range(len(one)):
        odd = bytes([one[place] ^ 1])
        assert list(steps_in(one[:place] + odd + one[place + 1 :] + two)) == []


def test_an_end_torn_at_any_byte_is_cut_off(folder: Folder) -> None:
    bench = folder.client()
    bench.put(task("a", None))
    file = folder.path / "tasks" / "a.json"
    before, start, filed = bench.dump(), folder.log.stat().st_size, file.read_bytes()
    bench.edit(runs_now(pending(None)), "a")
    after, whole = bench.dump(), folder.log.read_bytes()
    folder.close()
    decided = next(step.end for step in steps_in(whole) if step.end > start)
    for end in range(start, len(whole)):
        folder.log.write_bytes(whole[:end] + b"\0" * (5_000 * (end % 2)))
        file.write_bytes(filed)
        newcomer = folder.client()
        assert newcomer.dump() == (after if end >= decided else before)
        newcomer.edit(runs_now(pending(None)), "a")
        found = newcomer.dump()
        assert len(found.runs) == 1 + (end >= decided)
        data = folder.log.read_bytes()
        assert [step.end for step in steps_in(data)][-1] == len(data)
        folder.crash()
        assert not list(folder.path.glob("damaged-*"))


def test_what_stands_behind_damage_is_kept_beside_the_log(folder: Folder) -> None:
    bench = folder.client()
    bench.put(task("a", None))
    size = folder.log.stat().st_size
    bench.edit(runs_now(pending(None)), "a")
    bench.edit(runs_now(pending(None)), "a")
    folder.close()
    whole = folder.log.read_bytes()
    folder.log.write_bytes(whole[: size + 9] + b"#" + whole[size + 10 :])
    bench = folder.client()
    assert bench.runs() == []
    bench.edit(runs_now(pending(None)), "a")
    assert len(folder.client().runs()) == 1
    [kept] = folder.path.glob("damaged-*")
    assert kept.read_bytes() == whole[size : size + 9] + b"#" + whole[size + 10 :]


def test_a_log_that_does_not_begin_as_one_is_refused(folder: Folder) -> None:
    folder.client()
    folder.close()
    folder.log.write_bytes(b"# my notes\n")
    with pytest.raises(StoreUnavailableError, match=r"runs-1\.jsonl doesn't begin as a log"):
        folder.client()
    assert folder.log.read_bytes() == b"# my notes\n"


@pytest.mark.parametrize("mark", [None, "odd"])
def test_a_log_of_a_later_version_is_refused(folder: Folder, mark: Any) -> None:
    folder.client()
    folder.close()
    lines = [] if mark else [b'{"news":1}\n']
    data = folder.log.read_bytes() + sealed(lines, 2, 0, mark)
    folder.log.write_bytes(data)
    with pytest.raises(StoreUnavailableError, match="update tickwork"):
        folder.client()
    assert folder.log.read_bytes() == data


def test_a_new_log_says_what_is_kept(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = folder.client()
    [old, kept] = bench.leased(task("old"), task("kept"))
    bench.finish(finished(old), finished(kept))
    bench.leased_with_queue(T0, T0 + 1, T0 + 2)
    bench.store.prune(PruneRequest({"old": 0}, 0))
    before = bench.dump()
    monkeypatch.setattr(log, "_SHORT", 0)
    monkeypatch.setattr(log, "_TIMES", 0)
    bench.register("another")
    assert folder.logs == ["runs-2.jsonl"]
    assert old.id.encode() not in folder.log.read_bytes()
    assert kept.id.encode() in folder.log.read_bytes()
    newcomer = folder.client()
    assert newcomer.dump()[:2] == bench.dump()[:2] == before[:2]
    assert newcomer.active() == (3, 2)


@pytest.mark.usefixtures("renewing")
@pytest.mark.parametrize("missed", [1, 2, 5])
def test_a_client_that_missed_new_logs_has_everything(folder: Folder, missed: int) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    one.put(task("a", None, max_instances=9))
    assert two.task("a") == one.task("a")
    assert isinstance(two.store, FileStore)
    opened = two.store._open  # noqa: SLF001
    held = opened._shelves  # noqa: SLF001
    for number in range(missed):
        one.edit(runs_now(pending(None, T0 + number)), "a")
    assert two.dump() == one.dump()
    # What it holds is brought up to date, as long as the log that it has read is the last but one.
    assert (opened._shelves is held) == (missed == 1)  # noqa: SLF001
    two._registered.add(NODE)  # noqa: SLF001
    leased = two.lease(now_us=T0 + MINUTE).leased
    assert len(leased) == missed
    assert one.finish(*(finished(each.run) for each in leased)) == frozenset()
    assert {run.state for run in two.runs()} == {RunState.COMPLETED}


@pytest.mark.usefixtures("renewing")
def test_what_was_read_before_an_error_is_not_forgotten(folder: Folder) -> None:
    store = FileStore(folder.path)
    one, two = folder.client(), Bench(store, store)
    two.open()
    one.put(task("a", None))
    store._open._log.disk = FailingDisk(0)  # noqa: SLF001
    with pytest.raises(StoreUnavailableError, match="No space left"):
        two.dump()
    assert two.dump() == one.dump()
    assert two.task("a") == task("a", None)
    two.close()


def test_a_new_log_that_does_not_go_on_from_the_old_one_is_read_whole(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a backup is put back beneath a client that goes on."""
    client = folder.client()
    client.put(task("a", None))
    other = Folder(tmp_path / "other")
    monkeypatch.setattr(log, "_SHORT", 0)
    monkeypatch.setattr(log, "_TIMES", 0)
    bench = other.client()
    bench.put(task("a", None))
    bench.edit(runs_now(pending(None)), "a")
    other.crash()
    shutil.copy(other.log, folder.path / "runs-2.jsonl")
    assert len(client.runs()) == 1


def test_clients_release_what_is_queued_in_turn(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    two._registered.add(NODE)  # noqa: SLF001
    run, waiting = one.leased_with_queue(T0, *(T0 + each for each in range(1, 7)))
    for bench, expected in zip([two, two, one, two, one, one], waiting, strict=True):
        bench.finish(finished(run))
        [leased] = bench.lease(now_us=T0 + MINUTE).leased
        run = leased.run
        assert run.id == expected.id
        assert one.active() == two.active()


def test_clients_cancel_what_is_queued_elsewhere(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    run, _ = one.leased_with_queue(T0, T0 + 1, T0 + 2)
    two.edit(lambda record: Edit(record, cancel_pending="no"))
    one.edit(runs_now(queued(T0 + 3)))
    two.finish(finished(run))
    [leased] = one.lease(now_us=T0 + MINUTE).leased
    assert leased.run.fire_us == T0 + 3
    assert one.active() == two.active() == (1, 0)


def test_a_run_that_comes_back_is_leased_once(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    two._registered.add(NODE)  # noqa: SLF001
    one.put(task("a", None))
    one.edit(runs_now(pending(None)), "a")
    for bench in (two, one, two, two, one):
        leased = bench.lease().leased
        assert len(leased) == 1
        bench.finish(given_back(leased[0].run, T0))
    assert len(one.lease().leased) == 1
    assert two.lease().leased == ()


def test_beats_do_not_let_the_log_grow_for_ever(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_SHORT", 4_000)
    bench = folder.client()
    bench.register(NODE)
    for _ in range(200):
        bench.now_us += 1
        assert bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US).alive
        assert folder.log.stat().st_size < 5_000
    assert folder.client().dump() == bench.dump()


def test_fences_grow_over_new_logs_and_pruned_runs(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = folder.client()
    fences = []
    for number in range(4):
        [run] = bench.leased(task(f"t{number}"))
        fences.append(run.fence)
        bench.finish(finished(run))
        bench.store.prune(PruneRequest({f"t{number}": 0}, 0))
        if number == 1:
            monkeypatch.setattr(log, "_SHORT", 0)
            monkeypatch.setattr(log, "_TIMES", 0)
        bench = folder.client()
    assert fences == sorted(set(fences))


def test_what_is_forgotten_leaves_nothing_behind(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    one.put(task("a", None))
    one.edit(runs_now(pending(None)), "a")
    assert len(two.runs()) == 1
    [leased] = one.lease().leased
    one.finish(finished(leased.run))
    one.store.prune(PruneRequest({"a": 0}, 0))
    for bench in (one, two):
        assert bench.runs() == []
        assert isinstance(bench.store, FileStore)
        shelves = bench.store._open._shelves  # noqa: SLF001
        assert (shelves._offers, len(shelves.runs)) == ({}, 0)  # noqa: SLF001
    assert [dict(each) for each in shelves.leased.values()] == [{}]


def test_looking_and_polling_write_nothing(folder: Folder) -> None:
    one, two = folder.client(), folder.client()
    one.register(NODE)
    two._registered.add(NODE)  # noqa: SLF001
    one.leased_with_queue(T0, T0 + 1)
    one.put(task("later", T0 + MINUTE), task("deferred"))
    files = [folder.log, *(folder.path / "tasks").iterdir()]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    for bench in (one, two):
        bench.plan(lambda _: Deferral("not here"))
        bench.lease()
        bench.recover(held=frozenset(run.id for run in bench.runs()))
        bench.dump()
        bench.store.prune(PruneRequest({"task": 9}, 0))
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before
