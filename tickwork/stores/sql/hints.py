"""Hints: telling other processes, through PostgreSQL, that something may have become due for them.

A hint travels with the transaction that it is about, so that nobody looks before there is something
to see. But all transactions that notify commit one after the other; so there is at most one hint
in 50 ms, and those in between are made up for by one more, a little later. The steps that most
runs go through, planned and leased at once and then finished, leave others nothing and don't hint.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import Connection, Insert, Select, bindparam, func, literal_column, select, text

from tickwork.errors import StoreError

__all__ = ["Hints"]

logger = logging.getLogger("tickwork.stores.sql")

_NOTIFY = text("SELECT pg_notify(:channel, :sender)")


class Hints:
    """What a client has to tell; from any thread.

    `write` gives a transaction of its own to what it is handed, for the hint that makes up.
    """

    pause_s: ClassVar[float] = 0.05

    def __init__(self, channel: str, write: Callable[[Callable[[Connection], None]], None]) -> None:
        self.channel = channel
        self.sender = uuid4().hex
        self._write = write
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._heard = threading.Event()
        self._free_at = 0.0
        self._owed = False
        self._timer: threading.Timer | None = None

    def tell(self, connection: Connection) -> bool:
        """Send a hint with a transaction; False where it is too early for another one."""
        if not self.takes_turn():
            return False
        self._notify(connection)
        return True

    def telling(self, one: Insert) -> Select[Any]:
        """Return a statement that inserts a row and sends a hint of `sender`.

        For whoever has the turn.
        """
        inserted = one.returning(literal_column("1")).cte("inserted")
        return select(func.pg_notify(self.channel, bindparam("sender"))).select_from(inserted)

    def takes_turn(self) -> bool:
        """Return whether it is time for a hint; then the caller has to send one."""
        with self._lock:
            now = monotonic()
            if now < self._free_at:
                return False
            self._free_at = now + self.pause_s
            return True

    def hear(self) -> None:
        """Note a hint of somebody else."""
        self._heard.set()

    def were_heard(self) -> bool:
        """Return whether there were hints of others since this was asked last."""
        heard = self._heard.is_set()
        self._heard.clear()
        return heard

    def owe(self) -> None:
        """Send a hint soon, about a transaction that is over."""
        with self._lock:
            if not self._owed:
                self._owed = True
                delay_s = max(0.0, self._free_at - monotonic())
                self._timer = threading.Timer(delay_s, self._make_up)
                self._timer.daemon = True
                self._timer.start()

    def _make_up(self) -> None:
        with self._sending:
            with self._lock:
                if not self._owed:
                    return
                self._owed = False
                self._free_at = monotonic() + self.pause_s
            try:
                self._write(self._notify)
            except StoreError as error:
                # Others find by themselves what there is to do, only later.
                logger.debug("a hint could not be sent: %s", error)

    def _notify(self, connection: Connection) -> None:
        connection.execute(_NOTIFY, {"channel": self.channel, "sender": self.sender})

    def close(self) -> None:
        """Send what is owed at once; nothing is under way when this returns."""
        with self._lock:
            timer = self._timer
        if timer is not None:
            timer.cancel()
            timer.join()
            # Waits for an earlier one that is still being sent, too.
            self._make_up()

    def forsake(self) -> None:
        """Owe nothing: it is the parent's of this process to send."""
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._heard = threading.Event()
        self._owed = False
        self._timer = None
        self.sender = uuid4().hex
