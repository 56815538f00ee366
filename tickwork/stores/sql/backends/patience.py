"""Connections of psycopg that don't wait for a server for ever.

Time-outs on the server end what it works on too long, and the network's own what isn't received.
Neither helps when a server receives and then hangs.
"""

from collections.abc import Generator
from time import monotonic
from typing import Any

from psycopg import Connection, OperationalError

__all__ = ["PatientConnection"]


class PatientConnection(Connection[Any]):
    """A connection that closes itself when the server shows no sign of life."""

    patience_s: float = 60.0

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for an answer, as all methods do."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, answer: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            wanted = next(answer)
            alive = monotonic()
            while True:
                # Nothing is what the driver comes back with ten times a second.
                ready = yield wanted
                if ready:
                    alive = monotonic()
                elif monotonic() - alive > self.patience_s:
                    self.pgconn.finish()
                    raise OperationalError(f"no answer within {self.patience_s:g} s")
                wanted = answer.send(ready)
        except StopIteration as done:
            return done.value
