"""What others' users are promised, row by row: each has its test, and each such test its row."""

import ast

import pytest

from tests.docs.pages import ROOT, table_of

PAGE = "docs/coming_from.md"
HEADINGS = {
    "asyncz": "Asyncz",
    "apscheduler": "APScheduler",
    "grelmicro": "grelmicro",
    "taskflow": "fastapi-taskflow",
    "xitzin": "xitzin",
    "nexios": "Nexios",
}


def promised_by(system: str) -> list[str]:
    """Return the names of the tests that stand for rows, in their order."""
    text = (ROOT / f"tests/compat/test_parity_{system}.py").read_text(encoding="utf-8")
    return [
        each.name.removeprefix("test_")
        for each in ast.parse(text).body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    ]


@pytest.mark.parametrize(("system", "name"), HEADINGS.items())
def test_each_row_names_its_test(system: str, name: str) -> None:
    rows = table_of(PAGE, f"in {name}", "in tickwork", "what differs, and why", "its test")
    assert all(len(row) == 4 and all(row) for row in rows)
    assert [row[-1] for row in rows] == promised_by(system)


def test_each_module_has_its_table() -> None:
    compat = ROOT / "tickwork/compat"
    public = {path.stem for path in compat.glob("*.py")} | {
        path.parent.name for path in compat.glob("*/__init__.py")
    }
    assert public - {"__init__", "fields", "hosting"} == HEADINGS.keys()
