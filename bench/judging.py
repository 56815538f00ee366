"""Whether what is wanted was reached."""

from collections.abc import Mapping

from bench.group import Group, Target
from bench.measuring import Measured
from bench.spec import Spec

__all__ = ["NOT_PEERS", "UNITS", "Results", "number", "ratio", "verdict", "wanted"]

UNITS = {
    "per_s": "a second",
    "one_per_s": "a second",
    "two_per_s": "a second",
    "four_per_s": "a second",
    "held_within_50_ms": "a second",
    "held_within_100_ms": "a second",
    "held_within_1_s": "a second",
    "cpu_percent": "% CPU",
    "p95_ms": "ms at p95",
    "ready_s": "s",
    "caught_up_s": "s",
    "step_us": "µs",
    "sparse_us": "µs",
    "run_us": "µs a run",
    "few_ms": "ms",
    "many_ms": "ms",
    "import_ms": "ms",
    "ready_ms": "ms",
    "p50_ms": "ms",
    "p99_ms": "ms",
    "task_bytes": "bytes",
    "run_bytes": "bytes",
    "drivers": "drivers",
    "scans": "statements",
    "ratio": "times",
    "four_ratio": "times",
}
NOT_PEERS = frozenset({"tickwork", "floor", "recorded", "bare", "raw"})

Results = Mapping[Spec, Measured]


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(group: Group, results: Results, rival: str | None) -> float | None:
    """Return how many times better tickwork is than a rival, None: than the best peer."""
    ours = _own(group, results)
    theirs = [
        value
        for spec in group.specs
        if (spec.contender == rival if rival else spec.contender not in NOT_PEERS)
        and (value := _median(results.get(spec), group.figure))
    ]
    if not ours or not theirs:
        return None
    return ours / max(theirs) if group.more_is_better else min(theirs) / ours


def _own(group: Group, results: Results) -> float | None:
    spec = next((each for each in group.specs if each.contender == "tickwork"), None)
    return None if spec is None else _median(results.get(spec), group.figure)


def _median(measured: Measured | None, figure: str) -> float | None:
    if measured is None or measured.error is not None:
        return None
    return measured.median(figure)


def wanted(group: Group) -> str:
    """Say what is to be reached."""
    return ", and ".join(_asked(target, group) for target in group.targets)


def _asked(target: Target, group: Group) -> str:
    if target.times is not None:
        return f"{target.times:g} times {_rival(target)}"
    if target.least is not None:
        return f"at least {target.least:,g} {UNITS[group.figure]}"
    return f"at most {target.most:,g} {UNITS[group.figure]}"


def _rival(target: Target) -> str:
    return target.rival or "the best peer"


def verdict(group: Group, results: Results) -> str | None:
    """Say of each target whether it was reached, or missed by how much; None without any."""
    return "; ".join(_judged(target, group, results) for target in group.targets) or None


def _judged(target: Target, group: Group, results: Results) -> str:
    if target.times is not None:
        value, unit = ratio(group, results, target.rival), f"times {_rival(target)}"
    else:
        value, unit = _own(group, results), UNITS[group.figure]
    least = target.times if target.times is not None else target.least
    if value is None:
        return f"**not measured**, {_asked(target, group)}"
    if least is not None:
        reached, missed = value >= least, 1 - value / least
    else:
        assert target.most is not None
        reached, missed = value <= target.most, value / (target.most or 1) - 1
    if reached:
        return f"reached, {number(value)} {unit}"
    bound = least if least is not None else target.most
    return f"**missed by {missed:.0%}**, {number(value)} instead of {bound:,g} {unit}"
