"""Steps as bytes: lines of JSON, and one that seals them.

A line says one thing: `{"run": {...}}`, `{"task": {...}}`, `{"removed": "id"}`, `{"node": {...}}`,
`{"left": "id"}`, `{"forgotten": ["run id", ...]}`, `{"lock": {...}}`, `{"lapsed": ["lock", ...]}`.
The seal says how many bytes the step has and what their checksum is. A step without its seal, or
with one that doesn't fit, never happened: that is what a crash, or a power cut before the disk was
done, leaves at the end of a log. No line has a line break in it, so that what looks like a seal at
the beginning of a line is one.
"""

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple
from zlib import crc32

from tickwork.stores.file.papers import line

__all__ = ["Mark", "Step", "holds_steps", "sealed", "steps_in"]

_SEAL = b'{"step":'


class Mark(StrEnum):
    """What a step says about those before it."""

    BASE = "base"
    """It is the beginning of a log. The files of all tasks say what the log says."""
    FILED = "filed"
    """They say it now."""
    SYNCED = "synced"
    """They are on the disk, too: what they say now, if anything else, was said by people."""


class Step(NamedTuple):
    """A step that happened; `end` is where the next one begins."""

    number: int
    fence: int
    mark: str | None
    lines: list[Any]
    end: int


def sealed(lines: Iterable[bytes], number: int, fence: int, mark: Mark | None = None) -> bytes:
    """Return a step as bytes."""
    body = b"".join(lines)
    seal: dict[str, Any] = {"step": number, "bytes": len(body), "fence": fence}
    if mark is not None:
        seal["mark"] = mark
    return body + line({**seal, "sum": _sum(body, seal)})


def _sum(body: bytes | memoryview, seal: dict[str, Any]) -> int:
    """Return the checksum of a step, and of what its seal says."""
    return crc32(line(seal), crc32(body))


def steps_in(data: bytes) -> Iterator[Step]:
    """Yield the steps that stand whole at the beginning of the data."""
    begin = 0
    while (found := _seal_after(data, begin)) is not None:
        at, end = found
        seal = _seal_of(data, at, end)
        if seal is None or seal["bytes"] != at - begin:
            return
        lines = json.loads(b"[" + data[begin : max(at - 1, begin)].replace(b"\n", b",") + b"]")
        yield Step(seal["step"], seal["fence"], seal.get("mark"), lines, end)
        begin = end


def holds_steps(data: bytes) -> bool:
    """Whether whole steps stand anywhere in data that doesn't begin with one."""
    begin = 0
    while (found := _seal_after(data, begin)) is not None:
        at, begin = found
        if _seal_of(data, at, begin) is not None:
            return True
    return False


def _seal_after(data: bytes, begin: int) -> tuple[int, int] | None:
    """Return from where to where the next seal goes."""
    at = begin
    if not data.startswith(_SEAL, begin):
        at = data.find(b"\n" + _SEAL, begin) + 1
        if not at:
            return None
    end = data.find(b"\n", at) + 1
    return (at, end) if end else None


def _seal_of(data: bytes, at: int, end: int) -> dict[str, Any] | None:
    """Return a seal, if the bytes before it are those that it sealed."""
    try:
        seal: dict[str, Any] = json.loads(data[at:end])
        begin, told = at - seal["bytes"], seal.pop("sum")
        fits = 0 <= begin <= at and _sum(memoryview(data)[begin:at], seal) == told
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return seal if fits else None
