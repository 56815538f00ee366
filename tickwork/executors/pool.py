"""pebble's pool of processes, made when needed and made anew when it broke."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

from pebble import ProcessExpired, ProcessPool

from tickwork.executors import child
from tickwork.executors.lines import Listener
from tickwork.executors.spawning import ENDED_WITH_0, WorkerContext

__all__ = ["Pool", "exit_status"]


class Pool:
    """One pool of processes; its first job starts them."""

    def __init__(self, workers: int, listener: Listener) -> None:
        self._context = WorkerContext(listener)
        self._pool = ProcessPool(workers, initializer=child.settle_in, context=self._context)
        self._used = False

    def schedule(self, call: child.Call) -> "Future[child.Verdict] | None":
        """Make a call in one of the processes; None where the pool is broken."""
        self._used = True
        try:
            return self._pool.schedule(child.run, args=(call,))
        except RuntimeError:
            return None

    def is_broken(self) -> bool:
        """Return whether pebble has given up this pool."""
        return self._used and not self._pool.active

    def end(self, then: Callable[[], None] = lambda: None) -> Thread:
        """Begin to end all processes at once, and return the thread in which it happens.

        `then` is called there when they are gone and all they said is heard.
        """

        def body() -> None:
            self._pool.join()
            self._context.hear_all()
            then()

        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble left it unannotated
        self._context.terminate_all()
        thread = Thread(target=body, name="tickwork-pool-end", daemon=True)
        thread.start()
        return thread


def exit_status(error: BaseException) -> int | None:
    """Return the status with which a process ended in the middle of its job, else None."""
    if not isinstance(error, ProcessExpired):
        return None
    return 0 if error.exitcode == ENDED_WITH_0 else error.exitcode
