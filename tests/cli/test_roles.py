"""A service with passwords, asked by its tokens: what each role may do on the command line."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Tickwork
from tests.cli.processes import started
from tests.cli.test_reaching import APPLICATION
from tickwork.cli.terminal import Terminal
from tickwork.scheduler.clock import SystemClock

LOOKING = (
    "tasks",
    "show hourly",
    "runs",
    "top --once",
    "timeline --hours 1",
    "doctor",
    "nodes",
    "stores",
    "executors",
    "locks",
    "functions",
    "tokens list",
)
DOING = (
    "create application:hourly 1h --id other",
    "edit hourly --set retries=1",
    "reschedule hourly 2h",
    "pause hourly --reason holiday",
    "resume hourly",
    "bulk pause --all --yes",
    "bulk resume --all --yes",
    "retry --failed-since 1h --yes",
    "trigger hourly",
)
RULING = (
    "remove other --yes",
    "prune --before 1d --yes",
    "audit",
    "users list",
    "users change viewer --disable",
    "users change viewer --enable",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of a service in a process of its own, and of its store."""
    folder = tmp_path_factory.mktemp("roles")
    (folder / "application.py").write_text(APPLICATION)
    words = ("-m", "tickwork", "serve", "application:scheduler", "--port", "0")
    with started(folder, *words, "--auth", "password") as process:
        address = process.until("listening at ").rpartition(" ")[2]
        yield address, f"sqlite:///{folder}/tasks.db"


@pytest.fixture
def tokens(tickwork: Tickwork, service: tuple[str, str], terminal: Terminal) -> dict[str, str]:
    """A token of each role, by its name."""
    terminal.clock = SystemClock()  # which is that of the service
    _, store = service
    made = {}
    for role in ("admin", "operator", "viewer"):
        words = (role, "--role", role, "--store", store)
        assert tickwork("users", "add", *words, given="correct horse battery\n").exit_code == 0
        said = tickwork("tokens", "add", "ci", "--user", role, "--store", store, "--json")
        made[role] = json.loads(said.out)["token"]
    return made


def test_each_role_may_do_what_it_is_for(
    tickwork: Tickwork, service: tuple[str, str], tokens: dict[str, str]
) -> None:
    address, _ = service

    def codes(lines: tuple[str, ...], token: str | None) -> dict[int, list[str]]:
        said = () if token is None else ("--token", token)
        found: dict[int, list[str]] = {}
        for line in lines:
            code = tickwork(*line.split(), "--url", address, *said).exit_code
            found.setdefault(code, []).append(line)
        return found

    for unknown in (None, "tw_wrong"):
        assert list(codes((*LOOKING, *DOING, *RULING, "log x --follow"), unknown)) == [77]
    assert list(codes(LOOKING, tokens["viewer"])) == [0]
    ruling = tuple(line.replace("remove other", "remove hourly") for line in RULING)
    assert list(codes((*DOING, *ruling), tokens["viewer"])) == [77]
    assert list(codes((*LOOKING, *DOING), tokens["operator"])) == [0]
    assert list(codes(RULING, tokens["operator"])) == [77]
    assert list(codes((*RULING, *LOOKING, *DOING), tokens["admin"])) == [0]


def test_who_is_refused_is_told_why(
    tickwork: Tickwork, service: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, store = service
    monkeypatch.setenv("TICKWORK_URL", address)
    assert "(here: --token, or TICKWORK_TOKEN)" in tickwork("tasks").err
    monkeypatch.setenv("TICKWORK_TOKEN", "tw_wrong")
    assert "this session or token isn't valid" in tickwork("tasks").err
    said = tickwork("tasks", "--url", address.replace("://", "://ada:secret@"))
    assert (said.exit_code, said.out) == (2, "")
    assert "say --token" in said.err
    assert "secret" not in said.err
    said = tickwork("export")
    assert said.exit_code == 2
    assert "this needs the store itself" in said.err
    assert tickwork("export", "--store", store).exit_code == 0
