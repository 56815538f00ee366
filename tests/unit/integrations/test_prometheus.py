"""What a scheduler does is counted exactly, and costs nothing where nobody counts."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.docs.pages import table_of
from tests.unit.integrations import measured
from tickwork import Scheduler
from tickwork.errors import InvalidInputError
from tickwork.events import RunEvent, RunRetrying, RunStarted, RunTimedOut
from tickwork.integrations.prometheus import CONTENT_TYPE, METRICS, OTHER, Metrics, instrument
from tickwork.model.instants import SECOND
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Batch, Eligibility, LeaseRequest, Mark
from tickwork.scheduler.following import after_run
from tickwork.stores.memory import MemoryStore
from tickwork.testing import Fault, FaultyStore, ManualClock, SteppedScheduler


class Place:
    """A scheduler on a store of its own, and what its registry says."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.store = FaultyStore(MemoryStore())
        self.scheduler = SteppedScheduler(self.store, clock=self.clock)
        self.registry = CollectorRegistry()
        self.metrics: Metrics = instrument(self.scheduler, self.registry, **options)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tickwork_{name}", {"store": "default", **labels})

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what a metric says, by its labels without that of the store."""
        return {
            tuple(value for key, value in sample.labels.items() if key != "store"): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"tickwork_{name}" and sample.labels.get("store") != "local"
        }


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.scheduler.stop(wait=False)


def test_the_documented_table_is_what_the_registry_says() -> None:
    place = Place()
    with place.scheduler as scheduler:
        scheduler.add_task(measured.nothing, "interval", minutes=1, id="a")
        scheduler.add_task(measured.failing, "interval", minutes=1, id="b", retries=1)
        scheduler.advance(minutes=1)
        told = [
            [f"{each.name}{'_total' if each.type == 'counter' else ''}", each.type]
            for each in place.registry.collect()
        ]
    listed = table_of("docs/observing.md", "metric", "kind", "labels", "what it says")
    assert [row[:2] for row in listed] == told
    assert listed == [
        [
            each.full_name,
            each.kind,
            ", ".join(f"`{label}`" for label in each.labels).strip("`"),
            each.says,
        ]
        for each in METRICS
    ]


def test_each_metric_has_the_labels_that_it_says(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(measured.failing, "interval", minutes=1, id="b", retries=1)
        scheduler.advance(minutes=2)
        found = {
            metric.name: {key for sample in metric.samples for key in sample.labels} - {"le"}
            for metric in place.registry.collect()
            if metric.samples
        }
    said = {f"tickwork_{each.name}": set(each.labels) for each in METRICS}
    silent = {"fire_times_missed", "fire_times_skipped", "runs_taken_over"}
    assert found == {name: said[name] for name in said if name[9:] not in silent}


def test_each_fire_time_is_counted_once_and_each_run_once_by_its_end(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(measured.nothing, "interval", minutes=1, id="good")
        scheduler.add_task(measured.failing, "interval", minutes=2, id="bad")
        scheduler.advance(minutes=20)
        assert place.samples("fire_times_due_total") == {("good",): 20, ("bad",): 10}
        assert place.samples("runs_started_total") == {("good",): 20, ("bad",): 10}
        assert place.samples("runs_ended_total") == {
            ("good", "completed"): 20,
            ("bad", "failed"): 10,
        }
        assert place.samples("run_lateness_seconds_count") == {("good",): 20, ("bad",): 10}
        assert place.samples("run_lateness_seconds_sum") == {("good",): 0, ("bad",): 0}
        assert place.samples("run_duration_seconds_count") == {("good",): 20, ("bad",): 10}


def test_an_attempt_that_is_tried_again_is_counted_apart(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.options(retries=2, delay=1, name="again").submit(measured.failing)
        scheduler.advance(seconds=5)
    name = "tests.unit.integrations.measured:failing"
    assert place.samples("runs_started_total") == {(name,): 3}
    assert place.samples("runs_retried_total") == {(name,): 2}
    assert place.samples("runs_ended_total") == {(name, "failed"): 1}
    assert place.samples("run_duration_seconds_count") == {(name,): 3}
    assert place.samples("run_lateness_seconds_count") == {(name,): 1}
    assert place.samples("fire_times_due_total") == {}


def test_fire_times_that_were_not_executed_are_counted_one_by_one(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(
            measured.nothing, "interval", minutes=1, id="a", misfire_grace_time=30, coalesce=False
        )
        place.clock.advance(minutes=10)
        scheduler.step()
        assert place.samples("fire_times_due_total") == {("a",): 10}
        assert place.samples("fire_times_missed_total") == {("a",): 9}
        assert place.samples("runs_ended_total") == {("a", "missed"): 1, ("a", "completed"): 1}


def test_what_was_late_says_how_late(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(measured.nothing, "interval", minutes=1, id="a")
        place.clock.advance(seconds=67)
        scheduler.step()
        assert place.value("run_lateness_seconds_sum", task="a") == 7
        assert place.value("run_lateness_seconds_bucket", task="a", le="5.0") == 0
        assert place.value("run_lateness_seconds_bucket", task="a", le="10.0") == 1


def test_events_of_ended_attempts_say_how_late_they_began_and_how_long_they_took() -> None:
    heard: list[RunEvent] = []
    with SteppedScheduler() as scheduler:
        scheduler.on(RunEvent, heard.append)
        scheduler.options(start_in=5, timeout=2, retries=1, delay=1).submit(measured.endless)
        scheduler.advance(seconds=20)
    assert [(type(event), event.lateness, event.duration) for event in heard] == [
        (RunStarted, None, None),
        (RunRetrying, 0, 2),
        (RunStarted, None, None),
        (RunTimedOut, 3, 2),
    ]


def test_cancelled_and_timed_out_runs_are_told_apart(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.options(start_in=60).submit(measured.nothing).cancel()
        scheduler.options(timeout=1).submit(measured.endless)
        scheduler.advance(seconds=2)
    module = "tests.unit.integrations.measured"
    assert place.samples("runs_ended_total") == {
        (f"{module}:nothing", "cancelled"): 1,
        (f"{module}:endless", "timeout"): 1,
    }
    assert place.samples("run_duration_seconds_sum") == {(f"{module}:endless",): 1}


@pytest.mark.parametrize(
    ("delivery", "taken_over", "end"),
    [("at_least_once", {("a",): 1}, "completed"), ("at_most_once", {}, "lost")],
)
def test_a_node_that_died_shows_and_so_does_what_became_of_its_run(
    place: Place, delivery: str, taken_over: dict[tuple[str, ...], float], end: str
) -> None:
    scheduler = place.scheduler.start(paused=True)
    task = scheduler.add_task(measured.nothing, "interval", hours=9, id="a", delivery=delivery)
    task.run()
    _begin_elsewhere(place)
    scheduler.step()
    assert place.samples("nodes") == {("alive",): 2, ("dead",): 0}
    place.clock.advance(seconds=31)
    assert place.samples("nodes") == {("alive",): 0, ("dead",): 2}
    scheduler.resume()
    scheduler.step()
    assert place.samples("nodes") == {("alive",): 1, ("dead",): 0}
    assert place.samples("runs_taken_over_total") == taken_over
    assert place.samples("runs_ended_total") == {("a", end): 1}


def _begin_elsewhere(place: Place) -> None:
    """Have the pending run leased and begun by a node that is never heard of again."""
    now_us = place.clock.now_us()
    place.store.beat(NodeRecord(id="other"), 30 * SECOND)
    eligible = Eligibility(frozenset({"threadpool"}), frozenset(), frozenset())
    request = LeaseRequest("other", now_us, eligible, {"threadpool": 1})
    [(run, _)] = place.store.lease(request).leased
    batch = Batch(after_run)
    batch.marks = [Mark(run.id, run.fence, now_us)]
    assert place.store.finish(batch) == frozenset()


def test_a_step_that_begins_late_says_how_late(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(measured.nothing, "interval", minutes=1, id="a")
        wanted_us = scheduler.step()
        assert wanted_us == place.clock.now_us() + 60 * SECOND
        before = place.value("loop_delay_seconds_count")
        assert place.value("loop_delay_seconds_sum") == 0
        place.clock.advance(seconds=70)
        scheduler.step()
        after = place.value("loop_delay_seconds_count")
        assert before is not None
        assert after is not None
        assert after > before
        assert place.value("loop_delay_seconds_sum") == 10


def test_each_call_of_a_store_is_timed(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.add_task(measured.nothing, "interval", minutes=1, id="a")
        scheduler.advance(minutes=5)
        for call in ("plan", "lease", "finish", "beat"):
            count = place.value("store_call_seconds_count", call=call)
            assert count == place.store.calls[call] > 0


def test_a_store_that_fails_is_down_until_it_answers(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.step()
        assert place.samples("store_up") == {(): 1}
        place.store.script("plan", Fault.BEFORE)
        place.clock.advance(seconds=1)
        for loop in scheduler._loops():  # noqa: SLF001  one step, and not until it works again
            loop.tick()
        assert scheduler._listeners.flush()  # noqa: SLF001
        assert place.samples("store_up") == {(): 0}
        assert place.samples("tasks") == {}
        scheduler.advance(seconds=10)
        assert place.samples("store_up") == {(): 1}
        assert place.value("store_errors_total", call="plan") == 1
        assert place.value("store_errors_total", call="beat") == 0


def test_a_store_that_fails_while_it_is_looked_at_costs_only_what_it_would_have_said(
    place: Place,
) -> None:
    with place.scheduler as scheduler:
        scheduler.step()
        place.store.script("counts", Fault.BEFORE)
        found = {metric.name: metric for metric in place.registry.collect()}
    assert [(each.labels["store"], each.value) for each in found["tickwork_store_up"].samples] == [
        ("default", 0),
        ("local", 1),
    ]
    assert {each.labels["store"] for each in found["tickwork_tasks"].samples} == {"local"}


def test_tasks_are_counted_by_their_state(place: Place) -> None:
    with place.scheduler as scheduler:
        for number in range(3):
            scheduler.add_task(measured.nothing, "interval", hours=1, id=str(number))
        scheduler.get_task("2").pause()
        states = place.samples("tasks")
    assert (states["scheduled",], states["paused",]) == (2, 1)


def test_runs_under_way_and_used_places_are_those_of_this_moment() -> None:
    registry = CollectorRegistry()
    measured.go_on.clear()
    scheduler = Scheduler(executors={"threadpool": {"type": "threadpool", "max_workers": 3}})
    instrument(scheduler, registry)
    with scheduler:
        runs = [scheduler.submit(measured.waiting) for _ in range(2)]
        assert all(measured.begun.acquire(timeout=10) for _ in runs)
        under_way = {"store": "default", "executor": "threadpool"}
        assert registry.get_sample_value("tickwork_runs_under_way", under_way) == 2
        used = {"executor": "threadpool", "state": "used"}
        assert registry.get_sample_value("tickwork_executor_places", used) == 2
        measured.go_on.set()
        assert [run.wait(10).status for run in runs] == ["completed"] * 2
        assert registry.get_sample_value("tickwork_executor_places", used) == 0
        free = {"executor": "threadpool", "state": "free"}
        assert registry.get_sample_value("tickwork_executor_places", free) == 3


def test_without_tasks_as_labels_all_count_together() -> None:
    place = Place(labels="none")
    with place.scheduler as scheduler:
        for number in range(3):
            scheduler.add_task(measured.nothing, "interval", minutes=1, id=str(number))
        scheduler.advance(minutes=2)
    assert place.samples("runs_ended_total") == {("completed",): 6}
    assert place.samples("fire_times_due_total") == {(): 6}


def test_tasks_beyond_the_first_so_many_share_a_label() -> None:
    place = Place(most_tasks=2)
    with place.scheduler as scheduler:
        for number in range(5):
            scheduler.add_task(measured.nothing, "interval", minutes=1 + number, id=str(number))
        scheduler.advance(minutes=5)
    assert place.samples("runs_started_total") == {("0",): 5, ("1",): 2, (OTHER,): 3}


def test_a_registry_takes_one_scheduler_until_its_metrics_are_removed() -> None:
    place = Place()
    other = SteppedScheduler()
    with pytest.raises(InvalidInputError, match=r"remove\(\) those"):
        instrument(other, place.registry)
    place.metrics.remove()
    assert list(place.registry.collect()) == []
    instrument(other, place.registry)
    with other:
        other.submit(measured.nothing)
        other.step()
    assert list(place.samples("runs_started_total").values()) == [1]


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="say 'task' or 'none'"):
        instrument(SteppedScheduler(), CollectorRegistry(), labels="tags")  # type: ignore[arg-type]  # on purpose


def test_what_was_instrumented_is_as_it_was_once_that_is_removed(place: Place) -> None:
    scheduler = place.scheduler.start()
    loop = scheduler._loops()[0]  # noqa: SLF001
    assert {"plan", "lease", "finish", "beat"} <= vars(place.store).keys()
    place.metrics.remove()
    assert not {"plan", "lease", "finish", "beat"} & vars(place.store).keys()
    assert "tick" not in vars(loop)
    assert "_started" not in vars(scheduler)
    scheduler.submit(measured.nothing)
    scheduler.step()
    assert place.metrics._kept["runs_started"]._metrics == {}  # noqa: SLF001


def test_it_goes_on_counting_after_a_restart(place: Place) -> None:
    for _ in range(2):
        with place.scheduler as scheduler:
            scheduler.submit(measured.nothing)
            scheduler.step()
            place.clock.advance(timedelta(seconds=20))
            scheduler.step()
    [count] = place.samples("runs_ended_total").values()
    assert count == 2
    assert place.value("loop_delay_seconds_sum") == 0


def test_the_text_format_is_answered_by_the_function_and_by_the_application(place: Place) -> None:
    with place.scheduler as scheduler:
        scheduler.submit(measured.nothing)
        scheduler.step()
        body = place.metrics.render().decode()
        status, headers, answered = asyncio.run(_asked(place.metrics))
    assert 'state="completed",store="default"' in body
    assert CONTENT_TYPE.startswith("text/plain")
    assert status == 200
    assert headers[b"Content-Type"].startswith(b"text/plain")
    assert b"tickwork_runs_ended_total" in answered


async def _asked(metrics: Metrics) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await metrics.asgi()(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]
