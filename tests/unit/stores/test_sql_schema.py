"""The schema: made by migrations, known by its version, never touched by an older tickwork."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from tests.unit.stores.conftest import Place
from tests.unit.stores.sql_older import VERSIONS, Older
from tickwork.errors import StoreError, StoreUnavailableError
from tickwork.stores.sql import migration
from tickwork.stores.sql.migration import MIGRATIONS
from tickwork.stores.sql.schema import HEAD, tables
from tickwork.testing.store_contract.bench import task


def _differences(place: Place, prefix: str) -> list[Any]:
    engine = create_engine(place.url)
    mine = lambda name, kind, _: kind != "table" or str(name).startswith(prefix)  # noqa: E731
    with engine.connect() as connection:
        options = {
            "version_table": f"{prefix}version",
            "compare_type": True,
            "include_name": mine,
        }
        context = MigrationContext.configure(connection, opts=options)
        found: list[Any] = compare_metadata(context, tables(prefix).metadata)
    engine.dispose()
    return found


def _schema(place: Place) -> list[tuple[str, ...]]:
    with place.driver() as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_migrations_make_exactly_the_schema(opened: Place) -> None:
    assert _differences(opened, "tickwork_") == []


def test_indexes_and_their_conditions_are_those_of_the_schema(opened: Place) -> None:
    # alembic compares neither the order of columns nor conditions.
    engine = create_engine("sqlite://")
    expected = tables("tickwork_").metadata
    expected.create_all(engine)
    with engine.connect() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        wanted = {name: sql.lower() for name, sql in connection.exec_driver_sql(query)}
    engine.dispose()
    made = {name: sql.lower() for name, sql in _schema(opened) if name in wanted}
    assert made == wanted


def test_the_newest_migration_is_the_schemas() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_opening_again_changes_nothing(opened: Place) -> None:
    opened.bench.put(task())
    before = _schema(opened)
    opened.open(opened.store()).close()
    assert _schema(opened) == before
    assert opened.bench.task() == task()


@pytest.mark.parametrize("version", VERSIONS)
def test_older_tables_are_brought_up_to_date_with_what_is_in_them(
    place: Place, version: str
) -> None:
    older = Older("tickwork_", version)
    engine = create_engine(place.url)
    with engine.begin() as connection:
        older.make(connection)
    engine.dispose()
    place.bench.open()
    assert _differences(place, "tickwork_") == []
    older.check(place.bench)


def test_a_newer_schema_is_refused_untouched(opened: Place) -> None:
    opened.bench.put(task())
    opened.bench.close()
    with opened.driver() as connection:
        connection.execute("UPDATE tickwork_version SET version_num = '9999'")
        connection.execute("CREATE TABLE tickwork_new (x)")
        before = list(connection.iterdump())
        with pytest.raises(StoreError, match=r"version 9999.*update tickwork here") as caught:
            opened.open(opened.store())
        assert not isinstance(caught.value, StoreUnavailableError)
        assert list(connection.iterdump()) == before


def test_a_migration_that_fails_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = migration._run_migrations  # noqa: SLF001  the place between migrating and committing

    def failing(connection: Any, prefix: str) -> None:
        original(connection, prefix)
        raise KeyboardInterrupt

    monkeypatch.setattr(migration, "_run_migrations", failing)
    with pytest.raises(KeyboardInterrupt):
        place.open(place.store())
    assert _schema(place) == []
    monkeypatch.undo()
    place.bench.open()
    assert _differences(place, "tickwork_") == []


def test_many_may_open_a_new_database_at_once(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: place.open(place.store()), range(8)))
    assert [dict(store.counts())["scheduled"] for store in stores] == [0] * 8
    with place.driver() as connection:
        assert connection.execute("SELECT count(*) FROM tickwork_version").fetchone() == (1,)


def test_prefixes_keep_stores_apart(place: Place) -> None:
    one, other = place.open(place.store(prefix="a_")), place.open(place.store(prefix="b_"))
    one.put([task()], lambda *_: None, str)  # type: ignore[arg-type]
    assert one.get_task("task") == task()
    assert other.get_task("task") is None
    assert _differences(place, "a_") == _differences(place, "b_") == []
    engine = create_engine(place.url)
    names = inspect(engine).get_table_names()
    engine.dispose()
    assert len(names) == 14
    assert {name[:2] for name in names} == {"a_", "b_"}
