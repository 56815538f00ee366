"""The page for readers of the documentation, and its charts: `docs/benchmarks.md`.

Its text stands in `page.md`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.bounds import bounds
from bench.charts import Bar, Block, chart
from bench.group import Group
from bench.judging import NOT_PEERS, Results, verdict, wanted
from bench.report import TITLES
from bench.saving import Saved

__all__ = ["write_page"]

_BURSTS = ("memory", "sqlite", "postgresql", "redis")
_TEXT = Path(__file__).with_name("page.md")


def write_page(run: Saved, docs: Path) -> None:
    """Write the page and its charts into the folder of the documentation."""
    images = docs / "images"
    images.mkdir(exist_ok=True)
    facts = "\n".join(f"- {name}: {value}" for name, value in run.facts.items())
    charts = ""
    for name, title, blocks in _charts(run):
        (images / f"bench-{name}.svg").write_text(chart(title, blocks), encoding="utf-8")
        charts += f"\n## {title}\n\n![{title}](images/bench-{name}.svg)\n"
    text = _TEXT.read_text(encoding="utf-8").format(
        course=run.course,
        facts=facts,
        charts=charts,
        targets="\n".join(_targets(run)),
        bounds="\n".join(bounds(run)),
    )
    (docs / "benchmarks.md").write_text(text, encoding="utf-8")


def _charts(run: Saved) -> Iterator[tuple[str, str, Sequence[Block]]]:
    for section in _BURSTS:
        bursts = [
            group for group in run.groups if group.section == section and group.workload == "burst"
        ]
        if bursts:
            most = max(group.count for group in bursts)
            largest = [group for group in bursts if group.count == most]
            yield section, f"{TITLES[section]}: runs a second", _blocks(largest, run.results)
    for section, figure in (("steady", "held_within_50_ms"), ("million", "held_within_100_ms")):
        held = [g for g in run.groups if g.section == section and g.figure == figure]
        if held:
            yield section, TITLES[section], _blocks(held, run.results)


def _blocks(groups: Sequence[Group], results: Results) -> list[Block]:
    return [Block(group.title, list(_bars(group, results))) for group in groups]


def _bars(group: Group, results: Results) -> Iterator[Bar]:
    for spec in group.specs:
        measured = results[spec]
        if measured.error is None:
            ours = spec.contender == "tickwork"
            kind = "ours" if ours else "floor" if spec.contender in NOT_PEERS else "peer"
            yield Bar(spec.contender, measured.median(group.figure), kind)


def _targets(run: Saved) -> Iterator[str]:
    for group in run.groups:
        if (said := verdict(group, run.results)) is not None:
            title = f"{TITLES[group.section]}, {group.title}"
            yield f"| {title} | {wanted(group)} | {said} |"
