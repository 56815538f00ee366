"""A limit to how often somebody may try, in the store: it holds for all processes together."""

from __future__ import annotations

from collections.abc import Callable

from tickwork.model.instants import SECOND
from tickwork.service.documents import Shelf
from tickwork.service.errors import TooManyAttemptsError
from tickwork.service.passwords import digest

__all__ = ["Throttle"]

_TRIES = 50


class Throttle:
    """Counts tries by name; `most` within `window_s`, from the first of them on."""

    def __init__(self, shelf: Shelf, now_us: Callable[[], int], most: int, window_s: float) -> None:
        self._shelf = shelf
        self._now_us = now_us
        self._most = most
        self._window_us = round(window_s * SECOND)

    def count(self, name: str, *, times: int = 1) -> None:
        """Count a try, before it is made; `times` as many are allowed as usual.

        The first one that is refused is counted as well, and says so; all others cost nothing.

        Raises:
            TooManyAttemptsError: there were too many.
        """
        key = digest(name)
        for _ in range(_TRIES):
            now_us = self._now_us()
            kept = self._shelf.get(key)
            tries = kept.data["tries"] if kept is not None else 0
            until_us = (kept.expires_us if kept is not None else None) or now_us + self._window_us
            most = self._most * times
            if tries > most:
                raise _refusal(until_us - now_us)
            expected = kept.revision if kept is not None else 0
            if self._shelf.put(key, {"tries": tries + 1}, expected=expected, expires_us=until_us):
                if tries == most:
                    raise _refusal(until_us - now_us, first=True)
                return
        raise _refusal(SECOND)

    def forgive(self, name: str) -> None:
        """Forget the tries of a name."""
        self._shelf.drop(digest(name))


def _refusal(wait_us: int, *, first: bool = False) -> TooManyAttemptsError:
    wait_s = max(1, -(-wait_us // SECOND))
    return TooManyAttemptsError(f"too many attempts; try again in {wait_s} s", wait_s, first=first)
