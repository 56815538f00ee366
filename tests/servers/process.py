"""Servers of the tests' own: child processes that live in a folder and end with the test run.

A folder's path must be short, since a socket in it has to fit into about a hundred characters.
Databases refuse to run as root; as root we start them as `nobody`, who then owns the folder. For
everybody else they run as who we are.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ServerProcess", "own", "reachable", "run", "standing_still", "until"]

_PATIENCE_S = 60.0
_NOBODY = "nobody"


def until(condition: Callable[[], object], what: str, deadline_s: float = _PATIENCE_S) -> None:
    """Wait for a condition; fail saying `what` was waited for, when the deadline has passed."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        pause.wait(0.01)


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """Have a process stand still: all its threads, which a signal stops one after the other."""
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: _stands(pid), f"process {pid} stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stands(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        # The state is the word behind the name, which may have blanks and brackets in it.
        return all(each.read_text().rpartition(") ")[2].startswith("T") for each in threads)
    except (FileNotFoundError, ProcessLookupError):
        # A thread has ended while we looked.
        return False


def own(folder: Path) -> None:
    """Give a folder to the user that servers run as."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam(_NOBODY)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def reachable(programs: Path, folder: Path) -> Path:
    """Return a folder of programs that the servers' user can reach: a copy if it must be.

    Environments within root's home are nobody else's to read.
    """
    if os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in programs.parents):
        return programs
    copy = folder / "programs"
    shutil.copytree(programs, copy, symlinks=True)
    return copy


def run(command: Sequence[str | Path]) -> None:
    """Run a program to its end as the servers' user; fail with what it said."""
    done = subprocess.run(
        [str(each) for each in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
        **_as_servers_user(),
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}"


def _as_servers_user() -> dict[str, Any]:
    options: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam(_NOBODY)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return options


def _end_with_parent() -> None:
    """Have the kernel end this process when the test run is killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)


class ServerProcess:
    """A server that is started, ended as in a crash, and started again on the same data."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, is_ready: Callable[[], object]
    ) -> None:
        self._command = [str(each) for each in command]
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None, "the server isn't running"
        return self._process.pid

    def start(self) -> None:
        """Start, and return when the server answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  no other thread forks meanwhile
                **_as_servers_user(),
            )
        until(lambda: self._ended() or self._is_ready(), f"the server answers; see {self._log}")
        assert not self._ended(), f"the server ended: {self._log.read_text(errors='replace')}"

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def end(self, how: signal.Signals) -> None:
        """Send a signal that ends the server, also one that stands still, and reap it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(_PATIENCE_S)
            self._process = None
