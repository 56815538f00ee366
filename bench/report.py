"""The results as a page: what was measured, by whom, and whether what is wanted was reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.group import Group
from bench.judging import UNITS, Results, number, ratio, verdict, wanted
from bench.measuring import QUIET, Measured
from bench.plan import SECTIONS

__all__ = ["TITLES", "page"]

_WHO = (
    "tickwork",
    "apscheduler",
    "apscheduler4",
    "asyncz",
    "huey",
    "procrastinate",
    "rq",
    "croniter",
    "floor",
    "recorded",
    "bare",
    "raw",
)
TITLES = {
    "cron": "Cron",
    "import": "Importing",
    "memory": "Memory",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "nodes": "Several nodes on one PostgreSQL",
    "handover": "Submitted in one process, begun in another",
    "catchup": "Caught up after a month's stop",
    "split": "What a run costs",
    "steady": "Steady: the most one-second tasks",
    "million": "Many stored tasks, nearly all due much later",
    "planning": "What planning costs the store",
    "file": "Files",
    "service": "The service",
}
_REMARKS = {
    "memory": (
        "`floor` is a bare heap with `create_task` or `submit`; it keeps nothing. `recorded` is a "
        "bare heap that keeps a record of each run, and does nothing else that a scheduler does."
    ),
    "sqlite": (
        "Everybody writes ahead with `synchronous=FULL`: a commit survives a power cut. `recorded` "
        "is a bare loop that writes what `raw` writes and calls what is due, and decides nothing."
    ),
    "postgresql": "For everybody `fsync` and `synchronous_commit` are on.",
    "redis": (
        "For everybody the server appends each command to its log before it answers, and forces "
        "the log to the disk each second (`appendonly yes`, `appendfsync everysec`). `recorded` is "
        "a bare loop as on SQLite."
    ),
    "handover": (
        "`raw` is what the driver alone needs to insert and tell, and then to look, lock and write."
    ),
    "steady": (
        "Phases spread evenly; our runs are recorded. `floor` is a bare heap; `bare` a loop that "
        "locks up to 1,000 due rows, moves them on, commits and starts them, at most every 5 ms."
    ),
    "million": "A scheduler that is opened on them, does nothing, and then works among them.",
    "file": "Tickwork waits for the disk at each step; the others never do.",
}


def page(groups: Sequence[Group], results: Results, course: str, facts: Mapping[str, str]) -> str:
    """Return the page, in Markdown; `course` says how the run went."""
    lines = [
        "# Tickwork beside others",
        "",
        course,
        "",
        "Written by `make bench`; how it is measured stands at the top of `bench/__init__.py` and",
        "of each module in `bench/workloads`; where the time goes, in `PROFILES.md`. Medians",
        "(least to most); `°` marks figures taken while something else used more than",
        f"{QUIET:.0%} of a processor.",
        "",
        *[f"- {name}: {value}" for name, value in facts.items()],
        "",
        "## Targets",
        "",
        *_verdicts(groups, results),
        "",
    ]
    for section in SECTIONS:
        some = [group for group in groups if group.section == section]
        if some:
            lines += _section(section, some, results)
    return "\n".join(lines).rstrip() + "\n"


def _verdicts(groups: Sequence[Group], results: Results) -> Iterator[str]:
    for group in groups:
        if (said := verdict(group, results)) is not None:
            yield f"- {TITLES[group.section]}, {group.title}: {said}"


def _section(section: str, groups: Sequence[Group], results: Results) -> Iterator[str]:
    present = {spec.contender for group in groups for spec in group.specs}
    who = [each for each in _WHO if each in present]
    yield f"## {TITLES[section]}"
    yield ""
    if section in _REMARKS:
        yield _REMARKS[section]
        yield ""
    yield f"| workload | unit | {' | '.join(who)} | to the best peer | wanted |"
    yield f"|---|---|{'---|' * (len(who) + 2)}"
    for group in groups:
        yield _row(group, who, results)
    yield ""
    for workload, details in _DETAILS.items():
        some = [group for group in groups if group.workload == workload]
        if some:
            yield from details(some, results)
            yield ""


def _row(group: Group, who: Sequence[str], results: Results) -> str:
    measured = {spec.contender: results[spec] for spec in group.specs if spec in results}
    cells = [_cell(measured[each], group) if each in measured else "" for each in who]
    times = ratio(group, results, None)
    compared = "" if times is None else f"{times:.2f} times"
    row = [group.title, UNITS[group.figure], *cells, compared, wanted(group)]
    return f"| {' | '.join(row)} |"


def _cell(measured: Measured, group: Group) -> str:
    if measured.error is not None:
        return f"failed: {measured.error}".replace("|", "/")
    values = measured.values(group.figure)
    mark = "°" if measured.disturbed else ""
    spread = f" ({number(values[0])} to {number(values[-1])})" if len(values) > 1 else ""
    fewer = f", of {measured.spec.count:,}" if measured.spec.count < group.count else ""
    return f"{number(measured.median(group.figure))}{spread}{mark}{fewer}"


def _found(group: Group, results: Results) -> list[Measured]:
    """Return who was measured without an error."""
    each = [results[spec] for spec in group.specs if spec in results]
    return [one for one in each if one.error is None]


def _bursts(groups: Sequence[Group], results: Results) -> Iterator[str]:
    yield "Tickwork's time in bursts ends with the last record; until the last call it makes:"
    yield ""
    for group in groups:
        each = _found(group, results)
        memory = ", ".join(f"{one.spec.contender} {one.median('memory_mb'):,.0f}" for one in each)
        ours = [one for one in each if one.spec.contender == "tickwork"]
        rate = f"{ours[0].median('called_per_s'):,.0f} a second" if ours else "?"
        yield f"- {group.title}: {rate}; most memory in MB: {memory}"


def _held(groups: Sequence[Group], results: Results) -> Iterator[str]:
    yield "How close the search came (the largest number that was held, the smallest that wasn't),"
    yield "with the lateness at the former, p50 / p99 in ms:"
    yield ""
    for group in groups:
        if group.figure.startswith("held_"):
            limit = group.figure.removeprefix("held_")
            each = (_searched(one, limit) for one in _found(group, results))
            yield f"- {group.title}: {'; '.join(each)}"


def _searched(measured: Measured, limit: str) -> str:
    found = measured.results[-1]
    who = measured.spec.contender
    if not found[f"held_{limit}"]:
        return f"{who} none of {', '.join(found['steps'])}"
    missed = found[f"missed_{limit}"]
    return (
        f"{who} {found[f'held_{limit}']:,} held, "
        + (f"{missed:,} not" if missed else "no more was tried")
        + f" ({found[f'late_p50_ms_{limit}']:.1f} / {found[f'late_p99_ms_{limit}']:.1f})"
    )


def _limits(groups: Sequence[Group], results: Results) -> Iterator[str]:
    yield "What the machine can do, in each way that was tried, with nothing decided or executed:"
    yield ""
    for group in groups:
        for one in _found(group, results):
            ways = ", ".join(f"{way} {one.median(way):,.0f}" for way in one.results[0])
            yield f"- {group.title}: {ways}"


def _split(groups: Sequence[Group], results: Results) -> Iterator[str]:
    parts = ("planning_us", "store_us", "handover_us", "finish_us", "beside_us", "run_us")
    yield "In microseconds a run, by the clock of the loop's thread; handing over contains"
    yield "executing, and waiting for the interpreter lock. What of finish goes on beside the rest,"
    yield "in another thread, is no part of the sum:"
    yield ""
    yield "| burst | planning | store | handing over | finish | of it beside | together |"
    yield "|---|---|---|---|---|---|---|"
    for group in groups:
        for one in _found(group, results):
            cells = " | ".join(f"{one.median(part):.1f}" for part in parts)
            yield f"| {group.title} | {cells} |"


_DETAILS: Mapping[str, Callable[[Sequence[Group], Results], Iterator[str]]] = {
    "burst": _bursts,
    "limits": _limits,
    "held": _held,
    "million": _held,
    "split": _split,
}
"""What the table has no room for, for some workloads."""
