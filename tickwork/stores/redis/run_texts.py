r"""Runs as texts, and texts as runs.

A text begins with a line of what scripts compare or change, the rest is JSON, which only we read:

    fence flag attempt where [tab key] \n [task_id, ...], {changes}, ...
    [\n ,{progress} \n ,{log}]

A run's flag says how it stands: `A`vailable (`where` is when), `G`ated by its key (`where` is since
when), `Q`ueued, `L`eased (`where` is the node), `M`arked as started by that node, `O`ver but
lingering there, `E`nded. A `c` behind it says that its end was asked for when it was leased. One
that stands at `A`, `L`, `M` or `O` holds its key, if it has one; that stands behind a tab until the
run has ended.

What happens to a leased run is added to its text as changes, so that nobody has to read it first.
What it says of itself is replaced instead, since it may say much: it has two lines of its own,
which stay as they are whatever else is written.

What is written and read for each run that is planned is put together by hand and taken apart for
many at once: a call of the JSON encoder costs as much as all else.
"""

from collections.abc import Sequence
from typing import Any

from tickwork.model.definition import DefinitionCodec
from tickwork.model.documents import definition_text, run_of
from tickwork.model.json_text import to_text
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord
from tickwork.stores.redis.layout import (
    from_word,
    instant_of,
    instant_word,
    name_word,
    scattered,
    word,
)
from tickwork.stores.redis.texts import bodies

__all__ = ["KeptRun", "kept_runs", "new_run_text", "note_lines", "run_text"]

_AT_FIRST = (
    "task_id",
    "generation",
    "source",
    "function",
    "executor",
    "fire_us",
    "due_us",
    "first_us",
    "last_us",
    "fire_count",
    "exact",
    "created_us",
)
"""What is known of a run when it is planned; of most that is all, and their end."""

_LATER = (
    "state",
    "failures",
    "crashes",
    "suspect",
    "started_us",
    "finished_us",
    "result",
    "errors",
    "reason",
    "retry_of",
    "rank",
    "key",
    "key_limit",
    "cancel_us",
    "expires_us",
)
_PENDING = RunState.PENDING
_PLAIN = {
    name: field.default for name, field in RunRecord.__dataclass_fields__.items() if name in _LATER
} | {"state": RunState.PENDING}


class KeptRun:
    """A run's record, and its flag; `version` is how its text begins until something changes."""

    __slots__ = ("flag", "record", "version")

    def __init__(self, record: RunRecord, flag: str) -> None:
        self.record = record
        self.flag = flag[0]
        self.version = f"{record.fence} {flag} "


def run_text(run: RunRecord, codec: DefinitionCodec) -> str:
    """Return the text of a run, but for what it says of itself."""
    words = word(run.task_id), word(run.function), word(run.executor)
    return new_run_text(run, words, codec)


def new_run_text(run: RunRecord, words: tuple[str, str, str], codec: DefinitionCodec) -> str:
    """Return the same for a run whose words are known: task, function and executor."""
    task, function, executor = words
    fire_us, due_us, first_us, last_us = run.fire_us, run.due_us, run.first_us, run.last_us
    # Of most runs all four are one instant.
    fire = "null" if fire_us is None else str(fire_us)
    due = fire if due_us == fire_us else "null" if due_us is None else str(due_us)
    first = fire if first_us == fire_us else "null" if first_us is None else str(first_us)
    last = fire if last_us == fire_us else "null" if last_us is None else str(last_us)
    return (
        f"{run.fence} {_flag(run)} {run.attempt} {_where(run)}\n"
        f'["{task}",{run.generation},"{run.source}","{function}","{executor}",'
        f"{fire},{due},{first},{last},"
        f"{run.fire_count},{'true' if run.exact else 'false'},{run.created_us},"
        f'"{scattered(run.id)}"]'
        f"{_later(run, codec)}"
    )


def note_lines(progress: str | None, log: str | None) -> tuple[str, str]:
    """Return the lines of what a run says of itself; an empty one says nothing."""
    return (
        "" if progress is None else f',{{"progress":{to_text(progress)}}}',
        "" if log is None else f',{{"log":{to_text(log)}}}',
    )


def _later(run: RunRecord, codec: DefinitionCodec) -> str:
    """Return what is different from a run that was just planned, as a change of it."""
    if (
        run.state is _PENDING
        and run.reason is None
        and run.errors is None
        and not (run.failures or run.crashes or run.suspect or run.rank)
        and run.started_us is None
        and run.retry_of is None
        and run.key is None
        and run.cancel_us is None
        and run.definition is None
    ):
        return ""
    data = {name: getattr(run, name) for name in _LATER}
    data = {name: value for name, value in data.items() if value != _PLAIN[name]}
    if run.definition is not None:
        data["definition"] = definition_text(run.definition, codec)
    return f",{to_text(data)}"


def _flag(run: RunRecord) -> str:
    if run.state is _PENDING:
        if run.node is not None:
            flag = "L"
        elif run.available_us is not None:
            flag = "A"
        else:
            return "Q" if run.gated_us is None else "G"
    elif run.state is RunState.RUNNING:
        flag = "M"
    else:
        return "E" if run.node is None else "O"
    return flag if run.cancel_us is None else f"{flag}c"


def _where(run: RunRecord) -> str:
    if run.node is not None:
        where = name_word(run.node)
    else:
        instant_us = run.available_us if run.gated_us is None else run.gated_us
        where = "" if instant_us is None else instant_word(instant_us)
    if run.key is None or (run.node is None and run.state in TERMINAL):
        return where
    return f"{where}\t{word(run.key)}"


def kept_runs(rows: Sequence[tuple[str, str]], codec: DefinitionCodec) -> list[KeptRun]:
    """Return runs, by their ids and texts."""
    parts = [(run_id, *text.partition("\n")) for run_id, text in rows]
    found = bodies([f"[{body}]" for _, _, _, body in parts])
    runs = []
    for (run_id, head, _, _), body in zip(parts, found, strict=True):
        try:
            runs.append(_kept_run(run_id, head, body, codec))
        except (ValueError, TypeError, LookupError):
            runs.append(_odd_run(run_id))
    return runs


def _kept_run(run_id: str, head: str, body: list[Any], codec: DefinitionCodec) -> KeptRun:
    fence, marked, attempt, where = head.split(" ", 3)
    flag = marked[0]
    data: dict[str, Any] = dict(zip(_AT_FIRST, body[0][: len(_AT_FIRST)], strict=True))
    data["state"] = "running" if flag == "M" else "pending"
    for change in body[1:]:
        _apply(change, data)
    data |= {"id": run_id, "fence": int(fence), "attempt": int(attempt)}
    if "key" in data:
        where = where.partition("\t")[0]
        data["holds_key"] = flag in "ALMO"
    if flag in "LMO":
        data["node"] = from_word(where)
    elif flag == "A":
        data["available_us"] = instant_of(where)
    elif flag == "G":
        data["gated_us"] = instant_of(where)
    return KeptRun(run_of(data, codec), marked)


def _odd_run(run_id: str) -> KeptRun:
    """Return what is to be shown of a run whose text can't be understood; it has no flag."""
    reason = "what is kept of it can't be understood; its row is kept"
    return KeptRun(
        RunRecord(id=run_id, task_id="", generation=0, state=RunState.LOST, reason=reason), "?"
    )


def _apply(change: dict[str, Any], data: dict[str, Any]) -> None:
    """Make a change that was added to a run."""
    if "state" in change:
        # It has ended: what was noted about earlier attempts is over, but for their errors.
        data["result"] = data["reason"] = data["expires_us"] = None
    if "failed" in change:
        data["failures"] = data.get("failures", 0) + change.pop("failed")
    data |= change
