"""The example, asked over HTTP as its first lines say."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from starlette.routing import Match

from examples import webapp
from tests.servers import redis
from tests.web.serving import UVICORN, Site, serving

WAIT_S = 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("webapp")
    store = f"sqlite:///{folder}/runs.db"
    with serving([*UVICORN, "examples.webapp:app"], folder, TICKWORK_STORE=store) as site:
        yield site
        site.stop()
        assert "Traceback" not in site.output
        assert "Application shutdown complete" in site.output


# Each request that the example's first lines show: its method, and its path.
SHOWN = re.findall(r"curl (?:-X (\w+) )?'?localhost:8000(/[^'\s?]*)", str(webapp.__doc__))


@pytest.mark.parametrize(("method", "path"), SHOWN)
def test_what_the_first_lines_show_can_be_asked(method: str, path: str) -> None:
    scope = {"type": "http", "method": method or "GET", "path": path, "headers": []}
    matches = [route.matches(scope)[0] for route in webapp.app.routes]
    assert Match.FULL in matches


def test_all_that_can_be_asked_is_shown() -> None:
    asked = {(method or "GET", path.replace("ID", "{run_id}")) for method, path in SHOWN}
    operations = webapp.app.openapi()["paths"]
    offered = {(method.upper(), path) for path, known in operations.items() for method in known}
    named = {(method, path.replace("tally", "{task_id}")) for method, path in asked}
    assert named == offered


def ordered(site: Site, city: str, pages: int) -> str:
    status, body = site.ask("POST", "/reports", {"city": city, "pages": pages})
    assert status == 202
    return str(body["id"])


def over(site: Site, run_id: str) -> dict[str, Any]:
    status, run = site.ask("GET", f"/runs/{run_id}", wait=WAIT_S)
    assert status == 200
    return dict(run)


def test_a_report_is_ordered_and_followed_to_its_end(site: Site) -> None:
    run_id = ordered(site, "Berlin", 2)
    run = over(site, run_id)
    assert {name: run[name] for name in ("status", "result", "attempt", "tags", "name")} == {
        "status": "completed",
        "result": "berlin-2.pdf",
        "attempt": 1,
        "tags": ["report"],
        "name": "write_report",
    }
    assert run["progress"]["percent"] == 100
    assert run["progress"]["message"] == "page 2 of Berlin"
    assert site.ask("GET", f"/runs/{run_id}").body == run
    assert site.ask("GET", f"/runs/{run_id}", wait=3_600).status == 422


def test_while_it_is_under_way_its_progress_is_seen(site: Site) -> None:
    run_id = ordered(site, "Paris", 1_000)
    status, run = site.ask("GET", f"/runs/{run_id}", wait=0.8)
    assert status == 200
    assert run["status"] == "running"
    assert run["completed_at"] is None
    while run["progress"] is None:
        status, run = site.ask("GET", f"/runs/{run_id}", wait=0.5)
    assert run["progress"]["message"].endswith("of Paris")
    assert 0 < run["progress"]["percent"] < 100
    assert site.ask("POST", f"/runs/{run_id}/cancel").status == 202
    assert over(site, run_id)["status"] == "cancelled"


def test_a_run_is_cancelled_once(site: Site) -> None:
    run_id = ordered(site, "Rome", 1_000)
    assert site.ask("POST", f"/runs/{run_id}/cancel").status == 202
    run = over(site, run_id)
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled over HTTP")
    status, body = site.ask("POST", f"/runs/{run_id}/cancel")
    assert (status, body) == (409, {"detail": f"run '{run_id}' is over already"})


def test_the_failure_of_a_report_is_seen(site: Site) -> None:
    run = over(site, ordered(site, "Atlantis", 1))
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert run["error"]["code"] == "no-such-city"
    assert run["error"]["message"] == "Atlantis can't be found"


def test_runs_are_listed_by_what_they_are_and_page_by_page(site: Site) -> None:
    made = [ordered(site, city, 1) for city in ("Oslo", "Riga", "Bonn")]
    for run_id in made:
        assert over(site, run_id)["status"] == "completed"
    reports = "examples.webapp:write_report"
    pages = [
        site.ask("GET", "/runs", task=reports, status="completed", limit=2, offset=offset)
        for offset in (0, 2)
    ]
    assert [page.status for page in pages] == [200, 200]
    found = [run for page in pages for run in page.body]
    assert [run["id"] for run in found][:3] == made[::-1]
    assert len(pages[0].body) == 2
    both = site.ask("GET", "/runs", status=["completed", "failed"], limit=100).body
    assert {run["status"] for run in both} <= {"completed", "failed"}
    assert site.ask("GET", "/runs", task="nothing") == (200, [])


def test_what_is_scheduled_is_listed_and_run_by_hand(site: Site) -> None:
    status, tasks = site.ask("GET", "/tasks", tag="chores")
    assert status == 200
    [task] = tasks
    assert (task["id"], task["schedule_state"]) == ("tally", "scheduled")
    assert (
        task["trigger_description"] == site.ask("GET", "/tasks/tally").body["trigger_description"]
    )
    status, run = site.ask("POST", "/tasks/tally/run")
    assert (status, run["source"]) == (202, "manual")
    ended = over(site, run["id"])
    assert ended["status"] == "completed"
    assert ended["result"]["running"] >= 1
    [newest] = site.ask("GET", "/runs", task="tally", limit=1).body
    assert newest["id"] == run["id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/runs/nothing", None, 404, "there is no run 'nothing'"),
        ("POST", "/runs/nothing/cancel", None, 404, "there is no run 'nothing'"),
        ("GET", "/tasks/nothing", None, 404, "there is no task 'nothing'"),
        ("POST", "/tasks/nothing/run", None, 404, "there is no task 'nothing'"),
        ("GET", "/runs?status=odd", None, 422, "odd"),
        ("GET", "/runs?limit=0", None, 422, "greater than or equal to 1"),
        ("POST", "/reports", {"city": "", "pages": 1}, 422, "at least 1 character"),
        ("POST", "/reports", {"city": "Bonn", "pages": 0}, 422, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_answered_with_its_status(
    site: Site, method: str, path: str, *, body: object, status: int, detail: str
) -> None:
    answer = site.ask(method, path, body)
    assert answer.status == status
    assert detail in str(answer.body["detail"])


def test_a_store_that_does_not_answer_is_answered_with_503_until_it_does(tmp_path: Path) -> None:
    # A socket's path has to be short.
    with TemporaryDirectory() as folder, redis.serving(Path(folder)) as server:
        words = [*UVICORN, "examples.webapp:app"]
        with serving(words, tmp_path, TICKWORK_STORE=server.url) as site:
            run_id = ordered(site, "Lima", 1)
            assert over(site, run_id)["status"] == "completed"
            server.crash()
            for path in (f"/runs/{run_id}", "/runs", "/tasks"):
                assert site.ask("GET", path).status == 503
            answer = site.ask("POST", "/reports", {"city": "Lima", "pages": 1})
            assert answer.status == 503
            assert "redis" in answer.body["detail"].lower()
            server.start()
            assert over(site, run_id)["result"] == "lima-1.pdf"
            site.stop()
