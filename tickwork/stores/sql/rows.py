"""Rows as records, and records as rows."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import Row

from tickwork.model.definition import Definition, DefinitionCodec
from tickwork.model.documents import definition_text
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord

__all__ = [
    "NEW_RUN",
    "NEW_TASK",
    "PLANABLE",
    "RUN",
    "SPECIAL_NEW_RUN",
    "SUBMITTED_RUN",
    "is_special",
    "new_run_row",
    "new_task_rows",
    "node_of",
    "node_row",
    "planable_of",
    "run_of",
    "special_new_run_row",
    "submitted_run_row",
    "task_of",
    "task_row",
    "word_of",
]

_RUN_STATES = {state.value: state for state in RunState}
_SOURCES = {source.value: source for source in Source}
_TASK_STATES = {state.value: state for state in ScheduleState}
_WORDS: dict[str, str] = {
    word: word.value for kind in (RunState, ScheduleState, Source) for word in kind
}

_PLAIN_IN_RUN = tuple(
    each.name
    for each in fields(RunRecord)
    if each.name not in {"state", "source", "exact", "suspect", "definition", "holds_key"}
)

RUN = (*_PLAIN_IN_RUN, "state", "source", "exact", "suspect", "definition", "held_key")
"""The columns of a run that its record is made of."""

PLANABLE = (
    "id",
    "state",
    "definition",
    "generation",
    "revision",
    "fire_us",
    "due_us",
    "anchor_us",
    "planned_us",
    "catchup_us",
    "active",
    "queued",
    "made",
    "paused_reason",
)
"""The columns of a task that planning needs."""

_SAME_IN_TASK = (
    "id",
    "generation",
    "revision",
    "fire_us",
    "due_us",
    "anchor_us",
    "planned_us",
    "catchup_us",
    "active",
    "queued",
    "made",
    "streak",
    "declared",
    "problem",
    "paused_reason",
    "created_us",
    "updated_us",
)

_same_in_task: Callable[[TaskRecord], tuple[Any, ...]] = attrgetter(*_SAME_IN_TASK)

_OF_DEFINITION = (
    "definition",
    "name",
    "function",
    "executor",
    "trigger_kind",
    "tags",
    "disposable",
    "declared_in",
)

NEW_TASK = (*_SAME_IN_TASK, "state", *_OF_DEFINITION)
"""The columns of `new_task_rows`."""


def task_of(row: Row[Any], codec: DefinitionCodec) -> TaskRecord:
    """Return the record of a task's row, also of one that can't be understood."""
    return TaskRecord(
        definition=codec.read(row.definition),
        state=_TASK_STATES.get(row.state, ScheduleState.PAUSED),
        **{name: getattr(row, name) for name in _SAME_IN_TASK},
    )


def planable_of(row: Sequence[Any], codec: DefinitionCodec) -> TaskRecord:
    """Return the part of a task's row that planning needs; its columns are `PLANABLE`."""
    return TaskRecord(
        id=row[0],
        state=_TASK_STATES[row[1]],
        definition=codec.read(row[2]),
        generation=row[3],
        revision=row[4],
        fire_us=row[5],
        due_us=row[6],
        anchor_us=row[7],
        planned_us=row[8],
        catchup_us=row[9],
        active=row[10],
        queued=row[11],
        made=row[12],
        paused_reason=row[13],
    )


def task_row(task: TaskRecord, codec: DefinitionCodec) -> dict[str, Any]:
    """Return the row of a task."""
    row: dict[str, Any] = {name: getattr(task, name) for name in _SAME_IN_TASK}
    row["state"] = _WORDS[task.state]
    definition = task.definition
    if isinstance(definition, Definition):
        # What can't be understood is left in its columns as it is.
        row |= zip(_OF_DEFINITION, _columns_of(definition, codec), strict=True)
    return row


def new_task_rows(tasks: Sequence[TaskRecord], codec: DefinitionCodec) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of new tasks, with the columns of `NEW_TASK`."""
    latest: object = None
    columns: tuple[Any, ...] = ()
    for task in tasks:
        definition = task.definition
        # Tasks that are added together are often alike.
        if definition is not latest:
            latest = definition
            columns = _columns_of(cast("Definition", definition), codec)
        yield (*_same_in_task(task), _WORDS[task.state], *columns)


def _columns_of(definition: Definition, codec: DefinitionCodec) -> tuple[Any, ...]:
    return (
        codec.encode(definition),
        definition.name,
        definition.function,
        definition.executor,
        definition.trigger.kind,
        # How a tag is found in this text: see `listing`.
        json.dumps(definition.tags, ensure_ascii=False) if definition.tags else "",
        definition.disposable,
        definition.declared_in,
    )


def run_of(row: Row[Any], codec: DefinitionCodec) -> RunRecord:
    """Return the record of a run's row, which begins with the columns of `RUN`."""
    run = RunRecord(
        state=_RUN_STATES.get(row.state, RunState.LOST),
        source=_SOURCES.get(row.source, Source.SCHEDULED),
        exact=bool(row.exact),
        suspect=bool(row.suspect),
        definition=None if row.definition is None else codec.read(row.definition),
        holds_key=row.held_key is not None,
        # By place: by name it would take twice as long.
        **dict(zip(_PLAIN_IN_RUN, row, strict=False)),
    )
    if row.state not in _RUN_STATES:
        run.reason = f"its state {row.state!r} isn't known here: update tickwork"
    return run


NEW_RUN = (
    "id",
    "task_id",
    "generation",
    "state",
    "source",
    "fire_us",
    "due_us",
    "first_us",
    "last_us",
    "fire_count",
    "exact",
    "function",
    "executor",
    "attempt",
    "available_us",
    "node",
    "fence",
    "created_us",
    "finished_us",
    "reason",
    "queued_us",
)
"""The columns of a run that was just made; the others have their defaults."""

SPECIAL_NEW_RUN = (*NEW_RUN, "retry_of", "rank", "key", "key_limit", "awaited_key", "gated_us")
"""The columns of a new run for which `is_special` holds."""

SUBMITTED_RUN = (*_PLAIN_IN_RUN, "state", "source", "exact", "suspect", "definition", "awaited_key")
"""The columns of a run that was made elsewhere."""


def new_run_row(run: RunRecord, *, queued: bool) -> tuple[Any, ...]:
    """Return the row of a run that was just made, in the order of `NEW_RUN`."""
    return (
        run.id,
        run.task_id,
        run.generation,
        _WORDS[run.state],
        _WORDS[run.source],
        run.fire_us,
        run.due_us,
        run.first_us,
        run.last_us,
        run.fire_count,
        run.exact,
        run.function,
        run.executor,
        run.attempt,
        run.available_us,
        run.node,
        run.fence,
        run.created_us,
        run.finished_us,
        run.reason,
        run.due_us if queued else None,
    )


def is_special(run: RunRecord) -> bool:
    """Whether a run that was just made needs more columns than most."""
    return run.key is not None or run.rank != 0 or run.retry_of is not None


def special_new_run_row(run: RunRecord, *, queued: bool) -> tuple[Any, ...]:
    """Return the row of a run that was just made, in the order of `SPECIAL_NEW_RUN`."""
    awaited = None if run.gated_us is None else run.key
    plain = new_run_row(run, queued=queued)
    return (*plain, run.retry_of, run.rank, run.key, run.key_limit, awaited, run.gated_us)


def submitted_run_row(run: RunRecord, codec: DefinitionCodec) -> tuple[Any, ...]:
    """Return the row of a run that is available or gated, in the order of `SUBMITTED_RUN`."""
    own = run.definition
    return (
        *(getattr(run, name) for name in _PLAIN_IN_RUN),
        _WORDS[run.state],
        _WORDS[run.source],
        run.exact,
        run.suspect,
        None if own is None else definition_text(own, codec),
        None if run.gated_us is None else run.key,
    )


def word_of(word: RunState | ScheduleState | Source) -> str:
    """Return a word as the plain text that drivers take; faster than its `.value`."""
    return _WORDS[word]


def node_of(row: Row[Any]) -> NodeRecord:
    """Return the record of a node's row."""
    data = dict(row._mapping)  # noqa: SLF001  as above
    lists = {name: _words(data[name]) for name in ("executors", "unresolved")}
    return NodeRecord(**{**data, **lists})


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(json.loads(text))
    except (ValueError, TypeError):
        return ()


def node_row(node: NodeRecord) -> dict[str, Any]:
    """Return the row of a node."""
    return {
        "id": node.id,
        "host": node.host,
        "pid": node.pid,
        "version": node.version,
        "started_us": node.started_us,
        "beat_us": node.beat_us,
        "expires_us": node.expires_us,
        "offset_us": node.offset_us,
        "executors": json.dumps(node.executors),
        "unresolved": json.dumps(node.unresolved),
    }
