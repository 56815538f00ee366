"""The servers of a run: started when they are first needed, ended with the run.

Everybody's commits reach the disk: PostgreSQL has `fsync` and `synchronous_commit` on, Redis its
append-only log, written at each command and forced to the disk each second.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from bench.contenders import Kind
from bench.databases import libpq_address
from bench.machine import used_s

__all__ = ["Servers", "emptied"]

_OPTIONS: Mapping[Kind, Mapping[str, Any]] = {
    "postgresql": {
        "settings": {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
    },
    "redis": {"others": {"appendfsync": "everysec"}},
}
"""In what the servers differ from those of the tests."""


class Servers:
    """Starts servers, says where they are, and what processor time they have used."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._running: dict[Kind, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def url(self, store: Kind) -> str | None:
        """Return where the server of a store is; None for stores without one."""
        if store not in _OPTIONS:
            return None
        if store not in self._running:
            # A folder of its own, right below that for temporary files: the path of a socket is
            # short, and servers run as another user where we are root.
            folder = self._ends.enter_context(TemporaryDirectory(prefix="bench-"))
            serving = import_module(f"tests.servers.{store}").serving
            self._running[store] = self._ends.enter_context(
                serving(Path(folder), **_OPTIONS[store])
            )
        url: str = self._running[store].url
        return url

    def described(self) -> dict[str, str]:
        """Return the versions of the servers that were started."""
        versions: dict[str, str] = {}
        for store, server in self._running.items():
            versions[f"{store} server"] = _version(store, server.url)
        return versions

    def used_s(self) -> float:
        """Return the seconds of processor time that all of them have used."""
        return sum(used_s(each.pid) for each in self._running.values())


def _version(store: Kind, url: str) -> str:
    if store == "postgresql":
        import psycopg

        with psycopg.connect(libpq_address(url)) as connection:
            return str(connection.info.parameter_status("server_version"))
    import redis

    with redis.Redis.from_url(url) as client:
        return str(client.info("server")["redis_version"])


def emptied(store: Kind, url: str) -> str:
    """Empty a server, and return its URL."""
    if store == "postgresql":
        import psycopg

        with psycopg.connect(libpq_address(url), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            # What others wrote isn't written out while the next one is measured.
            connection.execute("CHECKPOINT")
    else:
        import redis

        with redis.Redis.from_url(url) as client:
            client.flushall()
    return url
