"""Ids of runs: unique, and sorted by the time at which they were made.

Fourteen hexadecimal digits of microseconds, eight that are the node's, and a counter: the newest
run has the greatest id, which is how histories are read, and new rows go to the end of an index.
"""

from collections.abc import Callable, Iterator
from itertools import count

__all__ = ["RunIds"]

_NODE_DIGITS = 8
_COUNTED = 16**6


class RunIds:
    """Makes ids for the runs of one node.

    With the counter of another `RunIds`, ids of both that are made within a microsecond sort by
    their creation, too.
    """

    def __init__(self, node_id: str, like: "RunIds | None" = None) -> None:
        self._node = node_id[:_NODE_DIGITS]
        self.counter: Iterator[int] = count() if like is None else like.counter

    def at(self, now_us: int) -> Callable[[], str]:
        """Return a function that makes ids for an instant."""
        prefix = f"{max(now_us, 0):014x}"
        suffix = self._node
        counter = self.counter
        return lambda: f"{prefix}{next(counter) % _COUNTED:06x}{suffix}"
