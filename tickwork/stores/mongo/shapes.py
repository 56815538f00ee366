"""Records as documents of MongoDB, and back.

A value that is None has no field. Beside the fields of the records there are others, which exist
only while they mean something, so that the indexes over them hold what is waiting and nothing of
what is stored besides.

| of a task | |
|---|---|
| `wake_us` | when to plan it; while it is scheduled, or paused until then |
| `owing` | the token of its outbox; while that isn't settled (see `outbox`) |
| `outbox` | what is still to be done elsewhere |
| `gone` | true once it is removed, until its outbox is settled |
| `by` | the token of the last change |

| of a run | |
|---|---|
| `draft`, `later_us` | while it doesn't count yet (see `outbox`), and when it is to be available |
| `born` | the revision of its task that made it, if it has a task |
| `open_of` | the id of its task; while it isn't over, or still leased |
| `queued_of`, `queued_us` | the same while it is queued, and when it is to be available |
| `gate` | its key; while it isn't over, or still leased |
| `opens` | its key; while somebody has to look after that for its sake (see `gates`) |
| `follows_of` | the id of its task; while that isn't moved on for its end |
| `taken` | the token of the step that took it over from a dead node |
"""

from collections.abc import Mapping
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model import documents
from tickwork.model.definition import Definition, DefinitionCodec
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.stores.mongo.collection import Document

__all__ = [
    "changed",
    "ended",
    "fitting",
    "node_document",
    "node_of",
    "run_document",
    "run_of",
    "run_of_task",
    "task_fields",
    "task_of",
]

_BYTES = 8_000_000
"""How long the texts of a task's definition may be, in UTF-8: a document ends at 16 MB."""

_BYTES_OF_OWN = 4_000_000
"""How long the definition of a run may be, which has other long texts besides."""

_BYTES_OF = {
    "result": 5_000_000,
    "errors": 3_000_000,
    "reason": 2_000_000,
    "log": 1_500_000,
    "progress": 500_000,
}
"""How long these are."""

_LONGEST_CHARACTER = 4

_ENDED = ("available_us", "queued_us", "queued_of", "gated_us", "holds_key", "open_of")
"""What a run has no more once it is over."""


def task_fields(task: TaskRecord, codec: DefinitionCodec) -> Document:
    """Return the fields of a task, without its id and without counts; None where it has none."""
    fields = documents.task_document(task, codec)
    for derived in ("id", "active", "queued"):
        del fields[derived]
    fields["wake_us"] = task.wake_us
    if isinstance(task.definition, Definition):
        # What can't be understood is left in these fields as it is.
        fields |= _searched(task.definition)
    _check_length(f"task {task.id!r}", fields["definition"] + (task.declared or ""), _BYTES)
    return fields


def _check_length(whose: str, text: str, limit: int) -> None:
    if _is_longer(text, limit):
        raise InvalidInputError(
            f"{whose} has more than {limit:,} bytes of definition and arguments; "
            "a MongoDB store takes no more: keep large data elsewhere"
        )


def _is_longer(text: str | None, limit: int) -> bool:
    return (
        text is not None
        and len(text) * _LONGEST_CHARACTER > limit
        and len(text.encode("utf-8", "surrogatepass")) > limit
    )


def fitting(fields: Document) -> Document:
    """Return fields of a run without texts that are too long: it goes on, whatever it says."""
    too_long = [name for name, limit in _BYTES_OF.items() if _is_longer(fields.get(name), limit)]
    if not too_long:
        return fields
    note = f"too long for MongoDB, and not kept: {', '.join(too_long)}"
    return {**fields, **dict.fromkeys(too_long), "reason": note}


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


def run_document(run: RunRecord, codec: DefinitionCodec) -> Document:
    """Return the document of a new run."""
    fields = documents.run_document(run, codec).items()
    document = {name: value for name, value in fields if value is not None}
    document["_id"] = document.pop("id")
    if run.definition is not None:
        _check_length(f"the run of {run.task_id!r}", document["definition"], _BYTES_OF_OWN)
    if run.key is not None and run.state is RunState.PENDING:
        document["gate"] = run.key
    return document


def run_of_task(run: RunRecord, codec: DefinitionCodec, born: int, *, queued: bool) -> Document:
    """Return the document of a new run of a task, as it stands in an outbox."""
    document = run_document(run, codec)
    document["born"] = born
    if run.state is RunState.PENDING:
        document["open_of"] = run.task_id
        if queued:
            document |= {"queued_of": run.task_id, "queued_us": run.due_us}
    return document


def run_of(document: Mapping[str, Any], codec: DefinitionCodec) -> RunRecord:
    """Return the record of a run's document."""
    return documents.run_of({**document, "id": document["_id"]}, codec)


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


def ended(fields: Mapping[str, Any]) -> Document:
    """Return the change that ends a run, and gives it these values.

    Where it has a key, somebody has to look after that from then on.
    """
    over = changed({**dict.fromkeys(_ENDED), **fields})
    return {**over, "$rename": {"gate": "opens"}}
