"""What the pages say in tables, diagrams and references, compared with the code."""

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import typer.main
from croniter import croniter

import tickwork
from tests.docs.pages import PAGES, ROOT, anchors_of, blocks_of, links_of, name_of, table_of
from tickwork import (
    CronTrigger,
    InvalidInputError,
    RunInfo,
    Scheduler,
    SchedulerConfig,
    errors,
    events,
)
from tickwork.cli.commands import app
from tickwork.cli.failures import EXIT_CODES, UNEXPECTED
from tickwork.events import Event
from tickwork.model.policies import (
    LEGAL_MOVES,
    TERMINAL,
    Delivery,
    Overlap,
    RunState,
    ScheduleState,
    Source,
)
from tickwork.scheduler.declaring import OPTIONS
from tickwork.testing import SteppedScheduler
from tickwork.wiring import trigger_parameters

REFERENCE = re.compile(r"`((?:tickwork|tests|examples)/[\w/.]+)(?:::([\w.]+))?`")
REFERENCES = sorted(
    {
        (name_of(page), match[1], match[2] or "")
        for page in PAGES
        for match in REFERENCE.finditer(page.read_text(encoding="utf-8"))
    }
)


def first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


# --- diagrams and tables --------------------------------------------------------------------------


def state_diagram() -> str:
    """Return the table of legal moves as a diagram."""
    lines = ["stateDiagram-v2"]
    for before, moves in LEGAL_MOVES.items():
        lines += [f"    {before or '[*]'} --> {after}" for after in RunState if after in moves]
    lines += [f"    {state} --> [*]" for state in RunState if state in TERMINAL]
    return "\n".join(lines) + "\n"


def test_the_diagram_of_run_states_is_the_table_of_legal_moves() -> None:
    (block,) = [each for each in blocks_of(ROOT / "docs/runs.md") if each.language == "mermaid"]
    assert block.text == state_diagram()


def test_all_run_states_are_explained() -> None:
    assert [name for name, _ in table_of("docs/runs.md", "state", "meaning")] == list(RunState)


def test_all_schedule_states_are_explained() -> None:
    assert [name for name, _ in table_of("docs/tasks.md", "state", "meaning")] == list(
        ScheduleState
    )


EVENTS: list[type[Event]] = [getattr(events, name) for name in events.__all__]
KINDS = [kind for kind in EVENTS if kind.__subclasses__()]


def fields_of_event(kind: type[Event]) -> list[str]:
    """Return the kind that an event is one of, and the fields that only it has."""
    base: type[Any] = kind.__mro__[1]
    known = {each.name for each in fields(base)}
    return [f"{base.__name__}'s", *(each.name for each in fields(kind) if each.name not in known)]


def test_all_events_are_listed_as_they_describe_themselves() -> None:
    told = [kind for kind in EVENTS if kind not in KINDS]
    listed = [
        [name, when, said.replace("`", "").split(", ")]
        for name, when, said in table_of("docs/observing.md", "event", "when", "its fields")
    ]
    assert sorted(listed) == sorted(
        [kind.__name__, first_line(kind), fields_of_event(kind)] for kind in told
    )


def test_all_kinds_of_events_are_listed_with_their_fields() -> None:
    listed = {
        name: said.replace("`", "").split(", ")
        for name, said in table_of("docs/observing.md", "class", "its fields")
    }
    assert listed == {kind.__name__: [each.name for each in fields(kind)] for kind in KINDS}


def test_all_options_are_listed() -> None:
    listed = {name for name, _, _ in table_of("docs/tasks.md", "option", "meaning", "default")}
    assert listed == OPTIONS


def refused(call: Callable[[], object]) -> set[str]:
    """Return the names that the refusal of another one lists."""
    with pytest.raises(InvalidInputError) as caught:
        call()
    return set(re.findall(r"\b[a-z_]+(?=,|$)", str(caught.value)))


def test_the_options_above_args_are_those_that_all_tasks_may_have() -> None:
    names = [name for name, _, _ in table_of("docs/tasks.md", "option", "meaning", "default")]
    known = refused(lambda: Scheduler(task_defaults={"shoe": 7}))
    assert set(names[: names.index("args")]) == known


def test_all_options_of_runs_are_listed() -> None:
    listed = {name for name, _ in table_of("docs/submitting.md", "option", "meaning")}
    assert listed == refused(lambda: Scheduler().options(shoe=7))


def test_all_settings_are_listed_with_their_defaults() -> None:
    listed = table_of("docs/tasks.md", "setting", "meaning", "default")
    known = [[each.name, str(each.default)] for each in fields(SchedulerConfig)]
    assert [[name, default] for name, _, default in listed] == known


def test_all_fields_of_a_run_are_listed() -> None:
    rows = table_of("docs/runs.md", "field", "what it says")
    listed = [name.strip("` ") for names, _ in rows for name in names.split(",")]
    assert sorted(listed) == sorted(RunInfo.model_fields)


def test_the_words_of_policies_are_explained() -> None:
    assert [name for name, _ in table_of("docs/tasks.md", "overlap", "then")] == list(Overlap)
    assert [name for name, _ in table_of("docs/tasks.md", "delivery", "then")] == list(Delivery)
    assert [name for name, _ in table_of("docs/runs.md", "source", "why the run exists")] == list(
        Source
    )


def test_all_triggers_are_listed_under_their_aliases() -> None:
    rows = table_of("docs/triggers.md", "alias", "class", "fires")
    for alias, name, _ in rows:
        assert getattr(tickwork, name).kind == alias
        assert trigger_parameters(alias)
    assert len(rows) == sum(name.endswith("Trigger") for name in tickwork.__all__)


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    (block,) = [each for each in blocks_of(ROOT / "docs/running.md") if each.language == ""]
    drawn = (inspect.getdoc(errors) or "").partition("\n\n")[2]
    assert block.text.strip() == drawn.strip()


def test_all_exit_codes_are_listed() -> None:
    listed = {
        (name, int(code))
        for code, name, _ in table_of("docs/cli.md", "code", "error", "whose fault")
    }
    known = {(kind.__name__, code) for kind, code in EXIT_CODES}
    assert listed == known | {("any other", UNEXPECTED)}


def test_all_commands_are_listed_as_they_describe_themselves() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    described = {name: first_line(command.callback) for name, command in commands.items()}
    assert dict(table_of("docs/cli.md", "command", "what it does")) == described


# --- fire times -----------------------------------------------------------------------------------


def fires_of(schedule: str, zone: str, after: str, form: str) -> str:
    """Return the first three fire times after a local time, as a table shows them."""
    if "=" in schedule:
        fields: dict[str, str] = dict(each.split("=") for each in schedule.split())
        trigger = CronTrigger(**fields, timezone=zone)  # type: ignore[arg-type]  # texts
    else:
        trigger = CronTrigger.from_crontab(schedule, zone)
    moment: datetime | None = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    found = []
    for _ in range(3):
        assert moment is not None
        moment = trigger.next_fire_time(moment)
        assert moment is not None
        found.append(f"{moment.astimezone(ZoneInfo(zone)):{form}}")
    return ", ".join(found)


def test_the_two_spellings_of_cron_differ_as_shown() -> None:
    rows = table_of("docs/triggers.md", "schedule", "after", "first fire times")
    assert len(rows) > 5
    for schedule, after, fires in rows:
        assert fires_of(schedule, "UTC", after, "%a %d %b") == fires, schedule


def test_changes_of_clocks_are_as_shown() -> None:
    rows = table_of("docs/triggers.md", "schedule", "time zone", "after", "next fire times")
    assert len(rows) > 5
    for schedule, zone, after, fires in rows:
        assert fires_of(schedule, zone, after, "%d %b %H:%M %z") == fires, schedule


def test_croniter_differs_as_shown() -> None:
    rows = table_of("docs/decisions.md", "expression", "after", "croniter", "tickwork")
    assert rows
    for expression, after, theirs, ours in rows:
        begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo("Europe/Berlin"))
        for cron_bug in (True, False):
            fires = croniter(expression, begin, implement_cron_bug=cron_bug)
            found = ", ".join(f"{fires.get_next(datetime):%d %b %H:%M %z}" for _ in range(3))
            assert found == theirs, expression
        assert fires_of(expression, "Europe/Berlin", after, "%d %b %H:%M %z") == ours, expression


# --- references -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_index_lists_all_pages() -> None:
    listed = {link for link in links_of(ROOT / "docs/index.md") if "#" not in link}
    assert listed == {page.name for page in PAGES[1:]} - {"index.md"}


def defined_in(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Return what statements define, each with the statements inside."""
    found: dict[str, list[ast.stmt]] = {}
    for each in body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[each.name] = each.body
        elif isinstance(each, ast.Assign):
            found |= {target.id: [] for target in each.targets if isinstance(target, ast.Name)}
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            found[each.target.id] = []
    return found


@pytest.mark.parametrize(("page", "file", "name"), REFERENCES)
def test_what_the_page_refers_to_is_in_the_code(page: str, file: str, name: str) -> None:
    assert (ROOT / file).exists(), f"{page}: no {file}"
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body if name else []
    for part in name.split(".") if name else []:
        known = defined_in(body)
        assert part in known, f"{page}: {file} has no {name}"
        body = known[part]


def test_no_page_names_a_method_that_a_scheduler_lacks() -> None:
    named = {
        match[1]
        for page in PAGES
        for match in re.finditer(r"`scheduler\.(\w+)", page.read_text(encoding="utf-8"))
    }
    assert {name for name in named if not hasattr(SteppedScheduler, name)} <= {"clock"}
