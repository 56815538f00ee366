"""What the tasks of these tests call."""

__all__ = ["break_down", "greet", "log_in", "report"]


def greet(name: str, *, times: int = 1) -> str:
    return f"hello {name}" * times


def break_down() -> None:
    raise ValueError("the machine\nis broken")


def report() -> None:
    """Nothing to report."""


def log_in(user: str, password: str) -> None:
    """Nothing to log in to."""
