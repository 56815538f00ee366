from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingServer, FailingSteps, OnServer, Server, WrongClocks
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living

_OTHERS = text(
    "SELECT id FROM information_schema.processlist "
    "WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command <> 'Killed'"
)
_NO_SUCH_THREAD = 1094


class OnMySQL(OnServer):
    @pytest.fixture
    def url(self, mysql_url: str) -> str:
        return mysql_url

    @pytest.fixture
    def own_server(self, mysql_server: Server) -> Server:
        return mysql_server

    def place(self, url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}prefix=c{uuid4().hex[:8]}_"

    @contextmanager
    def cutting(self, url: str) -> Iterator[tuple[str, Callable[[], int]]]:
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:

            def kill(thread: int) -> bool:
                try:
                    connection.exec_driver_sql(f"KILL {thread}")
                except OperationalError as error:
                    if error.orig is None or error.orig.args[0] != _NO_SUCH_THREAD:
                        raise
                    return False
                return True

            def cut() -> int:
                return sum(kill(thread) for thread in connection.scalars(_OTHERS).all())

            yield url, cut
        engine.dispose()


class TestMySQLCluster(OnMySQL, Killing, FailingSteps, FailingServer, WrongClocks):
    pass


@pytest.mark.soak
class TestMySQLClusterLiving(OnMySQL, Edges, Inside, Halfway, Stopping, Living):
    pass
