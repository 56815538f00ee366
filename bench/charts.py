"""Bars as SVG, readable on light and dark pages; nothing but text."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from bench.judging import number

__all__ = ["Bar", "Block", "chart"]

_WIDTH, _LABELS, _NUMBERS = 720, 130, 90
_BAR, _STEP, _HEAD, _TOP, _GAP = 16, 22, 26, 44, 12
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.head { fill: #57606a }
.label { text-anchor: end }
.ours { fill: #1a7f64 }
.peer { fill: #8c959f }
.floor { fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.head { fill: #9198a1 }
.ours { fill: #3fb68b }
.peer { fill: #6e7681 }
.floor { stroke: #9198a1 }
}
"""


class Bar(NamedTuple):
    """One bar; `kind` is "ours", "peer" or "floor"."""

    label: str
    value: float
    kind: str


class Block(NamedTuple):
    """Bars that are compared with each other, on a scale of their own."""

    head: str
    bars: Sequence[Bar]


def chart(title: str, blocks: Sequence[Block]) -> str:
    """Return a chart as an SVG file."""
    lines: list[str] = []
    y = _TOP
    for block in blocks:
        lines += _block(block, y)
        y += _HEAD + _STEP * len(block.bars) + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}"'
        f' height="{y}" role="img" aria-label="{escape(title)}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<text class="title" x="8" y="24">{escape(title)}</text>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def _block(block: Block, top: int) -> Iterator[str]:
    yield f'<text class="head" x="8" y="{top + 14}">{escape(block.head)}</text>'
    most = max((bar.value for bar in block.bars), default=0.0) or 1.0
    room = _WIDTH - _LABELS - _NUMBERS
    for place, bar in enumerate(block.bars):
        y = top + _HEAD + place * _STEP
        width = max(1.0, room * bar.value / most)
        yield f'<text class="label" x="{_LABELS - 8}" y="{y + 12}">{escape(bar.label)}</text>'
        yield (
            f'<rect class="{bar.kind}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}"'
            ' rx="2"/>'
        )
        yield f'<text x="{_LABELS + width + 6:.1f}" y="{y + 12}">{number(bar.value)}</text>'
