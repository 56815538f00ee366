"""The words for what may happen to a task and its runs, and the table of legal moves of a run."""

from enum import StrEnum

__all__ = [
    "LEGAL_MOVES",
    "TERMINAL",
    "Coalesce",
    "Delivery",
    "Keep",
    "Overlap",
    "RunState",
    "ScheduleState",
    "Scope",
    "Source",
]


class Coalesce(StrEnum):
    """How several due fire times become runs."""

    LATEST = "latest"
    EARLIEST = "earliest"
    ALL = "all"


class Delivery(StrEnum):
    """What happens to a run whose outcome is unknown because its node died."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class Keep(StrEnum):
    """Which runs stay listed when they are over."""

    ALL = "all"
    FAILURES = "failures"
    NONE = "none"


class Overlap(StrEnum):
    """What happens at a fire time that meets as many runs of its task as `max_instances` allows."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class Scope(StrEnum):
    """Whether one run per fire time happens in the whole cluster or in every process."""

    CLUSTER = "cluster"
    NODE = "node"


class ScheduleState(StrEnum):
    """Where a task stands; only `scheduled` tasks fire."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    FINISHED = "finished"


class Source(StrEnum):
    """Why a run exists."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    STARTUP = "startup"
    SHUTDOWN = "shutdown"


class RunState(StrEnum):
    """Where a run stands; see `LEGAL_MOVES`."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    MISSED = "missed"
    SKIPPED = "skipped"
    LOST = "lost"


LEGAL_MOVES: dict[RunState | None, frozenset[RunState]] = {
    None: frozenset({RunState.PENDING, RunState.MISSED, RunState.SKIPPED}),
    RunState.PENDING: frozenset(
        {RunState.RUNNING, RunState.CANCELLED, RunState.SKIPPED, RunState.LOST}
    ),
    RunState.RUNNING: frozenset(
        {
            RunState.COMPLETED,
            RunState.FAILED,
            RunState.CANCELLED,
            RunState.TIMEOUT,
            RunState.LOST,
            RunState.PENDING,
        }
    ),
}
"""From a state (None: not made yet) to the states that may follow it; the others are terminal.

A run that starts and ends between two writes makes both moves in one of them.
"""

TERMINAL: frozenset[RunState] = frozenset(RunState) - {RunState.PENDING, RunState.RUNNING}
