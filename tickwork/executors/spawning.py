"""The processes that the pool spawns, with two habits that pebble needs and lacks.

pebble (5.2) looks at its processes ten times a second. It takes one that ended with status 0 as
sent home by itself, and forgets the job that called `os._exit(0)`. And it looks a dead one up in
the list of acknowledged jobs, which may be a moment behind when a job dies at once: such a job is
forgotten too, or the whole pool is given up. So a process here has no status 0, and is found dead
only at the second look. Not imported before the first job, for it brings `multiprocessing` in.
"""

from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

__all__ = ["ENDED_WITH_0", "WorkerContext"]

ENDED_WITH_0 = 256
"""The exit code that stands for 0; no process can have it."""


class _Worker(SpawnProcess):
    """A process of the pool, which is over only when it was told so, or died."""

    _told = False
    _looked = False

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


class WorkerContext(SpawnContext):
    """The spawn context with such processes; it remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # noqa: N802 - multiprocessing's name; a class there
        """Return a new process of the pool, not started yet."""
        worker = _Worker(*args, **kwargs)
        self._workers = [it for it in self._workers if it.pid is None or SpawnProcess.is_alive(it)]
        self._workers.append(worker)
        return worker

    def terminate_all(self) -> None:
        """Tell all processes to end, at once rather than one after the other."""
        for worker in self._workers:
            if worker.pid is not None:
                worker.terminate()
