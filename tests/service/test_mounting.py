"""The service within another application, under a prefix."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.service.conftest import opened
from tickwork import Scheduler
from tickwork.errors import InvalidInputError
from tickwork.service.paths import in_path


@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
def test_it_works_under_any_prefix(tmp_path: Path, framework: str) -> None:
    with opened(tmp_path) as site:
        service = site.scheduler.dashboard(allow="tests.service.jobs:*")
        outer: Starlette = FastAPI() if framework == "fastapi" else Starlette()
        outer.routes.append(Mount("/deep/jobs", service))
        client = TestClient(outer, base_url="http://localhost/deep/jobs")
        assert len(client.get("api/v1/tasks").json()["items"]) == 2
        new = {"function": "tests.service.jobs:other", "schedule": "1h", "id": "a/b"}
        made = client.post("api/v1/tasks", json=new)
        assert made.headers["Location"] == f"/deep/jobs/api/v1/tasks/{in_path('a/b')}"
        assert client.get(f"http://localhost{made.headers['Location']}").json()["id"] == "a/b"
        assert client.get("health/ready").json()["status"] == "ready"
        assert client.get("api/v1/openapi.json").status_code == 200
        wrong = client.put("api/v1/tasks/close")
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "DELETE, GET, PATCH")


def test_it_is_not_ready_before_its_scheduler_is(tmp_path: Path) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/tasks.db")
    client = TestClient(scheduler.dashboard(), base_url="http://localhost")
    answer = client.get("health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    refused = client.get("api/v1/tasks")
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:tickwork:error:scheduler-state"
    with scheduler.connect():
        assert client.get("api/v1/tasks").status_code == 200
        assert client.get("health/ready").json()["why"] == "the scheduler isn't started"
        looking = TestClient(scheduler.dashboard(fire=False), base_url="http://localhost")
        assert looking.get("health/ready").status_code == 200


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="auth: "):
        Scheduler().dashboard(auth="maybe")
