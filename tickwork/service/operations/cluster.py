"""What can be seen of nodes, stores, executors, locks and leaders."""

from __future__ import annotations

from typing import Literal

from tickwork.interfaces import Locking
from tickwork.model.instants import from_us
from tickwork.model.locks import LockRecord
from tickwork.model.policies import ScheduleState
from tickwork.model.snapshots import NodeInfo
from tickwork.service.models import ExecutorView, LockView, StoreView
from tickwork.service.operations.base import OperationsBase
from tickwork.service.roles import Action

__all__ = ["ClusterOperations"]

_LEADER = "leader:"


class ClusterOperations(OperationsBase):
    """Looking at what works on the stores."""

    def list_nodes(self) -> list[NodeInfo]:
        """Return the started schedulers that share these stores, also dead ones."""
        self._look(Action.NODES_LIST)
        return self.scheduler.nodes()

    def list_stores(self) -> list[StoreView]:
        """Return the stores, with how many tasks each keeps by state."""
        self._look(Action.STORES_LIST)
        return [
            StoreView(
                name=name,
                kind=self.reach.stores[name].kind,
                persistent=self.reach.stores[name].persistent,
                tasks={
                    ScheduleState(state): count
                    for state, count in self.reach.reader(name).counts().items()
                },
            )
            for name in self.reach.names(None)
        ]

    def list_executors(self) -> list[ExecutorView]:
        """Return the executors of this process and of living nodes, by name."""
        self._look(Action.EXECUTORS_LIST)
        kinds = {name: each.kind for name, each in self.reach.executors.items()}
        having: dict[str, list[str]] = {name: [] for name in kinds}
        for node in self.scheduler.nodes():
            if node.expires_at > from_us(self.reach.now_us(node.store)):
                for name in node.executors:
                    having.setdefault(name, []).append(node.id)
        return [
            ExecutorView(name=name, kind=kinds.get(name, ""), nodes=sorted(set(nodes)))
            for name, nodes in sorted(having.items())
        ]

    def list_locks(self) -> list[LockView]:
        """Return the locks and leaderships that are held or kept, by store and name."""
        self._look(Action.LOCKS_LIST)
        found = []
        for name in self.reach.names(None):
            store = self.reach.stores[name]
            if isinstance(store, Locking):
                now_us = self.reach.now_us(name)
                found += [_lock_view(lock, name, now_us) for lock in store.locks()]
        return found


def _lock_view(lock: LockRecord, store: str, now_us: int) -> LockView:
    kind: Literal["lock", "leader"] = "leader" if lock.name.startswith(_LEADER) else "lock"
    return LockView(
        name=lock.name,
        kind=kind,
        store=store,
        owner=lock.about,
        held=bool(lock.owner) and lock.expires_us > now_us,
        fence=lock.fence,
        acquired_at=from_us(lock.acquired_us) if lock.acquired_us else None,
        expires_at=from_us(lock.expires_us) if lock.expires_us else None,
    )
