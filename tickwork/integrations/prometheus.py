"""What a scheduler does, as metrics for Prometheus.

```python
scheduler = Scheduler("sqlite:///tasks.db")
metrics = instrument(scheduler)  # in prometheus_client's registry, or in one that is given
app.mount("/metrics", metrics.asgi())
```

Counters and histograms tell what happens in this process; gauges of nodes and tasks ask the stores,
each time that the metrics are asked for. All of them are in `METRICS`.
"""

# ruff: noqa: SLF001  what is measured lies behind the scheduler's public methods

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock
from typing import Any, Literal, NamedTuple, Self

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    make_asgi_app,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickwork.errors import InvalidInputError, StoreUnavailableError, TickworkError
from tickwork.events import (
    RunCancelled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunLost,
    RunMissed,
    RunRetrying,
    RunSkipped,
    RunStarted,
    RunTakenOver,
    RunTimedOut,
    StoreEvent,
    StoreFailed,
)
from tickwork.integrations.wrapping import Wrappings
from tickwork.interfaces import Reader
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import PlanReply
from tickwork.scheduler.loop import StoreLoop
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["CONTENT_TYPE", "METRICS", "OTHER", "Measured", "Metrics", "instrument"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The content type of what `Metrics.render` returns."""

OTHER = "(other)"
"""The label of tasks beyond the first so many."""


class Measured(NamedTuple):
    """A metric: its name without `tickwork_` and its suffix, kind, labels, and what it says.

    Those with the label `task` have it only where tasks are told apart.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    labels: tuple[str, ...]
    says: str

    @property
    def full_name(self) -> str:
        """The name by which Prometheus knows it."""
        return f"tickwork_{self.name}{'_total' if self.kind == 'counter' else ''}"


_TASK = ("store", "task")

METRICS = (
    Measured(
        "fire_times_due", "counter", _TASK, "Fire times that became due and were planned here"
    ),
    Measured("fire_times_missed", "counter", _TASK, "Fire times that were too late to be executed"),
    Measured(
        "fire_times_skipped", "counter", _TASK, "Fire times passed over by a rule of their task"
    ),
    Measured("runs_started", "counter", _TASK, "Attempts that were handed to an executor"),
    Measured("runs_ended", "counter", (*_TASK, "state"), "Runs that are over, by how they ended"),
    Measured("runs_retried", "counter", _TASK, "Attempts that failed and will be tried again"),
    Measured(
        "runs_taken_over", "counter", _TASK, "Runs that are pending again since their node died"
    ),
    Measured(
        "run_lateness_seconds", "histogram", _TASK, "From when a run was due to its first attempt"
    ),
    Measured("run_duration_seconds", "histogram", _TASK, "How long attempts took"),
    Measured("loop_delay_seconds", "histogram", ("store",), "How late steps of the loop began"),
    Measured(
        "store_call_seconds", "histogram", ("store", "call"), "How long calls of a store took"
    ),
    Measured("store_errors", "counter", ("store", "call"), "Calls that a store didn't answer"),
    Measured("store_up", "gauge", ("store",), "Whether a store answers: 1 or 0"),
    Measured("nodes", "gauge", ("store", "state"), "Nodes by whether their lease holds"),
    Measured("tasks", "gauge", ("store", "state"), "Tasks by the state of their schedule"),
    Measured(
        "runs_under_way", "gauge", ("store", "executor"), "Runs that are leased by this process"
    ),
    Measured(
        "executor_places", "gauge", ("executor", "state"), "Places of an executor, used or free"
    ),
)
"""All metrics, in the order in which they are told."""

_CALLS = ("plan", "lease", "finish", "beat")
_NEVER_EXECUTED = {
    RunMissed: "fire_times_missed",
    RunSkipped: "fire_times_skipped",
}
_COUNTED = {
    RunStarted: "runs_started",
    RunRetrying: "runs_retried",
    RunTakenOver: "runs_taken_over",
}
_ENDS = {
    RunCompleted: RunState.COMPLETED,
    RunFailed: RunState.FAILED,
    RunTimedOut: RunState.TIMEOUT,
    RunCancelled: RunState.CANCELLED,
    RunLost: RunState.LOST,
    RunMissed: RunState.MISSED,
    RunSkipped: RunState.SKIPPED,
}
_OF_RUNS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1_800, 3_600)
_OF_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def instrument(
    scheduler: Scheduler,
    registry: CollectorRegistry | None = None,
    *,
    labels: Literal["task", "none"] = "task",
    most_tasks: int = 200,
) -> "Metrics":
    """Measure what a scheduler does from now on, until `remove`; return its metrics.

    With `labels="task"` the first `most_tasks` tasks of which there is something to tell have
    series of their own, and all others share the label "(other)"; with "none" tasks aren't told
    apart. Submitted work counts under the id of its task, or under its function's name.

    Raises:
        InvalidInputError: the registry has the metrics of another scheduler.
    """
    if labels not in {"task", "none"}:
        raise InvalidInputError(f"labels={labels!r}: say 'task' or 'none'")
    registry = REGISTRY if registry is None else registry
    return Metrics(scheduler, registry, most_tasks if labels == "task" else None)._begun()


class Metrics(Collector):
    """The metrics of one scheduler, in one registry; made by `instrument`."""

    def __init__(
        self, scheduler: Scheduler, registry: CollectorRegistry, most_tasks: int | None
    ) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._most = most_tasks
        self._tasks: set[tuple[str, ...]] = set()
        self._known: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._lock = Lock()
        self._down: set[str] = set()
        self._around = Wrappings()
        self._around_loops = Wrappings()
        self._kept = {
            each.name: _made(each, self._labels(each)) for each in METRICS if each.kind != "gauge"
        }

    def render(self) -> bytes:
        """Return what the registry knows, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def asgi(self) -> Callable[..., Any]:
        """Return an ASGI application that answers with what the registry knows."""
        app: Callable[..., Any] = make_asgi_app(self._registry)
        return app

    def remove(self) -> None:
        """Measure nothing any more, and take the metrics out of the registry."""
        self._around_loops.take_off()
        self._around.take_off()
        self._scheduler.off(RunEvent, self._heard)
        self._scheduler.off(StoreEvent, self._heard_of_store)
        self._registry.unregister(self)

    def _begun(self) -> Self:
        try:
            self._registry.register(self)
        except ValueError as error:
            raise InvalidInputError(
                "this registry has the metrics of a scheduler already; remove() those, or give "
                "each scheduler a CollectorRegistry() of its own"
            ) from error
        for name, store in self._scheduler._stores.items():
            for call in _CALLS:
                self._around.wrap(store, call, partial(self._timed, name, call))
            self._around.wrap(store, "plan", partial(self._counted, name))
        self._scheduler.on(RunEvent, self._heard)
        self._scheduler.on(StoreEvent, self._heard_of_store)
        self._around.wrap(self._scheduler, "_started", self._following)
        self._follow_loops()
        return self

    # --- what is told, as it happens ----------------------------------------------------------

    def _heard(self, event: RunEvent) -> None:
        kind = type(event)
        of = self._of(event.store, event.task_id)
        if kind in _COUNTED:
            self._series(_COUNTED[kind], *of).inc()
        if kind in _NEVER_EXECUTED and event.fire_time is not None:
            self._series(_NEVER_EXECUTED[kind], *of).inc(event.fire_count)
        if kind in _ENDS:
            self._series("runs_ended", *of, _ENDS[kind].value).inc()
        if event.duration is not None:
            self._series("run_duration_seconds", *of).observe(event.duration)
        if event.lateness is not None and event.attempt == 1:
            self._series("run_lateness_seconds", *of).observe(max(0.0, event.lateness))

    def _heard_of_store(self, event: StoreEvent) -> None:
        if isinstance(event, StoreFailed):
            self._down.add(event.store)
        else:
            self._down.discard(event.store)

    def _timed(self, store: str, call: str, method: Callable[..., Any]) -> Callable[..., Any]:
        seconds = self._kept["store_call_seconds"].labels(store, call)
        errors = self._kept["store_errors"].labels(store, call)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            except StoreUnavailableError:
                errors.inc()
                raise
            finally:
                seconds.observe(time.perf_counter() - began)

        return timed

    def _counted(self, store: str, plan: Callable[..., PlanReply]) -> Callable[..., PlanReply]:
        def counted(*args: Any) -> PlanReply:
            reply = plan(*args)
            for leased in reply.leased:
                self._note_due(store, leased.run)
            for run in reply.recorded:
                self._note_due(store, run)
            return reply

        return counted

    def _note_due(self, store: str, run: RunRecord) -> None:
        self._series("fire_times_due", *self._of(store, run.task_id)).inc(run.fire_count)

    def _following(self, started: Callable[[], None]) -> Callable[[], None]:
        def following() -> None:
            self._follow_loops()
            started()

        return following

    def _follow_loops(self) -> None:
        """See how late the loops are, of which there are new ones at each start."""
        self._around_loops.take_off()
        runtime = self._scheduler._runtime
        for name, loop in ({} if runtime is None else runtime.loops).items():
            self._around_loops.wrap(loop, "tick", partial(self._ticking, name, loop))

    def _ticking(
        self, store: str, loop: StoreLoop, tick: Callable[[], int | None]
    ) -> Callable[[], int | None]:
        delay = self._kept["loop_delay_seconds"].labels(store)
        wanted_us: int | None = None

        def ticking() -> int | None:
            nonlocal wanted_us
            if wanted_us is not None:
                # Woken before it was wanted, it isn't late.
                delay.observe(max(0, loop.clock.now_us() - wanted_us) / SECOND)
            wanted_us = tick()
            return wanted_us

        return ticking

    # --- series -------------------------------------------------------------------------------

    def _labels(self, metric: Measured) -> tuple[str, ...]:
        """Return the labels that a metric has here."""
        told_apart = self._most is not None
        return tuple(each for each in metric.labels if told_apart or each != "task")

    def _series(self, name: str, *labels: str) -> Any:
        """Return what is counted under these labels; `labels()` alone takes as long as the rest."""
        key = name, labels
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._kept[name].labels(*labels)
        return found

    def _of(self, store: str, task_id: str) -> tuple[str, ...]:
        """Return the values of the labels of a task."""
        if self._most is None:
            return (store,)
        key = store, task_id
        if key not in self._tasks:
            with self._lock:
                if len(self._tasks) >= self._most:
                    return store, OTHER
                self._tasks.add(key)
        return key

    # --- what is asked for --------------------------------------------------------------------

    def describe(self) -> Iterable[Metric]:
        """Return all metrics without a value; asks no store."""
        for metric in METRICS:
            yield Metric(f"tickwork_{metric.name}", metric.says, metric.kind)

    def collect(self) -> Iterable[Metric]:
        """Return all metrics with what they say now."""
        gauges = {metric.name: _gauge(metric) for metric in METRICS if metric.kind == "gauge"}
        self._look_at_stores(gauges)
        self._look_at_runs(gauges)
        for metric in METRICS:
            if metric.kind == "gauge":
                yield gauges[metric.name]
            else:
                yield from self._kept[metric.name].collect()

    def _look_at_stores(self, gauges: dict[str, GaugeMetricFamily]) -> None:
        """Ask stores that are open and not known to be down: each of them might take its time."""
        if not self._scheduler._book.connected:
            return
        for name, store in self._scheduler._stores.items():
            up = name not in self._down
            if up and isinstance(store, Reader):
                try:
                    self._look_at_store(name, store, gauges)
                except TickworkError:
                    up = False
            gauges["store_up"].add_metric((name,), up)

    def _look_at_store(
        self, name: str, store: Reader, gauges: dict[str, GaugeMetricFamily]
    ) -> None:
        counts, nodes = store.counts(), store.nodes()
        now_us = self._scheduler._clocks[name].now_us()
        alive = sum(node.expires_us > now_us for node in nodes)
        gauges["nodes"].add_metric((name, "alive"), alive)
        gauges["nodes"].add_metric((name, "dead"), len(nodes) - alive)
        for state, count in counts.items():
            gauges["tasks"].add_metric((name, state), count)

    def _look_at_runs(self, gauges: dict[str, GaugeMetricFamily]) -> None:
        runtime = self._scheduler._runtime
        if runtime is None:
            return
        used: Tally[str] = Tally()
        for name, loop in runtime.loops.items():
            held = loop.in_flight()
            under_way = Tally(each.run.executor for each in held)
            used.update(each.run.executor for each in held if each.started_us and not each.ended_us)
            for place in self._scheduler._executors:
                gauges["runs_under_way"].add_metric((name, place), under_way[place])
        for name, executor in self._scheduler._executors.items():
            gauges["executor_places"].add_metric((name, "used"), used[name])
            gauges["executor_places"].add_metric((name, "free"), executor.idle())


def _made(metric: Measured, labels: tuple[str, ...]) -> Any:
    name = f"tickwork_{metric.name}"
    if metric.kind == "counter":
        return Counter(name, metric.says, labels, registry=None)
    buckets = _OF_RUNS if "task" in metric.labels else _OF_STEPS
    return Histogram(name, metric.says, labels, registry=None, buckets=buckets)


def _gauge(metric: Measured) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tickwork_{metric.name}", metric.says, labels=metric.labels)
