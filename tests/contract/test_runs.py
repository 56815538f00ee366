"""What becomes of runs, on every store."""

from tests.contract.test_store_file import FileCase
from tests.contract.test_store_mongodb import MongoDBCase
from tests.contract.test_store_mysql import MySQLCase
from tests.contract.test_store_postgresql import PostgreSQLCase
from tests.contract.test_store_redis import RedisCase
from tests.contract.test_store_sqlite import SQLiteCase
from tickwork.stores.memory import MemoryStore
from tickwork.testing.runs_contract import RunsContract


class TestMemoryRuns(RunsContract):
    def make_store(self) -> MemoryStore:
        return MemoryStore()


class TestFileRuns(FileCase, RunsContract):
    pass


class TestSQLiteRuns(SQLiteCase, RunsContract):
    pass


class TestPostgreSQLRuns(PostgreSQLCase, RunsContract):
    pass


class TestMySQLRuns(MySQLCase, RunsContract):
    pass


class TestRedisRuns(RedisCase, RunsContract):
    pass


class TestMongoDBRuns(MongoDBCase, RunsContract):
    pass
