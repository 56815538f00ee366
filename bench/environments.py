"""Where each contender lives: tickwork in `.venv-bench`, every peer in an environment of its own.

APScheduler 3 and 4 can't be in one environment, and nobody is to be held to what others need. Made
by `make bench`, from the lists in `bench/peers`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PEERS", "environment_of", "versions"]

_ENVIRONMENTS = Path(__file__).parents[1] / ".venv-bench" / "peers"
PEERS = tuple(sorted(each.stem for each in (Path(__file__).parent / "peers").glob("*.txt")))

_VERSIONS = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


def environment_of(contender: str) -> str:
    """Return the interpreter that a contender is measured by.

    Raises:
        FileNotFoundError: its environment isn't there.
    """
    if contender not in PEERS:
        return sys.executable
    interpreter = _ENVIRONMENTS / contender / "bin" / "python"
    if not interpreter.exists():
        raise FileNotFoundError(f"{contender} has no environment; `make bench` makes it")
    return str(interpreter)


def versions(contender: str) -> dict[str, str]:
    """Return the versions of a peer and of what it was told to bring, by their names."""
    command = [environment_of(contender), "-c", _VERSIONS, *_packages(contender)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _packages(contender: str) -> Iterator[str]:
    listed = Path(__file__).parent / "peers" / f"{contender}.txt"
    for line in listed.read_text(encoding="utf-8").splitlines():
        if named := re.match(r"[\w.-]+", line):
            yield named[0]
