"""The results as a page: what was measured, by whom, and whether what is wanted was reached."""

from collections.abc import Iterator, Mapping, Sequence

from bench.course import Course
from bench.group import Group
from bench.measuring import QUIET, Measured
from bench.plan import SECTIONS
from bench.spec import Spec

__all__ = ["page"]

_UNITS = {
    "per_s": "a second",
    "one_per_s": "a second",
    "two_per_s": "a second",
    "on_time_percent": "% on time",
    "cpu_percent": "% CPU",
    "ready_s": "s",
    "step_us": "µs",
    "sparse_us": "µs",
    "few_ms": "ms",
    "many_ms": "ms",
    "ratio": "times",
}
_WHO = ("tickwork", "apscheduler", "asyncz", "huey", "procrastinate", "croniter", "floor")
_NOT_PEERS = {"tickwork", "floor"}
_TITLES = {
    "cron": "Cron",
    "memory": "Memory",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "file": "Files",
    "nodes": "Several nodes on one PostgreSQL",
    "planning": "What planning costs the store",
}
_REMARKS = {
    "sqlite": "Everybody writes ahead with `synchronous=FULL`: a commit survives a power cut.",
    "postgresql": "For everybody `fsync` and `synchronous_commit` are on.",
    "redis": (
        "For everybody the server appends each command to its log before it answers, and forces "
        "the log to the disk each second (`appendonly yes`, `appendfsync everysec`)."
    ),
    "file": "Tickwork waits for the disk at each step; the others never do.",
}

Results = Mapping[Spec, Measured]


def page(course: Course, facts: Mapping[str, str]) -> str:
    """Return the page, in Markdown."""
    lines = [
        "# Tickwork beside others",
        "",
        course.sentences(),
        "",
        "Written by `make bench`; how it is measured stands at the top of `bench/__init__.py` and",
        "of each module in `bench/workloads`; where the time goes, in `PROFILES.md`. Medians",
        "(least to most); `°` marks figures taken while something else used more than",
        f"{QUIET:.0%} of a processor.",
        "",
        *[f"- {name}: {value}" for name, value in facts.items()],
        "",
        *_verdicts(course.groups, course.results),
    ]
    for section in SECTIONS:
        groups = [group for group in course.groups if group.section == section]
        if groups:
            lines += _section(section, groups, course.results)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: str, groups: Sequence[Group], results: Results) -> Iterator[str]:
    present = {spec.contender for group in groups for spec in group.specs}
    who = [each for each in _WHO if each in present]
    yield f"## {_TITLES[section]}"
    yield ""
    if section in _REMARKS:
        yield _REMARKS[section]
        yield ""
    yield f"| workload | unit | {' | '.join(who)} | to the best peer | wanted |"
    yield f"|---|---|{'---|' * (len(who) + 2)}"
    for group in groups:
        yield _row(group, who, results)
    yield ""
    yield from _bursts(groups, results)
    yield from _steady(groups, results)


def _row(group: Group, who: Sequence[str], results: Results) -> str:
    measured = {spec.contender: results[spec] for spec in group.specs}
    cells = [_cell(measured[each], group) if each in measured else "" for each in who]
    ratio = _ratio(group, results, None)
    compared = "" if ratio is None else f"{ratio:.2f} times"
    row = [group.title, _UNITS[group.figure], *cells, compared, _wanted(group)]
    return f"| {' | '.join(row)} |"


def _cell(measured: Measured, group: Group) -> str:
    if measured.error is not None:
        return f"failed: {measured.error}".replace("|", "/")
    values = measured.values(group.figure)
    mark = "°" if measured.disturbed else ""
    spread = f" ({_number(values[0])} to {_number(values[-1])})" if len(values) > 1 else ""
    fewer = f", of {measured.spec.count:,}" if measured.spec.count < group.count else ""
    return f"{_number(measured.median(group.figure))}{spread}{mark}{fewer}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(group: Group, results: Results, rival: str | None) -> float | None:
    """Return how many times better tickwork is than a rival, None: than the best peer."""
    ours: float | None = None
    theirs: list[float] = []
    for spec in group.specs:
        measured = results[spec]
        if measured.error is not None:
            continue
        if spec.contender == "tickwork":
            ours = measured.median(group.figure)
        elif spec.contender == rival or (rival is None and spec.contender not in _NOT_PEERS):
            theirs.append(measured.median(group.figure))
    if not ours or not theirs:
        return None
    return ours / max(theirs) if group.more_is_better else min(theirs) / ours


def _wanted(group: Group) -> str:
    if group.factor is not None:
        return f"{group.factor:g} times {_rival(group)}"
    if group.least is not None:
        return f"at least {group.least:g}"
    return f"at most {group.most:g} {_UNITS[group.figure]}" if group.most is not None else ""


def _rival(group: Group) -> str:
    return group.rival or "the best peer"


def _verdicts(groups: Sequence[Group], results: Results) -> Iterator[str]:
    """Yield a line for each target: reached, or missed by how much."""
    yield "## Targets"
    yield ""
    for group in groups:
        if (said := _verdict(group, results)) is not None:
            yield f"- {_TITLES[group.section]}, {group.title}: {said}"
    yield ""


def _verdict(group: Group, results: Results) -> str | None:
    if group.factor is not None:
        ratio = _ratio(group, results, group.rival)
        return _judged(ratio, group.factor, f" times {_rival(group)}", more=True)
    wanted = group.least if group.least is not None else group.most
    if wanted is None:
        return None
    ours = results[next(spec for spec in group.specs if spec.contender == "tickwork")]
    value = None if ours.error is not None else ours.median(group.figure)
    return _judged(value, wanted, f" {_UNITS[group.figure]}", more=group.least is not None)


def _judged(value: float | None, wanted: float, unit: str, *, more: bool) -> str:
    if value is None:
        return "**not measured**"
    if (value >= wanted) if more else (value <= wanted):
        return f"reached, {value:.3g}{unit}"
    missed = 1 - value / wanted if more else value / wanted - 1
    return f"**missed by {missed:.0%}**, {value:.3g} instead of {wanted:g}{unit}"


def _bursts(groups: Sequence[Group], results: Results) -> Iterator[str]:
    """Yield what the table has no room for."""
    bursts = [group for group in groups if group.workload == "burst"]
    if bursts:
        yield "Tickwork's time in bursts ends with the last record; until the last call it makes:"
        yield ""
        for group in bursts:
            each = [results[spec] for spec in group.specs if results[spec].error is None]
            memory = ", ".join(
                f"{one.spec.contender} {one.median('memory_mb'):,.0f}" for one in each
            )
            ours = [one for one in each if one.spec.contender == "tickwork"]
            rate = f"{ours[0].median('called_per_s'):,.0f} a second" if ours else "?"
            yield f"- {group.title}: {rate}; most memory in MB: {memory}"
        yield ""


def _steady(groups: Sequence[Group], results: Results) -> Iterator[str]:
    steady = [group for group in groups if group.workload == "steady"]
    if steady:
        yield "Lateness, p50 / p99 in ms, and percent called:"
        yield ""
        for group in steady:
            each = [results[spec] for spec in group.specs if results[spec].error is None]
            yield f"- {group.title}: " + "; ".join(
                f"{one.spec.contender} {one.median('late_p50_ms'):.1f} / "
                f"{one.median('late_p99_ms'):.1f}, {one.median('called_percent'):.1f} %"
                for one in each
            )
        yield ""
