"""One measurement, as it is handed to the process that makes it."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from bench.contenders import Kind, Work

__all__ = ["Spec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is measured: a workload, who does it, on which store, with how many tasks.

    `folder` is where files may be made, `server` where the store's server is, `place` where a store
    is that was filled before.
    """

    workload: str
    contender: str
    store: Kind = "memory"
    work: Work = "coroutine"
    count: int = 0
    seconds: int = 0
    bulk: bool = False
    zone: str = "UTC"
    folder: str | None = None
    server: str | None = None
    place: str | None = None

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
