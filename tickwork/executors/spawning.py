"""The processes that the pool spawns, with a line to each, and two habits that pebble lacks.

pebble (5.2) looks at its processes ten times a second. It takes one that ended with status 0 as
sent home by itself, and forgets the job that called `os._exit(0)`. And it looks a dead one up in
the list of acknowledged jobs, which may be a moment behind when a job dies at once: such a job is
forgotten too, or the whole pool is given up. So a process here has no status 0, and is found dead
only at the second look. Not imported before the first job, for it brings `multiprocessing` in.
"""

from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from tickwork.executors.lines import ChildsEnd, Line, Listener

__all__ = ["ENDED_WITH_0", "Worker", "WorkerContext"]

ENDED_WITH_0 = 256
"""The exit code that stands for 0; no process can have it."""

_HEARD_S = 2.0
"""How long to wait for the last words of a process that has ended."""


class Worker(SpawnProcess):
    """A process of the pool, which is over only when it was told so, or died."""

    _told = False
    _looked = False
    _connection: Connection
    line: ChildsEnd
    """The end of the line in the process itself."""

    def connect(self, connection: Connection) -> None:
        """Take along the child's end of a line; before the start."""
        self._connection = connection

    def start(self) -> None:
        """Start the process, and leave its end of the line to it alone."""
        try:
            super().start()
        finally:
            self._connection.close()

    def run(self) -> None:
        """Be the process."""
        self.line = ChildsEnd(self._connection)
        super().run()

    @property
    def exitcode(self) -> int | None:
        code = super().exitcode
        return ENDED_WITH_0 if code == 0 else code

    def terminate(self) -> None:
        self._told = True
        super().terminate()

    def is_alive(self) -> bool:
        if super().is_alive():
            return True
        looked, self._looked = self._looked, True
        return not (looked or self._told)

    def is_gone(self) -> bool:
        """Whether the process has ended; looking here doesn't count."""
        return self.pid is not None and not super().is_alive()


class WorkerContext(SpawnContext):
    """The spawn context with such processes; it remembers them and the lines to them."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self._workers: list[tuple[Worker, Line]] = []

    def Process(self, *args: Any, **kwargs: Any) -> Worker:  # type: ignore[override]  # noqa: N802 - multiprocessing's name; a class there
        """Return a new process of the pool, not started yet."""
        worker = Worker(*args, **kwargs)
        ours, theirs = self.Pipe()
        worker.connect(theirs)
        self._workers = [each for each in self._workers if each[1].is_open]
        self._workers.append((worker, Line(ours, worker, self._listener)))
        return worker

    def terminate_all(self) -> None:
        """Tell all processes to end, at once rather than one after the other."""
        for worker, _ in self._workers:
            if worker.pid is not None:
                worker.terminate()

    def hear_all(self) -> None:
        """Wait for the last words of all processes; to be called when they have ended."""
        for _, line in self._workers:
            line.join(_HEARD_S)
