"""Listening for hints on PostgreSQL; see `hints` for who sends them.

A thread of its own listens on a connection of its own. When that breaks it makes a new one, waiting
longer each time. What was sent meanwhile is lost, so it wakes whenever it has begun to listen.
"""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tickwork.stores.sql.hints import Hints

__all__ = ["Watcher"]

logger = logging.getLogger("tickwork.stores.sql")

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
_CHECK_S = 10.0
"""How often a silent connection is asked whether it is still there."""


class Watcher:
    """Listens until it is stopped."""

    def __init__(self, engine: Engine, hints: Hints, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._hints = hints
        self._wake = wake
        self._stopping, self._told = socket.socketpair()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tickwork-sql-hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and wait for the end, unless it is the watcher itself that asks."""
        self._stopped.set()
        with suppress(OSError):
            # Or it has ended already.
            self._stopping.send(b".")
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with self._stopping, self._told:
            self._listen_always()

    def _listen_always(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopped.is_set():
            try:
                connection = self._listening()
                retry_s = _FIRST_RETRY_S
                try:
                    self._listen(connection)
                finally:
                    connection.close()
            except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error, OSError) as error:
                logger.debug("no hints from PostgreSQL for now: %s", error)
            self._stopped.wait(retry_s)
            retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _listening(self) -> Any:
        """Return a connection of the driver, not the pool's any more, that listens."""
        from psycopg.sql import SQL, Identifier

        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        connection.autocommit = True
        connection.execute(SQL("LISTEN {}").format(Identifier(self._hints.channel)))
        return connection

    def _listen(self, connection: Any) -> None:
        self._wake()
        with DefaultSelector() as selector:
            selector.register(self._told, EVENT_READ)
            selector.register(connection.fileno(), EVENT_READ)
            while not self._stopped.is_set():
                if not selector.select(_CHECK_S):
                    connection.execute("SELECT 1")
                senders = [each.payload for each in connection.notifies(timeout=0)]
                # What is ours we know.
                if any(sender != self._hints.sender for sender in senders):
                    self._hints.hear()
                    self._wake()
