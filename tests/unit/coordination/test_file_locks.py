"""Locks on files: among threads, and among real processes that are killed."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.coordination.file_holder import ROUNDS, number_beside
from tests.unit.coordination.places import DEADLINE_S, at_once, in_thread, until
from tickwork.coordination import FileLockProtected
from tickwork.coordination.file_lock import lock_descriptor as file_lock_descriptor
from tickwork.errors import ConflictError, InvalidInputError

ROOT = Path(__file__).parents[3]
Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workers.lock"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes, and end those that are left at the end."""
    started: list[subprocess.Popen[str]] = []

    def one(kind: str, path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.unit.coordination.file_holder",
             str(path), kind],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE_S)


def said(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


# --- one holder at a time -----------------------------------------------------------------------


def test_inside_of_the_with_nobody_else_has_it(path: Path) -> None:
    lock, other = FileLockProtected(path), FileLockProtected(str(path))
    with lock.protected() as taken:
        assert taken is True
        with other.protected(blocking=False) as again:
            assert again is False
        with lock.protected(False) as again:
            assert again is False
    with other.protected(blocking=False) as taken:
        assert taken is True


def test_it_is_free_after_an_error_too(path: Path) -> None:
    lock = FileLockProtected(path)
    with pytest.raises(ZeroDivisionError), lock.protected():
        _ = 1 / 0
    assert lock.acquire(blocking=False)
    lock.release()


def test_who_waits_gets_it_when_it_is_free(path: Path) -> None:
    lock = FileLockProtected(path)

    def wait() -> bool:
        with lock.protected() as taken:
            return taken

    holding = lock.protected()
    holding.__enter__()
    waiting = in_thread(wait)
    results = waiting.__enter__()
    assert results == []
    holding.__exit__(None, None, None)
    waiting.__exit__(None, None, None)
    assert results == [True]


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_who_waits_gives_up_after_his_time(path: Path, timeout: float) -> None:
    lock = FileLockProtected(path)
    with lock.protected():
        began = time.monotonic()
        with lock.protected(blocking=True, timeout=timeout) as taken:
            assert taken is False
        assert timeout <= time.monotonic() - began < DEADLINE_S


def test_threads_exclude_each_other(path: Path) -> None:
    lock = FileLockProtected(path)
    inside: list[int] = []
    entered = 0

    def work() -> None:
        nonlocal entered
        for _ in range(20):
            with lock.protected() as taken:
                assert taken
                inside.append(1)
                assert len(inside) == 1
                entered += 1
                inside.pop()

    at_once([work] * 4)
    assert entered == 80


def test_processes_exclude_each_other(path: Path, start: Start) -> None:
    number_beside(path).write_text("0")
    processes = [start("counter", path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert number_beside(path).read_text() == str(3 * ROUNDS)


def test_the_system_gives_it_back_when_its_holder_is_killed(path: Path, start: Start) -> None:
    process = start("holder", path)
    assert said(process) == ["held", str(path)]
    lock = FileLockProtected(path)
    assert not lock.acquire(blocking=False)
    process.kill()
    process.wait(DEADLINE_S)
    assert lock.acquire(timeout=DEADLINE_S)
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_outlives_its_parent_does_not_keep_it(path: Path, start: Start) -> None:
    process = start("parent", path)
    word, child = said(process)
    assert word == "held"
    lock = FileLockProtected(path)
    assert not lock.acquire(blocking=False)
    process.kill()
    process.wait(DEADLINE_S)
    assert _lives(int(child))
    assert lock.acquire(timeout=DEADLINE_S)
    lock.release()


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() if sys.platform == "linux" else True


FORK = """if True:
    import os, sys
    from tickwork.coordination import FileLockProtected

    lock, other = FileLockProtected(sys.argv[1]), FileLockProtected(sys.argv[1])
    assert lock.acquire()
    with FileLockProtected(sys.argv[1] + "2").protected() as taken:
        child = os.fork()
    if child == 0:
        assert taken and not lock.held
        lock.release()
        assert not lock.acquire(blocking=False), "it is the parent's"
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert lock.held and not other.acquire(blocking=False)
    lock.release()
    assert other.acquire(blocking=False)
    print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_have_it_and_does_not_give_it_back(path: Path) -> None:
    # In a process of its own: whoever forks must know all threads there.
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


# --- taken and given back by hand ---------------------------------------------------------------


def test_taken_by_hand_it_is_held_until_it_is_given_back(path: Path) -> None:
    lock, other = FileLockProtected(path), FileLockProtected(path)
    assert (lock.held, lock.acquire()) == (False, True)
    assert lock.held
    assert (other.acquire(blocking=False), other.held) == (False, False)
    for _ in range(2):
        lock.release()
        assert (lock.held, other.held) == (False, False)
    assert other.acquire(timeout=0)
    other.forsake()
    assert lock.acquire(blocking=False)
    lock.release()


def test_one_object_is_not_taken_twice(path: Path) -> None:
    lock = FileLockProtected(path)
    assert lock.acquire()
    with pytest.raises(ConflictError, match="can't be taken twice"):
        lock.acquire()
    lock.release()


def test_a_thread_that_gives_up_takes_nothing_from_the_one_that_has_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both want it by one object; the one that doesn't get it changes nothing."""
    lock, other = FileLockProtected(path), FileLockProtected(path)
    assert other.acquire()
    asking: set[int] = set()

    def lock_descriptor(descriptor: int) -> None:
        asking.add(threading.get_ident())
        file_lock_descriptor(descriptor)

    monkeypatch.setattr("tickwork.coordination.file_lock.lock_descriptor", lock_descriptor)
    with (
        in_thread(lambda: lock.acquire(timeout=0.3)) as one,
        in_thread(lambda: lock.acquire(timeout=0.3)) as two,
    ):
        until(lambda: len(asking) == 2, "both ask")
        other.release()
    assert sorted([*one, *two]) == [False, True]
    assert lock.held
    assert not other.acquire(blocking=False)
    lock.release()
    assert other.acquire(blocking=False)
    other.release()


# --- the file -----------------------------------------------------------------------------------


def test_the_file_stays_and_is_nobody_elses_to_read(path: Path) -> None:
    lock = FileLockProtected(path)
    with lock.protected():
        before = path.stat()
    with lock.protected():
        pass
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b""


def test_a_file_that_others_remove_is_made_anew(path: Path) -> None:
    """Who waits for the old one would hold a lock that nobody else sees."""
    lock, newcomer = FileLockProtected(path), FileLockProtected(path)
    waiting = in_thread(lambda: FileLockProtected(path).acquire(timeout=DEADLINE_S))
    assert lock.acquire()
    results = waiting.__enter__()
    path.unlink()
    assert newcomer.acquire(timeout=DEADLINE_S) or results == [True]
    lock.release()
    newcomer.release()
    waiting.__exit__(None, None, None)
    assert results == [True]
    until(path.exists, "there is a file")


def test_a_file_that_is_replaced_before_it_is_locked_is_not_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking it; nobody else would see that lock."""
    replaced: list[bool] = []

    def lock_descriptor(descriptor: int) -> None:
        if not replaced:
            replaced.append(True)
            path.unlink()
            path.touch()
        file_lock_descriptor(descriptor)

    monkeypatch.setattr("tickwork.coordination.file_lock.lock_descriptor", lock_descriptor)
    lock = FileLockProtected(path)
    assert lock.acquire(blocking=False)
    assert not FileLockProtected(path).acquire(blocking=False)
    lock.release()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Whoever may write there must not choose what is opened."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=str(path)), FileLockProtected(path).protected():
        pytest.fail("it was followed")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLockProtected(tmp_path / "none" / "workers.lock").acquire()


def test_the_path_names_the_process_group_and_the_parent(tmp_path: Path) -> None:
    lock = FileLockProtected(tmp_path / "workers_{pgrp}_{ppid}.lock")
    assert lock.path == tmp_path / f"workers_{os.getpgrp()}_{os.getppid()}.lock"
    with lock.protected():
        assert lock.path.exists()
    assert repr(lock) == f"<FileLockProtected '{tmp_path}/workers_{{pgrp}}_{{ppid}}.lock'>"


def test_workers_of_one_parent_exclude_each_other(tmp_path: Path, start: Start) -> None:
    """The parent's own lock is another one: its parent is another."""
    path = tmp_path / "workers_{ppid}.lock"
    first = start("holder", path)
    assert said(first) == ["held", str(tmp_path / f"workers_{os.getpid()}.lock")]
    second = start("holder", path)
    with FileLockProtected(path).protected(blocking=False) as taken:
        assert taken
    first.kill()
    assert said(second) == ["held", str(tmp_path / f"workers_{os.getpid()}.lock")]


def test_names_of_the_callers_own_may_stand_in_the_path(tmp_path: Path) -> None:
    lock = FileLockProtected(tmp_path / "{{x}}_{store}.lock", store="default")
    assert lock.path == tmp_path / "{x}_default.lock"


@pytest.mark.parametrize(
    "template", ["{pid}.lock", "{}.lock", "{0}.lock", "{pgrp.x}", "{", "{pgrp"]
)
def test_other_names_are_refused_at_once(template: str) -> None:
    with pytest.raises(InvalidInputError, match=r"can't stand in the path .* \{pgrp\}, \{ppid\}"):
        FileLockProtected(template)


@pytest.mark.parametrize("path", [None, 7])
def test_paths_that_are_none_are_refused(path: Any) -> None:
    with pytest.raises(TypeError):
        FileLockProtected(path)
