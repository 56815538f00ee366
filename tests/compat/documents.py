"""The documents of other systems, and their examples as they stand there.

Nothing of them is in this repository. Each example is cut out by its first and last line, gets
other imports, and is executed in a module of its own.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

__all__ = ["Document", "Example", "new_module"]

REFERENCES = Path(
    os.environ.get("TICKWORK_REFERENCES") or Path(__file__).parents[3] / "shared" / "references"
)
CODE = re.compile(r"\s*(from \S+ import |import \S+|@\w|(async )?def |class \w+[(:]|async with )")
IMPORT = re.compile(r"(?P<indent> *)(?:from|import) (?P<module>\S+)(?: import (?P<names>.+))?$")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Code in a document, from its `first` to its `last` line.

    `again` is how many lines before the last one look the same. A document may have lost its
    indentation: then `depths` says how deep which number of lines is, as in "6x0 2x1". With a
    `reason` it is no example of anything: it isn't executed.
    """

    first: str
    last: str
    depths: str = ""
    again: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """An example where it was found: the numbers of its lines, and its text."""

    numbers: range
    text: str


class Document:
    """The text of a system, in which `examples` are found one after the other.

    `imports` says what is imported in place of a module, or in place of a whole line.
    """

    def __init__(self, name: str, examples: Sequence[Example], imports: Mapping[str, str]) -> None:
        path = REFERENCES / name
        if not path.exists():
            pytest.skip(f"there is no {path}; TICKWORK_REFERENCES names the documents' folder")
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self._imports = imports
        self._cuts = dict(zip(examples, self._cut(examples), strict=True))

    def _cut(self, examples: Sequence[Example]) -> Iterator[Cut]:
        end = 0
        for example in examples:
            begin = self.lines.index(example.first, end)
            end = begin
            for _ in range(example.again + 1):
                end = self.lines.index(example.last, end) + 1
            yield Cut(range(begin, end), "\n".join(_deepened(self.lines[begin:end], example)))

    def source(self, example: Example) -> str:
        """Return an example with other imports, and nothing else changed."""
        lines = [self._line(line) for line in self._cuts[example].text.splitlines()]
        return "\n".join(lines) + "\n"

    def _line(self, line: str) -> str:
        match = IMPORT.match(line)
        if match is None:
            return line
        if line.strip() in self._imports:
            return match["indent"] + self._imports[line.strip()]
        there = self._imports.get(match["module"])
        names = match["names"] or match["module"]
        return line if there is None else f"{match['indent']}from {there} import {names}"

    def execute(self, example: Example, module: ModuleType) -> None:
        """Execute an example in a module, on top of what is there."""
        number = self._cuts[example].numbers.start + 1
        code = compile(self.source(example), f"<example at line {number}>", "exec")
        exec(code, module.__dict__)  # noqa: S102  that is what it is about

    def code_outside(self) -> list[str]:
        """Return lines that look like code, and lie in no example."""
        inside = {number for cut in self._cuts.values() for number in cut.numbers}
        return [
            line
            for number, line in enumerate(self.lines)
            if number not in inside and CODE.match(line)
        ]

    def foreign_imports(self) -> list[str]:
        """Return imports in executed examples of modules that don't exist here."""
        words = [
            match["module"].partition(".")[0]
            for example in self._cuts
            if not example.reason
            for line in self.source(example).splitlines()
            if (match := IMPORT.match(line))
        ]
        known = {*sys.stdlib_module_names, "fastapi", "pytest", "tests", "tickwork"}
        return sorted(set(words) - known)


def _deepened(lines: Sequence[str], example: Example) -> Iterator[str]:
    if not example.depths:
        yield from lines
        return
    depths: list[int] = []
    for part in example.depths.split():
        count, _, how_deep = part.partition("x")
        depths += [int(how_deep)] * int(count)
    for line, depth in zip(lines, depths, strict=True):
        yield "    " * depth + line


def new_module(name: str, **given: Any) -> ModuleType:
    """Return a module that can be imported by its name, with some names in it."""
    module = sys.modules[name] = ModuleType(name)
    module.__dict__.update(given)
    return module
