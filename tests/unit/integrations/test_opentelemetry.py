"""Each attempt of a run is a span, current in its function and linked to who submitted it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, Tracer

from tests.unit.integrations import measured
from tickwork import Run, RunInfo, Scheduler
from tickwork.errors import SchedulerStateError
from tickwork.integrations.opentelemetry import Tracing, instrument
from tickwork.testing import ManualClock, SteppedScheduler

ROOT = Path(__file__).parents[3]


class Traced:
    """What exports spans into memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("shop")

    def instrument(self, scheduler: Scheduler) -> Tracing:
        return instrument(scheduler, self.provider)

    def runs(self) -> list[ReadableSpan]:
        """Return the spans of runs, in the order in which they ended."""
        return [
            span for span in self._exporter.get_finished_spans() if span.kind is SpanKind.CONSUMER
        ]

    def run(self) -> ReadableSpan:
        [span] = self.runs()
        return span


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
def scheduler(traced: Traced) -> Iterator[SteppedScheduler]:
    made = SteppedScheduler(clock=ManualClock())
    traced.instrument(made)
    with made:
        yield made


def ids(context: SpanContext | None) -> list[str]:
    assert context is not None
    return [f"{context.trace_id:032x}", f"{context.span_id:016x}"]


def test_a_run_is_a_span_that_says_which_run_it_is(
    scheduler: SteppedScheduler, traced: Traced
) -> None:
    scheduler.add_task(measured.nothing, "interval", minutes=1, id="tidy", name="Tidy up")
    scheduler.clock.advance(seconds=67)
    scheduler.step()
    [run] = scheduler.get_runs(task="tidy")
    span = traced.run()
    assert (span.name, span.kind) == ("Tidy up", SpanKind.CONSUMER)
    assert span.attributes == {
        "tickwork.task.id": "tidy",
        "tickwork.run.id": run.id,
        "tickwork.run.attempt": 1,
        "tickwork.run.source": "scheduled",
        "tickwork.run.fire_time": "2026-01-01T00:01:00+00:00",
        "tickwork.run.lateness": 7.0,
        "tickwork.run.state": "completed",
        "tickwork.store": "default",
        "code.function.name": "tests.unit.integrations.measured:nothing",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert (span.parent, list(span.links), list(span.events)) == (None, [], [])


def test_twenty_runs_are_twenty_spans(scheduler: SteppedScheduler, traced: Traced) -> None:
    scheduler.add_task(measured.nothing, "interval", minutes=1, id="a")
    scheduler.advance(minutes=20)
    spans = traced.runs()
    assert len({ids(span.context)[0] for span in spans}) == len(spans) == 20


@pytest.mark.parametrize("executor", ["threadpool", "asyncio", "inline"])
@pytest.mark.parametrize("function", [measured.seen, measured.seen_on_loop])
def test_the_span_is_the_current_one_in_the_function(
    traced: Traced, executor: str, function: Any
) -> None:
    scheduler = SteppedScheduler(executors={"inline": "inline"})
    traced.instrument(scheduler)
    with scheduler:
        run = scheduler.options(executor=executor).submit(function)
        scheduler.step()
        assert run.result == ids(traced.run().context)


def test_an_exception_is_recorded_once_for_each_attempt(
    scheduler: SteppedScheduler, traced: Traced
) -> None:
    scheduler.options(retries=1, delay=1).submit(measured.failing)
    scheduler.advance(seconds=2)
    spans = traced.runs()
    assert [span.attributes and span.attributes["tickwork.run.attempt"] for span in spans] == [1, 2]
    for span in spans:
        assert span.attributes is not None
        assert span.attributes["tickwork.run.state"] == "failed"
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ZeroDivisionError: division by zero"
        [event] = span.events
        assert event.attributes is not None
        assert event.attributes["exception.type"] == "ZeroDivisionError"
        assert "measured.py" in str(event.attributes["exception.stacktrace"])


def test_a_run_that_took_too_long_says_so(scheduler: SteppedScheduler, traced: Traced) -> None:
    scheduler.options(timeout=1).submit(measured.endless)
    scheduler.advance(seconds=2)
    span = traced.run()
    assert span.attributes is not None
    assert span.attributes["tickwork.run.state"] == "timeout"
    assert span.status.status_code is StatusCode.ERROR


def test_a_cancelled_run_is_no_error() -> None:
    traced = Traced()

    async def main() -> str:
        scheduler = Scheduler()
        traced.instrument(scheduler)
        async with scheduler:
            begun = asyncio.Event()

            async def listen() -> None:
                begun.set()
                await asyncio.Event().wait()

            run: Run = await scheduler.options(store="local").aio.submit(listen)
            await asyncio.wait_for(begun.wait(), 10)
            await run.aio.cancel("nobody calls")
            info: RunInfo = await run.aio.wait(10)
            return info.status

    assert asyncio.run(main()) == "cancelled"
    span = traced.run()
    assert span.attributes is not None
    assert span.attributes["tickwork.run.state"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET
    assert list(span.events) == []


def test_what_is_submitted_in_a_span_is_linked_to_it(
    scheduler: SteppedScheduler, traced: Traced
) -> None:
    with traced.tracer.start_as_current_span("order") as order:
        scheduler.submit(measured.nothing)
        scheduler.options(priority=3).submit(measured.nothing)
    scheduler.submit(measured.nothing)
    scheduler.step()
    linked = [[ids(link.context) for link in span.links] for span in traced.runs()]
    assert sorted(linked) == [[], [ids(order.get_span_context())], [ids(order.get_span_context())]]
    assert all(span.parent is None for span in traced.runs())


def test_a_task_that_is_run_in_a_span_is_linked_to_it(
    scheduler: SteppedScheduler, traced: Traced
) -> None:
    task = scheduler.add_task(measured.nothing, "interval", hours=1, id="a")
    with traced.tracer.start_as_current_span("click") as click:
        task.run()
    scheduler.step()
    [link] = traced.run().links
    assert ids(link.context) == ids(click.get_span_context())


def test_what_a_run_submits_is_linked_to_that_run(
    scheduler: SteppedScheduler, traced: Traced
) -> None:
    def submitting() -> None:
        scheduler.submit(measured.nothing)

    scheduler.options(store="local").submit(submitting)
    scheduler.step()
    first, second = sorted(traced.runs(), key=lambda span: len(span.links))
    assert [ids(link.context) for link in second.links] == [ids(first.context)]


def test_coroutines_that_submit_are_linked_too(traced: Traced) -> None:
    async def main() -> SpanContext:
        scheduler = Scheduler()
        traced.instrument(scheduler)
        async with scheduler:
            with traced.tracer.start_as_current_span("order") as order:
                run = await scheduler.aio.submit(measured.seen_on_loop)
            assert (await run.aio.wait(10)).status == "completed"
        return order.get_span_context()

    submitter = asyncio.run(main())
    [link] = traced.run().links
    assert ids(link.context) == ids(submitter)


@pytest.fixture(params=["file", "sqlite", "postgres", "mysql", "redis", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "file":
            return f"file://{tmp_path}/tasks"
        case "sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
        case other:
            found: str = request.getfixturevalue(f"{other}_url")
            sign = "&" if "?" in found else "?"
            return f"{found}{sign}prefix=trace{uuid4().hex[:8]}_"


def test_the_link_survives_the_store_and_another_process(traced: Traced, url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.unit.integrations.tracing_submitter", url],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    asked = {run_id: ids_ for run_id, *ids_ in map(str.split, ended.stdout.splitlines())}
    assert len(asked) == 3  # submitted, task.run() and retry_run()
    scheduler = Scheduler(url)
    traced.instrument(scheduler)
    with scheduler:
        infos = [Run(scheduler, run_id, "", "default").wait(20) for run_id in asked]
    spans = {str((span.attributes or {})["tickwork.run.id"]): span for span in traced.runs()}
    for info in infos:
        span = spans.pop(info.id)
        assert info.result == ids(span.context)
        assert [ids(link.context) for link in span.links] == [asked[info.id]]
        assert info.result[0] != asked[info.id][0]
    assert spans == {}


def test_a_process_without_tracing_executes_what_was_submitted_in_a_span(
    traced: Traced, tmp_path: Path
) -> None:
    url, clock = f"sqlite:///{tmp_path}/tasks.db", ManualClock()
    client = SteppedScheduler(url, clock=clock)
    traced.instrument(client)
    with client.connect(), traced.tracer.start_as_current_span("order"):
        run_id = client.submit(measured.nothing).id
    with SteppedScheduler(url, clock=clock) as plain:
        plain.step()
        assert plain.get_run(run_id).status == "completed"
    assert traced.runs() == []


def test_in_a_process_of_the_pool_the_span_is_the_remote_parent(traced: Traced) -> None:
    scheduler = Scheduler(executors={"processpool": {"type": "processpool", "max_workers": 1}})
    traced.instrument(scheduler)
    with scheduler:
        submitter = scheduler.options(executor="processpool")
        run = submitter.submit(measured.seen_elsewhere, "word")
        trace_id, span_id, word, run_id, pid = run.wait(60).result
        failed = submitter.submit(measured.failing, 0).wait(60)
    good, bad = traced.runs()
    assert [trace_id, span_id] == ids(good.context)
    assert (word, run_id) == ("word", run.id)
    assert int(pid) != os.getpid()
    assert good.attributes is not None
    assert good.attributes["tickwork.run.state"] == "completed"
    assert float(str(good.attributes["tickwork.run.lateness"])) >= 0
    assert failed.status == "failed"
    assert bad.status.status_code is StatusCode.ERROR
    [event] = bad.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "ZeroDivisionError"


class Unable(SpanProcessor):
    """Fails at one half of its work."""

    def __init__(self, half: str) -> None:
        self._half = half

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._fail("begin")

    def on_end(self, span: ReadableSpan) -> None:
        self._fail("end")

    def _fail(self, half: str) -> None:
        if half == self._half:
            raise OSError("no room for spans")


@pytest.mark.parametrize("half", ["begin", "end"])
def test_a_run_isnt_hurt_by_what_fails_to_take_its_span(
    half: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Unable(half))
    scheduler = SteppedScheduler()
    instrument(scheduler, provider)
    with scheduler:
        runs = [scheduler.submit(measured.seen), scheduler.submit(measured.seen_on_loop)]
        scheduler.step()
        assert [run.status for run in runs] == ["completed"] * 2
    told = [each for each in caplog.records if each.name == "tickwork.tracing"]
    assert len(told) == 2


def test_a_started_scheduler_is_refused(scheduler: SteppedScheduler) -> None:
    with pytest.raises(SchedulerStateError, match="before it starts"):
        instrument(scheduler)


def test_nothing_is_traced_any_more_once_that_is_removed(traced: Traced) -> None:
    scheduler = SteppedScheduler()
    tracing = traced.instrument(scheduler)
    tracing.remove()
    with scheduler, traced.tracer.start_as_current_span("order"):
        run = scheduler.submit(measured.seen)
        scheduler.step()
        assert run.status == "completed"
        assert scheduler._book.run(run.id, None)[0].definition.trace is None  # type: ignore[union-attr]  # noqa: SLF001
    assert traced.runs() == []
