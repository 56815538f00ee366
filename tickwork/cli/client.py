"""Connecting to a store that others work on, without firing, and without making one."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Clock, Store
from tickwork.scheduler.scheduler import Scheduler
from tickwork.wiring import build_store

__all__ = ["Client", "connected", "shown", "signing_keys"]


class Client(NamedTuple):
    """A connected scheduler over one store; `where` names the store for people."""

    scheduler: Scheduler
    store: Store
    where: str


@contextmanager
def connected(url: str | None, clock: Clock) -> Iterator[Client]:
    """Connect to the store at a URL for the time of a block.

    Raises:
        InvalidInputError: no URL, or one under which nothing of another process can be seen.
        NotFoundError: no scheduler has used the store yet.
    """
    if not url:
        raise InvalidInputError(
            "which store? Say --store sqlite:///tasks.db, or set TICKWORK_STORE; this needs the "
            "store itself, also where a service works on it"
        )
    if url.startswith("memory:"):
        raise InvalidInputError(
            f"{url} lives in the process that made it and can't be seen from here; "
            "use a store that outlives its process, such as sqlite:///tasks.db"
        )
    store = build_store(url)
    keys = signing_keys(os.environ.get("TICKWORK_SIGNING_KEYS", ""))
    with Scheduler(store, clock=clock, signing_keys=keys).connect(create=False) as scheduler:
        yield Client(scheduler, store, shown(url))


def shown(url: str) -> str:
    """Return a URL as it may be seen by everybody: without its password, and its options."""
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url).partition("?")[0]


def signing_keys(text: str) -> dict[str, str] | None:
    """Return the keys of `NAME=SECRET,NAME=SECRET`; None for an empty text."""
    keys: dict[str, str] = {}
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, separator, secret = word.partition("=")
        if not separator:
            raise InvalidInputError(
                "TICKWORK_SIGNING_KEYS must look like NAME=SECRET,NAME=SECRET, the first one signs"
            )
        keys[name] = secret
    return keys or None
