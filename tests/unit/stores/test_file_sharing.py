"""Several processes on one folder, forked ones, and the lock between them."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.unit.stores.file_writer import FIRES, MANUAL, TASKS, client
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.stores.file import FileStore, folder
from tickwork.stores.file.locking import FileLock
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import EXECUTOR, LEASE_US, T0, finished, task

ROOT = Path(__file__).parents[3]
_DEADLINE_S = 60.0


@contextmanager
def writers(path: Path, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a process for each name; none is left at the end."""
    command = [sys.executable, "-m", "tests.unit.stores.file_writer", str(path)]
    started = [
        subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    try:
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


def slots(bench: Bench) -> Counter[tuple[str, int | None]]:
    return Counter((run.task_id, run.fire_us) for run in bench.runs())


def expected(manual: int) -> dict[tuple[str, int | None], int]:
    return {
        **{(f"t{each}", T0 + at): 1 for each in range(TASKS) for at in range(FIRES)},
        ("t0", None): manual,
    }


def test_processes_share_the_work_and_do_each_piece_once(tmp_path: Path) -> None:
    with writers(tmp_path, "one", "two") as processes:
        said = [each.communicate(timeout=_DEADLINE_S)[0] for each in processes]
        assert [each.returncode for each in processes] == [0, 0]
    lines = "".join(said).splitlines()
    done = Counter(tuple(each.split()[:2]) for each in lines)
    assert done == {(name, str(at)): times for (name, at), times in expected(2 * MANUAL).items()}
    bench = client(str(tmp_path), "checker")
    assert slots(bench) == expected(2 * MANUAL)
    assert {(run.state, run.attempt) for run in bench.runs()} == {(RunState.COMPLETED, 1)}
    assert [bench.active(f"t{each}") for each in range(TASKS)] == [(0, 0)] * TASKS
    [log] = tmp_path.glob("runs-*")
    assert log.name != "runs-1.jsonl"
    bench.close()


@pytest.mark.parametrize("lines", [1, 90])
def test_a_killed_process_loses_and_doubles_nothing(tmp_path: Path, lines: int) -> None:
    with writers(tmp_path, "one", "two") as (victim, other):
        assert victim.stdout is not None
        heard = [victim.stdout.readline() for _ in range(lines)]
        victim.send_signal(signal.SIGKILL)
        other.communicate(timeout=_DEADLINE_S)
        assert other.returncode == 0
        left, _ = victim.communicate(timeout=_DEADLINE_S)
    bench = client(str(tmp_path), "checker")
    manual = slots(bench)["t0", None]
    assert MANUAL < manual <= 2 * MANUAL or not all(heard)
    assert slots(bench) == expected(manual)
    rest = [run for run in bench.runs() if run.state is not RunState.COMPLETED]
    held = [run for run in rest if run.node is not None]
    assert {run.node for run in held} <= {"one"}
    assert len(held) <= len(heard) + len(left.splitlines()) + 6
    # What the victim added when the other process had found nothing left to do.
    waiting = [run for run in rest if run.node is None]
    assert all(run.fire_us is None and run.id.endswith("-one") for run in waiting)
    bench.now_us += LEASE_US
    assert {run.id for run in bench.recover(node="checker").runs} == {run.id for run in held}
    leased = bench.lease(node="checker", capacity={EXECUTOR: MANUAL + len(rest)}).leased
    assert {each.run.id for each in leased} == {run.id for run in rest}
    assert bench.finish(*(finished(each.run) for each in leased)) == frozenset()
    assert slots(bench) == expected(manual)
    assert {run.state for run in bench.runs()} == {RunState.COMPLETED}
    assert [bench.active(f"t{each}") for each in range(TASKS)] == [(0, 0)] * TASKS
    bench.close()


# --- the lock ---------------------------------------------------------------------------------


def test_locks_exclude_each_other_within_a_process_too(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "lock", 0.01), FileLock(tmp_path / "lock", 0.01)
    with one.held(shared=True), two.held(shared=True):
        pass
    for held, asked in ((True, False), (False, True), (False, False)):
        with (
            one.held(shared=held),
            pytest.raises(StoreUnavailableError, match=r"has held .*lock for 0\.01 s"),
            two.held(shared=asked),
        ):
            pass
    one.close()
    two.close()


def test_who_waits_for_the_lock_gets_it(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "lock", 0.01), FileLock(tmp_path / "lock", _DEADLINE_S)
    order = []
    waiting = Event()

    def wait() -> None:
        waiting.set()
        with two.held(shared=False):
            order.append("two")

    thread = Thread(target=wait)
    with one.held(shared=False):
        thread.start()
        assert waiting.wait(_DEADLINE_S)
        order.append("one")
    thread.join(_DEADLINE_S)
    assert order == ["one", "two"]
    one.close()
    two.close()


def test_a_lock_whose_file_was_removed_is_taken_on_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    one = FileLock(path, 0.01)
    path.unlink()
    with one.held(shared=False):
        two = FileLock(path, 0.01)
        with pytest.raises(StoreUnavailableError), two.held(shared=False):
            pass
    one.close()
    two.close()


def test_a_store_whose_lock_is_held_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_WAIT_S", 0.01)
    bench = client(str(tmp_path), "one")
    bench.put(task("a"))
    lock = FileLock(tmp_path / "lock", 0.01)
    with lock.held(shared=False):
        for step in (bench.dump, lambda: bench.put(task("b")), lambda: bench.register("node")):
            with pytest.raises(StoreUnavailableError, match="another process has held"):
                step()
    assert set(bench.dump().tasks) == {"a"}
    bench.put(task("b"))
    bench.close()
    lock.close()


# --- forks ------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_begins_anew_and_leaves_the_parent_alone(tmp_path: Path) -> None:
    bench = client(str(tmp_path), "parent")
    assert isinstance(bench.store, FileStore)
    bench.put(task("parents", None))
    with bench.store._open.changing():  # noqa: SLF001
        # The lock is held: a copy of it must neither be given back nor be kept by the child.
        child = _forked(lambda: _in_child(bench, tmp_path))
    assert _status(child) == 0
    bench.put(task("parents too", None))
    child = _forked(lambda: _adding(bench))
    assert _status(child) == 0
    assert set(bench.dump().tasks) == {"parents", "parents too", "childs"}
    bench.close()


def _in_child(bench: Bench, path: Path) -> None:
    try:
        bench.dump()
    except StoreUnavailableError as error:
        assert "isn't open" in str(error)  # noqa: PT017  there is no pytest in the child
    else:
        raise AssertionError("the child went on with its parent's files")
    assert not any(_is_lock(descriptor, path) for descriptor in range(100))


def _adding(bench: Bench) -> None:
    bench.open()
    bench.put(task("childs", None))


def _is_lock(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), (path / "lock").stat())
    except OSError:
        return False


def _forked(work: Callable[[], None]) -> int:
    """Do something in a forked child; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:  # noqa: BLE001  its status tells the parent
        os._exit(1)
    os._exit(0)


def _status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
