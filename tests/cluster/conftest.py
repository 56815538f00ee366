"""What a soak has found, as rows of the table in `docs/soak.md`."""

import re

import pytest

_WHICH = re.compile(r"::Test(?P<store>\w+?)Cluster\w*::test_(?P<scenario>\w+)\[long")
_COUNTS = re.compile(r"^(?P<counts>tasks: .*)$", re.MULTILINE)
_COLUMNS = (
    "fire times",
    "runs",
    "executions",
    "runs executed again",
    "crashes",
    "lost",
    "missed",
    "skipped",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        row
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and (row := _row(report))
    ]
    if rows:
        terminalreporter.section("soak")
        terminalreporter.write_line(f"| store | scenario | {' | '.join(_COLUMNS)} |")
        terminalreporter.write_line("|---" * (2 + len(_COLUMNS)) + "|")
        for row in sorted(rows):
            terminalreporter.write_line(row)


def _row(report: pytest.TestReport) -> str | None:
    which, counts = _WHICH.search(report.nodeid), _COUNTS.search(report.capstdout)
    if which is None or counts is None:
        return None
    found = dict(each.split(": ") for each in counts["counts"].split(", "))
    numbers = " | ".join(found.get(column, "0") for column in _COLUMNS)
    return f"| {which['store']} | {which['scenario'].replace('_', ' ')} | {numbers} |"
