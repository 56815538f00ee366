from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex

import pytest
from pymongo.uri_parser import parse_uri

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingServer, FailingSteps, OnServer, Server, WrongClocks
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living
from tests.cluster.proxy import Proxy


class OnMongoDB(OnServer):
    part = 2 / 3

    @pytest.fixture
    def url(self, mongodb_url: str) -> str:
        return mongodb_url

    @pytest.fixture
    def own_server(self, mongodb_server: Server) -> Server:
        return mongodb_server

    def place(self, url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}prefix=c{token_hex(4)}_"

    @contextmanager
    def cutting(self, url: str) -> Iterator[tuple[str, Callable[[], int]]]:
        ((host, port), *_) = parse_uri(url)["nodelist"]
        with Proxy(host, port) as proxy:
            # Directly, or the driver would ask the server for its address, and go there.
            through = url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
            yield f"{through}{'&' if '?' in url else '?'}directConnection=true", proxy.cut


class TestMongoDBCluster(OnMongoDB, Killing, FailingSteps, FailingServer, WrongClocks):
    pass


@pytest.mark.soak
class TestMongoDBClusterLiving(OnMongoDB, Edges, Inside, Halfway, Stopping, Living):
    pass
