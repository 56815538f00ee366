"""What happens, as it happens: a scheduler's events for those who follow them over HTTP.

Each event has a number. Who was cut off says the last one they saw, and gets what they missed as
long as it is remembered; who is too slow is told that they missed something.

Events are those of this process. Where it executes nothing itself, the newest runs are looked at
instead, every few seconds while somebody follows, and what changed is told as `RunChanged`.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import fields
from datetime import datetime
from secrets import token_hex
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from tickwork.model.events import Event
from tickwork.model.steps import RunQuery
from tickwork.service.reaching import Reach

if TYPE_CHECKING:
    from tickwork.scheduler.scheduler import Scheduler

__all__ = ["EventHub", "Told"]

_REMEMBERED = 1_000
_WAITING = 1_000
_BEAT_S = 5.0
_LOOK_S = 2.0
_LOOKED_AT = 100


class Told(NamedTuple):
    """An event as it is told: its number, its kind, and what it says as JSON data."""

    number: int
    kind: str
    data: dict[str, Any]


class _Follower:
    """Somebody who follows, on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Told | None] = asyncio.Queue(_WAITING)

    def tell(self, told: Told | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._put, told)
        except RuntimeError:
            # Its loop is closed: nobody is there any more.
            return

    def _put(self, told: Told | None) -> None:
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(told)

    async def await_run(self, run_id: str, seconds: float) -> None:
        """Wait until a run is told of, or the end; at most so long."""
        try:
            async with asyncio.timeout(seconds):
                told = await self.queue.get()
                while told is not None and told.data.get("run_id") != run_id:
                    told = await self.queue.get()
        except TimeoutError:
            return


class EventHub:
    """Tells a scheduler's events to all who follow."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._reach = Reach(scheduler)
        self._followers: list[_Follower] = []
        self._recent: deque[Told] = deque(maxlen=_REMEMBERED)
        self._number = 0
        self._boot = token_hex(4)
        self._lock = Lock()
        self._over = False
        self._listens = False

    def _listen(self) -> None:
        """Begin to listen, once somebody follows: until then events cost nothing."""
        if not self._listens:
            self._listens = True
            self._scheduler.on(Event, self._hear)

    def _hear(self, event: Event) -> None:
        self._tell(type(event).__name__, _data_of(event))

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        with self._lock:
            self._number += 1
            told = Told(self._number, kind, data)
            self._recent.append(told)
            followers = list(self._followers)
        for follower in followers:
            follower.tell(told)

    def close(self) -> None:
        """End all streams, so that a server that stops needn't wait for them."""
        with self._lock:
            self._over = True
            followers = list(self._followers)
        for follower in followers:
            follower.tell(None)

    def _ends(self) -> bool:
        """Whether streams are to end: this was closed, the scheduler stopped, or the server stops.

        A server that is told to stop waits for its streams before it says so to the application.
        Uvicorn has its handler among those of the process, and that knows it.
        """
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        over = self._over or self._scheduler.state == "new"
        return over or getattr(server, "should_exit", False) is True

    async def beats(self, run_id: str, every_s: float) -> AsyncIterator[None]:
        """Yield at once, whenever a run is told of, and every so often, until streams end."""
        follower = _Follower(asyncio.get_running_loop())
        with self._lock:
            self._listen()
            self._followers.append(follower)
        try:
            while not self._ends():
                yield
                await follower.await_run(run_id, every_s)
        finally:
            with self._lock:
                self._followers.remove(follower)

    async def follow(
        self, last_id: str | None = None, kinds: Iterable[str] = ()
    ) -> AsyncIterator[str]:
        """Yield events as server-sent ones, those after `last_id` first; `kinds` says which."""
        follower = _Follower(asyncio.get_running_loop())
        with self._lock:
            self._listen()
            missed = self._missed(last_id)
            self._followers.append(follower)
        wanted = frozenset(kinds)
        looking = asyncio.ensure_future(self._look_around())
        try:
            yield f"retry: 2000\nid: {self._id(self._number)}\n\n"
            for told in missed:
                if not wanted or told.kind in wanted:
                    yield self._text(told)
            while not self._ends():
                try:
                    told_next = await asyncio.wait_for(follower.queue.get(), _BEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if told_next is None:
                    return
                if not wanted or told_next.kind in wanted:
                    yield self._text(told_next)
        finally:
            looking.cancel()
            with self._lock:
                self._followers.remove(follower)

    def _missed(self, last_id: str | None) -> list[Told]:
        boot, _, number = (last_id or "").partition("-")
        if boot != self._boot or not number.isdigit():
            return []
        return [told for told in self._recent if told.number > int(number)]

    def _id(self, number: int) -> str:
        return f"{self._boot}-{number}"

    def _text(self, told: Told) -> str:
        data = json.dumps({"type": told.kind, **told.data}, ensure_ascii=False)
        return f"id: {self._id(told.number)}\nevent: {told.kind}\ndata: {data}\n\n"

    async def _look_around(self) -> None:
        """Where nothing is executed here, look for what others do."""
        known: dict[str, str] | None = None
        woken = asyncio.Event()
        while True:
            if self._scheduler.state == "connected":
                known = await asyncio.to_thread(self._look, known)
            try:
                await asyncio.wait_for(woken.wait(), _LOOK_S)
            except TimeoutError:
                continue

    def _look(self, known: dict[str, str] | None) -> dict[str, str]:
        found = [
            (run, name)
            for name in self._reach.names(None)
            for run in self._reach.reader(name).find_runs(RunQuery(limit=_LOOKED_AT))
        ]
        now = {run.id: f"{run.state} {run.attempt} {run.progress}" for run, _ in found}
        for run, store in reversed(found):
            if known is not None and known.get(run.id) != now[run.id]:
                self._tell(
                    "RunChanged",
                    {
                        "run_id": run.id,
                        "task_id": run.task_id,
                        "store": store,
                        "status": run.state.value,
                    },
                )
        return now


def _data_of(event: Event) -> dict[str, Any]:
    """Return what an event says, as JSON data."""
    return {each.name: _plain(getattr(event, each.name)) for each in fields(event)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)[:200]
    return value
