"""The same tour through the commands on every store: each answers as the SQLite one does."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.conftest import Tickwork, fill_store
from tests.servers.tables import EmptyTables

TOUR = """
tasks --sort id
tasks --tag mail --json
show greet
create tests.cli.chores:greet "0 8 * * mon-fri" --timezone Europe/Berlin --id welcome --args ["Bob"]
create tests.cli.chores:log_in 1h --id door --kwargs {"user":"ada","password":"x"}
create tests.cli.chores:greet 1h --id welcome
edit welcome --set retries=5 --dry-run
edit welcome --set retries=5
reschedule welcome 2h
pause welcome --reason printer --until 2h
show welcome
resume welcome
bulk pause --tag mail --reason holiday --yes
bulk resume --all --dry-run
bulk resume --tag mail --yes
trigger welcome
runs
runs --status failed --limit 1
runs --since 40m --json
show-run FAILED
log FAILED
log FAILED --follow
progress FAILED
cancel FAILED
retry FAILED
cancel PENDING --reason enough
retry --failed-since 2h --yes
top --once
timeline --hours 2
doctor
doctor --json
nodes
stores
executors
locks
functions
export
diff FILE
apply FILE --dry-run
apply FILE --yes --prune
diff FILE
users list
tokens list
audit --limit 50
audit --action tasks.pause --target welcome
prune --before 100m --dry-run
prune --before 100m --yes
remove welcome
remove welcome --yes
tasks --json
show nobody
"""

_FILE = """
version: 1
tasks:
- {id: welcome, function: "tests.cli.chores:greet", schedule: 3h, args: [Eve]}
- {id: greet, function: "tests.cli.chores:greet", schedule: 1h, args: [Ada]}
"""


Answer = tuple[str, int, list[str]]


def _tour(tickwork: Tickwork, url: str) -> list[Answer]:
    """Return what each command exits with and prints, without what is each store's own."""
    where = ("--store", url)
    answers = []
    for line in TOUR.split("\n")[1:-1]:
        words = [_meant(tickwork, where, word.strip('"')) for word in _split(line)]
        said = tickwork(*words, *where)
        text = (said.out + said.err).replace(url.partition("?")[0], "STORE")
        text = re.sub(r"\b[0-9a-f]{28}\b|\b[0-9a-f]{24}\b", "ID", text)
        if line == "stores":
            text = re.sub(r"(STORE +)KIND +", r"\1", re.sub(r"(default +)\w+ +", r"\1", text))
        # Of what happened at the same instant, either may come first.
        answers.append((line, said.exit_code, sorted(text.splitlines())))
    return answers


def _split(line: str) -> list[str]:
    return re.findall(r'"[^"]*"(?=\s|$)|\S+', line)


def _meant(tickwork: Tickwork, where: tuple[str, str], word: str) -> str:
    if word not in {"FAILED", "PENDING", "FILE"}:
        return word
    if word == "FILE":
        Path("tasks.yaml").write_text(_FILE)
        return "tasks.yaml"
    task = {"FAILED": "break", "PENDING": "welcome"}[word]
    words = ("runs", "--status", word.lower(), "--task", task, "--json")
    found = json.loads(tickwork(*words, *where).out)
    return str(found[0]["id"])


@pytest.fixture(scope="session")
def answers() -> list[Answer]:
    """What the first store said, which all others have to say, too."""
    return []


@pytest.fixture(params=["file", "postgres", "mysql", "redis", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/kept"
    server: str = request.getfixturevalue(f"{request.param}_url")
    prefix = f"tour{uuid4().hex}-"
    if request.param in {"postgres", "mysql"}:
        prefix = EmptyTables(server).prefix()
    return f"{server}{'&' if '?' in server else '?'}prefix={prefix}"


def test_all_commands_say_the_same_on_every_store(
    tickwork: Tickwork, store: str, url: str, answers: list[Answer]
) -> None:
    if not answers:
        answers += _tour(tickwork, store)
        codes = [code for _, code, _ in answers]
        assert {code: codes.count(code) for code in sorted(set(codes))} == {
            0: 42,
            2: 1,
            3: 1,
            4: 2,
            5: 1,
            10: 4,
        }
    fill_store(url)
    for answer, expected in zip(_tour(tickwork, url), answers, strict=True):
        assert answer == expected
