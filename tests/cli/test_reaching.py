"""Where a command works: a store, or a running service; and what it does without either."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Tickwork
from tests.cli.processes import REPOSITORY, started
from tests.docs.pages import table_of
from tickwork.cli.failures import BROKEN, NOTABLE
from tickwork.cli.terminal import Terminal
from tickwork.scheduler.clock import SystemClock

APPLICATION = """
from tickwork import Scheduler

scheduler = Scheduler("sqlite:///tasks.db")

@scheduler.task(every="1h", id="hourly", tags=["mail"])
def hourly():
    return 42
"""
WITHOUT_THE_SERVICE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        missing = {"fastapi", "starlette", "uvicorn", "argon2", "jinja2", "yaml"}
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
from tickwork.cli import main
main()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service in a process of its own."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "application.py").write_text(APPLICATION)
    words = ("-m", "tickwork", "serve", "application:scheduler", "--port", "0")
    with started(folder, *words) as process:
        yield process.until("listening at ").rpartition(" ")[2]


def test_all_of_it_works_on_a_service(tickwork: Tickwork, address: str, terminal: Terminal) -> None:
    terminal.clock = SystemClock()  # which is that of the service
    where = ("--url", address)
    said = tickwork("create", "application:hourly", "5m", "--id", "often", *where)
    assert (said.exit_code, said.out.splitlines()[0]) == (0, "often is added: every 5 minutes.")
    assert tickwork("create", "os:getcwd", "5m", *where).exit_code == 77
    tasks = json.loads(tickwork("tasks", "--sort", "id", "--json", *where).out)
    assert [task["id"] for task in tasks] == ["hourly", "often"]
    said = tickwork("edit", "often", "--set", "retries=2", *where)
    assert "  retries  0 -> 2\n" in said.out
    said = tickwork("pause", "often", "--reason", "holiday", *where)
    assert said == (0, "often is paused: holiday.\n", "")
    assert tickwork("bulk", "resume", "--all", "--yes", *where).out.splitlines()[-1] == (
        "2 done, 0 failed."
    )
    assert tickwork("show", "often", *where).exit_code == 0
    run = json.loads(tickwork("trigger", "often", "--json", *where).out)
    assert json.loads(tickwork("show-run", run["id"], "--json", *where).out)["task_id"] == "often"
    assert tickwork("show-run", "nope", *where).exit_code == 3
    assert tickwork("remove", "often", "--yes", *where).exit_code == 0
    assert tickwork("doctor", *where).out == (
        "Healthy: nodes, overdue, stuck, orphaned, functions, clocks.\n"
    )
    assert tickwork("top", "--once", *where).out.startswith(f"tickwork {address}  20")
    assert "hourly  " in tickwork("timeline", *where).out
    via = {entry["via"] for entry in json.loads(tickwork("audit", "--json", *where).out)}
    assert via == {"rest"}


def test_the_metrics_of_a_service_count_what_it_was_told_to_do(
    tickwork: Tickwork, address: str
) -> None:
    before = _counted(address)
    for _ in range(3):
        run = json.loads(tickwork("trigger", "hourly", "--json", "--url", address).out)
        said = tickwork("log", run["id"], "--follow", "--interval", "0.2", "--url", address)
        assert said == (0, "", f"Run {run['id']} is completed.\n")
    after = _counted(address)
    series = '{store="default",task="hourly"}'
    ended = '{state="completed",store="default",task="hourly"}'
    for name in (
        f"runs_started_total{series}",
        f"runs_ended_total{ended}",
        f"run_lateness_seconds_count{series}",
        f"run_duration_seconds_count{series}",
    ):
        assert after[f"tickwork_{name}"] - before.get(f"tickwork_{name}", 0) == 3, name
    assert after['tickwork_nodes{state="alive",store="default"}'] == 1
    assert after['tickwork_tasks{state="scheduled",store="default"}'] == 1


def _counted(address: str) -> dict[str, float]:
    with urlopen(f"{address}/metrics", timeout=30) as answer:  # noqa: S310  our own service
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_what_is_said_counts_more_than_the_environment(
    tickwork: Tickwork, store: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKWORK_STORE", store)
    ids = [t["id"] for t in json.loads(tickwork("tasks", "--url", address, "--json").out)]
    assert ids == ["hourly"]
    monkeypatch.setenv("TICKWORK_URL", address)
    said = tickwork("tasks")
    assert (said.exit_code, said.out) == (2, "")
    assert "say one of --store and --url" in said.err
    assert len(json.loads(tickwork("tasks", "--store", store, "--json").out)) == 4


def test_a_service_that_does_not_answer_is_worth_another_try(tickwork: Tickwork) -> None:
    said = tickwork("tasks", "--url", "http://127.0.0.1:1")
    assert (said.exit_code, said.out) == (75, "")
    assert "the service at http://127.0.0.1:1 doesn't answer" in said.err
    assert tickwork("tasks", "--url", "127.0.0.1:1").exit_code == 2


def _plain(folder: Path) -> Callable[..., tuple[int, str]]:
    def call(*words: str) -> tuple[int, str]:
        with started(folder, "-c", WITHOUT_THE_SERVICE, *words) as process:
            return process.ended(), "\n".join(process.lines)

    return call


def test_a_plain_install_has_all_that_needs_no_more(store: str, tmp_path: Path) -> None:
    call = _plain(tmp_path)
    where = ("--store", store)
    # In a process of its own it goes by the real time, at which more or less is overdue.
    codes = {"doctor": {10, 11}}
    for words in (["tasks"], ["show", "greet"], ["pause", "greet"], ["doctor"]):
        code, text = call(*words, *where)
        assert code in codes.get(words[0], {0})
        assert "Error" not in text
    code, text = call("export", *where)
    assert (code, text) == (
        2,
        "tickwork: files of definitions need the package 'pyyaml': pip install 'tickwork[service]'",
    )


def test_shells_complete_the_names_of_commands(tmp_path: Path) -> None:
    environment = {
        "_TICKWORK_COMPLETE": "complete_bash",
        "COMP_WORDS": "tickwork re",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tickwork"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert sorted(done.stdout.split()) == ["remove", "reschedule", "resume", "retry"]


def test_what_commands_find_has_codes_of_its_own() -> None:
    rows = table_of("docs/cli.md", "code", "what was found")
    assert [int(code) for code, _ in rows] == [NOTABLE, BROKEN]
