"""What a scheduler hands to an executor, and what comes back."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tickwork.model.policies import RunState

__all__ = ["Job", "Outcome", "RunError"]


class RunError(NamedTuple):
    """Why an attempt failed, as data: safe to store, whatever was raised.

    `code` and `details` are those of a `TaskError`. `kinds` are the names of the exception's
    classes, most special first, by which it is decided whether to try again; they aren't stored.
    """

    type: str
    message: str
    traceback: str = ""
    code: str | None = None
    details: Mapping[str, Any] | None = None
    kinds: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Job:
    """One attempt of a run, ready to be started.

    `target` is called with `args` and `kwargs`. An executor that runs elsewhere sends `reference`
    and `payload` (the arguments as stored) instead, and has them decoded there. The executor sets
    `started_us` when it really starts the job, and asks first whether it still `may_start`; one
    that may not is reported as cancelled, with a `started_us` of 0. So is one that it can't start
    any time soon and that lets it `withdraw`: others have it then. While it runs, `progress` is the
    JSON text of what it last said of itself, `log` the last lines that it logged; whoever changes
    them calls `noted` then. `fence` is a number to hand on to what must refuse late writers.
    """

    run_id: str
    task_id: str
    attempt: int
    target: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    payload: str = ""
    started_us: int = 0
    withdrawn: bool = False
    fire_us: int | None = None
    fence: int = 0
    progress: str | None = None
    log: deque[str] | None = None
    ending: RunState | None = None
    """What it ends as if it is cancelled now: its end was asked for, or its time is over."""

    lost_lock: str | None = None
    """What it lost, while it ran, of what it was to have alone."""

    def noted(self) -> None:
        """Be told, in any thread, that `progress` or `log` has changed."""

    def withdraw(self) -> bool:
        """Let others have it, who may begin it sooner; False where it must stay. Not once begun."""
        self.withdrawn = True
        return True

    def may_start(self, now_us: int) -> bool:
        """Whether to start it now; asked once, right before."""
        return not self.withdrawn


class Outcome(NamedTuple):
    """How one attempt ended: `completed` with a result, or another terminal state with an error.

    `result` is the value that the function returned. Where `encoded` is true it is the stored text
    of it already (made in another process), or None for a result that can't be stored, which
    `note` then explains.
    """

    job: Job
    state: RunState
    started_us: int
    finished_us: int
    result: Any = None
    error: RunError | None = None
    encoded: bool = False
    note: str | None = None
