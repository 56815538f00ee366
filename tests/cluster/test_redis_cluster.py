from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingServer, FailingSteps, OnServer, Server, WrongClocks
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living


class SyncedRedis:
    """A server whose log holds all that was answered, whatever happens to it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sync()

    @property
    def url(self) -> str:
        return self._server.url

    def crash(self) -> None:
        self._server.crash()

    def restart(self) -> None:
        self._server.restart()
        self._sync()

    def _sync(self) -> None:
        with Redis.from_url(self.url) as client:
            client.config_set("appendfsync", "always")


class OnRedis(OnServer):
    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    def own_server(self, redis_server: Server) -> Server:
        return SyncedRedis(redis_server)

    def place(self, url: str) -> dict[str, Any]:
        return {"type": "redis", "url": url, "prefix": f"cluster-{uuid4().hex}"}

    @contextmanager
    def cutting(self, url: str) -> Iterator[tuple[str, Callable[[], int]]]:
        with Redis.from_url(url, single_connection_client=True) as client:

            def cut() -> int:
                kinds = ("normal", "pubsub")
                return sum(client.client_kill_filter(_type=kind, skipme=True) for kind in kinds)

            yield url, cut


class TestRedisCluster(OnRedis, Killing, FailingSteps, FailingServer, WrongClocks):
    pass


@pytest.mark.soak
class TestRedisClusterLiving(OnRedis, Edges, Inside, Halfway, Stopping, Living):
    pass
