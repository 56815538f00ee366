"""Rows that can't be understood are shown, kept, and in nobody's way."""

import pytest

from tests.unit.stores.conftest import Place
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.steps import Edit, TaskQuery
from tickwork.testing.store_contract.bench import NODE, T0, pending, runs_now, task

DEFINITIONS = {
    "no JSON": "{",
    "empty": "",
    "no object": "[1]",
    "a number": "7",
    "nothing in it": "{}",
    "a later version": '{"version":99,"trigger":{"kind":"quantum"}}',
    "an unknown field": '{"version":1,"function":"a:b","name":"n","trigger":{"kind":"interval",'
    '"version":1,"interval_us":1},"colour":"red"}',
    "an unknown trigger": '{"version":1,"function":"a:b","name":"n","trigger":{"kind":"quantum"}}',
    "an unknown word": '{"version":1,"function":"a:b","name":"n","coalesce":"some","trigger":'
    '{"kind":"interval","version":1,"interval_us":1}}',
    "nested too deep": "[" * 100_000,
}


def _execute(place: Place, statement: str, *parameters: object) -> None:
    with place.driver() as connection:
        connection.execute(statement, parameters)


def _content(place: Place, table: str) -> list[tuple[object, ...]]:
    with place.driver() as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608


@pytest.mark.parametrize("what", DEFINITIONS)
def test_a_corrupted_definition_is_shown_and_kept(opened: Place, what: str) -> None:
    text, bench = DEFINITIONS[what], opened.bench
    bench.put(task("bad", T0 - 1, tags=("x",)), task("good"))
    bench.register(NODE)
    _execute(opened, "UPDATE tickwork_tasks SET definition = ? WHERE id = 'bad'", text)
    before = _content(opened, "tickwork_tasks")
    shown = bench.task("bad")
    assert isinstance(shown.definition, Unreadable)
    assert (shown.definition.text, shown.due_us) == (text, T0 - 1)
    assert shown.definition.reason
    assert [each.id for each in bench.reader.find_tasks(TaskQuery(tag="x"))] == ["bad"]
    assert _content(opened, "tickwork_tasks") == before
    # It is due, so planning names it, and plans the others.
    reply = bench.plan(limit=2)
    assert [each.run.task_id for each in reply.leased] == ["good"]
    assert [name for name, _ in reply.deferred] == ["bad"]
    assert _content(opened, "tickwork_tasks")[0] == before[0]


def test_writing_about_an_unreadable_task_keeps_its_words(opened: Place) -> None:
    # A node of a later version still has to find it by its function, executor and tags.
    bench = opened.bench
    bench.put(task(tags=("x",)))
    text = DEFINITIONS["a later version"]
    _execute(opened, "UPDATE tickwork_tasks SET definition = ?", text)
    columns = "definition, name, function, executor, trigger_kind, tags, disposable, due_us, state"
    with opened.driver() as connection:
        query = f"SELECT {columns} FROM tickwork_tasks"  # noqa: S608
        before = connection.execute(query).fetchall()
        bench.edit(runs_now(pending(None)))
        bench.edit(lambda record: Edit(record, cancel_pending="no"))
        assert connection.execute(query).fetchall() == before
    assert bench.active() == (0, 0)


def test_tasks_in_an_unknown_state_are_shown_and_not_planned(opened: Place) -> None:
    bench = opened.bench
    bench.put(task("odd"), task("good"))
    _execute(opened, "UPDATE tickwork_tasks SET state = 'asleep' WHERE id = 'odd'")
    assert bench.task("odd").state is ScheduleState.PAUSED
    assert len(bench.dump().tasks) == 2
    assert bench.reader.counts()["scheduled"] == 1
    assert [each.run.task_id for each in bench.plan().leased] == ["good"]
    assert bench.plan().next_us is None
    assert "asleep" in _content(opened, "tickwork_tasks")[1]


def test_runs_in_an_unknown_state_are_shown_and_not_leased(opened: Place) -> None:
    bench = opened.bench
    bench.put(task("a", None), task("b", None))
    bench.edit(runs_now(pending(None)), "a", "b")
    _execute(
        opened, "UPDATE tickwork_runs SET state = 'asleep', source = 'dream' WHERE task_id = 'a'"
    )
    before = _content(opened, "tickwork_runs")
    [odd] = bench.runs("a")
    assert odd.state is RunState.LOST
    assert odd.reason is not None
    assert "'asleep'" in odd.reason
    assert len(bench.runs()) == 2
    assert _content(opened, "tickwork_runs") == before
    assert [each.run.task_id for each in bench.lease().leased] == ["b"]
    assert bench.lease().next_us is None


def test_nodes_with_garbled_lists_are_shown(opened: Place) -> None:
    opened.bench.register(NODE)
    _execute(opened, "UPDATE tickwork_nodes SET executors = '{', unresolved = '7'")
    [node] = opened.bench.reader.nodes()
    assert (node.id, node.executors, node.unresolved) == (NODE, (), ())


def test_a_definition_stays_as_it_was_written(opened: Place) -> None:
    bench = opened.bench
    bench.put(task(name="ä 'quoted' %"))
    definition = bench.task().definition
    assert isinstance(definition, Definition)
    with opened.driver() as connection:
        [(text,)] = connection.execute("SELECT definition FROM tickwork_tasks")
    assert text == bench.codec.encode(definition)
