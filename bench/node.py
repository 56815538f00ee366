"""One node of several, in a process of its own: `python -m bench.node CONTENDER SETUP`.

It says when it is ready, begins when it is told to (by a line), says again and again how many runs
it is done with and when the last was, ends at the end of its input, and says how many calls it
made, and when those were that note their number. Instants are those of the machine's monotonic
clock, or (of those that note their number) of its wall clock, so that processes can compare them.
"""

import json
import sys
import threading
from typing import Any

from bench.contenders import Contender, Recording, Setup, contender
from bench.work import NAPS, STAMPS

__all__ = ["main"]

_OFTEN_S = 0.02


def main() -> None:
    node = contender(sys.argv[1])
    node.open(Setup(*json.loads(sys.argv[2])))
    _tell(node)
    _say(ready=True)
    sys.stdin.readline()
    node.resume()
    sys.stdin.read()
    node.close()
    _say(calls=len(NAPS), stamps=list(zip(*STAMPS, strict=True)))


def _tell(node: Contender) -> None:
    """Say how far it is: with its records, where it has such, otherwise with its calls."""
    if isinstance(node, Recording):
        node.tell(lambda records, at: _say(done=records, at=at))
    else:
        threading.Thread(target=_tell_calls, daemon=True).start()


def _tell_calls() -> None:
    told, pause = 0, threading.Event()
    while True:
        pause.wait(_OFTEN_S)
        if (calls := len(NAPS)) > told:
            _say(done=calls, at=NAPS[calls - 1])
            told = calls


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
