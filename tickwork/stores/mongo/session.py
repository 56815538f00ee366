"""What the steps of a MongoDB store share: collections, clock, fences; and the indexes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import sample
from secrets import token_hex
from typing import Any

from pymongo import IndexModel

from tickwork.errors import LeaseLostError, NotFoundError, StoreError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.stores.mongo.collection import Collection, Document
from tickwork.stores.mongo.database import Database

__all__ = ["NUMBER", "PRESENT", "VISIBLE", "Session", "new_token", "opened"]

PRESENT = {"$gte": ""}
"""What a text is that there is; an index of those that have one can be used for it."""

NUMBER = {"$gte": -(2**63)}
"""What an instant is that there is; an index of those that have one can be used for it."""

VISIBLE: Mapping[str, Any] = {"draft": {"$exists": False}}
"""The condition that all but settling puts on runs; see `outbox`."""

_SCHEMA = 4
_COLLECTIONS = ("tasks", "runs", "nodes", "counters", "keys", "locks", "documents")
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
    # What an earlier version wrote has no rank, and goes first: it has waited longest.
    IndexModel(
        [("executor", 1), ("rank", 1), ("available_us", 1), ("_id", 1)],
        partialFilterExpression={"available_us": {"$exists": True}},
    ),
    IndexModel(
        [("key", 1), ("rank", 1), ("gated_us", 1), ("_id", 1)],
        partialFilterExpression={"gated_us": {"$exists": True}},
    ),
    IndexModel("opens", sparse=True),
    IndexModel("expires_us", sparse=True),
    IndexModel([("suspect", 1), ("available_us", 1)], partialFilterExpression={"suspect": True}),
    IndexModel("node", sparse=True),
    IndexModel("open_of", sparse=True),
    IndexModel([("queued_of", 1), ("queued_us", 1)], sparse=True),
    IndexModel("follows_of", sparse=True),
    IndexModel("draft", sparse=True),
)
_LOCKS = (IndexModel("until_us"),)
_DOCUMENTS = (IndexModel("expires_us", sparse=True),)


_SPREAD = 4
_REMEMBERED = 8


class Crowd:
    """Others who plan or lease the same documents at the same time.

    All of them look for the oldest first, and of those who find the same only one succeeds. While
    others were met lately, a step looks further, and takes a part of what it finds by chance.
    """

    def __init__(self) -> None:
        self._left = 0

    def note(self, *, met: bool) -> None:
        """Remember whether others were quicker."""
        self._left = _REMEMBERED if met else max(0, self._left - 1)

    def widened(self, limit: int) -> int:
        """Return how many documents to look for in order to take up to `limit`."""
        return limit * _SPREAD if self._left else limit

    def share(self, found: list[Document], limit: int) -> list[Document]:
        """Return up to `limit` documents of those that were found, in their order."""
        if len(found) <= limit:
            return found
        places = sample(range(len(found)), limit)
        return [found[place] for place in sorted(places)]


@dataclass(frozen=True, slots=True)
class Session:
    """An open MongoDB store, as its steps see it."""

    database: Database
    tasks: Collection
    runs: Collection
    nodes: Collection
    counters: Collection
    keys: Collection
    locks: Collection
    documents: Collection
    environment: StoreEnvironment
    crowd: Crowd = field(default_factory=Crowd)

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
        NotFoundError: only what exists was asked for, and it isn't there, or an earlier one is.
        StoreError: a newer tickwork has been here; nothing is changed.
    """
    every = (database.collection(f"{prefix}{name}") for name in _COLLECTIONS)
    tasks, runs, nodes, counters, keys, locks, documents = every
    session = Session(database, tasks, runs, nodes, counters, keys, locks, documents, environment)
    found = session.counters.first({"_id": "schema"})
    version = 0 if found is None else found["value"]
    if version > _SCHEMA:
        raise StoreError(
            f"{database!r} has schema version {version}, this tickwork knows {_SCHEMA}: "
            "update tickwork here before using this store"
        )
    if version < _SCHEMA:
        _require_ours(environment, version, f"{database!r} with the prefix {prefix!r}")
        _create(session)
    return session


def _require_ours(environment: StoreEnvironment, version: int, place: str) -> None:
    if environment.existing and not version:
        raise NotFoundError(f"no scheduler has used {place} yet")
    if environment.existing:
        raise NotFoundError(f"no scheduler of this version of tickwork has used {place} yet")


def _create(session: Session) -> None:
    """Make what isn't there yet; documents of earlier versions stay as they are."""
    session.tasks.index(_TASKS)
    session.runs.index(_RUNS)
    session.locks.index(_LOCKS)
    session.documents.index(_DOCUMENTS)
    # Last: with it, everything is there.
    session.counters.add([{"_id": "fence", "value": 0}, {"_id": "schema", "value": _SCHEMA}])
    earlier = {"_id": "schema", "value": {"$lt": _SCHEMA}}
    session.counters.change_one(earlier, {"$set": {"value": _SCHEMA}})


def new_token() -> str:
    """Return a text that nobody else has."""
    return token_hex(12)
