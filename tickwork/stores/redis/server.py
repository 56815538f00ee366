"""The connection to a Redis server: scripts, and the errors that may leave this package.

Our own connections never send a step twice by themselves: when an answer is lost, the caller hears
of it. A client that was given may be of a kind that does, so its steps carry a key of their own,
which a script that is sent again finds taken. Replies are never decoded by the client, which may
have been told to decode them in its own way.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha1
from importlib.resources import files
from inspect import iscoroutinefunction
from typing import Any
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.retry import Retry

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.stores.redis.layout import KEYS, key_names

__all__ = ["SEPARATOR", "Server", "Stream", "split"]

logger = logging.getLogger("tickwork.stores.redis")

SEPARATOR = "\x1e"
_IDLE_S = 30
"""After how long a connection is tried before it is used."""

_OFTEN = ("due", "lease", "commit")
_PARTS = {
    "due": ("common", "eligible"),
    "lease": ("common", "eligible"),
    "commit": ("common", "gates"),
    **dict.fromkeys(("acquire", "renew", "locks", "forget"), ("common", "locking")),
    **dict.fromkeys(("keep", "drop", "documents", "expire"), ("common", "locking", "keeping")),
}


@cache
def _script(name: str) -> tuple[str, bytes]:
    """Return the digest and the text of a script."""
    folder = files("tickwork.stores.redis") / "scripts"
    named = ", ".join(each.upper() for each in KEYS)
    given = ", ".join(f"KEYS[{at}]" for at in range(1, len(KEYS) + 1))
    parts = (*_PARTS.get(name, ("common",)), name)
    texts = [(folder / f"{part}.lua").read_text("utf-8") for part in parts]
    head = f"local {named} = {given}\nlocal STEP = KEYS[{len(KEYS) + 1}]\n"
    text = "".join((head, *texts)).encode()
    return sha1(text, usedforsecurity=False).hexdigest(), text


def split(joined: bytes, count: int | None = None) -> list[str]:
    """Return the texts that a script joined: `count` of them, or all where none is empty."""
    return joined.decode().split(SEPARATOR) if joined or count else []


class Server:
    """A redis-py client, ours or a user's, that runs the scripts of a store."""

    def __init__(self, where: Any, prefix: str, timeout_s: float) -> None:
        if not prefix or "{" in prefix or "}" in prefix:
            raise InvalidInputError(
                f"prefix={prefix!r} can't be used; a name without braces keeps all keys of a "
                "store together in a cluster"
            )
        self._where = where
        self._given = not isinstance(where, str)
        if self._given:
            _refuse_others(where)
        self._timeout_s = timeout_s
        self._client: Any = None
        self._forsaken: list[Any] = []
        self._prefix = prefix
        self._name = uuid4().hex
        self._keys = tuple(each.encode() for each in key_names(prefix))
        if not self._given:
            # Refuses now what isn't a URL; connects at the first use.
            self._made().close()

    @property
    def url(self) -> str:
        """Where the server is, for people: without its password."""
        return repr(self._where) if self._given else _without_password(self._where)

    @property
    def hint(self) -> tuple[str, str]:
        """Where hints are published, and what: whom they come from."""
        return f"{{{self._prefix}}}:hints", self._name

    @property
    def client(self) -> Any:
        """The client of an open server."""
        if self._client is None:
            raise StoreUnavailableError("the Redis store isn't open; connect or start first")
        return self._client

    def open(self) -> None:
        """Make the client ready, and see that the server answers and keeps what it is told."""
        if self._client is None:
            self._client = self._where if self._given else self._made()
        with translated():
            self._client.ping()
        self._warn_of_eviction()
        if not self._given:
            self._tell_scripts()

    def is_used(self) -> bool:
        """Whether there is anything under our prefix."""
        with translated():
            return bool(self.client.exists(*self._keys))

    def close(self) -> None:
        """Close our connections; a client of the user's stays as it is."""
        client, self._client = self._client, None
        if client is not None and not self._given:
            client.close()

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process."""
        # Kept, since closing them here would say something on sockets that the parent has, too.
        # A client that was given sees by itself that it is in another process.
        self._forsaken.append(self._client)
        self._client = None

    def change(self, name: str, *arguments: str) -> list[Any]:
        """Run a script that must not be run twice; otherwise as `run`."""
        if not self._given:
            return self._run(name, self._keys, arguments)
        step = f"{{{self._prefix}}}:step:{uuid4().hex}".encode()
        answer = self._run(name, (*self._keys, step), arguments)
        if answer[0] == b"repeated":
            raise StoreUnavailableError("the answer of Redis was lost; the step may have been done")
        return answer

    def run(self, name: str, *arguments: str) -> list[Any]:
        """Run a script; return the parts of its answer.

        Raises:
            StoreUnavailableError: whether it took effect isn't known.
        """
        return self._run(name, self._keys, arguments)

    @property
    def streams(self) -> bool:
        """Whether scripts are sent one behind the other, before those before have answered."""
        return not self._given

    @contextmanager
    def stream(self) -> Iterator["Stream"]:
        """Send scripts one behind the other; the server does one while the next is put together.

        Once left by an error, nobody knows which of them took effect.
        """
        pool = self.client.connection_pool
        with translated():
            connection = pool.get_connection()
        try:
            yield Stream(self, connection)
        except BaseException:
            # What it answers, or what is left of a request, is nothing for the next one.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def _run(self, name: str, keys: Sequence[bytes], arguments: Sequence[str]) -> list[Any]:
        digest, text = _script(name)
        rest = _rest(keys, arguments)
        client = self.client
        with translated():
            try:
                answer = client.execute_command("EVALSHA", digest, *rest, NEVER_DECODE=True)
            except NoScriptError:
                # The server was started anew, or is another one: this text it will remember.
                answer = client.execute_command("EVAL", text, *rest, NEVER_DECODE=True)
        return list(answer)

    def send(self, connection: Any, name: str, arguments: Sequence[str]) -> None:
        """Send a script on a connection, for which it then has an answer."""
        with translated():
            connection.send_command("EVALSHA", _script(name)[0], *_rest(self._keys, arguments))

    def _made(self) -> Any:
        try:
            return redis.Redis.from_url(
                self._where,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                retry=Retry(NoBackoff(), 0),
                health_check_interval=_IDLE_S,
            )
        except ValueError as error:
            raise InvalidInputError(f"{self.url} is not the URL of a Redis: {error}") from error

    def _tell_scripts(self) -> None:
        """Have the server know what each tick runs: the first one needn't wait for that."""
        with self._client.pipeline(transaction=False) as pipeline, suppress(RedisError, OSError):
            for name in _OFTEN:
                pipeline.script_load(_script(name)[1])
            pipeline.execute()

    def _warn_of_eviction(self) -> None:
        try:
            policy = self._client.config_get("maxmemory-policy").get("maxmemory-policy")
        except (RedisError, RedisClusterException, OSError, AttributeError):
            return  # Not everybody may ask.
        policy = policy.decode() if isinstance(policy, bytes) else policy
        if policy not in {None, "noeviction"}:
            logger.warning(
                "Redis at %s forgets keys when its memory is full (maxmemory-policy %s), and tasks "
                "with them: set it to noeviction",
                self.url,
                policy,
            )


class Stream:
    """Scripts that are sent one behind the other on a connection of ours."""

    def __init__(self, server: Server, connection: Any) -> None:
        self._server = server
        self._connection = connection
        self._sent: list[tuple[str, Sequence[str]]] = []

    def send(self, name: str, *arguments: str) -> None:
        """Send a script, whose turn comes when those before it are done."""
        self._server.send(self._connection, name, arguments)
        self._sent.append((name, arguments))

    def answers(self) -> list[list[Any]]:
        """Wait for all scripts; return the parts of the answer of each.

        Raises:
            StoreUnavailableError: which of them took effect isn't known.
        """
        answers = [self._answer() for _ in self._sent]
        return [
            # A script that the server doesn't know has done nothing.
            self._server.change(name, *arguments) if answer is None else answer
            for (name, arguments), answer in zip(self._sent, answers, strict=True)
        ]

    def _answer(self) -> list[Any] | None:
        with translated():
            try:
                return list(self._connection.read_response(disable_decoding=True))
            except NoScriptError:
                return None


def _rest(keys: Sequence[bytes], arguments: Sequence[str]) -> tuple[int | bytes, ...]:
    """Return what is said behind the name of a script."""
    return (len(keys), *keys, *(each.encode() for each in arguments))


def _refuse_others(where: Any) -> None:
    execute = getattr(where, "execute_command", None)
    if not callable(execute):
        raise InvalidInputError(
            f"{where!r} is neither a URL (redis://localhost) nor a redis-py client"
        )
    if iscoroutinefunction(execute):
        raise InvalidInputError(
            f"{where!r} is a client for asyncio; the store works in threads of its own, give it a "
            "redis.Redis or a URL"
        )


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{':***' if ':' in user else ''}{at}{place}"


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises into errors that may leave this package."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailableError(f"Redis doesn't answer as it should: {error}") from error
