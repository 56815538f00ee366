"""What a store keeps: one record a task, one a run, one a node.

Records are copies: changing one changes nothing in a store. They are mutable because planner and
stores change several fields of thousands of them a second; values that users hold are frozen.
Instants and durations are microseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, ScheduleState, Source

__all__ = ["Leased", "NodeRecord", "RunRecord", "TaskRecord", "copied", "copier_of"]

# On Python 3.11, to look a member up on its enumeration takes longer than all that is done with it
# here; so what is looked up for each run has a name of its own, here and in other modules.
_SCHEDULED = ScheduleState.SCHEDULED

_Kind = TypeVar("_Kind")
_Record = TypeVar("_Record", bound="TaskRecord | RunRecord | NodeRecord")


@dataclass(slots=True, kw_only=True)
class TaskRecord:
    """A task: its definition, and where it stands.

    `generation` tells apart tasks that had the same id one after the other; `revision` grows with
    each change and is compared before the next one. `fire_us` is the first fire time that isn't
    planned yet (None: there is none, or it is counted from the end of a run that goes on), `due_us`
    when to plan it, None while nothing is to be planned. `planned_us` is the last instant that
    planning has dealt with; nothing at or before it is ever planned again. `catchup_us` is set
    while a catch-up that was too long for one plan goes on: fire times up to it queue behind each
    other. `active` counts runs that are pending, running or waiting, `queued` those of them that
    wait for another run of the task to end. `made` counts the scheduled runs that were ever made,
    `streak` the failed ones since the last that wasn't, where the definition wants to know it.
    `declared` is the text of the definition as last
    declared, None while it is that of `definition`. `timing` is the planner's own: the trigger made
    ready to answer, kept while definition and anchor stay; it isn't stored.
    """

    id: str
    generation: int
    definition: Definition | Unreadable
    state: ScheduleState = ScheduleState.SCHEDULED
    revision: int = 0
    fire_us: int | None = None
    due_us: int | None = None
    anchor_us: int = 0
    planned_us: int | None = None
    catchup_us: int | None = None
    active: int = 0
    queued: int = 0
    made: int = 0
    streak: int = 0
    declared: str | None = None
    problem: str | None = None
    paused_reason: str | None = None
    created_us: int = 0
    updated_us: int = 0
    timing: object = field(default=None, compare=False, repr=False)

    @property
    def wake_us(self) -> int | None:
        """When to plan it; None while it is neither scheduled nor paused until some time.

        One that was paused until some time has that as `due_us` and as `catchup_us`. (Of others
        that are paused, `due_us` may be what is left of before.)
        """
        if self.state is _SCHEDULED:
            return self.due_us
        if self.state is ScheduleState.PAUSED and self.due_us == self.catchup_us:
            return self.due_us
        return None


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """A run: the record of one execution, or of why fire times were not executed.

    `first_us`, `last_us` and `fire_count` are the range of fire times that the run stands for
    (`exact` is false where there may be more of them); runs that are not scheduled have no
    `fire_us` and no range. `available_us` is when a pending run may be leased, None while it is
    leased, queued behind another or over; among available ones the lowest `rank` comes first.
    `node` and `fence` belong to the lease; the fence stays when it ends. `suspect` marks a run that
    was under way when a node died. `definition` is that of a run which has no task (`generation` 0;
    `task_id` is only a name then), None for all others.

    Of the runs with the same `key` in a store, at most `key_limit` hold it at a time: from when
    they are available until they are over. Those that wait for it have a `gated_us`, which becomes
    their `available_us` when they get it. `cancel_us` is when the end of a leased run was asked
    for. A run that is over may be forgotten from `expires_us` on. `result`, `errors`, `progress`
    and `log` are JSON text.
    """

    id: str
    task_id: str
    generation: int
    state: RunState
    source: Source = Source.SCHEDULED
    fire_us: int | None = None
    due_us: int | None = None
    first_us: int | None = None
    last_us: int | None = None
    fire_count: int = 1
    exact: bool = True
    function: str = ""
    executor: str = ""
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    suspect: bool = False
    available_us: int | None = None
    node: str | None = None
    fence: int = 0
    created_us: int = 0
    started_us: int | None = None
    finished_us: int | None = None
    result: str | None = None
    errors: str | None = None
    reason: str | None = None
    retry_of: str | None = None
    definition: Definition | Unreadable | None = None
    rank: int = 0
    key: str | None = None
    key_limit: int = 0
    holds_key: bool = False
    gated_us: int | None = None
    cancel_us: int | None = None
    expires_us: int | None = None
    progress: str | None = None
    log: str | None = None


class Leased(NamedTuple):
    """A run that a node may execute now, and the definition to execute."""

    run: RunRecord
    definition: Definition


@dataclass(slots=True, kw_only=True)
class NodeRecord:
    """One started scheduler in one process. `expires_us` is by the store's clock."""

    id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started_us: int = 0
    beat_us: int = 0
    expires_us: int = 0
    offset_us: int = 0
    executors: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()


def copier_of(kind: type[_Kind]) -> Callable[[_Kind], _Kind]:
    """Return a function that copies objects of a kind with slots, field by field.

    It is written out and compiled, as dataclasses do with `__init__`: a loop over the names takes
    five times as long, and stores copy each record several times.
    """
    lines = ["def copier(record):", "    copy = new(kind)"]
    slots: tuple[str, ...] = kind.__slots__  # type: ignore[attr-defined]  # it has some
    lines += [f"    copy.{name} = record.{name}" for name in slots]
    names: dict[str, Any] = {"kind": kind, "new": kind.__new__}
    exec("\n".join([*lines, "    return copy"]), names)  # noqa: S102  our own words, see above
    copier: Callable[[_Kind], _Kind] = names["copier"]
    return copier


_COPIERS: dict[type[Any], Callable[[Any], Any]] = {
    kind: copier_of(kind) for kind in (TaskRecord, RunRecord, NodeRecord)
}


def copied(record: _Record) -> _Record:
    """Return a copy of a record; many times faster than `copy.copy`."""
    copy: _Record = _COPIERS[type(record)](record)
    return copy
