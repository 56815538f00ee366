"""The line between this process and one of the pool, over which they talk about running jobs.

Each child has a connection of its own, so that one that is killed in the middle of a word cuts off
nobody but itself. The child asks before it starts a job, and the answer is what starts the run:
until then nothing of it has happened, however long the process took to come up. Then it sends what
the run says of itself, and that it is over. All of it is in this process when the child has
gone on, so whoever wants to know what a run said last needs only look (`Line.drain`).

The result itself goes another way, through the pool: it may be large, and nothing here ever waits.
"""

import contextlib
import logging
import os
from multiprocessing.connection import Connection
from threading import Lock, Thread, current_thread
from typing import Literal, Protocol

__all__ = ["Child", "ChildsEnd", "Kind", "Line", "Listener"]

logger = logging.getLogger("tickwork.executors")

Kind = Literal["ready", "progress", "log", "over"]


class Listener(Protocol):
    """Who hears what children say; called by one thread for each line."""

    def may_begin(self, line: "Line", number: int) -> bool:
        """Whether to begin a job now; asked once."""

    def said(self, line: "Line", number: int, kind: Kind, text: str) -> None:
        """Be told what a job says."""

    def hung_up(self, line: "Line") -> None:
        """Be told that nothing more will come: the child is gone, or as good as."""


class Child(Protocol):
    """The process at the other end of a line."""

    def is_gone(self) -> bool:
        """Whether it has ended."""


class Line:
    """This process's end of a line, and the thread that listens to it until the child hangs up."""

    def __init__(self, connection: Connection, child: Child, listener: Listener) -> None:
        self.child = child
        self.is_open = True
        self._connection = connection
        self._listener = listener
        self._lock = Lock()
        self._thread = Thread(target=self._listen, name="tickwork-pool-line", daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Hear all that has been sent by now."""
        with self._lock:
            while self.is_open and self._hear():
                pass

    def join(self, timeout_s: float) -> None:
        """Wait until the child has hung up and all is heard."""
        if self._thread is not current_thread():
            self._thread.join(timeout_s)

    def _listen(self) -> None:
        while self.is_open:
            # What is wrong with a line is found when it is read.
            with contextlib.suppress(OSError):
                self._connection.poll(None)
            self.drain()
        self._listener.hung_up(self)
        self._connection.close()

    def _hear(self) -> bool:
        """Hear what comes next; False where nothing is there."""
        try:
            if not self._connection.poll():
                return False
            number, kind, text = self._connection.recv()
            if kind != "ready":
                self._tell(number, kind, text)
            else:
                self._connection.send(self._ask(number))
        except Exception:  # noqa: BLE001 - whatever it is, a child that can't be understood is lost
            self.is_open = False
        return True

    def _ask(self, number: int) -> bool:
        try:
            return self._listener.may_begin(self, number)
        except Exception:
            logger.exception("start_failed")
            return False

    def _tell(self, number: int, kind: Kind, text: str) -> None:
        try:
            self._listener.said(self, number, kind, text)
        except Exception:
            # A listener that fails must not cut the line of all jobs to come.
            logger.exception("note_failed")


class ChildsEnd:
    """The child's end of a line; jobs may use it from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Lock()
        self._pid = os.getpid()

    def may_begin(self, number: int) -> bool:
        """Ask whether to begin a job; ends the process where nobody answers any more."""
        with self._lock:
            try:
                self._connection.send((number, "ready", ""))
                return bool(self._connection.recv())
            except (OSError, EOFError):
                os._exit(1)

    def say(self, number: int, kind: Kind, text: str = "") -> None:
        """Send what a job says; lost where nobody listens any more."""
        if os.getpid() != self._pid:
            # A fork of this process, made by a job: two can't talk over one line.
            return
        with self._lock:
            try:
                self._connection.send((number, kind, text))
            except OSError:
                logger.debug("line_cut")
