"""A loop's membership: the node that it is in its store, and the lease that keeps it one.

A node's lease covers all its runs and is renewed by beats, from a thread of their own, so that a
long step of the loop doesn't look like a death. Whoever finds out too late that its lease was over
has been declared dead by others, and begins anew as another node.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

from tickwork.interfaces import Store
from tickwork.model.records import NodeRecord
from tickwork.scheduler.store_clock import StoreClock

__all__ = ["Membership"]


class Membership:
    """The node that a loop is. `beat` may be called from any thread, the rest from the loop's.

    `renewed` is told until when the lease holds now, by the clock here.
    """

    def __init__(
        self,
        store: Store,
        clock: StoreClock,
        new_node: Callable[[], NodeRecord],
        *,
        lease_us: int,
        beaten_after_us: int,
        renewed: Callable[[int], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_node = new_node
        self._lease_us = lease_us
        self._beaten_after_us = beaten_after_us
        self._renewed = renewed
        self._registered = False
        self._beat_at_us = 0
        self.node = new_node()
        self.unresolved: tuple[str, ...] = ()
        self.lapsed = threading.Event()

    def keep(self, now_us: int) -> None:
        """Register if that isn't done, and beat if the thread that should didn't."""
        if not self._registered:
            self._clock.measure()
            self.node.offset_us = self._clock.offset_us
            self._send(self.node)
            self._registered = True
            # Not `now_us`: only now it is known how far the clock here is from the store's.
            self._beat_at_us = self.node.beat_us = self._clock.now_us()
        elif now_us - self._beat_at_us >= self._beaten_after_us:
            self.beat()

    def beat(self) -> bool:
        """Renew the lease; False once it was lost."""
        if not self._registered:
            return True
        self._clock.measure()
        node = replace(self.node, unresolved=self.unresolved, offset_us=self._clock.offset_us)
        alive = self._send(node)
        if node.id != self.node.id:
            # The loop has begun anew while this was on its way.
            return True
        if alive:
            self._beat_at_us = self._clock.now_us()
        else:
            self.lapsed.set()
        return alive

    def _send(self, node: NodeRecord) -> bool:
        sent_us = self._clock.now_us() - self._clock.offset_us
        alive = self._store.beat(node, self._lease_us).alive
        if alive and node.id == self.node.id:
            self._renewed(sent_us + self._lease_us)
        return alive

    def begin_anew(self) -> None:
        """Become another node, which is registered by the next `keep`."""
        self.node = self._new_node()
        self._registered = False
        self.lapsed.clear()

    def leave(self) -> None:
        """Say that this node will not be back; what it still holds is left to its lease."""
        if self._registered:
            self._registered = False
            self._store.beat(self.node, self._lease_us, leaving=True)
