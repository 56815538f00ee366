"""Who is asked: a store's own operations in this process, or a service elsewhere.

Both have the same methods, so that a command doesn't know which of them it asks.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from tickwork.cli.client import Client as Connection
from tickwork.cli.client import connected
from tickwork.errors import InvalidInputError

if TYPE_CHECKING:
    from tickwork.cli.options import Where
    from tickwork.interfaces import Clock
    from tickwork.service.client import Client
    from tickwork.service.models import Page
    from tickwork.service.operations import Operations

    Asked: TypeAlias = Operations | Client

__all__ = [
    "Desk",
    "asked",
    "confirm",
    "desk",
    "gathered",
    "operations_of",
    "said",
    "see_working_directory",
]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_PAGE = 1_000


class Desk(NamedTuple):
    """Whom to ask, what that is called for people, and the connection where it is a store."""

    ask: Asked
    where: str
    connection: Connection | None

    def names(self, kept: list[T]) -> list[T]:
        """Return parts of schedulers, without those of this process where it is none itself."""
        if self.connection is None:
            return kept
        return [each for each in kept if getattr(each, "name", "") != "local"]


@contextmanager
def desk(
    where: Where,
    clock: Clock,
    *,
    hide: bool = True,
    allow: str | None = None,
    user: str | None = None,
) -> Iterator[Desk]:
    """Ask a store or a service for the time of a block.

    Of a store, `hide` says whether values whose names sound like secrets are left out, `allow` the
    function that a task may be made of, and `user` is the account that is worked for. Of a service
    its own settings and the token decide.
    """
    if where.url:
        yield Desk(_client(where), where.url, None)
        return
    if not where.store:
        raise InvalidInputError(
            "which store? Say --store sqlite:///tasks.db, or set TICKWORK_STORE; or the --url of a "
            "service"
        )
    with connected(where.store, clock) as connection:
        operations = operations_of(connection, hide=hide, allow=allow, user=user)
        yield Desk(operations, connection.where, connection)


def operations_of(
    connection: Connection, *, hide: bool = True, allow: str | None = None, user: str | None = None
) -> Operations:
    """Return the operations of a store, as whoever is logged in to this machine."""
    from tickwork.service.actors import Actor, Via
    from tickwork.service.operations import Operations
    from tickwork.service.roles import Role
    from tickwork.service.rules import HIDDEN_BY_DEFAULT, Rules

    rules = Rules(hide=HIDDEN_BY_DEFAULT if hide else (), allow=() if allow is None else (allow,))
    # Who has the store has all that is in it; roles are what services keep.
    actor = Actor(
        name=_who(), role=Role.ADMIN, via=Via.CLI, address=socket.gethostname(), user=user
    )
    return Operations(connection.scheduler, actor, rules)


def _who() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a user that the system has no name for
        return "unknown"


def _client(where: Where) -> Client:
    try:
        from tickwork.service.client import Client
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"asking a service needs the package {error.name!r}: pip install 'tickwork[service]'"
        ) from error
    url = where.url or ""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise InvalidInputError(
            "a service knows programs by tokens, not by a name and password in its URL: say --token"
        )
    return Client(url, where.token)


def see_working_directory() -> None:
    """Let modules of the working directory be imported, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def asked(kind: type[M], **given: Any) -> M:
    """Return what is asked for as a model.

    Raises:
        InvalidInputError: it isn't as the model wants it.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = get_close_matches(where, kind.model_fields, 1)
            hint = f"; do you mean {near[0]!r}?" if near else ""
            raise InvalidInputError(f"there is no option {where!r}{hint}") from error
        raise InvalidInputError(f"{where}: {first['msg']}") from error


def said(**given: Any) -> dict[str, Any]:
    """Return what was said, without the None of what wasn't."""
    return {name: value for name, value in given.items() if value is not None}


def gathered(page_of: Callable[..., Page[T]], limit: int) -> tuple[list[T], bool]:
    """Return the first items of a list, and whether there are more."""
    found: list[T] = []
    cursor: str | None = None
    while True:
        page = page_of(limit=min(limit - len(found), _PAGE), cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None or len(found) >= limit:
            return found, cursor is not None


def confirm(question: str, *, yes: bool) -> None:
    """Ask whether to go on with what can't be undone.

    Raises:
        InvalidInputError: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInputError(f"{question} There is no terminal to ask at; say --yes")
    if not typer.confirm(question, err=True):
        raise typer.Abort
