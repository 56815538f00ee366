"""`log --follow`: what a run logs, until it is over."""

import json
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Tickwork
from tests.cli.processes import started
from tickwork import Scheduler
from tickwork.cli.following import added

logger = logging.getLogger("tests.following")

go_on = threading.Event()


def talk() -> None:
    logger.warning("begun")
    assert go_on.wait(30)
    logger.warning("ended")
    raise ValueError("enough")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Scheduler, str]]:
    """A scheduler, and where its store is."""
    url = f"sqlite:///{tmp_path}/talk.db"
    go_on.clear()
    with Scheduler(url) as scheduler:
        yield scheduler, url
        go_on.set()


def test_a_run_is_followed_until_it_is_over(
    running: tuple[Scheduler, str], tmp_path: Path, tickwork: Tickwork
) -> None:
    scheduler, url = running
    run_id = scheduler.submit(talk).id
    words = ("-m", "tickwork", "log", run_id, "--follow", "--interval", "0.2", "--store", url)
    with started(tmp_path, *words) as follower, started(tmp_path, *words, "--json") as reader:
        with started(tmp_path, *words) as other:
            other.until("begun")
            other.send(signal.SIGINT)
            assert other.ended() == 130
        follower.until("begun")
        reader.until("begun")
        go_on.set()
        assert (follower.ended(), reader.ended()) == (5, 5)
    lines = [line.split(" ", 1)[1] for line in follower.lines]
    assert lines == [
        "WARNING tests.following: begun",
        "WARNING tests.following: ended",
        f"{run_id} is failed.",
    ]
    first, last = (json.loads(line) for line in reader.lines)
    assert (first["status"], first["over"], len(first["lines"])) == ("running", False, 1)
    assert (last["status"], last["over"], len(last["lines"])) == ("failed", True, 1)
    said = tickwork("log", run_id, "-f", "--store", url)
    assert (said.exit_code, len(said.out.splitlines())) == (5, 2)
    assert said.err == f"Run {run_id} is failed.\n"
    assert tickwork("log", "nope", "-f", "--store", url).exit_code == 3


def test_a_run_that_completed_is_followed_to_its_end_at_once(
    tickwork: Tickwork, store: str
) -> None:
    with Scheduler(store).connect() as scheduler:
        run_id = scheduler.get_runs(task="greet", limit=1)[0].id
    assert tickwork("log", run_id, "--follow", "--store", store) == (
        0, "", f"Run {run_id} is completed.\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], [], []),
        ([], ["a"], ["a"]),
        (["a"], ["a"], []),
        (["a"], ["a", "a"], ["a"]),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["c", "d", "e"], ["d", "e"]),
        (["a", "b"], ["c", "d"], ["c", "d"]),
    ],
)
def test_what_is_new_is_told_from_what_was_there(
    before: list[str], now: list[str], new: list[str]
) -> None:
    assert added(before, now) == new
