"""Functions that tasks of these tests call."""

import threading
from pathlib import Path  # noqa: F401  imported here, not defined here

from tickwork import current_run

__all__ = ["close_day", "fail", "go", "hold", "log_in_somewhere", "other"]

go = threading.Event()
"""What `hold` waits for."""


def close_day(city: str = "berlin", *, password: str = "") -> str:
    """Return what it was called with."""
    return city


def other() -> None:
    """Do nothing."""


def log_in_somewhere(name: str, api_token: str, options: dict[str, str] | None = None) -> str:
    """Return a part of what it was called with."""
    return name


def fail() -> None:
    """Fail."""
    raise ValueError("it is Monday")


def hold() -> None:
    """Say how far it is, and wait."""
    current_run().progress((1, 2), "half of it")
    go.wait(10)
