"""The schema on servers: the same as elsewhere, made once, and healed where making it broke off."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

from tests.servers.tables import EmptyTables
from tests.unit.stores.sql_older import VERSIONS, Older
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.schema import HEAD, indexes_of, tables
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task


class Place:
    """A prefix without tables."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = EmptyTables(url).unused()
        self.engine = create_engine(url)
        self.postgresql = self.engine.dialect.name == "postgresql"

    def open(self, where: Engine | None = None) -> Bench:
        """Open a store there, which makes the tables."""
        store = SQLStore(where or self.url, prefix=self.prefix)
        bench = Bench(store, store)
        bench.open()
        return bench

    def check(self) -> None:
        """Compare the tables that are there with those of the schema."""
        expected = tables(self.prefix)
        found = inspect(self.engine)
        names = {name for name in found.get_table_names() if name.startswith(self.prefix)}
        fences = set() if self.postgresql else {expected.fences}
        assert names == {f"{self.prefix}version", *fences, *expected.metadata.tables}
        for table in expected.metadata.sorted_tables:
            columns = {each["name"]: each["nullable"] for each in found.get_columns(table.name)}
            assert columns == {each.name: bool(each.nullable) for each in table.columns}
            indexes = {each["name"]: each["unique"] for each in found.get_indexes(table.name)}
            wanted = indexes_of(table, some=self.postgresql)
            assert indexes == {str(each.name): each.unique for each in wanted}
        with self.engine.connect() as connection:
            versions = connection.execute(text(f"SELECT version_num FROM {self.prefix}version"))  # noqa: S608
            assert versions.scalars().all() == [HEAD]
            if self.postgresql:
                options = "SELECT reloptions FROM pg_class WHERE relname = :name"
                words = {"name": expected.tasks.name}
                assert connection.execute(text(options), words).scalar() == ["fillfactor=60"]


@pytest.fixture(params=["postgres", "mysql"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(request.getfixturevalue(f"{request.param}_url"))
    yield place
    place.engine.dispose()


def test_migrations_make_exactly_the_schema(place: Place) -> None:
    place.open().close()
    place.check()
    before = inspect(place.engine).get_table_names()
    place.open().close()
    assert inspect(place.engine).get_table_names() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_older_tables_are_brought_up_to_date_with_what_is_in_them(
    place: Place, version: str
) -> None:
    older = Older(place.prefix, version)
    with place.engine.connect() as connection:
        older.make(connection)
        connection.commit()
    bench = place.open()
    place.check()
    older.check(bench)
    bench.close()


# Every one of the few statements of the newest migration, and some of all.
@pytest.mark.parametrize(
    ("version", "step", "until"),
    [("0001", 5, (35, 30)), ("0002", 3, (12, 9)), ("0003", 1, (8, 4)), ("0004", 1, (2, 1))],
)
def test_an_upgrade_that_breaks_off_anywhere_is_made_good(
    place: Place, version: str, step: int, until: tuple[int, int]
) -> None:
    after = 0
    while True:
        older = Older(place.prefix, version)
        with place.engine.connect() as connection:
            older.make(connection)
            connection.commit()
        broke_off = _breaks_off(place, after)
        bench = place.open()
        place.check()
        older.check(bench)
        bench.close()
        if not broke_off:
            break
        place.prefix = EmptyTables(place.url).unused()
        after += step
    # Only PostgreSQL has indexes of some rows.
    assert after == until[not place.postgresql]


def test_a_migration_takes_as_long_as_it_takes(place: Place) -> None:
    store = SQLStore(place.url, prefix=place.prefix)
    bench = Bench(store, store)
    bench.open()
    database = store._session.database  # noqa: SLF001
    with database.writing() as connection:
        before = _limits(connection)
        with database.backend.alone(connection, place.prefix):
            assert _limits(connection) == ((inf, 0) if place.postgresql else (None, 0))
        after = _limits(connection)
    # On PostgreSQL the time of a statement is unlimited to the end of the transaction.
    assert (before, after) == ((25, 20), (25, 0 if place.postgresql else 20))
    bench.close()


def _limits(connection: Connection) -> tuple[float | None, float]:
    """Return how many seconds an answer, and a statement, may take."""
    driver: Any = connection.connection.dbapi_connection
    if hasattr(driver, "patience_s"):
        shown = str(connection.execute(text("SHOW statement_timeout")).scalar())
        return driver.patience_s, float(shown.removesuffix("s"))
    if "MariaDB" not in driver.server_version:
        pytest.skip("only MariaDB can be told how long a statement may take")
    limit: float = connection.execute(text("SELECT @@max_statement_time")).scalar_one()
    return driver._read_timeout, limit  # noqa: SLF001


def test_many_may_open_a_new_database_at_once(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        benches = list(pool.map(lambda _: place.open(), range(8)))
    for number, bench in enumerate(benches):
        bench.put(task(f"t{number}"))
    assert len(benches[0].dump().tasks) == 8
    for bench in benches:
        bench.close()
    place.check()


def test_a_migration_that_breaks_off_anywhere_is_made_good(place: Place) -> None:
    after = 0
    while _breaks_off(place, after):
        place.open().close()
        place.check()
        place.prefix = EmptyTables(place.url).unused()
        # Among these: within a table's indexes and columns, and before a version is written.
        after += 3
    assert after == (51 if place.postgresql else 45)


def _breaks_off(place: Place, after: int) -> bool:
    """Open a store, and fail before the statement that comes after so many."""
    engine = create_engine(place.url)
    made = 0

    def fail(_: Connection, __: Any, statement: str, *___: Any) -> None:
        nonlocal made
        if statement.lstrip().startswith(("CREATE", "INSERT", "ALTER", "DROP", "UPDATE")):
            made += 1
            if made > after:
                raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", fail)
    try:
        place.open(engine).close()
    except KeyboardInterrupt:
        return True
    finally:
        engine.dispose()
    return False


def test_texts_are_compared_character_by_character(place: Place) -> None:
    bench = place.open()
    query = (
        "SELECT column_name, collation_name FROM information_schema.columns "
        "WHERE table_name LIKE :prefix AND column_name <> 'version_num' "
        "AND data_type IN ('text', 'character varying', 'longtext', 'varchar')"
    )
    with place.engine.connect() as connection:
        found = connection.execute(text(query), {"prefix": f"{place.prefix}%"}).all()
    assert {row[1] for row in found} <= {"C", "utf8mb4_nopad_bin", "utf8mb4_0900_bin"}
    assert len(found) == 41
    ids = ["a", "B", "a ", "ä", "z", "Z", "_", "\U0001f570"]
    bench.put(*(task(each) for each in ids))
    assert list(bench.dump().tasks) == sorted(ids)
    bench.close()
