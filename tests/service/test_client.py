"""The client, against a service at a port of its own."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.service import jobs
from tests.service.conftest import PASSWORD, START, Site, opened
from tests.service.listening import listening
from tickwork import TaskNotFoundError
from tickwork.errors import (
    InvalidInputError,
    RunNotFoundError,
    StaleEditError,
    StoreUnavailableError,
)
from tickwork.model.policies import RunState
from tickwork.service.client import Client
from tickwork.service.errors import AccessDeniedError, CountChangedError, UnauthenticatedError
from tickwork.service.models import (
    BulkRequest,
    NewTask,
    Pause,
    PreviewRequest,
    PruneRequest,
    RetryRequest,
    RunFilter,
    Schedule,
    TaskChange,
    TaskFilter,
)
from tickwork.service.operations import Operations
from tickwork.service.people import NewToken, NewUser, UserChange
from tickwork.service.roles import Action, Role


class Place:
    """A service that listens, and its clients."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url

    def client(self, role: Role) -> Client:
        secret, _ = self.site.service.accounts.create_token(role.value, "test", role, None)
        return Client(self.url, secret)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("served")
    with opened(folder, auth="password") as site:
        site.create_users()
        with listening(site) as url:
            yield Place(site, url)


def test_all_that_operations_can_do_the_client_can() -> None:
    own = {name for name in vars(Client) if not name.startswith("_")}
    theirs = {
        name
        for name in dir(Operations)
        if not name.startswith("_") and callable(getattr(Operations, name))
    }
    # Sessions are a browser's, who asks for the first admin has no token, roles are checked there.
    assert theirs - own == {"may", "set_up", "log_in", "log_out"}
    assert own - theirs == {"follow_events", "version"}


def test_tasks_and_runs_from_afar(place: Place) -> None:
    client = place.client(Role.ADMIN)
    new = NewTask(
        function="tests.service.jobs:close_day", schedule="1h", id="far/away", args=["ulm"]
    )
    made = client.create_task(new, key="k")
    assert client.create_task(new, key="k") == made == client.get_task("far/away")
    assert client.count_tasks(TaskFilter(search="far")) == 1
    assert client.preview_task("far/away", 1) == [START + timedelta(hours=1)]
    change = TaskChange(priority=3)
    assert client.change_task("far/away", change, etag=made.etag, dry_run=True).applied is False
    assert client.change_task("far/away", change, etag=made.etag).task.priority == 3
    with pytest.raises(StaleEditError, match="changed by somebody else"):
        client.change_task("far/away", change, etag=made.etag)
    every = Schedule(schedule="2h")
    assert client.reschedule_task("far/away", every).task.trigger_description == "every 2 hours"
    until = START + timedelta(days=1)
    paused = client.pause_task("far/away", Pause(reason="r", until=until))
    assert (paused.paused_reason, paused.paused_until) == ("r", until)
    assert client.resume_task("far/away", etag=paused.etag).paused_until is None
    run = client.run_task("far/away", key="r")
    assert client.run_task("far/away", key="r") == run
    place.site.scheduler.step()
    assert client.get_run(run.id).result == "ulm"
    assert client.get_log(run.id).over
    assert client.get_progress(run.id).status is RunState.COMPLETED
    assert client.retry_run(run.id).retry_of == run.id
    assert client.count_runs(RunFilter(task="far/away")) == 2
    cancelled = client.cancel_run(client.list_runs(RunFilter(task="far/away")).items[0].id)
    assert cancelled.reason == "cancelled by admin"
    bulk = BulkRequest(action="remove", filter=TaskFilter(search="far"), dry_run=False)
    with pytest.raises(CountChangedError):
        client.bulk_tasks(bulk.model_copy(update={"expected_count": 2, "dry_run": False}))
    client.remove_task("far/away")
    with pytest.raises(TaskNotFoundError, match="far/away"):
        client.get_task("far/away")


def test_everything_else_from_afar(place: Place) -> None:
    client = place.client(Role.ADMIN)
    assert client.me().role is Role.ADMIN
    assert client.version().api == "v1"
    assert [store.name for store in client.list_stores()] == ["default", "local"]
    place.site.scheduler.step()
    assert len(client.list_nodes()) == 2
    assert len(client.list_executors()) == 3
    assert client.list_locks() == []
    assert [each.registered for each in client.list_functions()] == [True, True]
    assert client.preview(PreviewRequest(schedule="5m", count=1)).kind == "interval"
    assert client.retry_runs(RetryRequest(filter=RunFilter(task="none"))).count == 0
    assert client.prune_runs(PruneRequest(before=START)).applied is False
    user = client.create_user(NewUser(name="eve", password=PASSWORD, role=Role.VIEWER))
    assert user in client.list_users()
    assert client.change_user("eve", UserChange(role=Role.OPERATOR)).role is Role.OPERATOR
    client.remove_user("eve")
    token = client.create_token(NewToken(name="x", role=Role.VIEWER))
    assert token.id in [each.id for each in client.list_tokens()]
    assert Client(place.url, token.token).me().role is Role.VIEWER
    client.revoke_token(token.id)
    client.log_out_everywhere()
    with pytest.raises(UnauthenticatedError):
        Client(place.url, token.token).me()
    entries = client.list_audit(action=Action.USERS_REMOVE, target="eve").items
    assert [(each.actor, each.via, each.address) for each in entries] == [
        ("admin", "rest", "127.0.0.1")
    ]


def test_errors_come_back_as_what_they_were(place: Place) -> None:
    with pytest.raises(AccessDeniedError, match=r"tasks\.pause takes the role operator"):
        place.client(Role.VIEWER).pause_task("close")
    with pytest.raises(InvalidInputError, match="is not a schedule"):
        place.client(Role.VIEWER).preview(PreviewRequest(schedule="soon"))
    with pytest.raises(UnauthenticatedError):
        Client(place.url).list_tasks()
    with pytest.raises(StoreUnavailableError, match="is it running"):
        Client("http://127.0.0.1:9").list_tasks()
    with pytest.raises(InvalidInputError, match="no URL of a service"):
        Client("sqlite:///tasks.db")


def test_what_happens_is_told_as_it_happens(place: Place) -> None:
    client = place.client(Role.ADMIN)
    events = client.follow_events("TaskPaused", "TaskResumed")
    told: list[dict[str, object]] = []
    begun = threading.Event()

    def listen() -> None:
        for event in events:
            told.append(event)
            begun.set()
            if event["type"] == "TaskResumed":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    for _ in range(100):
        # Until the first is heard, nobody knows that somebody listens.
        client.pause_task("close")
        if begun.wait(0.1):
            break
    client.resume_task("close")
    thread.join(20)
    assert not thread.is_alive()
    assert told[-1]["type"] == "TaskResumed"
    assert {event["task_id"] for event in told} == {"close"}


def test_what_it_says_may_be_written_in_any_script(place: Place) -> None:
    client = place.client(Role.OPERATOR)
    place.site.scheduler.add_task(jobs.other, "interval", hours=1, id="any script")
    said = "Käse ☃ 待って"
    assert client.pause_task("any script", Pause(reason=said)).paused_reason == said


def test_an_empty_id_is_that_of_nothing(place: Place) -> None:
    client = place.client(Role.VIEWER)
    with pytest.raises(TaskNotFoundError, match="there is no task ''"):
        client.get_task("")
    with pytest.raises(RunNotFoundError, match="there is no run ''"):
        client.get_run("")


def test_a_password_in_the_address_is_shown_to_nobody() -> None:
    with pytest.raises(StoreUnavailableError, match=r"at http://127\.0\.0\.1:9 doesn't") as caught:
        Client("http://mia:opensesame@127.0.0.1:9", "secret").get_task("x")
    assert "opensesame" not in str(caught.value)
