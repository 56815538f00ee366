"""Records as documents of MongoDB, and back.

A value that is None has no field. Beside the fields of the records there are others, which exist
only while they mean something, so that the indexes over them hold what is waiting and nothing of
what is stored besides.

| of a task | |
|---|---|
| `wake_us` | when to plan it; while it is scheduled |
| `owing` | the token of its outbox; while that isn't settled (see `outbox`) |
| `outbox` | what is still to be done elsewhere |
| `gone` | true once it is removed, until its outbox is settled |
| `by` | the token of the last change |

| of a run | |
|---|---|
| `draft`, `later_us` | while it doesn't count yet (see `outbox`), and when it is to be available |
| `born` | the revision of its task that made it |
| `open_of` | the id of its task; while it isn't over |
| `queued_of`, `queued_us` | the same while it is queued, and when it is to be available |
| `follows_of`, `follows_us` | its task, and when it ended; while its task isn't moved on for it |
| `taken` | the token of the step that took it over from a dead node |
"""

from collections.abc import Mapping
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model import documents
from tickwork.model.definition import Definition, DefinitionCodec
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.stores.mongo.collection import Document

__all__ = [
    "changed",
    "node_document",
    "node_of",
    "run_document",
    "run_of",
    "task_fields",
    "task_of",
]

_BYTES = 8_000_000
"""How long the texts of a definition may be, in UTF-8: a document ends at 16 MB."""


def task_fields(task: TaskRecord, codec: DefinitionCodec) -> Document:
    """Return the fields of a task, without its id and without counts; None where it has none."""
    fields = documents.task_document(task, codec)
    for derived in ("id", "active", "queued"):
        del fields[derived]
    fields["wake_us"] = task.due_us if task.state is ScheduleState.SCHEDULED else None
    if isinstance(task.definition, Definition):
        # What can't be understood is left in these fields as it is.
        fields |= _searched(task.definition)
    _check_length(task.id, fields["definition"] + (task.declared or ""))
    return fields


def _check_length(task_id: str, text: str) -> None:
    if len(text) * 4 > _BYTES and len(text.encode("utf-8", "surrogatepass")) > _BYTES:
        raise InvalidInputError(
            f"task {task_id!r} has more than {_BYTES:,} bytes of definition and arguments; "
            "a MongoDB store takes no more: keep large data elsewhere"
        )


def _searched(definition: Definition) -> Document:
    return {
        "name": definition.name,
        "function": definition.function,
        "executor": definition.executor,
        "trigger": definition.trigger.kind,
        "tags": list(definition.tags) or None,
        "disposable": definition.disposable or None,
        "declared_in": definition.declared_in,
    }


def task_of(
    document: Mapping[str, Any], codec: DefinitionCodec, counts: tuple[int, int]
) -> TaskRecord:
    """Return the record of a task's document, with the numbers of its active and queued runs."""
    active, queued = counts
    plain = {**document, "id": document["_id"], "active": active, "queued": queued}
    return documents.task_of(plain, codec)


def run_document(run: RunRecord, born: int, *, queued: bool) -> Document:
    """Return the document of a new run."""
    document = {
        name: value for name, value in documents.run_document(run).items() if value is not None
    }
    document["_id"] = document.pop("id")
    document["born"] = born
    if run.state is RunState.PENDING:
        document["open_of"] = run.task_id
        if queued:
            document |= {"queued_of": run.task_id, "queued_us": run.due_us}
    return document


def run_of(document: Mapping[str, Any]) -> RunRecord:
    """Return the record of a run's document."""
    return documents.run_of({**document, "id": document["_id"]})


def node_document(node: NodeRecord) -> Document:
    """Return the document of a node."""
    document = documents.node_document(node)
    document["_id"] = document.pop("id")
    return document


def node_of(document: Mapping[str, Any]) -> NodeRecord:
    """Return the record of a node's document."""
    return documents.node_of({**document, "id": document["_id"]})


def changed(fields: Mapping[str, Any]) -> Document:
    """Return the change that gives a document these values; None takes a field away."""
    how: Document = {"$set": {}, "$unset": {}}
    for name, value in fields.items():
        if value is None:
            how["$unset"][name] = ""
        else:
            how["$set"][name] = value
    return {operator: values for operator, values in how.items() if values}
