"""Listening for hints: what other processes publish when something may have become due.

A thread of its own listens on a connection of its own, and mends it when it breaks, waiting longer
each time. What was published meanwhile is lost, so it wakes whenever it has begun to listen. Hints
come in bursts; after each it pauses, so that a burst wakes once or twice.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from tickwork.stores.redis.server import Server

__all__ = ["Watcher"]

logger = logging.getLogger("tickwork.stores.redis")

_PAUSE_S = 0.02
_LISTENS_S = 1.0
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 30.0


class Watcher:
    """Listens until it is stopped."""

    def __init__(self, server: Server, wake: Callable[[], None]) -> None:
        self._client = server.client
        self._channel, self._own = server.hint
        self._wake = wake
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tickwork-redis-hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, in a moment, or when the connection is closed."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the end, unless it is the watcher's own thread that asks."""
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * _LISTENS_S)

    def _heard(self) -> Iterator[None]:
        """Yield when something was published by others, and at first."""
        with self._client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            while not self._stopped.is_set():
                message = pubsub.get_message(timeout=_LISTENS_S)
                others = self._is_news(message)
                while message is not None:
                    # What else has come in so far says no more than the first of it.
                    message = pubsub.get_message(timeout=0)
                    others |= self._is_news(message)
                if others:
                    yield

    def _is_news(self, message: dict[str, Any] | None) -> bool:
        if message is None:
            return False
        sender = message["data"]
        return (sender.decode() if isinstance(sender, bytes) else sender) != self._own

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopped.is_set():
            try:
                for _ in self._heard():
                    retry_s = _FIRST_RETRY_S
                    self._wake_guarded()
                    self._stopped.wait(_PAUSE_S)
            except (RedisError, RedisClusterException, OSError) as error:
                logger.debug("no hints from Redis for now: %s", error)
            except Exception:
                # The top of this thread: hints only make things faster, polling goes on.
                if not self._stopped.is_set():
                    # Else it is how the driver reads from a connection that was just closed.
                    logger.exception("listening for hints failed; will try again")
            self._stopped.wait(retry_s)
            retry_s = min(retry_s * 2, _LAST_RETRY_S)

    def _wake_guarded(self) -> None:
        try:
            self._wake()
        except Exception:
            # Whatever the caller's code raises: the next hint comes.
            logger.exception("waking for a hint failed")
