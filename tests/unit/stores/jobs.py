"""Functions that a persistent store can name."""

from collections import Counter

calls: Counter[str] = Counter()
"""How often each name was noted; emptied before each test."""


def note(name: str) -> None:
    calls[name] += 1


def vanishing() -> None:
    calls["vanishing"] += 1
