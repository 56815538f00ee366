"""A span for each attempt of a run, linked to the span in which it was submitted.

```python
scheduler = Scheduler("sqlite:///tasks.db")
instrument(scheduler)  # before it starts; with the global tracer provider, or one that is given
```

The span is the current one in the function, and in what that calls and awaits. In a process of the
pool, which has a tracer provider of its own if any, it is there as the remote parent: this process
keeps the span itself, from when it handed the run over to its end.

Who submits a run in a span has it linked: the trace context is stored with the run, or for a run of
a stored task beside it, so that any process may execute it.
"""

# ruff: noqa: SLF001  what is traced lies behind the scheduler's public methods

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tickwork.errors import SchedulerStateError
from tickwork.executors.outcomes import state_after
from tickwork.integrations.submitters import Submitters
from tickwork.integrations.wrapping import Wrappings
from tickwork.interfaces import Executor, ExecutorEnvironment, Leftover
from tickwork.model.current import current_job
from tickwork.model.functions import resolve
from tickwork.model.injection import prepared
from tickwork.model.instants import SECOND, from_us
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState
from tickwork.model.provided import provided
from tickwork.model.values import decode_arguments, encode_arguments
from tickwork.scheduler.guard import guarded
from tickwork.scheduler.held import Held
from tickwork.scheduler.run import Run
from tickwork.scheduler.scheduler import Scheduler
from tickwork.scheduler.submitting import RunOptions
from tickwork.version import __version__

__all__ = ["Tracing", "call_in_trace", "instrument"]

logger = logging.getLogger("tickwork.tracing")

_PROPAGATOR = TraceContextTextMapPropagator()
_ELSEWHERE = frozenset({"processpool"})
_BAD = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.LOST})


def instrument(scheduler: Scheduler, tracer_provider: TracerProvider | None = None) -> "Tracing":
    """Trace the runs of a scheduler from its start on, until `remove`.

    Raises:
        SchedulerStateError: it is started already.
    """
    if scheduler._runtime is not None:
        raise SchedulerStateError("the scheduler is started; instrument it before it starts")
    return Tracing(scheduler, tracer_provider)


class Tracing:
    """The tracing of one scheduler; made by `instrument`."""

    def __init__(self, scheduler: Scheduler, tracer_provider: TracerProvider | None) -> None:
        self._scheduler = scheduler
        self._tracer = trace.get_tracer("tickwork", __version__, tracer_provider)
        self._submitters = Submitters(scheduler, _current)
        self._elsewhere: dict[Job, Span] = {}
        self._around = Wrappings()
        self._around.wrap(scheduler, "_submit_run", self._submitting)
        self._submitters.follow(self._around)
        for executor in scheduler._executors.values():
            self._follow(executor)

    def remove(self) -> None:
        """Trace nothing any more; what is under way is traced to its end."""
        self._around.take_off()

    def _follow(self, executor: Executor) -> None:
        if executor.kind in _ELSEWHERE:
            self._around.wrap(executor, "open", self._opening)
            self._around.wrap(executor, "start", partial(self._starting, self._send_along))
            self._around.wrap(executor, "stop", self._stopping)
        else:
            self._around.wrap(executor, "start", partial(self._starting, self._prepare))

    # --- submitting ---------------------------------------------------------------------------

    def _submitting(self, submit: Callable[..., Run]) -> Callable[..., Run]:
        def submitting(fn: object, args: object, kwargs: object, options: RunOptions) -> Run:
            carried = _current()
            if carried is not None:
                options = replace(options, changes={**options.changes, "trace": carried})
            return submit(fn, args, kwargs, options)

        return submitting

    # --- in this process ----------------------------------------------------------------------

    def _starting(
        self, prepare: Callable[[Held], None], start: Callable[[Sequence[Job]], None]
    ) -> Callable[[Sequence[Job]], None]:
        def starting(jobs: Sequence[Job]) -> None:
            for job in cast("Sequence[Held]", jobs):
                self._submitters.look_up(job.run, self._store_of(job))
                prepare(job)
            try:
                start(jobs)
            except BaseException:
                # None was taken: they are given back, and have a span when they are started.
                self._forget(jobs)
                raise

        return starting

    def _forget(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            span = self._elsewhere.pop(job, None)
            if span is not None:
                _conclude(span, RunState.CANCELLED, "")

    def _prepare(self, job: Held) -> None:
        # Not with the job itself: it would hold itself, and wait for the garbage collector.
        job.target = partial(self._call, job.target)

    def _call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        job = cast("Held", current_job.get())
        span = self._begun(job)
        self._note_lateness(span, job)
        # Never detached: this context belongs to the attempt alone, and ends with it.
        context.attach(trace.set_span_in_context(span))
        try:
            result = target(*args, **kwargs)
        except BaseException as error:
            _end(span, job, error)
            raise
        if hasattr(type(result), "__await__"):
            return _awaited(span, job, result)
        _end(span, job, None)
        return result

    def _begun(self, job: Held) -> Span:
        """Return the span of a job; one that keeps nothing where the tracer fails."""
        begun = guarded(self._span, job)
        if begun.error is not None:
            logger.error("a run isn't traced: %s", begun.error, extra={"run_id": job.run_id})
        return trace.INVALID_SPAN if begun.value is None else begun.value

    def _span(self, job: Held) -> Span:
        run = job.run
        attributes: dict[str, str | int] = {
            "tickwork.task.id": job.task_id,
            "tickwork.run.id": job.run_id,
            "tickwork.run.attempt": job.attempt,
            "tickwork.run.source": run.source.value,
            "tickwork.store": self._store_of(job),
            "code.function.name": job.definition.function,
        }
        if run.fire_us is not None:
            attributes["tickwork.run.fire_time"] = from_us(run.fire_us).isoformat()
        return self._tracer.start_span(
            job.definition.name,
            # A trace of its own: what was current when the scheduler started isn't its parent.
            context=Context(),
            kind=SpanKind.CONSUMER,
            links=self._links(job),
            attributes=attributes,
        )

    def _store_of(self, job: Held) -> str:
        runtime = self._scheduler._runtime
        loops = {} if runtime is None else runtime.loops
        return next((name for name, each in loops.items() if each.holding is job.holding), "")

    def _note_lateness(self, span: Span, job: Held) -> None:
        due_us, clock = job.run.due_us, self._scheduler._clocks.get(self._store_of(job))
        if due_us is not None and clock is not None:
            late_us = job.started_us + clock.offset_us - due_us
            span.set_attribute("tickwork.run.lateness", late_us / SECOND)

    def _links(self, job: Held) -> list[Link]:
        carried = job.definition.trace or self._submitters.of(job.run_id)
        submitter = None if carried is None else _unpacked(carried)
        return [] if submitter is None or not submitter.is_valid else [Link(submitter)]

    # --- in other processes -------------------------------------------------------------------

    def _send_along(self, job: Held) -> None:
        """Begin the span of a run, and have the function called in it on the other side."""
        span = self._elsewhere[job] = self._begun(job)
        carried = _packed(span)
        if job.reference and carried is not None:
            job.payload = encode_arguments((carried, job.reference, job.payload), {}, call_in_trace)
            job.reference = f"{__name__}:{call_in_trace.__qualname__}"

    def _opening(
        self, open_: Callable[[ExecutorEnvironment], None]
    ) -> Callable[[ExecutorEnvironment], None]:
        def opening(environment: ExecutorEnvironment) -> None:
            report = environment.report

            def reported(outcomes: Sequence[Outcome]) -> None:
                for outcome in outcomes:
                    self._end_elsewhere(outcome)
                report(outcomes)

            open_(environment._replace(report=reported))

        return opening

    def _end_elsewhere(self, outcome: Outcome) -> None:
        job = cast("Held", outcome.job)
        span = self._elsewhere.pop(job, None)
        if span is None:
            return
        if outcome.started_us:
            self._note_lateness(span, job)
        if outcome.error is not None:
            span.add_event("exception", _of_error(outcome.error))
        completed = outcome.state is RunState.COMPLETED and not job.overdue
        state = outcome.state if completed else job.ending or outcome.state
        _conclude(span, state, outcome.error.message if outcome.error else "")

    def _stopping(self, stop: Callable[[float], Leftover]) -> Callable[[float], Leftover]:
        def stopping(timeout_s: float) -> Leftover:
            leftover = stop(timeout_s)
            self._forget((*leftover.unstarted, *leftover.running))
            return leftover

        return stopping


def call_in_trace(carried: str, reference: str, payload: str, *, task_id: str, run_id: str) -> Any:
    """Call a function in the trace that was carried along; in a process of the pool."""
    parent = trace.set_span_in_context(trace.NonRecordingSpan(_unpacked(carried)))
    context.attach(parent)
    function = resolve(reference)
    args, kwargs = decode_arguments(payload, function)
    filled = provided(function, args, kwargs, task_id=task_id, run_id=run_id)
    return prepared(function)(*args, **filled)


async def _awaited(span: Span, job: Held, awaitable: Awaitable[Any]) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        _end(span, job, error)
        raise
    _end(span, job, None)
    return result


def _end(span: Span, job: Held, error: BaseException | None) -> None:
    if error is None and not job.overdue:
        _conclude(span, RunState.COMPLETED, "")
        return
    state = RunState.COMPLETED if error is None else state_after(error)
    state = job.ending or state
    if error is not None and state in _BAD:
        span.record_exception(error)
    _conclude(span, state, job.why if error is None else f"{type(error).__name__}: {error}")


def _conclude(span: Span, state: RunState, why: str) -> None:
    span.set_attribute("tickwork.run.state", state.value)
    if state in _BAD:
        span.set_status(Status(StatusCode.ERROR, why))
    # What takes spans is the application's: it must not make a run fail that it only watches.
    error = guarded(span.end).error
    if error is not None:
        logger.error("the span of a run is lost: %s", error)


def _of_error(error: RunError) -> Mapping[str, str]:
    return {
        "exception.type": error.type,
        "exception.message": error.message,
        "exception.stacktrace": error.traceback,
    }


def _current() -> str | None:
    """Return the context of the span that is current here."""
    return _packed(trace.get_current_span())


def _packed(span: Span) -> str | None:
    """Return the context of a span as one text, None where it has none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    if "traceparent" not in carrier:
        return None
    return f"{carrier['traceparent']} {carrier.get('tracestate', '')}".strip()


def _unpacked(carried: str) -> SpanContext:
    """Return the span context of a text; of one that makes no sense, one that isn't valid."""
    parent, _, state = carried.partition(" ")
    found = _PROPAGATOR.extract({"traceparent": parent, "tracestate": state}, Context())
    return trace.get_current_span(found).get_span_context()
