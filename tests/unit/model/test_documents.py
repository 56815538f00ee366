import json
from dataclasses import replace

from tickwork.model.definition import DefinitionCodec, Unreadable
from tickwork.model.documents import (
    node_document,
    node_of,
    run_document,
    run_of,
    task_document,
    task_of,
)
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import NodeRecord, RunRecord
from tickwork.testing.store_contract.bench import T0, task
from tickwork.wiring import load_trigger

CODEC = DefinitionCodec(load_trigger)


def through_text(document: dict[str, object]) -> dict[str, object]:
    read: dict[str, object] = json.loads(json.dumps(document))
    return read


def test_a_task_comes_back_as_it_was() -> None:
    record = task(state=ScheduleState.PAUSED, tags=("a", "b"), active=3, problem="no function")
    assert task_of(through_text(task_document(record, CODEC)), CODEC) == record


def test_a_definition_that_cannot_be_understood_keeps_its_text() -> None:
    record = replace(task(), definition=Unreadable('{"version":99}', "of version 99"))
    document = through_text(task_document(record, CODEC))
    assert document["definition"] == '{"version":99}'
    assert isinstance(task_of(document, CODEC).definition, Unreadable)


def test_a_run_comes_back_as_it_was() -> None:
    record = RunRecord(
        id="r", task_id="t", generation=2, state=RunState.FAILED, source=Source.MANUAL, due_us=T0
    )
    assert run_of(through_text(run_document(record, CODEC)), CODEC) == record
    own = replace(record, definition=task().definition)
    assert run_of(through_text(run_document(own, CODEC)), CODEC) == own


def test_a_run_in_an_unknown_state_is_shown_as_such() -> None:
    record = RunRecord(id="r", task_id="t", generation=1, state=RunState.PENDING)
    shown = run_of({**run_document(record, CODEC), "state": "hibernating"}, CODEC)
    assert shown.state is RunState.LOST
    assert shown.reason == "its state 'hibernating' isn't known here: update tickwork"


def test_a_node_comes_back_as_it_was() -> None:
    record = NodeRecord(id="n", host="h", pid=7, executors=("asyncio",), unresolved=("m:f",))
    assert node_of(through_text(node_document(record))) == record
