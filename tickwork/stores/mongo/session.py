"""What the steps of a MongoDB store share: collections, clock, fences; and the indexes."""

from dataclasses import dataclass
from secrets import token_hex

from pymongo import IndexModel

from tickwork.errors import LeaseLostError, NotFoundError, StoreError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.stores.mongo.collection import Collection, asking
from tickwork.stores.mongo.database import Database

__all__ = ["PRESENT", "Session", "new_token", "opened"]

PRESENT = {"$gte": ""}
"""What a text is that there is; an index of those that have one can be used for it."""

_SCHEMA = 1
_TASKS = (
    IndexModel("wake_us", sparse=True),
    IndexModel("owing", sparse=True),
    IndexModel("declared_in", sparse=True),
    IndexModel("updated_us", partialFilterExpression={"state": "finished"}),
    IndexModel("trigger", partialFilterExpression={"trigger": "shutdown"}),
)
_RUNS = (
    # Of runs that have no fire time there may be any number.
    IndexModel(
        [("task_id", 1), ("generation", 1), ("fire_us", 1)],
        unique=True,
        partialFilterExpression={"fire_us": {"$exists": True}},
    ),
    IndexModel([("task_id", 1), ("_id", 1)]),
    IndexModel("available_us", sparse=True),
    IndexModel("node", sparse=True),
    IndexModel("open_of", sparse=True),
    IndexModel([("queued_of", 1), ("queued_us", 1)], sparse=True),
    IndexModel("follows_of", sparse=True),
    IndexModel("draft", sparse=True),
)


@dataclass(frozen=True, slots=True)
class Session:
    """An open MongoDB store, as its steps see it."""

    database: Database
    tasks: Collection
    runs: Collection
    nodes: Collection
    counters: Collection
    environment: StoreEnvironment

    @property
    def codec(self) -> DefinitionCodec:
        """What reads definitions."""
        return self.environment.codec

    def server_us(self) -> int:
        """Return the server's time, by which leases are measured."""
        now_us = self.environment.now_us()
        return now_us if self.environment.simulated else self.database.now_us(now_us)

    def next_fence(self) -> int:
        """Return a fence that is higher than all before it."""
        return self.counters.next_number("fence")

    def require_alive(self, node: str) -> None:
        """Raise unless a node's lease holds at this moment.

        Nothing keeps it so: what a node leases that is declared dead meanwhile is taken over as
        that of a node nobody knows; see `nodes`.
        """
        if self.nodes.first({"_id": node, "expires_us": {"$ne": 0}}, ["_id"]) is None:
            raise LeaseLostError(f"node {node} isn't registered (any more)")


def opened(database: Database, prefix: str, environment: StoreEnvironment) -> Session:
    """Return the session of an open database, with its collections and indexes in place.

    Raises:
        NotFoundError: only what exists was asked for.
        StoreError: a newer tickwork has been here; nothing is changed.
    """
    names = ("tasks", "runs", "nodes", "counters")
    tasks, runs, nodes, counters = (database.collection(f"{prefix}{name}") for name in names)
    session = Session(database, tasks, runs, nodes, counters, environment)
    version = session.counters.first({"_id": "schema"})
    if version is None and environment.existing:
        raise NotFoundError(f"no scheduler has used {database!r} with the prefix {prefix!r} yet")
    if version is None:
        _create(session, prefix)
    elif version["value"] > _SCHEMA:
        raise StoreError(
            f"{database!r} has schema version {version['value']}, this tickwork knows {_SCHEMA}: "
            "update tickwork here before using this store"
        )
    return session


def _create(session: Session, prefix: str) -> None:
    inner = session.database.inner
    with asking():
        inner[f"{prefix}tasks"].create_indexes(list(_TASKS))
        inner[f"{prefix}runs"].create_indexes(list(_RUNS))
    # Last: with it, everything is there.
    session.counters.add([{"_id": "fence", "value": 0}, {"_id": "schema", "value": _SCHEMA}])


def new_token() -> str:
    """Return a text that nobody else has."""
    return token_hex(12)
