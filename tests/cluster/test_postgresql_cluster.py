from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingServer, FailingSteps, OnServer, Server, WrongClocks
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living

_CUT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class OnPostgreSQL(OnServer):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url

    @pytest.fixture
    def own_server(self, postgres_server: Server) -> Server:
        return postgres_server

    def place(self, url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}prefix=c{uuid4().hex[:8]}_"

    @contextmanager
    def cutting(self, url: str) -> Iterator[tuple[str, Callable[[], int]]]:
        address = make_url(url).set(drivername="postgresql")
        with psycopg.connect(
            address.render_as_string(hide_password=False), autocommit=True
        ) as connection:

            def cut() -> int:
                (count,) = connection.execute(_CUT).fetchone() or (0,)
                return int(count)

            yield url, cut


class TestPostgreSQLCluster(
    OnPostgreSQL, Killing, FailingSteps, FailingServer, WrongClocks, Inside
):
    pass


@pytest.mark.soak
class TestPostgreSQLClusterLiving(OnPostgreSQL, Edges, Halfway, Stopping, Living):
    pass
