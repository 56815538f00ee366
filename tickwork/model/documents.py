"""Records as flat documents of JSON values, for stores that keep documents instead of rows.

Names and units are those of the records. A word that a later version wrote comes back as one that
lets nothing happen to the record; who only reads it changes nothing.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord

__all__ = [
    "definition_text",
    "node_document",
    "node_of",
    "run_document",
    "run_of",
    "task_document",
    "task_of",
]

_RUN_STATES = {state.value: state for state in RunState}
_SOURCES = {source.value: source for source in Source}
_TASK_STATES = {state.value: state for state in ScheduleState}

_OF_TASK = tuple(
    each.name for each in fields(TaskRecord) if each.name not in {"definition", "state", "timing"}
)
_OF_RUN = tuple(
    each.name for each in fields(RunRecord) if each.name not in {"state", "source", "definition"}
)
_OF_NODE = tuple(each.name for each in fields(NodeRecord))


def task_document(task: TaskRecord, codec: DefinitionCodec) -> dict[str, Any]:
    """Return the document of a task; `definition` is the text of it."""
    document: dict[str, Any] = {name: getattr(task, name) for name in _OF_TASK}
    document["state"] = task.state.value
    document["definition"] = definition_text(task.definition, codec)
    return document


def definition_text(definition: Definition | Unreadable, codec: DefinitionCodec) -> str:
    """Return the text of a definition, also of one that can't be understood."""
    return codec.encode(definition) if isinstance(definition, Definition) else definition.text


def task_of(document: Mapping[str, Any], codec: DefinitionCodec) -> TaskRecord:
    """Return the record of a task's document, also of one that can't be understood."""
    return TaskRecord(
        definition=codec.read(document["definition"]),
        state=_TASK_STATES.get(document["state"], ScheduleState.PAUSED),
        **{name: document[name] for name in _OF_TASK if name in document},
    )


def run_document(run: RunRecord, codec: DefinitionCodec) -> dict[str, Any]:
    """Return the document of a run; `definition` is the text of it, None where it has none."""
    document: dict[str, Any] = {name: getattr(run, name) for name in _OF_RUN}
    document["state"] = run.state.value
    document["source"] = run.source.value
    own = run.definition
    document["definition"] = None if own is None else definition_text(own, codec)
    return document


def run_of(document: Mapping[str, Any], codec: DefinitionCodec) -> RunRecord:
    """Return the record of a run's document."""
    word = document["state"]
    own = document.get("definition")
    run = RunRecord(
        state=_RUN_STATES.get(word, RunState.LOST),
        source=_SOURCES.get(document["source"], Source.SCHEDULED),
        definition=None if own is None else codec.read(own),
        **{name: document[name] for name in _OF_RUN if name in document},
    )
    if word not in _RUN_STATES:
        run.reason = f"its state {word!r} isn't known here: update tickwork"
    return run


def node_document(node: NodeRecord) -> dict[str, Any]:
    """Return the document of a node."""
    document: dict[str, Any] = {name: getattr(node, name) for name in _OF_NODE}
    return {**document, "executors": list(node.executors), "unresolved": list(node.unresolved)}


def node_of(document: Mapping[str, Any]) -> NodeRecord:
    """Return the record of a node's document."""
    data = {name: document[name] for name in _OF_NODE if name in document}
    for name in ("executors", "unresolved"):
        data[name] = tuple(data.get(name, ()))
    return NodeRecord(**data)
