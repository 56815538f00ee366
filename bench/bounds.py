"""What a line that was missed would leave for a run, and what the least takes that it needs.

In microseconds a run, all measured in the same run of the benchmark: a bare loop that only writes
what is to be recorded, and our own deciding and handing over, as they are in memory.
"""

from collections.abc import Iterator

from bench.group import Group
from bench.judging import NOT_PEERS, Results, number, verdict
from bench.report import TITLES
from bench.saving import Saved

__all__ = ["bounds"]

_SECOND_US = 1_000_000


def bounds(run: Saved) -> Iterator[str]:
    """Yield the rows of a table about the bursts whose lines were missed."""
    of_memory = {
        group.title: group
        for group in run.groups
        if group.section == "memory" and group.workload == "burst"
    }
    for group in run.groups:
        said = verdict(group, run.results)
        if group.workload != "burst" or said is None or "missed" not in said:
            continue
        memory = of_memory.get(group.title) if group.section != "memory" else None
        recorded = _us(group, "recorded", run.results) or _raw_us(group.section, run)
        in_memory = None if memory is None else _us(memory, "tickwork", run.results)
        ours = _us(group, "tickwork", run.results)
        together = recorded + in_memory if recorded and in_memory else None
        left = _left_us(group, run.results)
        cells = map(_cell, (left, recorded, in_memory, together, ours))
        yield f"| {TITLES[group.section]}, {group.title} | {' | '.join(cells)} |"


def _cell(us: float | None) -> str:
    return "" if us is None else number(us)


def _us(group: Group, who: str, results: Results) -> float | None:
    for spec in group.specs:
        if spec.contender == who and spec in results and results[spec].error is None:
            return _SECOND_US / results[spec].median(group.figure)
    return None


def _raw_us(section: str, run: Saved) -> float | None:
    """Return what the driver alone takes to write what a run needs."""
    for group in run.groups:
        if group.section == section and group.workload == "limits":
            return _us(group, "raw", run.results)
    return None


def _left_us(group: Group, results: Results) -> float | None:
    """Return how many microseconds a run may take where all targets are reached."""
    peers = [
        us
        for spec in group.specs
        if spec.contender not in NOT_PEERS
        and (us := _us(group, spec.contender, results)) is not None
    ]
    left: list[float] = []
    for target in group.targets:
        if target.least is not None:
            left.append(_SECOND_US / target.least)
        elif target.times is not None and target.rival is not None:
            rival = _us(group, target.rival, results)
            left += [] if rival is None else [rival / target.times]
        elif target.times is not None and peers:
            left.append(min(peers) / target.times)
    return min(left, default=None)
