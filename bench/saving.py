"""The results of a run as JSON, from which its pages can be made again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from bench.group import Group
from bench.measuring import Measured
from bench.plan import groups
from bench.spec import Spec

__all__ = ["Saved", "loaded", "saved"]


class Saved(NamedTuple):
    """What is known of a run: its groups, results, how it went, and what on."""

    groups: Sequence[Group]
    results: Mapping[Spec, Measured]
    course: str
    facts: Mapping[str, str]


def saved(run: Saved, *, quick: bool) -> str:
    """Return a run as JSON; its groups are those of the plan that have results."""
    data = {
        "quick": quick,
        "course": run.course,
        "machine": dict(run.facts),
        "results": [asdict(each) for each in run.results.values()],
    }
    return json.dumps(data, indent=1) + "\n"


def loaded(file: Path) -> Saved:
    """Read what `saved` made; what isn't in the plan any more is left out."""
    data = json.loads(file.read_text(encoding="utf-8"))
    measured = [_measured(each) for each in data["results"]]
    results = {each.spec: each for each in measured}
    planned = [
        group
        for group in groups(quick=data["quick"])
        if all(spec in results for spec in group.specs)
    ]
    return Saved(planned, results, data["course"], data["machine"])


def _measured(data: Mapping[str, Any]) -> Measured:
    return Measured(**{**data, "spec": Spec(**data["spec"])})
