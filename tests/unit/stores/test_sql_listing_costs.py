"""What it costs to find little among much, in SQLite."""

import pytest

from tests.unit.stores.conftest import Place
from tests.unit.stores.sql_listings import LISTINGS, TROUBLE, how_many
from tests.unit.stores.test_sql_costs import crowded, plans, statements
from tickwork.model.steps import RunQuery
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract.bench import T0

__all__ = ["crowded"]


@pytest.fixture(params=["analysed", "never analysed"])
def troubled(request: pytest.FixtureRequest, crowded: Place) -> Place:
    with crowded.driver() as connection:
        for statement in TROUBLE:
            connection.execute(statement.format(runs="tickwork_runs"))
        connection.execute("ANALYZE" if request.param == "analysed" else "DROP TABLE sqlite_stat1")
    return crowded


def test_little_is_found_through_an_index_of_it(troubled: Place) -> None:
    bench, store = troubled.bench, troubled.bench.store
    assert isinstance(store, SQLStore)
    for name, listing in LISTINGS.items():
        with statements(store) as sent:
            found = listing.look(bench)
        assert how_many(found) == listing.found, name
        assert tuple(plans(troubled, sent)) == listing.plan, name


def test_runs_since_an_instant_are_found_by_the_beginning_of_their_ids(troubled: Place) -> None:
    bench, store = troubled.bench, troubled.bench.store
    assert isinstance(store, SQLStore)
    with statements(store) as sent:
        assert bench.reader.find_runs(RunQuery(since_us=T0 + 10**13)) == []
    [plan] = plans(troubled, sent)
    assert plan == "SEARCH tickwork_runs USING INDEX sqlite_autoindex_tickwork_runs_1 (id>?)"
