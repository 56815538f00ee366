"""A store that fails on demand: before a step, after it, or by taking its time.

Whoever calls a store can't tell an error before a commit from one after it. A test that makes both
happen, at every step, shows whether anything is lost or done twice.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from functools import partial
from random import Random
from threading import Lock
from typing import ClassVar, TypeVar, cast

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.interfaces import (
    Keeping,
    OnDemand,
    Reader,
    Store,
    StoreEnvironment,
    Timekeeping,
    Watching,
)
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    Beat,
    CancelRequest,
    Edit,
    Edited,
    LeaseReply,
    LeaseRequest,
    PlanReply,
    PlanRequest,
    PruneRequest,
    RecoverReply,
    RecoverRequest,
    RunQuery,
    TaskQuery,
)

__all__ = ["STEPS", "Fault", "FaultyStore"]

STEPS = (
    "put", "edit", "plan", "lease", "finish", "beat", "recover", "prune", "submit", "cancel",
    "keep", "forget",
)  # fmt: skip
"""The steps of a store that change something."""

_Answer = TypeVar("_Answer")


class Fault(StrEnum):
    """What may befall a call."""

    BEFORE = "before"
    """It raises, and nothing has happened."""
    AFTER = "after"
    """It raises, and everything has happened."""
    DELAY = "delay"
    """It is late, and does its work."""


class FaultyStore:
    """Another store, with faults on demand. Reading works unless it is scripted to fail.

    With `chances` and `random`, each call of one of `methods` meets each fault with that
    probability. Delayed calls `wait(delay_s)` first. `calls` counts the calls of each method,
    `faults` what they met, by method and fault. The powers of the store within (its clock, its
    hints, its documents) are there too. Thread-safe as far as that store is.
    """

    kind: ClassVar[str] = "faulty"
    persistent: ClassVar[bool] = True

    def __init__(
        self,
        inner: Store,
        *,
        chances: Mapping[Fault, float] | None = None,
        random: Random | None = None,
        methods: Collection[str] = STEPS,
        wait: Callable[[float], object] | None = None,
        delay_s: float = 1.0,
    ) -> None:
        if chances and random is None:
            raise InvalidInputError("chances= needs random=Random(seed), or no test could repeat")
        self.inner = inner
        # What it is to a scheduler is what the store within is.
        vars(self).update(kind=inner.kind, persistent=inner.persistent)
        vars(self).update(overlaps=getattr(inner, "overlaps", False))
        if isinstance(inner, OnDemand):
            vars(self).update(submit=self._submit, cancel=self._cancel, asked=inner.asked)
        if isinstance(inner, Keeping):
            vars(self).update(keep=self._keep, forget=self._forget, documents=self._documents)
        if isinstance(inner, Timekeeping):
            vars(self)["now_us"] = partial(self._call, "now_us", inner.now_us)
        if isinstance(inner, Watching):
            vars(self)["watch"] = inner.watch
        self.calls: Counter[str] = Counter()
        self.faults: Counter[tuple[str, Fault]] = Counter()
        self._chances = dict(chances or {})
        self._random = random or Random(0)  # noqa: S311  chance in tests is not cryptography
        self._methods = frozenset(methods)
        self._wait = wait
        self._delay_s = delay_s
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"FaultyStore({self.inner!r})"

    def script(self, method: str, *faults: Fault | None) -> None:
        """Let the next calls of a method meet these faults, one each; None is a call without.

        What is scripted comes before chance, and after what was scripted earlier.
        """
        if not callable(getattr(self, method, None)):
            raise InvalidInputError(f"{method!r} is no method of a store; one is {STEPS[0]!r}")
        with self._lock:
            self._scripts.setdefault(method, deque()).extend(faults)

    def heal(self) -> None:
        """Meet no more faults: forget chances and what is scripted."""
        with self._lock:
            self._scripts.clear()
            self._chances.clear()

    @property
    def waiting(self) -> int:
        """How many scripted faults haven't been met yet."""
        with self._lock:
            return sum(fault is not None for each in self._scripts.values() for fault in each)

    def _met(self, method: str) -> Fault | None:
        with self._lock:
            self.calls[method] += 1
            script = self._scripts.get(method)
            fault = script.popleft() if script else self._by_chance(method)
            if fault is not None:
                self.faults[method, fault] += 1
            return fault

    def _by_chance(self, method: str) -> Fault | None:
        if method not in self._methods:
            return None
        for fault, chance in self._chances.items():
            if self._random.random() < chance:
                return fault
        return None

    def _call(self, method: str, step: Callable[[], _Answer]) -> _Answer:
        fault = self._met(method)
        if fault is Fault.BEFORE:
            raise StoreUnavailableError(f"{method} failed before it began, as a test asked for")
        if fault is Fault.DELAY and self._wait is not None:
            self._wait(self._delay_s)
        answer = step()
        if fault is Fault.AFTER:
            raise StoreUnavailableError(f"{method} failed after its commit, as a test asked for")
        return answer

    # -- the store

    def open(self, environment: StoreEnvironment) -> None:
        """Do the store's `open`; it fails only if that is scripted, as all that follow."""
        self._call("open", lambda: self.inner.open(environment))

    def close(self) -> None:
        """Do the store's `close`."""
        self._call("close", self.inner.close)

    def forsake(self) -> None:
        """Do the store's `forsake`, where it has one."""
        forsake: Callable[[], None] | None = getattr(self.inner, "forsake", None)
        if forsake is not None:
            forsake()

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> Sequence[Edited]:
        """Do the store's `put`, or fail."""
        return self._call("put", lambda: self.inner.put(tasks, decide, new_id))

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        """Do the store's `edit`, or fail."""
        return self._call("edit", lambda: self.inner.edit(ids, decide, new_id))

    def plan(self, request: PlanRequest) -> PlanReply:
        """Do the store's `plan`, or fail."""
        return self._call("plan", lambda: self.inner.plan(request))

    def lease(self, request: LeaseRequest) -> LeaseReply:
        """Do the store's `lease`, or fail."""
        return self._call("lease", lambda: self.inner.lease(request))

    def finish(self, batch: Batch) -> frozenset[str]:
        """Do the store's `finish`, or fail."""
        return self._call("finish", lambda: self.inner.finish(batch))

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        """Do the store's `beat`, or fail."""
        return self._call("beat", lambda: self.inner.beat(node, lease_us, leaving=leaving))

    def recover(self, request: RecoverRequest) -> RecoverReply:
        """Do the store's `recover`, or fail."""
        return self._call("recover", lambda: self.inner.recover(request))

    def prune(self, request: PruneRequest) -> int:
        """Do the store's `prune`, or fail."""
        return self._call("prune", lambda: self.inner.prune(request))

    def _submit(self, runs: Sequence[RunRecord]) -> None:
        self._call("submit", lambda: self._on_demand.submit(runs))

    def _cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        return self._call("cancel", lambda: self._on_demand.cancel(request))

    def _keep(self, document: Document, expected: int | None = None) -> int | None:
        return self._call("keep", lambda: self._keeping.keep(document, expected))

    def _forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        return self._call("forget", lambda: self._keeping.forget(kind, key, expected))

    def _documents(self, query: DocumentQuery) -> list[Document]:
        return self._call("documents", lambda: self._keeping.documents(query))

    @property
    def _keeping(self) -> Keeping:
        return cast("Keeping", self.inner)

    @property
    def _on_demand(self) -> OnDemand:
        return cast("OnDemand", self.inner)

    # -- the reader

    @property
    def _reader(self) -> Reader:
        return cast("Reader", self.inner)

    def get_task(self, task_id: str) -> TaskRecord | None:
        """Do the reader's `get_task`."""
        return self._call("get_task", lambda: self._reader.get_task(task_id))

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        """Do the reader's `find_tasks`."""
        return self._call("find_tasks", lambda: self._reader.find_tasks(query))

    def get_run(self, run_id: str) -> RunRecord | None:
        """Do the reader's `get_run`."""
        return self._call("get_run", lambda: self._reader.get_run(run_id))

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        """Do the reader's `find_runs`."""
        return self._call("find_runs", lambda: self._reader.find_runs(query))

    def count_tasks(self, query: TaskQuery) -> int:
        """Do the reader's `count_tasks`."""
        return self._call("count_tasks", lambda: self._reader.count_tasks(query))

    def count_runs(self, query: RunQuery) -> int:
        """Do the reader's `count_runs`."""
        return self._call("count_runs", lambda: self._reader.count_runs(query))

    def nodes(self) -> list[NodeRecord]:
        """Do the reader's `nodes`."""
        return self._call("nodes", self._reader.nodes)

    def counts(self) -> Mapping[str, int]:
        """Do the reader's `counts`."""
        return self._call("counts", self._reader.counts)
