"""Users' code is checked by mypy --strict, as they would: what is right passes, mistakes don't."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXPECTED = re.compile(r"# expect: (\S+)")
FOUND = re.compile(r"^[^:]+:(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def checked(file: Path, cache: Path) -> str:
    """Return what mypy says about a file, without the configuration of this project."""
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir",
         str(cache), "--warn-unreachable", "--follow-imports", "silent", str(file)],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    known = ROOT / ".mypy_cache" / "typing"
    return known if known.parent.is_dir() else tmp_path_factory.mktemp("mypy")


def test_what_is_right_passes(cache: Path) -> None:
    assert checked(HERE / "user_code.py", cache).startswith("Success")


def test_mistakes_are_found(cache: Path, tmp_path: Path) -> None:
    lines = (HERE / "mistakes.txt").read_text().splitlines()
    file = tmp_path / "mistakes.py"
    file.write_text("\n".join(lines) + "\n")
    answer = checked(file, cache)
    found: dict[int, set[str]] = {}
    for number, code in FOUND.findall(answer):
        found.setdefault(int(number), set()).add(code)
    expected = {
        number: set(match[1].split("|"))
        for number, line in enumerate(lines, 1)
        if (match := EXPECTED.search(line))
    }
    missed = [lines[number - 1] for number in expected if number not in found]
    assert missed == [], answer
    assert [lines[number - 1] for number in found if number not in expected] == [], answer
    for number, codes in expected.items():
        assert found[number] & codes, (lines[number - 1], found[number])
