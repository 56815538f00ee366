"""The results as a page: what was measured, by whom, and whether what is wanted was reached."""

from collections.abc import Iterator, Mapping, Sequence

from bench.measuring import Measured
from bench.plan import Group
from bench.spec import Spec

__all__ = ["page"]

_UNITS = {
    "per_s": "a second",
    "on_time_percent": "% on time",
    "cpu_percent": "% CPU",
    "ready_s": "s",
    "step_us": "µs",
    "sparse_us": "µs",
}
_DISTURBED = 0.25
_WHO = ("tickwork", "apscheduler", "asyncz", "croniter", "floor")

Results = Mapping[Spec, Measured]


def page(groups: Sequence[Group], results: Results, machine: Mapping[str, str]) -> str:
    """Return the page, in Markdown."""
    lines = [
        "# Tickwork beside others",
        "",
        "Written by `make bench`; how it is measured stands at the top of `bench/__init__.py` and",
        "of each module in `bench/workloads`. Medians (least to most); `°` marks figures that were",
        "taken while something else was using more than a quarter of a processor.",
        "",
        *[f"- {name}: {value}" for name, value in machine.items()],
        "",
        f"| workload | unit | {' | '.join(_WHO)} | to the best peer | wanted |",
        f"|---|---|{'---|' * (len(_WHO) + 2)}",
        *[_row(group, results) for group in groups],
        "",
        *_details(groups, results),
        *_verdicts(groups, results),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _row(group: Group, results: Results) -> str:
    measured = {spec.contender: results[spec] for spec in group.specs}
    cells = [_cell(measured[who], group.figure) if who in measured else "" for who in _WHO]
    ratio = _ratio(group, results, None)
    compared = "" if ratio is None else f"{ratio:.2f} times"
    row = [group.title, _UNITS[group.figure], *cells, compared, _wanted(group)]
    return f"| {' | '.join(row)} |"


def _cell(measured: Measured, figure: str) -> str:
    if measured.error is not None:
        return f"failed: {measured.error}"
    values = measured.values(figure)
    mark = "°" if measured.others > _DISTURBED else ""
    spread = f" ({_number(values[0])} to {_number(values[-1])})" if len(values) > 1 else ""
    return f"{_number(measured.median(figure))}{spread}{mark}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(group: Group, results: Results, rival: str | None) -> float | None:
    """Return how many times better tickwork is than a rival, None: than the best peer."""
    ours: float | None = None
    theirs: list[float] = []
    for spec in group.specs:
        measured = results[spec]
        if measured.error is not None or spec.contender == "floor":
            continue
        if spec.contender == "tickwork":
            ours = measured.median(group.figure)
        elif rival in {None, spec.contender}:
            theirs.append(measured.median(group.figure))
    if not ours or not theirs:
        return None
    return ours / max(theirs) if group.more_is_better else min(theirs) / ours


def _wanted(group: Group) -> str:
    if group.factor is not None:
        return f"{group.factor:g} times {group.rival}"
    return f"under {group.limit:g} {_UNITS[group.figure]}" if group.limit is not None else ""


def _verdicts(groups: Sequence[Group], results: Results) -> Iterator[str]:
    """Yield a line for each target: reached, or missed by how much."""
    yield "## Targets"
    yield ""
    for group in groups:
        if group.factor is not None:
            ratio = _ratio(group, results, group.rival)
            if ratio is None:
                yield f"- {group.title}: **not measured**"
            elif ratio >= group.factor:
                yield f"- {group.title}: reached, {ratio:.2f} times {group.rival}"
            else:
                yield (
                    f"- {group.title}: **missed by {1 - ratio / group.factor:.0%}**, "
                    f"{ratio:.2f} instead of {group.factor:g} times {group.rival}"
                )
        elif group.limit is not None:
            yield f"- {group.title}: {_within(group, results)}"


def _within(group: Group, results: Results) -> str:
    ours = results[next(spec for spec in group.specs if spec.contender == "tickwork")]
    if ours.error is not None or group.limit is None:
        return "**not measured**"
    value, unit = ours.median(group.figure), _UNITS[group.figure]
    over = f"{value - group.limit:.3g} {unit}"
    if value < group.limit:
        return f"reached, {_number(value)} {unit}"
    return f"**missed by {over}**, {_number(value)} instead of {group.limit:g}"


def _details(groups: Sequence[Group], results: Results) -> Iterator[str]:
    """Yield what the table has no room for."""
    bursts = [group for group in groups if group.workload == "burst"]
    if bursts:
        yield "## Bursts in detail"
        yield ""
        yield "Tickwork's time above ends with the last record; until the last call it makes:"
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
    steady = [group for group in groups if group.workload == "steady"]
    if steady:
        yield "## Lateness of steady tasks: p50 / p99 in ms, percent called"
        yield ""
        for group in steady:
            each = [results[spec] for spec in group.specs if results[spec].error is None]
            yield f"- {group.title}: " + "; ".join(
                f"{one.spec.contender} {one.median('late_p50_ms'):.1f} / "
                f"{one.median('late_p99_ms'):.1f}, {one.median('called_percent'):.1f} %"
                for one in each
            )
        yield ""
