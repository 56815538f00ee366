"""The connection to a MongoDB: client, database, and how sure its answers are.

Everything is read from the primary and written with `w: majority, j: true`, unless a URL or a
client says otherwise. What is read needn't be the majority's yet: servers that change roles cut
their histories short, they never take something out of the middle, so that a step which was
acknowledged rests on nothing that can still be lost.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference
from pymongo.database import Database as DriverDatabase
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.model.instants import to_us
from tickwork.stores.mongo.collection import Collection, Document, asking

__all__ = ["Database", "Place"]

Place = str | MongoClient[Document] | DriverDatabase[Document]

_DEFAULT_NAME = "tickwork"
_SURE = WriteConcern("majority", j=True)
_OPTIONS: Mapping[str, Any] = {
    "appname": "tickwork",
    "connectTimeoutMS": 5_000,
    "serverSelectionTimeoutMS": 5_000,
    "socketTimeoutMS": 15_000,
}
_PATIENCE_S = 20.0
"""How long a client may take for a command that sets no limits itself."""

_SCHEMES = ("mongodb://", "mongodb+srv://")


class Database:
    """A database, ours or a user's."""

    def __init__(self, where: Place) -> None:
        if isinstance(where, str):
            _check(where)
        elif isinstance(where, MongoClient | DriverDatabase):
            _check_sureness(where)
        else:
            raise InvalidInputError(
                f"{where!r} is no place for a MongoDB store; give a URL (mongodb://host/database), "
                "a pymongo.MongoClient or a database of one"
            )
        self._where = where
        self._own: MongoClient[Document] | None = None
        self._open: DriverDatabase[Document] | None = None
        self._forsaken: list[MongoClient[Document]] = []

    def __repr__(self) -> str:
        if isinstance(self._where, str):
            return repr(_shown(self._where))
        return repr(self._where)

    @property
    def inner(self) -> DriverDatabase[Document]:
        """The driver's database, of an open one."""
        if self._open is None:
            raise StoreUnavailableError("the MongoDB store isn't open; connect or start first")
        return self._open

    def open(self) -> None:
        """Make a client, where none was given; it connects at the first use."""
        if self._open is not None:
            return
        if isinstance(self._where, str):
            self._own = _client(self._where)
            self._open = self._own.get_default_database(_DEFAULT_NAME)
        elif isinstance(self._where, MongoClient):
            self._open = self._where.get_default_database(_DEFAULT_NAME)
        else:
            self._open = self._where

    def close(self) -> None:
        """Close our client; one that was given stays as it is."""
        if self._own is not None:
            self._own.close()
        self._own = self._open = None

    def forsake(self) -> None:
        """Forget a client whose threads and connections belong to the parent of this process."""
        if self._own is not None:
            # Kept, since ending it here would end sessions that the parent has.
            self._forsaken.append(self._own)
        self._own = self._open = None

    def collection(self, name: str) -> Collection:
        """Return a collection, with answers as sure as they must be."""
        inner = self.inner
        written = inner.write_concern
        found = inner.get_collection(
            name,
            # What a user's client makes of times and numbers is no matter of ours.
            codec_options=CodecOptions(),
            read_preference=ReadPreference.PRIMARY,
            write_concern=_SURE if written.is_server_default else written,
            read_concern=ReadConcern(),
        )
        return Collection(found, self._patience_s)

    @property
    def _patience_s(self) -> float | None:
        """The bound that is put on each command: what our clients take is bounded by themselves."""
        options = self.inner.client.options
        limited = options.timeout or options.pool_options.socket_timeout
        return None if limited else _PATIENCE_S

    def now_us(self, expected_us: int) -> int:
        """Return the server's time; it tells milliseconds, of which we take the likeliest moment.

        That is the one nearest to what is expected: between clocks that agree there must be no
        offset.
        """
        with asking(self._patience_s):
            options: CodecOptions[Document] = CodecOptions(tz_aware=True)
            answer = self.inner.command(
                "hello", read_preference=ReadPreference.PRIMARY, codec_options=options
            )
        told_us = to_us(answer["localTime"])
        return min(max(told_us, expected_us), told_us + 999)


def _check(url: str) -> None:
    if not url.startswith(_SCHEMES):
        raise InvalidInputError(
            f"{_shown(url)!r} is not the URL of a MongoDB; example: mongodb://localhost/tickwork"
        )
    if url.startswith(_SCHEMES[0]):
        # The other kind of URL asks a name server when it is read: that is for `open`.
        try:
            parse_uri(url)
        except (InvalidURI, ConfigurationError, ValueError) as error:
            raise InvalidInputError(f"{_shown(url)!r} can't be used: {error}") from error


def _check_sureness(given: MongoClient[Document] | DriverDatabase[Document]) -> None:
    if not given.write_concern.acknowledged:
        raise InvalidInputError(
            "the MongoDB client doesn't wait for answers to what it writes (w=0), which a store "
            "has to; give one without w=0"
        )


def _client(url: str) -> MongoClient[Document]:
    try:
        client: MongoClient[Document] = MongoClient(url, **_defaults(url))
    except InvalidURI as error:
        raise InvalidInputError(f"{_shown(url)!r} can't be used: {error}") from error
    except ConfigurationError as error:
        if "dnspython" in str(error):
            raise InvalidInputError(f"{_shown(url)!r} can't be used: {error}") from error
        raise StoreUnavailableError(f"{_shown(url)!r} wasn't found: {error}") from error
    except PyMongoError as error:
        raise StoreUnavailableError(f"{_shown(url)!r} wasn't found: {error}") from error
    try:
        _check_sureness(client)
    except InvalidInputError:
        client.close()
        raise
    return client


def _defaults(url: str) -> dict[str, Any]:
    """Return our options, except those that a URL sets itself."""
    query = url.partition("?")[2]
    given = {word.partition("=")[0].lower() for word in query.replace(";", "&").split("&")}
    return {name: value for name, value in _OPTIONS.items() if name.lower() not in given}


def _shown(url: str) -> str:
    """Return a URL for people: without its user and options."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0]
    hosts, _, name = place.partition("/")
    return f"{scheme}://{hosts.rpartition('@')[2]}/{unquote(name) or _DEFAULT_NAME}"
