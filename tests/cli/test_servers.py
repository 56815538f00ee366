"""Tables and definitions in databases of servers."""

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from tests.cli.conftest import Tickwork
from tests.servers.tables import EmptyTables
from tickwork import Scheduler
from tickwork.stores.sql.schema import HEAD


@pytest.fixture(params=["postgres", "mysql"])
def server(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def _url(server: str, prefix: str) -> str:
    return f"{server}{'&' if '?' in server else '?'}prefix={prefix}"


def _columns(server: str, prefix: str) -> dict[str, object]:
    engine = create_engine(server)
    inspector = inspect(engine)
    names = [name for name in inspector.get_table_names() if name.startswith(prefix)]
    found = {
        name.removeprefix(prefix): (
            [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)],
            sorted(str(i["name"]).removeprefix(prefix) for i in inspector.get_indexes(name)),
        )
        for name in names
    }
    engine.dispose()
    return dict(sorted(found.items()))


def test_the_sql_makes_the_same_tables_as_a_scheduler(tickwork: Tickwork, server: str) -> None:
    places = EmptyTables(server)
    written, made = places.unused(), places.prefix()
    where = ("--store", _url(server, written))
    assert tickwork("db", "check", *where).out == (
        f"There are no tables; tickwork db upgrade makes them (version {HEAD}).\n"
    )
    engine = create_engine(server)
    with engine.begin() as connection:
        # Without a server to ask, the URL has to say which of the two it is.
        mariadb = getattr(engine.dialect, "is_mariadb", False)
        url = _url(server, written).replace("mysql", "mariadb", 1 if mariadb else 0)
        statements = tickwork("db", "sql", "--store", url).out.replace("\n", " ").split(";")
        for statement in statements:
            if statement := _bare(statement):
                connection.execute(text(statement))
    engine.dispose()
    assert tickwork("db", "check", *where).exit_code == 0
    Scheduler(_url(server, made)).connect().close()
    assert _columns(server, written) == _columns(server, made)
    places.unused()


def _bare(statement: str) -> str:
    """Return a statement without the comment before it."""
    words = statement.strip()
    while words.startswith("-- Running upgrade"):
        words = words.partition(" -> ")[2][4:].strip()
    return words


def test_definitions_move_to_a_server_whose_tables_are_examined(
    tickwork: Tickwork, store: str, server: str, tmp_path: Path
) -> None:
    prefix = EmptyTables(server).prefix()
    where = ("--store", _url(server, prefix))
    assert tickwork("db", "upgrade", *where).exit_code == 0
    file = tmp_path / "tasks.yaml"
    file.write_text(tickwork("export", "--store", store).out)
    assert tickwork("apply", str(file), *where, "--yes").out.splitlines()[-1] == "4 done, 0 failed."
    assert tickwork("diff", str(file), *where).exit_code == 0
    engine = create_engine(server)
    index = f"{prefix}ix_tasks_due"
    table = f" ON {prefix}tasks" if engine.dialect.name == "mysql" else ""
    with engine.begin() as connection:
        connection.execute(text(f"DROP INDEX {index}{table}"))
    told = json.loads(tickwork("doctor", "--json", *where).out)
    found = [each for each in told["findings"] if each["check"] == "schema"]
    assert [(each["severity"], each["about"]) for each in found] == [("warning", index)]
    with engine.begin() as connection:
        partial = "" if table else " WHERE due_us IS NOT NULL"
        connection.execute(text(f"CREATE INDEX {index} ON {prefix}tasks (due_us){partial}"))
    engine.dispose()
    assert tickwork("db", "check", *where).exit_code == 0
