"""Who waits for the end of runs, wherever they are executed.

A scheduler tells at once of the runs that end in it. About all others the stores are asked, about
each less and less often the longer it takes, in one thread that exists while somebody waits.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tickwork.scheduler.guard import guarded

__all__ = ["Awaited"]

_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 1.0
_GROWTH = 1.5
_A_LOOK_S = 0.005


@dataclass(slots=True)
class _Wait:
    """A run that somebody waits for, and when to ask about it next.

    `sleepers` are told when the stores are closed as well.
    """

    store: str
    look_at: float
    pause_s: float = _FIRST_PAUSE_S
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    sleepers: list[Callable[[], None]] = field(default_factory=list)


class Awaited:
    """The runs that somebody waits for; from any thread.

    `is_over` asks a store, by its name, whether a run is over, or forgotten.
    """

    def __init__(self, is_over: Callable[[str, str], bool]) -> None:
        self._is_over = is_over
        self._waits: dict[str, _Wait] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(
        self, run_id: str, callback: Callable[[], None], *, store: str, sleeps: bool = False
    ) -> None:
        """Have something called once, in another thread, soon after a run is over.

        It has to return at once. One that `sleeps` is called by `disturb`, too.
        """
        with self._lock:
            look_at = time.monotonic() + _FIRST_PAUSE_S
            wait = self._waits.setdefault(run_id, _Wait(store, look_at))
            (wait.sleepers if sleeps else wait.callbacks).append(callback)
        self.watch()

    def watch(self) -> None:
        """Ask the stores from now on, if anybody waits."""
        with self._lock:
            self._closed = False
            if self._waits and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._watch, name="awaited", daemon=True)
                self._thread.start()
        self._news.set()

    def remove(self, run_id: str, callback: Callable[[], None]) -> None:
        """Have one that sleeps not called any more."""
        with self._lock:
            wait = self._waits.get(run_id)
            if wait is None:
                return
            if callback in wait.sleepers:
                wait.sleepers.remove(callback)
            if not (wait.sleepers or wait.callbacks):
                del self._waits[run_id]

    def ended(self, run_id: str) -> None:
        """Say that a run is over."""
        with self._lock:
            wait = self._waits.pop(run_id, None)
        _call_all((*wait.sleepers, *wait.callbacks) if wait else ())

    def disturb(self) -> None:
        """Have those who sleep look for themselves: the stores are closed, until `watch`."""
        with self._lock:
            self._closed = True
            sleepers = [each for wait in self._waits.values() for each in wait.sleepers]
        self._news.set()
        _call_all(sleepers)

    def forsake(self) -> None:
        """Forget what threads of the parent of this process wait for."""
        self._waits.clear()
        self._lock = threading.Lock()
        self._thread = None

    def _watch(self) -> None:
        while (pause_s := self._look()) is not None:
            self._news.wait(pause_s)
            self._news.clear()

    def _look(self) -> float | None:
        """Ask about the runs whose turn it is; return for how long to rest, None for good."""
        now = time.monotonic()
        with self._lock:
            if self._closed or not self._waits:
                self._thread = None
                return None
            due = [(each, it.store) for each, it in self._waits.items() if it.look_at <= now]
            # Many are looked at less often: those that run here are told of anyway.
            longest_s = max(_LAST_PAUSE_S, len(self._waits) * _A_LOOK_S)
        for run_id, store in due:
            if guarded(self._is_over, run_id, store).value:
                self.ended(run_id)
        now = time.monotonic()
        with self._lock:
            for run_id, _ in due:
                wait = self._waits.get(run_id)
                if wait is not None:
                    wait.pause_s = min(wait.pause_s * _GROWTH, longest_s)
                    wait.look_at = now + wait.pause_s
            return max(0.0, min((each.look_at for each in self._waits.values()), default=now) - now)


def _call_all(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        # One that can't be told, since its event loop is closed, keeps nobody else from it.
        guarded(callback)
