"""The elections in which a scheduler stands while it is started."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickwork.coordination import LeaderElection

__all__ = ["Elections"]


class Elections:
    """Leaders that tasks of one scheduler wait for; each is a candidate from start to stop.

    Where nothing is `threaded`, somebody has to call `step`.
    """

    def __init__(self, *, threaded: bool) -> None:
        self._threaded = threaded
        self._leaders: list[LeaderElection] = []
        self._next_us: dict[LeaderElection, int] = {}
        self._started = False
        self._lock = threading.Lock()

    def add(self, leader: LeaderElection) -> None:
        """Stand for this election too, at once where the others are stood for."""
        with self._lock:
            if leader not in self._leaders:
                if self._started:
                    self._start(leader)
                self._leaders.append(leader)

    def _start(self, leader: LeaderElection) -> None:
        leader.start(threaded=self._threaded)
        self._next_us[leader] = leader.now_us()

    def start(self) -> None:
        """Stand for all of them, or for none where one can't be stood for."""
        with self._lock:
            try:
                for leader in self._leaders:
                    self._start(leader)
            except BaseException:
                for leader in self._next_us:
                    leader.stop()
                self._next_us.clear()
                raise
            self._started = True

    def stop(self) -> None:
        """Stand for none any more, and give back what was won."""
        with self._lock:
            self._started = False
            stood, self._next_us = self._next_us, {}
        # One of its listeners may be about to add another.
        for leader in stood:
            leader.stop()

    def forsake(self) -> None:
        """Stand for none in a forked child."""
        self._lock = threading.Lock()
        self._started = False
        self._next_us.clear()
        for leader in self._leaders:
            leader.forsake()

    def step(self) -> int | None:
        """Do what is due; return when there is more, in the time of the leaders' places."""
        for leader, next_us in list(self._next_us.items()):
            if leader.now_us() >= next_us:
                self._next_us[leader] = leader.step()
        return min(self._next_us.values(), default=None)
